//! Which convolutions and normalisations become expansions, see
//! [`kernels::expand`](crate::cpu::kernels::expand).

use super::finish;
use crate::cpu::kernels::convolution::Geometry;
use crate::cpu::kernels::expand::Expansion;
use crate::cpu::plan::step::{Algorithm, Kind, Norm, Step};
use crate::cpu::plan::target::Target;
use crate::net::{Op, TensorId, Window};

/// How many times as many channels it computes as it reads, at least.
const RATIO: usize = 2;
/// Channels that it reads, at most: computing again from more takes as long as reading from memory.
pub(in crate::cpu) const NARROW: usize = 48;

/// Makes expansions of convolutions and normalisations, for tasks of this many images, where they compute many
/// numbers: few are still in a core's own cache when they are read.
pub(in crate::cpu) fn fold(steps: &mut Vec<Step>, values: usize, images: usize, target: &Target) {
    let mut only_convolved = vec![true; values];
    // Whether a value is made of what normalisations compute.
    let mut normal = vec![false; values];
    for step in steps.iter() {
        let inputs = step.inputs.iter().map(|input| input.value);
        normal[step.output] = match step.kind {
            Kind::Norm(_) => inputs.clone().skip(1).all(|input| normal[input]),
            Kind::Add | Kind::Activation(_) | Kind::Move(_) | Kind::MaxPool(_) => {
                inputs.clone().all(|input| normal[input])
            }
            _ => false,
        };
        if !matches!(step.kind, Kind::Convolution(_)) {
            inputs.for_each(|input| only_convolved[input] = false);
        }
    }
    // Running statistics that several normalisations move are moved in their order.
    let means: Vec<TensorId> = steps.iter().filter_map(mean).collect();
    let is_shared = |norm: &Norm| {
        let own = mean_of(norm);
        means.iter().filter(|mean| Some(**mean) == own).count() > 1
    };
    finish::fold(steps, values, target.lanes, |step, norm, output| {
        let Kind::Convolution(layer) = &step.kind else {
            return false;
        };
        let Geometry { window, groups, .. } = layer.geometry;
        let (from, to) = (step.inputs[0].shape.channels, step.shape.channels);
        let pointwise = window == Window::square(1) && groups == 1 && layer.bias.is_none();
        pointwise
            && matches!(layer.algorithm, Algorithm::Product)
            && normal[step.inputs[0].value]
            && from <= NARROW
            && from * RATIO <= to
            && images * step.shape.len() >= target.expanded_numbers
            && norm.function.tells_its_gradient()
            && only_convolved[output]
            && !is_shared(norm)
    });
    for step in steps {
        if let Kind::Convolution(layer) = &mut step.kind
            && layer.norm.is_some()
        {
            let expansion = Expansion::new(layer.geometry.filters());
            layer.expansion = Some(Box::new(expansion));
        }
    }
}

/// The running mean of a step that is a normalisation.
fn mean(step: &Step) -> Option<TensorId> {
    step.norm().and_then(mean_of)
}

fn mean_of(norm: &Norm) -> Option<TensorId> {
    match norm.op {
        Op::BatchNorm { mean, .. } => Some(mean),
        _ => None,
    }
}
