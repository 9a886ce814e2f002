//! One step, forward and backward: finds the slices and calls the kernels.

use super::activation::Function;
use super::convolution::{self, Gather};
use super::isa::Isa;
use super::layout::{padded, stride};
use super::moves::Moves;
use super::norm::{Into, Normal};
use super::parameter::Parameter;
use super::plan::{Convolution, Input, Kind, Scratch, Step, Values};
use super::{activation, depthwise, elementwise};
use crate::engine::noise;
use crate::net::{Op, Shape};

/// What all steps share.
pub(super) struct Context<'a> {
    pub(super) isa: Isa,
    pub(super) parameters: &'a mut [Parameter],
    pub(super) scratch: &'a mut Scratch,
    /// `None` in evaluation.
    pub(super) seed: Option<u64>,
}

/// Computes the value of a step from those of its inputs.
pub(super) fn forward(step: &mut Step, context: &mut Context<'_>, values: &Values, y: &mut [f32]) {
    let isa = context.isa;
    let input = |number: usize| values.get(step.inputs[number].value);
    let x = input(0);
    let shapes = (step.inputs[0].shape, step.shape);
    match &mut step.kind {
        Kind::Convolution(layer) => {
            let bias = layer
                .bias
                .map(|id| &context.parameters[id.index()].value[..]);
            let gather = Gather {
                isa,
                walks: &layer.forward,
                shapes: (layer.geometry.input, layer.geometry.output),
                groups: layer.geometry.groups,
                source: x,
                filters: &context.parameters[layer.weight.index()].value,
                outside: &context.scratch.zeros,
                bias,
                add: false,
            };
            gather.run(y);
        }
        Kind::Depthwise(layer) => {
            let filters = &context.parameters[layer.weight.index()].value;
            depthwise::gather(isa, &layer.forward, shapes, filters, x, (y, false));
            if let Some(bias) = layer.bias {
                elementwise::add_to_channels(isa, &context.parameters[bias.index()].value, y);
            }
        }
        Kind::Norm {
            op,
            function,
            normal,
        } => {
            let Op::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                batches,
                epsilon,
                momentum,
            } = op
            else {
                unreachable!("a normalisation is a BatchNorm");
            };
            let parameters = &mut *context.parameters;
            let mut running = (
                std::mem::take(&mut parameters[mean.index()].value),
                std::mem::take(&mut parameters[variance.index()].value),
            );
            let affine = (
                &parameters[gamma.index()].value[..],
                &parameters[beta.index()].value[..],
            );
            if context.seed.is_some() {
                let running = (&mut running.0[..], &mut running.1[..]);
                normal.measure(isa, x, affine, (*epsilon, *momentum), running);
            } else {
                normal.take((&running.0, &running.1), affine, *epsilon);
            }
            parameters[mean.index()].value = running.0;
            parameters[variance.index()].value = running.1;
            if let (Some(batches), Some(_)) = (batches, context.seed) {
                parameters[batches.index()].count += 1;
            }
            normal.apply(isa, *function, x, y);
        }
        Kind::Activation(function) => activation::forward(isa, *function, x, y),
        Kind::Add => elementwise::sum(isa, x, input(1), y),
        Kind::Gate => elementwise::gate(isa, step.shape, x, input(1), (y, false)),
        Kind::Move(moves) => {
            // Channels that nothing goes to are 0.
            if moves.iter().map(Moves::len).sum::<usize>() < step.shape.channels {
                y.fill(0.0);
            }
            for (number, moves) in moves.iter().enumerate() {
                moves.spread((step.inputs[number].shape, step.shape), input(number), y);
            }
        }
        Kind::MaxPool(pool) => pool.forward(isa, x, y),
        Kind::Mix(mix) => mix.forward(isa, x, y),
        Kind::Noise { p, whole } => match context.seed {
            Some(seed) if *p > 0.0 => {
                let seed = noise::of_node(seed, step.node);
                let factor = |place| noise::factor(*p, seed, place);
                elementwise::noise(step.shape, factor, *whole, x, (y, false));
            }
            _ => elementwise::copy(isa, x, (y, false)),
        },
        Kind::Flatten => elementwise::flatten(shapes.0, x, y),
    }
}

/// Puts a step's share into the gradients of its inputs and tensors.
pub(super) fn backward(
    step: &mut Step,
    context: &mut Context<'_>,
    values: &Values,
    places: &[usize],
    gradients: &mut [Vec<f32>],
    images: usize,
) {
    let isa = context.isa;
    let inputs = &step.inputs;
    let place = places[step.output];
    let mut dy_buffer = std::mem::take(&mut gradients[place]);
    if step
        .inputs
        .iter()
        .any(|input| input.wanted && places[input.value] == place)
    {
        let dy = &mut dy_buffer[..images * padded(step.shape)];
        in_place(step, context, values, (places, gradients), dy);
        gradients[place] = dy_buffer;
        return;
    }
    let dy = &dy_buffer[..images * padded(step.shape)];
    let value = |number: usize| values.get(inputs[number].value);
    let mut into = |number: usize, write: &mut dyn FnMut(&mut [f32], bool)| {
        let Input {
            value,
            shape,
            add,
            wanted,
        } = inputs[number];
        if wanted {
            let mut buffer = std::mem::take(&mut gradients[places[value]]);
            write(&mut buffer[..images * padded(shape)], add);
            gradients[places[value]] = buffer;
        }
    };
    // For what reaches only some of the numbers.
    let cleared = |dx: &mut [f32], add: bool| {
        if !add {
            dx.fill(0.0);
        }
    };
    match &mut step.kind {
        Kind::Convolution(layer) => {
            convolution_weight(layer, context, value(0), dy);
            into(0, &mut |dx, add| {
                convolution_input(layer, context, inputs[0].shape, dy, (dx, add))
            });
        }
        Kind::Depthwise(layer) => {
            bias_gradient(layer, context, dy);
            let Parameter {
                value: filters,
                gradient,
                ..
            } = &mut context.parameters[layer.weight.index()];
            let parts = &mut context.scratch.parts;
            let sizes = (&layer.geometry, &layer.forward[0]);
            depthwise::backward_weight(isa, sizes, (value(0), dy), gradient, parts);
            let shapes = (step.shape, inputs[0].shape);
            into(0, &mut |dx, add| {
                depthwise::gather(isa, &layer.backward, shapes, filters, dy, (dx, add));
            });
        }
        Kind::Norm {
            op,
            function,
            normal,
        } => into(0, &mut |dx, add| {
            let gradients = Into::Other { dy, dx, add };
            norm_gradient(op, (isa, *function), normal, context, value(0), gradients);
        }),
        Kind::Activation(function) => into(0, &mut |dx, add| {
            activation::backward(isa, *function, value(0), Into::Other { dy, dx, add });
        }),
        Kind::Add => {
            into(0, &mut |dx, add| elementwise::copy(isa, dy, (dx, add)));
            into(1, &mut |dx, add| elementwise::copy(isa, dy, (dx, add)));
        }
        Kind::Gate => {
            into(0, &mut |dx, add| {
                elementwise::gate(isa, step.shape, dy, value(1), (dx, add))
            });
            into(1, &mut |dg, add| {
                elementwise::gate_gradient(isa, step.shape, (value(0), dy), (dg, add));
            });
        }
        Kind::Move(moves) => {
            for (number, moves) in moves.iter().enumerate() {
                let shapes = (inputs[number].shape, step.shape);
                into(number, &mut |dx, add| moves.collect(shapes, dy, (dx, add)));
            }
        }
        Kind::MaxPool(pool) => into(0, &mut |dx, add| {
            cleared(dx, add);
            pool.backward(isa, value(0), dy, dx);
        }),
        Kind::Mix(mix) => into(0, &mut |dx, add| {
            cleared(dx, add);
            mix.backward(isa, dy, dx);
        }),
        Kind::Noise { p, whole } => into(0, &mut |dx, add| match context.seed {
            Some(seed) if *p > 0.0 => {
                let seed = noise::of_node(seed, step.node);
                let factor = |place| noise::factor(*p, seed, place);
                elementwise::noise(step.shape, factor, *whole, dy, (dx, add));
            }
            _ => elementwise::copy(isa, dy, (dx, add)),
        }),
        Kind::Flatten => into(0, &mut |dx, add| {
            cleared(dx, add);
            elementwise::unflatten(inputs[0].shape, dy, dx);
        }),
    }
    gradients[place] = dy_buffer;
}

/// The same where the gradient of an input takes the place of that of the output.
fn in_place(
    step: &mut Step,
    context: &mut Context<'_>,
    values: &Values,
    (places, gradients): (&[usize], &mut [Vec<f32>]),
    dy: &mut [f32],
) {
    let isa = context.isa;
    let x = values.get(step.inputs[0].value);
    match &mut step.kind {
        Kind::Norm {
            op,
            function,
            normal,
        } => norm_gradient(op, (isa, *function), normal, context, x, Into::Same(dy)),
        Kind::Activation(function) => {
            activation::backward(isa, *function, x, Into::Same(dy));
        }
        _ => {
            let own = places[step.output];
            for input in step.inputs.iter().filter(|input| input.wanted) {
                let place = places[input.value];
                if place != own {
                    let dx = &mut gradients[place][..dy.len()];
                    elementwise::copy(isa, dy, (dx, input.add));
                }
            }
            // A sum of a value and itself.
            if step
                .inputs
                .iter()
                .any(|input| input.add && places[input.value] == own)
            {
                elementwise::double(isa, dy);
            }
        }
    }
}

fn norm_gradient(
    op: &Op,
    kernel: (Isa, Function),
    normal: &mut Normal,
    context: &mut Context<'_>,
    x: &[f32],
    gradients: Into<'_>,
) {
    let Op::BatchNorm { gamma, beta, .. } = op else {
        unreachable!("a normalisation is a BatchNorm");
    };
    let parameters = &mut *context.parameters;
    let mut affine = (
        std::mem::take(&mut parameters[gamma.index()].gradient),
        std::mem::take(&mut parameters[beta.index()].gradient),
    );
    normal.differentiate(kernel, x, gradients, (&mut affine.0, &mut affine.1));
    parameters[gamma.index()].gradient = affine.0;
    parameters[beta.index()].gradient = affine.1;
}

fn bias_gradient(layer: &Convolution, context: &mut Context<'_>, dy: &[f32]) {
    if let Some(bias) = layer.bias {
        let gradient = &mut context.parameters[bias.index()].gradient;
        elementwise::sum_channels(stride(layer.geometry.output.channels), dy, gradient);
    }
}

fn convolution_weight(layer: &Convolution, context: &mut Context<'_>, x: &[f32], dy: &[f32]) {
    bias_gradient(layer, context, dy);
    let gradient = &mut context.parameters[layer.weight.index()].gradient;
    let parts = &mut context.scratch.parts;
    let sizes = (&layer.geometry, &layer.forward[0]);
    convolution::backward_weight(context.isa, sizes, (x, dy), gradient, parts);
}

fn convolution_input(
    layer: &Convolution,
    context: &mut Context<'_>,
    input: Shape,
    dy: &[f32],
    (dx, add): (&mut [f32], bool),
) {
    let filters = layer.geometry.filters();
    let turned = &mut context.scratch.turned[..filters.transposed().len()];
    let weight = &context.parameters[layer.weight.index()].value;
    filters.transpose(&layer.backward, weight, turned);
    let gather = Gather {
        isa: context.isa,
        walks: &layer.backward,
        shapes: (layer.geometry.output.into(), input),
        groups: layer.geometry.groups,
        source: dy,
        filters: turned,
        outside: &context.scratch.zeros,
        bias: None,
        add,
    };
    gather.run(dx);
}
