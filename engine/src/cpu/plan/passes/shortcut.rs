//! Fuses the end of a residual block in training: BatchNorm, the sum with the shortcut, and the activation become one step,
//! so that the values between them are neither written nor read.

use crate::cpu::kernels::activation::Function;
use crate::cpu::plan::step::{Step, StepInput, StepKind};

/// Fuses sums into a BatchNorm whose only reader they are, which gets the shortcut as its second input; and activations, if
/// f′ can be computed from their value.
pub(in crate::cpu) fn fuse(steps: &mut Vec<Step>, values: usize) {
    let mut readers = vec![0; values];
    for input in steps.iter().flat_map(|step| &step.inputs) {
        readers[input.value] += 1;
    }
    let mut left: Vec<Option<Step>> = Vec::with_capacity(steps.len());
    // The index in `left` of the step that computes each value.
    let mut makers: Vec<Option<usize>> = vec![None; values];
    for mut step in steps.drain(..) {
        let maker = |input: &StepInput| makers[input.value].filter(|_| readers[input.value] == 1);
        match (&step.kind, &step.inputs[..]) {
            (StepKind::Add, &[a, b]) => {
                let ends = |input: &StepInput, other: &StepInput| {
                    maker(input)
                        .filter(|at| left[*at].as_ref().is_some_and(|step| can_add(step, other)))
                };
                let found = ends(&a, &b).map(|at| (at, b));
                let found = found.or_else(|| ends(&b, &a).map(|at| (at, a)));
                if let Some((at, other)) = found
                    && let Some(mut norm) = left[at].take()
                {
                    norm.inputs.push(other);
                    norm.output = step.output;
                    // It moves here, after the step that computes the shortcut.
                    step = norm;
                }
            }
            (StepKind::Activation(function), [input])
                if function.gradient_follows_from_output() =>
            {
                let function = *function;
                if let Some(at) = maker(input)
                    && let Some(last) = &mut left[at]
                    && last.inputs.len() == 2
                    && let StepKind::Norm(norm) = &mut last.kind
                    && norm.function == Function::Identity
                {
                    norm.function = function;
                    last.output = step.output;
                    makers[step.output] = Some(at);
                    continue;
                }
            }
            _ => {}
        }
        makers[step.output] = Some(left.len());
        left.push(Some(step));
    }
    steps.extend(left.into_iter().flatten());
}

/// Whether a step is a BatchNorm that can add `other`: it has no activation or shortcut yet, and `other` is not its own
/// input, whose gradient would have two contributions at two times.
fn can_add(step: &Step, other: &StepInput) -> bool {
    match (&step.kind, &step.inputs[..]) {
        (StepKind::Norm(norm), [x]) => {
            norm.function == Function::Identity && x.value != other.value
        }
        _ => false,
    }
}
