//! In training a sum of what a BatchNorm computes and something else is computed in the BatchNorm's own pass, with
//! the activation behind it: the end of a residual block. What is inside is neither written nor read.

use crate::cpu::kernels::activation::Function;
use crate::cpu::plan::step::{Input, Kind, Step};

/// Makes such sums, and activations whose gradient follows from their value, parts of normalisations that nothing
/// else reads: these have a second input then.
pub(in crate::cpu) fn fold(steps: &mut Vec<Step>, values: usize) {
    let mut readers = vec![0; values];
    for input in steps.iter().flat_map(|step| &step.inputs) {
        readers[input.value] += 1;
    }
    let mut left: Vec<Option<Step>> = Vec::with_capacity(steps.len());
    // Where the step that makes each value is among those.
    let mut makers: Vec<Option<usize>> = vec![None; values];
    for mut step in steps.drain(..) {
        let maker = |input: &Input| makers[input.value].filter(|_| readers[input.value] == 1);
        match (&step.kind, &step.inputs[..]) {
            (Kind::Add, &[a, b]) => {
                let ends = |input: &Input, other: &Input| {
                    maker(input).filter(|at| left[*at].as_ref().is_some_and(|of| takes(of, other)))
                };
                let found = ends(&a, &b).map(|at| (at, b));
                let found = found.or_else(|| ends(&b, &a).map(|at| (at, a)));
                if let Some((at, other)) = found
                    && let Some(mut norm) = left[at].take()
                {
                    norm.inputs.push(other);
                    norm.output = step.output;
                    // Here, where the other is there too.
                    step = norm;
                }
            }
            (Kind::Activation(function), [input]) if function.tells_its_gradient() => {
                let function = *function;
                if let Some(at) = maker(input)
                    && let Some(last) = &mut left[at]
                    && last.inputs.len() == 2
                    && let Kind::Norm(norm) = &mut last.kind
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

/// Whether a step is a normalisation to whose value another one can be added: not what it reads, whose gradient comes
/// from two inputs at two times.
fn takes(step: &Step, other: &Input) -> bool {
    match (&step.kind, &step.inputs[..]) {
        (Kind::Norm(norm), [x]) => norm.function == Function::Identity && x.value != other.value,
        _ => false,
    }
}
