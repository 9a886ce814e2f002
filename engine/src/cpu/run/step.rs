//! One step for some images, forward and backward: calls the kernels.

use crate::cpu::kernels::activation::{self, Into};
use crate::cpu::kernels::convolution::{Gather, WeightGradient, winograd};
use crate::cpu::kernels::elementwise;
use crate::cpu::kernels::grouped;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::stride;
use crate::cpu::kernels::moves::Moves;
use crate::cpu::plan::liveness::Slot;
use crate::cpu::plan::step::{Algorithm, Convolution, Kind, Norm, Step};
use crate::cpu::run::parameter::Parameter;
use crate::noise;

/// What all tasks read.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Shared<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) steps: &'a [Step],
    pub(in crate::cpu) slots: &'a [Slot],
    pub(in crate::cpu) parameters: &'a [Parameter],
    /// As many as the widest group has padded channels.
    pub(in crate::cpu) zeros: &'a [f32],
    /// Filters as a segment reads them.
    pub(in crate::cpu) prepared: &'a [f32],
    /// `None` in evaluation.
    pub(in crate::cpu) seed: Option<u64>,
}

/// The value of a step.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Forward<'a> {
    pub(in crate::cpu) step: &'a Step,
    /// The number of the first image.
    pub(in crate::cpu) first: usize,
    /// Where the step's prepared filters are.
    pub(in crate::cpu) filters: usize,
}

impl Forward<'_> {
    /// Computes it from the values of the step's inputs.
    pub(in crate::cpu) fn run<'x>(
        &self,
        shared: &Shared<'_>,
        x: impl Fn(usize) -> &'x [f32],
        y: &mut [f32],
        scratch: &mut [f32],
    ) {
        let isa = shared.isa;
        let Forward {
            step,
            first,
            filters,
        } = *self;
        let shapes = (step.inputs[0].shape, step.shape);
        let parameter = |id: crate::net::TensorId| &shared.parameters[id.index()].value[..];
        match &step.kind {
            Kind::Convolution(layer) => match &layer.algorithm {
                Algorithm::Product => {
                    let (norm, expansion) = (layer.norm.as_deref(), layer.expansion.as_deref());
                    let (filters, bias) = match expansion {
                        Some(expansion) => (
                            &shared.prepared[filters..][..layer.prepared(false)],
                            Some(&expansion.bias[..]),
                        ),
                        None => (parameter(layer.weight), layer.bias.map(parameter)),
                    };
                    let gather = Gather {
                        isa,
                        walks: &layer.forward,
                        shapes: (layer.geometry.input, layer.geometry.output),
                        groups: layer.geometry.groups,
                        source: x(0),
                        filters,
                        outside: shared.zeros,
                        bias,
                        add: false,
                        finish: norm.filter(|_| expansion.is_none()).map(Norm::finish),
                        limit: expansion.and(norm).and_then(|norm| norm.function.limit()),
                    };
                    gather.run(y);
                }
                Algorithm::Winograd(winograd) => {
                    let gather = winograd::Gather {
                        isa,
                        squares: &winograd.forward,
                        source: x(0),
                        filters: &shared.prepared[filters..],
                        outside: shared.zeros,
                        bias: layer.bias.map(parameter),
                        add: false,
                        finish: layer.norm.as_deref().map(Norm::finish),
                    };
                    gather.run(y, scratch);
                }
                Algorithm::Grouped(narrow) => {
                    let filters = (narrow.width, parameter(layer.weight));
                    let finish = layer.norm.as_deref().map(Norm::finish);
                    let walks = &layer.forward;
                    grouped::gather(isa, walks, shapes, filters, x(0), (y, false), finish);
                    if let Some(bias) = layer.bias {
                        elementwise::add_to_channels(isa, parameter(bias), y);
                    }
                }
            },
            Kind::Norm(norm) => {
                let shortcut = step.inputs.get(1).map(|_| x(1));
                norm.normal.apply(isa, norm.function, x(0), shortcut, y);
            }
            Kind::Activation(function) => activation::forward(isa, *function, x(0), y),
            Kind::Add => elementwise::sum(isa, x(0), x(1), y),
            Kind::Gate => elementwise::gate(isa, step.shape, x(0), x(1), (y, false)),
            Kind::Move(moves) => {
                // Channels that nothing goes to are 0.
                if moves.iter().map(Moves::len).sum::<usize>() < step.shape.channels {
                    y.fill(0.0);
                }
                for (number, moves) in moves.iter().enumerate() {
                    moves.spread(isa, (step.inputs[number].shape, step.shape), x(number), y);
                }
            }
            Kind::MaxPool(pool) => pool.forward(isa, x(0), y),
            Kind::Mix(mix) => mix.forward(isa, x(0), y),
            Kind::Noise { p, whole } => {
                noise(
                    step,
                    (*p, *whole),
                    shared.seed,
                    first,
                    x(0),
                    (y, false),
                    isa,
                );
            }
            Kind::Flatten => elementwise::flatten(shapes.0, x(0), y),
        }
    }
}

/// y = x with dropped numbers or images, or added to it.
fn noise(
    step: &Step,
    (p, whole): (f64, bool),
    seed: Option<u64>,
    first: usize,
    x: &[f32],
    y: (&mut [f32], bool),
    isa: Isa,
) {
    match seed {
        Some(seed) if p > 0.0 => {
            let seed = noise::of_node(seed, step.node);
            let before = if whole {
                first
            } else {
                first * step.shape.len()
            };
            let factor = |place| noise::factor(p, seed, before + place);
            elementwise::noise(step.shape, factor, whole, x, y);
        }
        _ => elementwise::copy(isa, x, y),
    }
}

/// Adds to the gradient of a step's filters.
pub(in crate::cpu) fn weight(
    step: &Step,
    shared: &Shared<'_>,
    values: (&[f32], &[f32]),
    dw: &mut [f32],
    scratch: &mut [f32],
) {
    let Kind::Convolution(layer) = &step.kind else {
        return;
    };
    let dw = &mut dw[..layer.numbers()];
    match &layer.algorithm {
        Algorithm::Product => weight_gradient(layer, shared.isa).add(values, dw),
        Algorithm::Winograd(winograd) => {
            let gradient = winograd::WeightGradient {
                isa: shared.isa,
                squares: &winograd.forward,
                outside: shared.zeros,
            };
            gradient.add(values, dw, scratch);
        }
        Algorithm::Grouped(narrow) => {
            let (walk, shapes) = (&layer.forward[0], (step.inputs[0].shape, step.shape));
            grouped::weight_gradient(shared.isa, walk, shapes, narrow.width, values, dw);
        }
    }
}

/// How the gradient of filters is computed.
pub(in crate::cpu) fn weight_gradient(layer: &Convolution, isa: Isa) -> WeightGradient<'_> {
    WeightGradient {
        isa,
        geometry: &layer.geometry,
        walk: &layer.forward[0],
    }
}

/// Adds to the gradient of a step's bias.
pub(in crate::cpu) fn bias(step: &Step, dy: &[f32], into: &mut [f32]) {
    let channels = step.shape.channels;
    elementwise::sum_channels(stride(channels), dy, &mut into[..channels]);
}

/// The gradient of one input of a step.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Backward<'a> {
    pub(in crate::cpu) step: &'a Step,
    /// The number of the first image.
    pub(in crate::cpu) first: usize,
    /// Where the step's prepared filters are.
    pub(in crate::cpu) filters: usize,
    pub(in crate::cpu) dy: &'a [f32],
    /// Which input.
    pub(in crate::cpu) input: usize,
}

impl Backward<'_> {
    /// Computes it, or adds it to `dx`, given the values that the step's gradient is made from.
    pub(in crate::cpu) fn run<'x>(
        &self,
        shared: &Shared<'_>,
        value: impl Fn(usize) -> &'x [f32],
        (dx, add): (&mut [f32], bool),
        scratch: &mut [f32],
    ) {
        let isa = shared.isa;
        let Backward {
            step, dy, input, ..
        } = *self;
        let shape = step.inputs[input].shape;
        // What reaches only some of the numbers is added to all.
        if matches!(step.kind, Kind::MaxPool(_) | Kind::Mix(_) | Kind::Flatten) && !add {
            dx.fill(0.0);
        }
        match &step.kind {
            Kind::Convolution(layer) => {
                let filters = match layer.prepared(true) {
                    0 => &shared.parameters[layer.weight.index()].value[..],
                    len => &shared.prepared[self.filters..][..len],
                };
                match &layer.algorithm {
                    Algorithm::Product => {
                        let gather = Gather {
                            isa,
                            walks: &layer.backward,
                            shapes: (layer.geometry.output.into(), shape),
                            groups: layer.geometry.groups,
                            source: dy,
                            filters,
                            outside: shared.zeros,
                            bias: None,
                            add,
                            finish: None,
                            limit: None,
                        };
                        gather.run(dx);
                    }
                    Algorithm::Winograd(winograd) => {
                        let gather = winograd::Gather {
                            isa,
                            squares: &winograd.backward,
                            source: dy,
                            filters,
                            outside: shared.zeros,
                            bias: None,
                            add,
                            finish: None,
                        };
                        gather.run(dx, scratch);
                    }
                    Algorithm::Grouped(narrow) => {
                        let (walks, filters) = (&layer.backward, (narrow.width, filters));
                        let (shapes, dx) = ((step.shape, shape), (dx, add));
                        grouped::gather(isa, walks, shapes, filters, dy, dx, None);
                    }
                }
            }
            Kind::Norm(norm) if input == 0 => {
                norm.normal.input_gradient(isa, value(0), dy, (dx, add));
            }
            Kind::Activation(function) => {
                activation::backward(isa, *function, value(0), Into::Other { dy, dx, add });
            }
            Kind::Norm(_) | Kind::Add => elementwise::copy(isa, dy, (dx, add)),
            Kind::Gate if input == 0 => {
                elementwise::gate(isa, step.shape, dy, value(1), (dx, add));
            }
            Kind::Gate => elementwise::gate_gradient(isa, step.shape, (value(0), dy), (dx, add)),
            Kind::Move(moves) => moves[input].collect(isa, (shape, step.shape), dy, (dx, add)),
            Kind::MaxPool(pool) => pool.backward(isa, value(0), dy, dx),
            Kind::Mix(mix) => mix.backward(isa, dy, dx),
            Kind::Noise { p, whole } => {
                noise(
                    step,
                    (*p, *whole),
                    shared.seed,
                    self.first,
                    dy,
                    (dx, add),
                    isa,
                );
            }
            Kind::Flatten => elementwise::unflatten(shape, dy, dx),
        }
    }
}

/// The same where the gradient of the input takes the place of that of the output. With `add` it is there
/// already: a sum of a value and itself.
pub(in crate::cpu) fn backward_in_place<'x>(
    step: &Step,
    shared: &Shared<'_>,
    value: impl Fn(usize) -> &'x [f32],
    dy: &mut [f32],
    add: bool,
) {
    match &step.kind {
        Kind::Activation(function) => {
            activation::backward(shared.isa, *function, value(0), Into::Same(dy));
        }
        _ if add => elementwise::double(shared.isa, dy),
        _ => {}
    }
}
