//! Channels that only change places: concatenations, slices, shuffles. Chains of them become one step
//! each, which takes every channel from where it was computed.

use super::layout::{padded, stride};
use super::steps::{Input, Kind, Step};
use crate::engine::channels::Run;
use crate::net::Shape;

/// Channels that go from one input to the output.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    /// Long runs, copied as a whole.
    runs: Vec<Run>,
    /// Single channels: from, to.
    singles: Vec<(u32, u32)>,
}

/// Channels that are worth a copy of their own.
const LONG: usize = 8;

impl Moves {
    /// As they are given.
    pub(super) fn new(runs: impl Iterator<Item = Run>) -> Moves {
        let mut moves = Moves::default();
        let mut last: Option<Run> = None;
        for run in runs {
            match &mut last {
                Some(last) if last.from + last.len == run.from && last.to + last.len == run.to => {
                    last.len += run.len;
                }
                _ => moves.extend(last.replace(run)),
            }
        }
        moves.extend(last);
        moves
    }

    fn extend(&mut self, run: Option<Run>) {
        match run {
            Some(run) if run.len >= LONG => self.runs.push(run),
            Some(run) => {
                let pairs = (0..run.len).map(|i| ((run.from + i) as u32, (run.to + i) as u32));
                self.singles.extend(pairs);
            }
            None => {}
        }
    }

    /// How many channels.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len).sum::<usize>() + self.singles.len()
    }

    /// Every channel: from, to.
    fn channels(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let of = |Run { from, to, len }: Run| (from..from + len).zip(to..to + len);
        let singles = self.singles.iter();
        let singles = singles.map(|(from, to)| (*from as usize, *to as usize));
        self.runs.iter().copied().flat_map(of).chain(singles)
    }

    /// Copies channels of x into y.
    pub(super) fn spread(&self, shapes: (Shape, Shape), x: &[f32], y: &mut [f32]) {
        let (from, to) = (stride(shapes.0.channels), stride(shapes.1.channels));
        let images = x.chunks_exact(padded(shapes.0));
        y.chunks_exact_mut(padded(shapes.1))
            .zip(images)
            .for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(to).zip(x.chunks_exact(from)) {
                    for run in &self.runs {
                        y[run.to..][..run.len].copy_from_slice(&x[run.from..][..run.len]);
                    }
                    for (from, to) in &self.singles {
                        y[*to as usize] = x[*from as usize];
                    }
                }
            });
    }

    /// dx += dy along the same ways, or dx = dy and 0 where none goes.
    pub(super) fn collect(
        &self,
        shapes: (Shape, Shape),
        dy: &[f32],
        (dx, add): (&mut [f32], bool),
    ) {
        let (from, to) = (stride(shapes.0.channels), stride(shapes.1.channels));
        let images = dy.chunks_exact(padded(shapes.1));
        dx.chunks_exact_mut(padded(shapes.0))
            .zip(images)
            .for_each(|(dx, dy)| {
                for (dx, dy) in dx.chunks_exact_mut(from).zip(dy.chunks_exact(to)) {
                    if !add {
                        dx.fill(0.0);
                    }
                    for run in &self.runs {
                        let dy = &dy[run.to..][..run.len];
                        let dx = &mut dx[run.from..][..run.len];
                        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                    }
                    for (from, to) in &self.singles {
                        dx[*from as usize] += dy[*to as usize];
                    }
                }
            });
    }
}

/// Inputs that a step may have though it had fewer before.
const FEW: usize = 2;

/// Makes every step of moves take its channels from where they were computed, and drops those steps
/// that nothing reads any more.
pub(super) fn fold(steps: &mut Vec<Step>, values: usize) {
    // The step that makes each value, if it is one of moves.
    let mut makers = vec![None; values];
    for number in 0..steps.len() {
        let (before, rest) = steps.split_at_mut(number);
        let step = &mut rest[0];
        let Kind::Move(moves) = &mut step.kind else {
            continue;
        };
        makers[step.output] = Some(number);
        // Every channel of the output: which input and which channel of it.
        let mut inputs: Vec<Input> = Vec::new();
        let mut ways: Vec<Vec<Run>> = Vec::new();
        let mut take = |input: &Input, from: usize, to: usize| {
            let known = inputs.iter().position(|known| known.value == input.value);
            let at = known.unwrap_or_else(|| {
                inputs.push(*input);
                ways.push(Vec::new());
                inputs.len() - 1
            });
            ways[at].push(Run { from, to, len: 1 });
        };
        for (input, moves) in step.inputs.iter().zip(&*moves) {
            let maker = makers[input.value].map(|maker: usize| &before[maker]);
            let origins = maker.map(|maker| (maker, origins(maker)));
            for (from, to) in moves.channels() {
                match &origins {
                    // What has no origin is 0, and stays so.
                    Some((maker, origins)) => {
                        if let Some((input, channel)) = origins[from] {
                            take(&maker.inputs[input], channel, to);
                        }
                    }
                    None => take(input, from, to),
                }
            }
        }
        // A part of nothing but padding has nowhere to come from; and each input is a pass over memory.
        if inputs.is_empty() || inputs.len() > step.inputs.len().max(FEW) {
            continue;
        }
        *moves = ways
            .into_iter()
            .map(|mut runs| {
                runs.sort_by_key(|run| run.to);
                Moves::new(runs.into_iter())
            })
            .collect();
        step.inputs = inputs;
    }
    let mut read = vec![false; values];
    read[values - 1] = true;
    let mut kept = Vec::with_capacity(steps.len());
    for step in steps.drain(..).rev() {
        if matches!(step.kind, Kind::Move(_)) && !read[step.output] {
            continue;
        }
        step.inputs
            .iter()
            .for_each(|input| read[input.value] = true);
        kept.push(step);
    }
    kept.reverse();
    *steps = kept;
}

/// For each channel of a step of moves, the input it comes from and the channel there.
fn origins(step: &Step) -> Vec<Option<(usize, usize)>> {
    let mut origins = vec![None; step.shape.channels];
    if let Kind::Move(moves) = &step.kind {
        for (input, moves) in moves.iter().enumerate() {
            for (from, to) in moves.channels() {
                origins[to] = Some((input, from));
            }
        }
    }
    origins
}
