//! Merges chains of channel copies (concatenation, slice, shuffle, padding) into one step each, which copies every channel
//! from the value that computed it.

use crate::channels::Run;
use crate::cpu::kernels::channel_copy::ChannelCopy;
use crate::cpu::plan::step::{Step, StepInput, StepKind};

/// Inputs that a merged step may have even if it had fewer: each input is a pass over memory.
const MAX_INPUTS: usize = 2;

/// Makes every channel copy read the values that computed its channels, and drops copies that nothing reads any more and
/// that are no output of the network.
pub(in crate::cpu) fn merge(steps: &mut Vec<Step>, values: usize, outputs: &[usize]) {
    // The step that computes each value, if it is a channel copy.
    let mut makers = vec![None; values];
    for number in 0..steps.len() {
        let (before, rest) = steps.split_at_mut(number);
        let step = &mut rest[0];
        let StepKind::ChannelCopy(copies) = &mut step.kind else {
            continue;
        };
        makers[step.output] = Some(number);
        // The new inputs, and for each of them the channels that are copied.
        let mut inputs: Vec<StepInput> = Vec::new();
        let mut runs_of_input: Vec<Vec<Run>> = Vec::new();
        let mut take = |input: &StepInput, from: usize, to: usize| {
            let known = inputs.iter().position(|known| known.value == input.value);
            let at = known.unwrap_or_else(|| {
                inputs.push(*input);
                runs_of_input.push(Vec::new());
                inputs.len() - 1
            });
            runs_of_input[at].push(Run { from, to, len: 1 });
        };
        for (input, copies) in step.inputs.iter().zip(&*copies) {
            let maker = makers[input.value].map(|maker: usize| &before[maker]);
            let origins = maker.map(|maker| (maker, origins(maker)));
            for (from, to) in copies.channels() {
                match &origins {
                    // A channel without origin is 0.
                    Some((maker, origins)) => {
                        if let Some((input, channel)) = origins[from] {
                            take(&maker.inputs[input], channel, to);
                        }
                    }
                    None => take(input, from, to),
                }
            }
        }
        // There are no inputs if all channels are padding.
        if inputs.is_empty() || inputs.len() > step.inputs.len().max(MAX_INPUTS) {
            continue;
        }
        *copies = runs_of_input
            .into_iter()
            .map(|mut runs| {
                runs.sort_by_key(|run| run.to);
                ChannelCopy::new(runs.into_iter())
            })
            .collect();
        step.inputs = inputs;
    }
    let mut read = vec![false; values];
    outputs.iter().for_each(|output| read[*output] = true);
    let mut kept = Vec::with_capacity(steps.len());
    for step in steps.drain(..).rev() {
        if matches!(step.kind, StepKind::ChannelCopy(_)) && !read[step.output] {
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

/// For each channel of a channel copy, the input it comes from and the channel there; `None` for padding.
fn origins(step: &Step) -> Vec<Option<(usize, usize)>> {
    let mut origins = vec![None; step.shape.channels];
    if let StepKind::ChannelCopy(copies) = &step.kind {
        for (input, copies) in copies.iter().enumerate() {
            for (from, to) in copies.channels() {
                origins[to] = Some((input, from));
            }
        }
    }
    origins
}
