//! Fuses BatchNorm and activation into the convolution before them, as its epilogue, where nothing else reads the output of
//! the convolution. This is for evaluation; in training the statistics of the batch are needed first, see
//! [`super::fused_pointwise`].

use crate::cpu::plan::step::{Algorithm, FusedNorm, Step, StepKind};

/// Fuses BatchNorms into their convolutions where `allows` returns true, given the convolution, the BatchNorm, and the value
/// that the BatchNorm computes.
pub(in crate::cpu) fn fuse(
    steps: &mut Vec<Step>,
    values: usize,
    lanes: usize,
    allows: impl Fn(&Step, &FusedNorm, usize) -> bool,
) {
    let mut readers = vec![0; values];
    for input in steps.iter().flat_map(|step| &step.inputs) {
        readers[input.value] += 1;
    }
    // The index in `left` of the step that computes each value.
    let mut makers: Vec<Option<usize>> = vec![None; values];
    let mut left: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        let read = step.inputs[0].value;
        let maker = makers[read].filter(|maker| match &step.kind {
            StepKind::Norm(norm) if step.inputs.len() == 1 => {
                readers[read] == 1 && allows(&left[*maker], norm, step.output)
            }
            _ => false,
        });
        let target = maker.and_then(|maker| fusion_target(&mut left[maker], lanes));
        match (step.kind, target) {
            (StepKind::Norm(norm), Some((fused, output))) => {
                *fused = Some(norm);
                *output = step.output;
                makers[step.output] = maker;
            }
            (kind, _) => {
                makers[step.output] = Some(left.len());
                left.push(Step { kind, ..step });
            }
        }
    }
    *steps = left;
}

/// The fields of a convolution that a fused BatchNorm goes to, and the value that it then computes; `None` if the step
/// cannot fuse one.
fn fusion_target(
    step: &mut Step,
    lanes: usize,
) -> Option<(&mut Option<Box<FusedNorm>>, &mut usize)> {
    let StepKind::Convolution(layer) = &mut step.kind else {
        return None;
    };
    let filters = layer.geometry.filters();
    let whole = match layer.algorithm {
        // Strips must not cross groups.
        Algorithm::Direct => filters.groups == 1 || filters.out_channels % lanes == 0,
        Algorithm::Winograd(_) => true,
        // The bias is added after the epilogue would run.
        Algorithm::Grouped(_) => layer.bias.is_none(),
    };
    (whole && layer.norm.is_none()).then_some((&mut layer.norm, &mut step.output))
}
