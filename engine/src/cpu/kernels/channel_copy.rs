//! Copies of channels from one value to another: concatenation, slicing, channel shuffle and channel padding.

use super::destination::Destination;
use super::isa::Isa;
use super::layout::pixel_stride;
use crate::channels::Run;
use crate::net::Shape;

/// Which channels of one input go to which channels of the output, grouped by how they are copied fastest.
#[derive(Debug, Clone, Default)]
pub(in crate::cpu) struct ChannelCopy {
    /// Contiguous runs of at least [`LONG`] channels: a `memcpy` each.
    runs: Vec<Run>,
    /// Contiguous runs whose channels go to every other output channel, as in a shuffle of two groups.
    interleaved: Vec<Run>,
    /// Single channels: (from, to).
    singles: Vec<(u32, u32)>,
}

/// Channels from which on a run gets a loop of its own.
const LONG: usize = 8;

impl ChannelCopy {
    /// The copies that some runs of channels stand for.
    pub(in crate::cpu) fn new(runs: impl Iterator<Item = Run>) -> ChannelCopy {
        let singles = runs.flat_map(|Run { from, to, len }| (from..from + len).zip(to..to + len));
        let singles: Vec<(usize, usize)> = singles.collect();
        let mut copies = ChannelCopy::default();
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
                    copies.runs.push(run(len));
                    len
                }
                (_, len) if len >= LONG => {
                    copies.interleaved.push(run(len));
                    len
                }
                _ => {
                    copies.singles.push((*from as u32, *to as u32));
                    1
                }
            };
            rest = &rest[len..];
        }
        copies
    }

    /// Number of channels copied.
    pub(in crate::cpu) fn len(&self) -> usize {
        let runs = self.runs.iter().chain(&self.interleaved);
        runs.map(|run| run.len).sum::<usize>() + self.singles.len()
    }

    /// Every copied channel: (from, to).
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
        runs.chain(self.interleaved.iter().flat_map(of(2)))
            .chain(singles)
    }

    /// Copies the channels of `x` into `y`; other channels of `y` stay.
    pub(in crate::cpu) fn forward(
        &self,
        isa: Isa,
        input: Shape,
        output: Shape,
        x: &[f32],
        y: &mut [f32],
    ) {
        let (from, to) = (pixel_stride(input.channels), pixel_stride(output.channels));
        isa.run_loops(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(to).zip(x.chunks_exact(from)) {
                    for run in &self.runs {
                        y[run.to..][..run.len].copy_from_slice(&x[run.from..][..run.len]);
                    }
                    for run in &self.interleaved {
                        let (y, x) = (&mut y[run.to..], &x[run.from..][..run.len]);
                        copy_to_even(x, y);
                    }
                    for (from, to) in &self.singles {
                        y[*to as usize] = x[*from as usize];
                    }
                }
            },
        );
    }

    /// The gradient of the input: each channel of dx is the sum of the channels of `dy` that it was copied to.
    pub(in crate::cpu) fn backward(
        &self,
        isa: Isa,
        input: Shape,
        output: Shape,
        dy: &[f32],
        dx: Destination<'_>,
    ) {
        let Destination { data: dx, add } = dx;
        let (from, to) = (pixel_stride(input.channels), pixel_stride(output.channels));
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
                    for run in &self.interleaved {
                        let (dx, dy) = (&mut dx[run.from..][..run.len], &dy[run.to..]);
                        add_from_even(dx, dy);
                    }
                    for (from, to) in &self.singles {
                        dx[*from as usize] += dy[*to as usize];
                    }
                }
            },
        );
    }
}

/// Bit offset, in a u64 made of two f32, of the one at the lower address.
const FIRST: u32 = if cfg!(target_endian = "big") { 32 } else { 0 };

/// y\[2 i\] = x\[i\].
#[inline(always)]
fn copy_to_even(x: &[f32], y: &mut [f32]) {
    // Writes both numbers of a pair, so that the loop vectorises.
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

/// x\[i\] += y\[2 i\].
#[inline(always)]
fn add_from_even(x: &mut [f32], y: &[f32]) {
    let (pairs, last) = y.as_chunks::<2>();
    if let (Some(x), Some(y)) = (x.get_mut(pairs.len()), last.first()) {
        *x += *y;
    }
    let whole = x.iter_mut().zip(pairs);
    whole.for_each(|(x, pair)| *x += pair[0]);
}
