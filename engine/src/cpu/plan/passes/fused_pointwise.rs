//! Fuses expanding 1 × 1 convolutions with their BatchNorm and activation in training, see
//! [`kernels::fused_pointwise`](crate::cpu::kernels::fused_pointwise).

use super::epilogue;
use crate::cpu::kernels::convolution::Geometry;
use crate::cpu::kernels::fused_pointwise::FusedPointwise;
use crate::cpu::plan::step::{Algorithm, FusedNorm, Step, StepKind};
use crate::cpu::plan::target::Target;
use crate::net::{Op, TensorId, Window};

/// Least ratio of output to input channels.
const MIN_RATIO: usize = 2;
/// Most input channels: recomputing from more takes as long as reading the output from memory.
pub(in crate::cpu) const MAX_INPUT_CHANNELS: usize = 48;

/// Fuses where the output of a shard of `images` is large; a small one is still in the core's cache when it is read.
pub(in crate::cpu) fn fuse(steps: &mut Vec<Step>, values: usize, images: usize, target: &Target) {
    let mut only_convolved = vec![true; values];
    // Whether a value is computed from outputs of BatchNorms alone, so that its means are not large.
    let mut normalised = vec![false; values];
    for step in steps.iter() {
        let inputs = step.inputs.iter().map(|input| input.value);
        normalised[step.output] = match step.kind {
            StepKind::Norm(_) => inputs.clone().skip(1).all(|input| normalised[input]),
            StepKind::Add
            | StepKind::Whitening(_)
            | StepKind::Activation(_)
            | StepKind::ChannelCopy(_)
            | StepKind::MaxPool(_) => inputs.clone().all(|input| normalised[input]),
            _ => false,
        };
        if !matches!(step.kind, StepKind::Convolution(_)) {
            inputs.for_each(|input| only_convolved[input] = false);
        }
    }
    // BatchNorms that share running statistics update them in order, and are not fused.
    let means: Vec<TensorId> = steps.iter().filter_map(mean).collect();
    let is_shared = |norm: &FusedNorm| {
        let own = mean_of(norm);
        means.iter().filter(|mean| Some(**mean) == own).count() > 1
    };
    epilogue::fuse(steps, values, target.lanes, |step, norm, output| {
        let StepKind::Convolution(layer) = &step.kind else {
            return false;
        };
        let Geometry { window, groups, .. } = layer.geometry;
        let (from, to) = (step.inputs[0].shape.channels, step.shape.channels);
        let pointwise = window == Window::square(1) && groups == 1 && layer.bias.is_none();
        pointwise
            && matches!(layer.algorithm, Algorithm::Direct)
            && normalised[step.inputs[0].value]
            && from <= MAX_INPUT_CHANNELS
            && from * MIN_RATIO <= to
            && images * step.shape.len() >= target.fused_min_elements
            && norm.function.gradient_follows_from_output()
            && only_convolved[output]
            && !is_shared(norm)
    });
    for step in steps {
        if let StepKind::Convolution(layer) = &mut step.kind
            && layer.norm.is_some()
        {
            let fused = FusedPointwise::new(layer.geometry.filters());
            layer.fused = Some(Box::new(fused));
        }
    }
}

/// The running mean of a step's BatchNorm.
fn mean(step: &Step) -> Option<TensorId> {
    step.norm().and_then(mean_of)
}

fn mean_of(norm: &FusedNorm) -> Option<TensorId> {
    match norm.op {
        Op::BatchNorm { mean, .. } => Some(mean),
        _ => None,
    }
}
