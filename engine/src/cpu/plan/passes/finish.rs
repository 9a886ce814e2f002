//! In evaluation a BatchNorm with its activation follows from a number alone: where nothing else reads what a
//! convolution computes, it becomes the end of that convolution. (In training only where [`super::expand`]
//! knows its statistics before.)

use crate::cpu::plan::step::{Algorithm, Kind, Norm, Step};

/// Makes such normalisations the ends of their convolutions where `takes` allows it, given the convolution, the
/// normalisation, and the value it computes.
pub(in crate::cpu) fn fold(
    steps: &mut Vec<Step>,
    values: usize,
    lanes: usize,
    takes: impl Fn(&Step, &Norm, usize) -> bool,
) {
    let mut readers = vec![0; values];
    for input in steps.iter().flat_map(|step| &step.inputs) {
        readers[input.value] += 1;
    }
    // Where the step that makes each value is among those that are left.
    let mut makers: Vec<Option<usize>> = vec![None; values];
    let mut left: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        let read = step.inputs[0].value;
        let maker = makers[read].filter(|maker| match &step.kind {
            Kind::Norm(norm) if step.inputs.len() == 1 => {
                readers[read] == 1 && takes(&left[*maker], norm, step.output)
            }
            _ => false,
        });
        let end = maker.and_then(|maker| end(&mut left[maker], lanes));
        match (step.kind, end) {
            (Kind::Norm(norm), Some((end, output))) => {
                *end = Some(norm);
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

/// Where a step takes a normalisation, and which value it then computes; `None` if it cannot.
fn end(step: &mut Step, lanes: usize) -> Option<(&mut Option<Box<Norm>>, &mut usize)> {
    let Kind::Convolution(layer) = &mut step.kind else {
        return None;
    };
    let filters = layer.geometry.filters();
    let whole = match layer.algorithm {
        // Strips of all groups are those of all channels.
        Algorithm::Product => filters.groups == 1 || filters.to % lanes == 0,
        Algorithm::Winograd(_) => true,
        // Their bias is added when all is computed.
        Algorithm::Grouped(_) => layer.bias.is_none(),
    };
    (whole && layer.norm.is_none()).then_some((&mut layer.norm, &mut step.output))
}
