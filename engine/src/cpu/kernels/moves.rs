//! Channels that only change places: concatenations, slices, shuffles.

use super::isa::Isa;
use super::layout::stride;
use crate::channels::Run;
use crate::net::Shape;

/// Channels that go from one input to the output.
#[derive(Debug, Clone, Default)]
pub(in crate::cpu) struct Moves {
    /// Long runs, copied as a whole.
    runs: Vec<Run>,
    /// Runs that go to every other channel, as the shuffle of two groups has them.
    spaced: Vec<Run>,
    /// Single channels: from, to.
    singles: Vec<(u32, u32)>,
}

/// Channels that are worth a copy of their own, and that are moved at once.
const LONG: usize = 8;

impl Moves {
    /// As they are given.
    pub(in crate::cpu) fn new(runs: impl Iterator<Item = Run>) -> Moves {
        let singles = runs.flat_map(|Run { from, to, len }| (from..from + len).zip(to..to + len));
        let singles: Vec<(usize, usize)> = singles.collect();
        let mut moves = Moves::default();
        let mut rest = &singles[..];
        while let Some((from, to)) = rest.first() {
            let reach = |step: usize| {
                let follow =
                    |(i, single): &(usize, &(usize, usize))| **single == (from + i, to + i * step);
                rest.iter().enumerate().take_while(follow).count()
            };
            let run = |len| Run {
                from: *from,
                to: *to,
                len,
            };
            let len = match (reach(1), reach(2)) {
                (len, _) if len >= LONG => {
                    moves.runs.push(run(len));
                    len
                }
                (_, len) if len >= LONG => {
                    moves.spaced.push(run(len));
                    len
                }
                _ => {
                    moves.singles.push((*from as u32, *to as u32));
                    1
                }
            };
            rest = &rest[len..];
        }
        moves
    }

    /// How many channels.
    pub(in crate::cpu) fn len(&self) -> usize {
        let runs = self.runs.iter().chain(&self.spaced);
        runs.map(|run| run.len).sum::<usize>() + self.singles.len()
    }

    /// Every channel: from, to.
    pub(in crate::cpu) fn channels(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let of = |step: usize| {
            move |run: &Run| {
                let Run { from, to, len } = *run;
                (0..len).map(move |i| (from + i, to + i * step))
            }
        };
        let singles = self.singles.iter();
        let singles = singles.map(|(from, to)| (*from as usize, *to as usize));
        let runs = self.runs.iter().flat_map(of(1));
        runs.chain(self.spaced.iter().flat_map(of(2)))
            .chain(singles)
    }

    /// Copies channels of x into y.
    pub(in crate::cpu) fn spread(
        &self,
        isa: Isa,
        shapes: (Shape, Shape),
        x: &[f32],
        y: &mut [f32],
    ) {
        let (from, to) = (stride(shapes.0.channels), stride(shapes.1.channels));
        isa.run_loops(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(to).zip(x.chunks_exact(from)) {
                    for run in &self.runs {
                        y[run.to..][..run.len].copy_from_slice(&x[run.from..][..run.len]);
                    }
                    for run in &self.spaced {
                        let (y, x) = (&mut y[run.to..], &x[run.from..][..run.len]);
                        to_every_other(x, y);
                    }
                    for (from, to) in &self.singles {
                        y[*to as usize] = x[*from as usize];
                    }
                }
            },
        );
    }

    /// dx += dy along the same ways, or dx = dy and 0 where none goes.
    pub(in crate::cpu) fn collect(
        &self,
        isa: Isa,
        shapes: (Shape, Shape),
        dy: &[f32],
        (dx, add): (&mut [f32], bool),
    ) {
        let (from, to) = (stride(shapes.0.channels), stride(shapes.1.channels));
        isa.run_loops(
            #[inline(always)]
            || {
                for (dx, dy) in dx.chunks_exact_mut(from).zip(dy.chunks_exact(to)) {
                    if !add {
                        dx.fill(0.0);
                    }
                    for run in &self.runs {
                        let dy = &dy[run.to..][..run.len];
                        let dx = &mut dx[run.from..][..run.len];
                        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                    }
                    for run in &self.spaced {
                        let (dx, dy) = (&mut dx[run.from..][..run.len], &dy[run.to..]);
                        from_every_other(dx, dy);
                    }
                    for (from, to) in &self.singles {
                        dx[*from as usize] += dy[*to as usize];
                    }
                }
            },
        );
    }
}

/// Where the bits of the first of two numbers are.
const FIRST: u32 = if cfg!(target_endian = "big") { 32 } else { 0 };

/// Every other number of y, from the first on, is one of x.
#[inline(always)]
fn to_every_other(x: &[f32], y: &mut [f32]) {
    // Both of a pair are written: such a loop becomes vectors.
    let (pairs, last) = y.as_chunks_mut::<2>();
    let whole = pairs.iter_mut().zip(x);
    whole.for_each(|(pair, x)| {
        let both = bytemuck::cast::<[f32; 2], u64>(*pair) & !(u64::from(u32::MAX) << FIRST);
        *pair = bytemuck::cast(both | u64::from(x.to_bits()) << FIRST);
    });
    if let (Some(y), Some(x)) = (last.first_mut(), x.get(pairs.len())) {
        *y = *x;
    }
}

/// Adds every other number of y, from the first on, to x.
#[inline(always)]
fn from_every_other(x: &mut [f32], y: &[f32]) {
    let (pairs, last) = y.as_chunks::<2>();
    if let (Some(x), Some(y)) = (x.get_mut(pairs.len()), last.first()) {
        *x += *y;
    }
    let whole = x.iter_mut().zip(pairs);
    whole.for_each(|(x, pair)| *x += pair[0]);
}
