//! Runs a normalisation that decorrelates channels: its parts for a block of images, and the reductions over all shards.

use crate::cpu::kernels::destination::Destination;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::padded_len;
use crate::cpu::kernels::whitening::{BatchPart, ImageScratch, MixGradients};
use crate::cpu::plan::step::{WhiteningLayer, WhiteningNorm};
use crate::cpu::run::parameter::Parameter;
use crate::cpu::run::step::Shared;
use crate::instance_gate::{InstanceGate, sigmoid};
use crate::mode::Mode;
use crate::net::{ChannelEquilibrium, Shape, TensorId};

/// The weights of an instance branch.
fn gate<'p>(layer: &ChannelEquilibrium, parameters: &'p [Parameter]) -> InstanceGate<'p, f32> {
    let value = |id: TensorId| &parameters[id.index()].value[..];
    InstanceGate {
        reduce: value(layer.reduce),
        weight: value(layer.weight),
        bias: value(layer.bias),
        expand: value(layer.expand),
    }
}

/// Forward of a block of images.
pub(super) fn forward(
    norm: &WhiteningNorm,
    shape: Shape,
    shared: &Shared<'_>,
    (x, y): (&[f32], &mut [f32]),
    scratch: &mut ImageScratch,
) {
    let state = &norm.state;
    match &norm.layer {
        WhiteningLayer::IterNorm(_) => state.normalise(shared.isa, x, y, scratch),
        WhiteningLayer::Equilibrium(layer, _) => {
            let gate = gate(layer, shared.parameters);
            state.equilibrate(shared.isa, padded_len(shape), &gate, (x, y), scratch);
        }
    }
}

/// Adds the moments of a block of images to `sums`.
pub(super) fn moments(
    norm: &WhiteningNorm,
    shape: Shape,
    isa: Isa,
    x: &[f32],
    (pivot, sums): (&[f32], &mut [f64]),
    scratch: &mut ImageScratch,
) {
    let image_len = match norm.layer {
        WhiteningLayer::IterNorm(_) => None,
        WhiteningLayer::Equilibrium(..) => Some(padded_len(shape)),
    };
    norm.state
        .add_moments(isa, x, (pivot, sums), image_len, scratch);
}

/// Adds the sums of gradients of a block of images.
pub(super) fn gradient_sums(
    norm: &WhiteningNorm,
    shape: Shape,
    shared: &Shared<'_>,
    values: (&[f32], &[f32]),
    sums: &mut [f64],
    scratch: &mut ImageScratch,
) {
    let gate = match &norm.layer {
        WhiteningLayer::IterNorm(_) => None,
        WhiteningLayer::Equilibrium(layer, _) => Some(gate(layer, shared.parameters)),
    };
    let gate = gate.as_ref().map(|gate| (gate, padded_len(shape)));
    norm.state
        .add_gradient_sums(shared.isa, values, gate, sums, scratch);
}

/// The gradient of the input, for a block of images.
pub(super) fn input_gradient(
    norm: &WhiteningNorm,
    shape: Shape,
    shared: &Shared<'_>,
    values: (&[f32], &[f32]),
    dx: Destination<'_>,
    scratch: &mut ImageScratch,
) {
    let (state, isa) = (&norm.state, shared.isa);
    match &norm.layer {
        WhiteningLayer::IterNorm(_) => state.normalised_gradient(isa, values, dx, scratch),
        WhiteningLayer::Equilibrium(layer, _) => {
            let gate = gate(layer, shared.parameters);
            state.equilibrated_gradient(isa, padded_len(shape), &gate, values, dx, scratch);
        }
    }
}

/// Takes the running statistics, for evaluation.
pub(super) fn use_running(norm: &mut WhiteningNorm, parameters: &[Parameter]) {
    let value = |id: TensorId| &parameters[id.index()].value[..];
    match &norm.layer {
        WhiteningLayer::IterNorm(layer) => {
            norm.state
                .use_running(Some(value(layer.mean)), value(layer.matrix));
            norm.state.set_affine(value(layer.gamma), value(layer.beta));
        }
        WhiteningLayer::Equilibrium(layer, _) => {
            norm.state.use_running(None, value(layer.matrix));
            norm.state.scale = f64::from(value(layer.scale)[0]);
            norm.state.set_mix(sigmoid(f64::from(value(layer.mix)[0])));
        }
    }
}

/// Computes the statistics of a batch from the moments of its parts, and moves the running ones.
pub(super) fn reduce_moments<'a>(
    norm: &mut WhiteningNorm,
    isa: Isa,
    mode: Mode,
    parts: impl Iterator<Item = BatchPart<'a>> + Clone + Sync,
    images: usize,
    parameters: &mut [Parameter],
    scratch: &mut [f64],
) {
    let state = &mut norm.state;
    let own = match &norm.layer {
        WhiteningLayer::IterNorm(layer) => layer.whitening.momentum,
        WhiteningLayer::Equilibrium(layer, _) => layer.whitening.momentum,
    };
    let momentum = mode.momentum(own);
    let mut follow = |id: TensorId, now: &[f64]| {
        let running = parameters[id.index()].value.iter_mut().zip(now);
        running.for_each(|(running, now)| {
            let before = f64::from(*running);
            *running = (before + momentum * (now - before)) as f32;
        });
    };
    match &norm.layer {
        WhiteningLayer::IterNorm(layer) => {
            state.use_batch(isa, parts, None, scratch);
            state.set_matrices(true);
            follow(layer.mean, &state.mean);
            follow(layer.matrix, &state.matrices);
            let value = |id: TensorId| &parameters[id.index()].value[..];
            state.set_affine(value(layer.gamma), value(layer.beta));
        }
        WhiteningLayer::Equilibrium(layer, _) => {
            state.use_batch(isa, parts, Some(images), scratch);
            state.set_matrices(false);
            follow(layer.matrix, &state.matrices);
            follow(layer.scale, &[state.scale]);
            let mix = f64::from(parameters[layer.mix.index()].value[0]);
            state.set_mix(sigmoid(mix));
        }
    }
}

/// Adds to the gradients of its tensors, and computes what the input gradient needs, from the sums of all parts.
pub(super) fn reduce_gradient<'a>(
    norm: &mut WhiteningNorm,
    isa: Isa,
    parts: impl Iterator<Item = BatchPart<'a>> + Clone,
    images: usize,
    parameters: &mut [Parameter],
    scratch: &mut [f64],
) {
    let take = |id: TensorId, parameters: &mut [Parameter]| {
        std::mem::take(&mut parameters[id.index()].gradient)
    };
    match &norm.layer {
        WhiteningLayer::IterNorm(layer) => {
            let mut dgamma = take(layer.gamma, parameters);
            let mut dbeta = take(layer.beta, parameters);
            let gamma = &parameters[layer.gamma.index()].value;
            let gradients = (&mut dgamma[..], &mut dbeta[..]);
            let state = &mut norm.state;
            state.differentiate_affine(isa, parts, gamma, gradients, scratch);
            parameters[layer.gamma.index()].gradient = dgamma;
            parameters[layer.beta.index()].gradient = dbeta;
        }
        WhiteningLayer::Equilibrium(layer, _) => {
            let ids = [
                layer.mix,
                layer.reduce,
                layer.weight,
                layer.bias,
                layer.expand,
            ];
            let mut all = ids.map(|id| take(id, parameters));
            let [mix, reduce, weight, bias, expand] = all.each_mut();
            let gradients = MixGradients {
                mix,
                reduce,
                weight,
                bias,
                expand,
            };
            let state = &mut norm.state;
            state.differentiate_mix(isa, parts, images, gradients, scratch);
            for (id, gradient) in ids.into_iter().zip(all) {
                parameters[id.index()].gradient = gradient;
            }
        }
    }
}
