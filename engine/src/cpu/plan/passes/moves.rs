//! Chains of moves of channels become one step each, which takes every channel from where it was
//! computed.

use crate::channels::Run;
use crate::cpu::kernels::moves::Moves;
use crate::cpu::plan::step::{Input, Kind, Step};

/// Inputs that a step may have though it had fewer before.
const FEW: usize = 2;

/// Makes every step of moves take its channels from where they were computed, and drops those steps
/// that nothing reads any more.
pub(in crate::cpu) fn fold(steps: &mut Vec<Step>, values: usize) {
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
