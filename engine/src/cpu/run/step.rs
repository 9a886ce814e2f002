//! Runs one step for a block of images, forward and backward: calls its kernel.

use crate::cpu::kernels::activation::{self, ActivationGradient};
use crate::cpu::kernels::channel_copy::ChannelCopy;
use crate::cpu::kernels::convolution::{ForwardConvolution, WeightGradient, winograd};
use crate::cpu::kernels::destination::Destination;
use crate::cpu::kernels::elementwise;
use crate::cpu::kernels::grouped;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::pixel_stride;
use crate::cpu::plan::liveness::Buffer;
use crate::cpu::plan::step::{Algorithm, Convolution, FusedNorm, Step, StepKind};
use crate::cpu::run::parameter::Parameter;
use crate::cpu::run::shard::Scratch;
use crate::cpu::run::whitening;
use crate::mode::Mode;
use crate::noise;

/// What all shards read while they run a segment.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Shared<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) steps: &'a [Step],
    pub(in crate::cpu) buffers: &'a [Buffer],
    pub(in crate::cpu) parameters: &'a [Parameter],
    /// A zero for each padded channel of the widest group.
    pub(in crate::cpu) zeros: &'a [f32],
    /// The segment's prepared filters, see [`prepare`](super::prepare::prepare).
    pub(in crate::cpu) prepared: &'a [f32],
    pub(in crate::cpu) mode: Mode,
}

/// Forward of a step.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Forward<'a> {
    pub(in crate::cpu) step: &'a Step,
    /// Number of the first image in the batch.
    pub(in crate::cpu) first: usize,
    /// Index of the step's prepared filters in [`Shared::prepared`].
    pub(in crate::cpu) filters: usize,
}

impl Forward<'_> {
    /// Computes the step's value `y`, given the value `x(i)` of each input.
    pub(in crate::cpu) fn run<'x>(
        &self,
        shared: &Shared<'_>,
        x: impl Fn(usize) -> &'x [f32],
        y: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let isa = shared.isa;
        let Forward {
            step,
            first,
            filters,
        } = *self;
        let input = step.inputs[0].shape;
        let parameter = |id: crate::net::TensorId| &shared.parameters[id.index()].value[..];
        match &step.kind {
            StepKind::Convolution(layer) => match &layer.algorithm {
                Algorithm::Direct => {
                    let (norm, fused) = (layer.norm.as_deref(), layer.fused.as_deref());
                    let (filters, bias) = match fused {
                        Some(fused) => (
                            &shared.prepared[filters..][..layer.prepared_len(false)],
                            Some(&fused.bias[..]),
                        ),
                        None => (parameter(layer.weight), layer.bias.map(parameter)),
                    };
                    let conv = ForwardConvolution {
                        isa,
                        phases: &layer.forward,
                        input: layer.geometry.input,
                        output: layer.geometry.output,
                        groups: layer.geometry.groups,
                        source: x(0),
                        filters,
                        zeros: shared.zeros,
                        bias,
                        add: false,
                        epilogue: norm.filter(|_| fused.is_none()).map(FusedNorm::epilogue),
                        limit: fused.and(norm).and_then(|norm| norm.function.limit()),
                    };
                    conv.run(y);
                }
                Algorithm::Winograd(winograd) => {
                    let conv = winograd::ForwardConvolution {
                        isa,
                        tiles: &winograd.forward,
                        source: x(0),
                        filters: &shared.prepared[filters..],
                        zeros: shared.zeros,
                        bias: layer.bias.map(parameter),
                        add: false,
                        epilogue: layer.norm.as_deref().map(FusedNorm::epilogue),
                    };
                    conv.run(y, &mut scratch.numbers);
                }
                Algorithm::Grouped(grouped) => {
                    let conv = grouped::ForwardConvolution {
                        phases: &layer.forward,
                        input,
                        output: step.shape,
                        width: grouped.width,
                        filters: parameter(layer.weight),
                        source: x(0),
                        epilogue: layer.norm.as_deref().map(FusedNorm::epilogue),
                    };
                    conv.run(isa, Destination::overwrite(y));
                    if let Some(bias) = layer.bias {
                        elementwise::add_to_channels(isa, parameter(bias), y);
                    }
                }
            },
            StepKind::Norm(norm) => {
                let shortcut = step.inputs.get(1).map(|_| x(1));
                norm.coefficients
                    .apply(isa, norm.function, x(0), shortcut, y);
            }
            StepKind::Whitening(norm) => {
                whitening::forward(norm, step.shape, shared, (x(0), y), &mut scratch.images);
            }
            StepKind::Activation(function) => activation::forward(isa, *function, x(0), y),
            StepKind::Add => elementwise::sum(isa, x(0), x(1), y),
            StepKind::Gate => {
                elementwise::gate(isa, step.shape, x(0), x(1), Destination::overwrite(y))
            }
            StepKind::ChannelCopy(copies) => {
                // Output channels that nothing is copied to are 0.
                if copies.iter().map(ChannelCopy::len).sum::<usize>() < step.shape.channels {
                    y.fill(0.0);
                }
                for (number, copies) in copies.iter().enumerate() {
                    let input = step.inputs[number].shape;
                    copies.forward(isa, input, step.shape, x(number), y);
                }
            }
            StepKind::MaxPool(pool) => pool.forward(isa, x(0), y),
            StepKind::Resample(resample) => resample.forward(isa, x(0), y),
            StepKind::Noise { p, run } => {
                let noise = Noise {
                    step,
                    p: *p,
                    run: *run,
                    first,
                };
                noise.apply(shared, x(0), Destination::overwrite(y));
            }
            StepKind::Flatten => elementwise::flatten(input, x(0), y),
        }
    }
}

/// Dropout, channel dropout or stochastic depth of a block of images.
#[derive(Debug, Clone, Copy)]
struct Noise<'a> {
    step: &'a Step,
    /// Probability of 0.
    p: f64,
    /// Elements that are dropped together.
    run: usize,
    /// Number of the first image in the batch.
    first: usize,
}

impl Noise<'_> {
    /// y = x · factor, each factor 0 or 1 / (1 − p); y = x in evaluation. Backward is the same function of gradients.
    fn apply(&self, shared: &Shared<'_>, x: &[f32], y: Destination<'_>) {
        let Noise {
            step,
            p,
            run,
            first,
        } = *self;
        match shared.mode {
            Mode::Training { seed, .. } if p > 0.0 => {
                let seed = noise::of_node(seed, step.node);
                let before = first * (step.shape.len() / run);
                let factor = |index| noise::factor(p, seed, before + index);
                elementwise::noise(step.shape, factor, run, x, y);
            }
            _ => elementwise::copy(shared.isa, x, y),
        }
    }
}

/// Adds to the filter gradient `dw` of a convolution, from its input `x` and output gradient `dy`.
pub(in crate::cpu) fn add_weight_gradient(
    step: &Step,
    shared: &Shared<'_>,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    scratch: &mut [f32],
) {
    let StepKind::Convolution(layer) = &step.kind else {
        return;
    };
    let dw = &mut dw[..layer.filter_len()];
    match &layer.algorithm {
        Algorithm::Direct => weight_gradient(layer, shared.isa).add(x, dy, dw),
        Algorithm::Winograd(winograd) => {
            let gradient = winograd::WeightGradient {
                isa: shared.isa,
                tiles: &winograd.forward,
                zeros: shared.zeros,
            };
            gradient.add(x, dy, dw, scratch);
        }
        Algorithm::Grouped(grouped) => {
            let gradient = grouped::WeightGradient {
                phase: &layer.forward[0],
                input: step.inputs[0].shape,
                output: step.shape,
                width: grouped.width,
            };
            gradient.add(shared.isa, x, dy, dw);
        }
    }
}

/// The filter gradient of a convolution that is computed directly.
pub(in crate::cpu) fn weight_gradient(layer: &Convolution, isa: Isa) -> WeightGradient<'_> {
    WeightGradient {
        isa,
        geometry: &layer.geometry,
        phase: &layer.forward[0],
    }
}

/// Adds to the bias gradient of a convolution.
pub(in crate::cpu) fn add_bias_gradient(step: &Step, dy: &[f32], db: &mut [f32]) {
    let channels = step.shape.channels;
    elementwise::sum_channels(pixel_stride(channels), dy, &mut db[..channels]);
}

/// Backward of a step, for one of its inputs.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Backward<'a> {
    pub(in crate::cpu) step: &'a Step,
    /// Number of the first image in the batch.
    pub(in crate::cpu) first: usize,
    /// Index of the step's prepared filters in [`Shared::prepared`].
    pub(in crate::cpu) filters: usize,
    /// Gradient of the step's value.
    pub(in crate::cpu) dy: &'a [f32],
    /// Number of the input.
    pub(in crate::cpu) input: usize,
}

impl Backward<'_> {
    /// Computes the gradient of the input, given the values `value(i)` that the gradient depends on.
    pub(in crate::cpu) fn run<'x>(
        &self,
        shared: &Shared<'_>,
        value: impl Fn(usize) -> &'x [f32],
        dx: Destination<'_>,
        scratch: &mut Scratch,
    ) {
        let Destination { data: dx, add } = dx;
        let isa = shared.isa;
        let Backward {
            step, dy, input, ..
        } = *self;
        let shape = step.inputs[input].shape;
        // These kernels only add.
        if matches!(
            step.kind,
            StepKind::MaxPool(_) | StepKind::Resample(_) | StepKind::Flatten
        ) && !add
        {
            dx.fill(0.0);
        }
        match &step.kind {
            StepKind::Convolution(layer) => {
                let filters = match layer.prepared_len(true) {
                    0 => &shared.parameters[layer.weight.index()].value[..],
                    len => &shared.prepared[self.filters..][..len],
                };
                match &layer.algorithm {
                    Algorithm::Direct => {
                        let conv = ForwardConvolution {
                            isa,
                            phases: &layer.backward,
                            input: layer.geometry.output.into(),
                            output: shape,
                            groups: layer.geometry.groups,
                            source: dy,
                            filters,
                            zeros: shared.zeros,
                            bias: None,
                            add,
                            epilogue: None,
                            limit: None,
                        };
                        conv.run(dx);
                    }
                    Algorithm::Winograd(winograd) => {
                        let conv = winograd::ForwardConvolution {
                            isa,
                            tiles: &winograd.backward,
                            source: dy,
                            filters,
                            zeros: shared.zeros,
                            bias: None,
                            add,
                            epilogue: None,
                        };
                        conv.run(dx, &mut scratch.numbers);
                    }
                    Algorithm::Grouped(grouped) => {
                        let conv = grouped::ForwardConvolution {
                            phases: &layer.backward,
                            input: step.shape,
                            output: shape,
                            width: grouped.width,
                            filters,
                            source: dy,
                            epilogue: None,
                        };
                        conv.run(isa, Destination { data: dx, add });
                    }
                }
            }
            StepKind::Norm(norm) if input == 0 => {
                let dx = Destination { data: dx, add };
                norm.coefficients.input_gradient(isa, value(0), dy, dx);
            }
            StepKind::Whitening(norm) => {
                let dx = Destination { data: dx, add };
                let values = (value(0), dy);
                let images = &mut scratch.images;
                whitening::input_gradient(norm, step.shape, shared, values, dx, images);
            }
            StepKind::Activation(function) => {
                let dx = Destination { data: dx, add };
                let gradient = ActivationGradient::Separate { dy, dx };
                activation::backward(isa, *function, value(0), gradient);
            }
            StepKind::Norm(_) | StepKind::Add => {
                elementwise::copy(isa, dy, Destination { data: dx, add });
            }
            StepKind::Gate if input == 0 => {
                let dx = Destination { data: dx, add };
                elementwise::gate(isa, step.shape, dy, value(1), dx);
            }
            StepKind::Gate => {
                let dg = Destination { data: dx, add };
                elementwise::gate_gradient(isa, step.shape, value(0), dy, dg);
            }
            StepKind::ChannelCopy(copies) => {
                let dx = Destination { data: dx, add };
                copies[input].backward(isa, shape, step.shape, dy, dx);
            }
            StepKind::MaxPool(pool) => pool.backward(isa, value(0), dy, dx),
            StepKind::Resample(resample) => resample.backward(isa, dy, dx),
            StepKind::Noise { p, run } => {
                let noise = Noise {
                    step,
                    p: *p,
                    run: *run,
                    first: self.first,
                };
                noise.apply(shared, dy, Destination { data: dx, add });
            }
            StepKind::Flatten => elementwise::unflatten(shape, dy, dx),
        }
    }
}

/// Backward of a step whose input gradient shares the buffer of its output gradient, `dy`. With `add` the other input of
/// the sum has put its gradient there already: the sum of a value and itself.
pub(in crate::cpu) fn backward_in_place<'x>(
    step: &Step,
    shared: &Shared<'_>,
    value: impl Fn(usize) -> &'x [f32],
    dy: &mut [f32],
    add: bool,
) {
    match &step.kind {
        StepKind::Activation(function) => {
            activation::backward(
                shared.isa,
                *function,
                value(0),
                ActivationGradient::InPlace(dy),
            );
        }
        _ if add => elementwise::double(shared.isa, dy),
        _ => {}
    }
}
