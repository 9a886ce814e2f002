//! The steps of a network for one batch size, and the memory they use: made once.

use super::activation::Function;
use super::convolution::{self, Geometry, Walk};
use super::depthwise;
use super::layout::{Images, LANES, Plane, padded};
use super::max_pool::MaxPool;
use super::mix::Mix;
use super::moves::{self, Moves};
use super::norm::Normal;
use super::parameter::is_depthwise;
use crate::engine::channels::{runs, shuffle};
use crate::net::{Graph, Node, Op, Shape, TensorId, Window};

/// What runs for one batch size.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) images: usize,
    /// How the first value, the images, lies in memory.
    pub(super) layout: Images,
    pub(super) steps: Vec<Step>,
    pub(super) values: Values,
    /// The buffer of each value's gradient; several values share one that live one after the other.
    pub(super) places: Vec<usize>,
    /// Empty in evaluation.
    pub(super) gradients: Vec<Vec<f32>>,
    pub(super) scratch: Scratch,
}

/// Memory that every step may use.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Filters, transposed.
    pub(super) turned: Vec<f32>,
    pub(super) parts: Vec<f32>,
    /// As many as the widest group has channels; never written.
    pub(super) zeros: Vec<f32>,
    pub(super) logits: Vec<f32>,
    pub(super) logits_gradient: Vec<f32>,
}

/// One operation on whole values.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// The node whose noise it is.
    pub(super) node: usize,
    pub(super) inputs: Vec<Input>,
    pub(super) output: usize,
    pub(super) shape: Shape,
    /// Seconds spent so far, forward and backward.
    pub(super) seconds: (f64, f64),
}

/// A value that a step reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) value: usize,
    pub(super) shape: Shape,
    /// Whether a later step has put its share into the gradient already.
    pub(super) add: bool,
    /// Whether anyone asks for the gradient.
    pub(super) wanted: bool,
}

/// What a step does.
#[derive(Debug)]
pub(super) enum Kind {
    /// A convolution or linear layer as a product of matrices.
    Convolution(Box<Convolution>),
    /// A convolution with one filter a channel.
    Depthwise(Box<Convolution>),
    /// BatchNorm and the activation behind it.
    Norm {
        op: Op,
        function: Function,
        normal: Box<Normal>,
    },
    Activation(Function),
    Add,
    Gate,
    /// Where channels go, by input.
    Move(Vec<Moves>),
    MaxPool(MaxPool),
    Mix(Mix),
    /// Dropout, or stochastic depth, which takes whole images away.
    Noise {
        p: f64,
        whole: bool,
    },
    Flatten,
}

impl Kind {
    /// As it is called where steps are listed.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Convolution(_) => "convolution",
            Kind::Depthwise(_) => "depthwise",
            Kind::Norm { .. } => "norm",
            Kind::Activation(_) => "activation",
            Kind::Add => "add",
            Kind::Gate => "gate",
            Kind::Move(_) => "move",
            Kind::MaxPool(_) => "max pool",
            Kind::Mix(_) => "mix",
            Kind::Noise { .. } => "noise",
            Kind::Flatten => "flatten",
        }
    }
}

impl Kind {
    /// Whether the gradient of its first input may lie where that of its output does.
    fn works_in_place(&self) -> bool {
        matches!(self, Kind::Norm { .. } | Kind::Activation(_) | Kind::Add)
    }
}

/// A convolution's tensors, sizes and walks.
#[derive(Debug)]
pub(super) struct Convolution {
    pub(super) geometry: Geometry,
    pub(super) weight: TensorId,
    pub(super) bias: Option<TensorId>,
    pub(super) forward: Vec<Walk>,
    pub(super) backward: Vec<Walk>,
}

impl Plan {
    pub(super) fn new(graph: &Graph, images: usize, training: bool) -> Plan {
        let mut steps = steps(graph, images);
        let nodes = graph.nodes();
        moves::fold(&mut steps, nodes.len());
        let layout = frame(&mut steps, graph.input_shape());
        let size = |value: usize| images * padded(nodes[value].shape);
        let values = Values::new(&steps, nodes.len(), training, |value| match value {
            0 => images * layout.len(graph.input_shape()),
            _ => size(value),
        });
        let (places, gradients) = match training {
            true => share(&mut steps, nodes.len(), size),
            false => (Vec::new(), Vec::new()),
        };
        let mut scratch = Scratch {
            logits: vec![0.0; images * graph.output_shape().len()],
            ..Scratch::default()
        };
        scratch.logits_gradient = scratch.logits.clone();
        let (mut turned, mut parts, mut zeros) = (0, 0, 0);
        for step in &steps {
            match &step.kind {
                Kind::Convolution(layer) => {
                    let filters = layer.geometry.filters();
                    zeros = zeros.max(filters.from).max(filters.to);
                    if training {
                        turned = turned.max(filters.transposed().len());
                        parts = parts.max(convolution::parts(&layer.geometry) * filters.len());
                    }
                }
                Kind::Depthwise(layer) if training => {
                    let shape = Shape::new(layer.geometry.output.channels, 1, 1);
                    let len = layer.geometry.kernel() * padded(shape);
                    parts = parts.max(depthwise::parts(&layer.geometry) * len);
                }
                _ => {}
            }
        }
        scratch.zeros = vec![0.0; zeros];
        scratch.turned = vec![0.0; turned];
        scratch.parts = vec![0.0; parts];
        Plan {
            images,
            layout,
            steps,
            values,
            places,
            gradients,
            scratch,
        }
    }

    /// Whether it can run such a batch; one for training can evaluate too.
    pub(super) fn fits(&self, images: usize, training: bool) -> bool {
        self.images == images && (!training || !self.gradients.is_empty())
    }
}

/// The steps in order. A BatchNorm and an activation that alone reads it become one.
fn steps(graph: &Graph, images: usize) -> Vec<Step> {
    let nodes = graph.nodes();
    let mut readers = vec![0; nodes.len()];
    for input in nodes.iter().flat_map(|node| &node.inputs) {
        readers[input.index()] += 1;
    }
    let mut steps: Vec<Step> = Vec::new();
    for (number, node) in nodes.iter().enumerate().skip(1) {
        if let (Op::Activation(activation), Some(last)) = (&node.op, steps.last_mut())
            && let Kind::Norm { function, .. } = &mut last.kind
            && last.output == node.inputs[0].index()
            && *function == Function::Identity
            && readers[last.output] == 1
        {
            *function = Function::Of(*activation);
            last.output = number;
            continue;
        }
        let inputs = node.inputs.iter().map(|input| Input {
            value: input.index(),
            shape: graph.shape(*input),
            add: false,
            // The images have no gradient, but γ and β of what normalises them do.
            wanted: input.index() > 0 || matches!(node.op, Op::BatchNorm { .. }),
        });
        steps.push(Step {
            kind: kind(graph, node, images),
            node: number,
            inputs: inputs.collect(),
            output: number,
            shape: node.shape,
            seconds: (0.0, 0.0),
        });
    }
    steps
}

/// Where one convolution alone reads the images, and they have few channels: lays them out so that
/// it gathers along each row of its kernel at once.
fn frame(steps: &mut [Step], shape: Shape) -> Images {
    let mut readers = steps
        .iter_mut()
        .filter(|step| step.inputs.iter().any(|input| input.value == 0));
    let (Some(step), None) = (readers.next(), readers.next()) else {
        return Images::Padded;
    };
    let Kind::Convolution(layer) = &mut step.kind else {
        return Images::Padded;
    };
    let Geometry { groups, window, .. } = layer.geometry;
    if groups > 1 || window.dilation.1 > 1 || shape.channels >= LANES / 2 {
        return Images::Padded;
    }
    let (before, after) = (window.before, window.after);
    layer.geometry.input = Plane {
        channels: window.kernel.1 * shape.channels,
        height: shape.height + before.0 + after.0,
        width: shape.width + before.1 + after.1,
        stride: shape.channels,
    };
    layer.geometry.window = Window {
        kernel: (window.kernel.0, 1),
        before: (0, 0),
        after: (0, 0),
        ..window
    };
    layer.forward = Walk::forward(&layer.geometry);
    Images::Framed { before, after }
}

fn kind(graph: &Graph, node: &Node, images: usize) -> Kind {
    let input = graph.shape(node.inputs[0]);
    let layer = |weight, bias, window, groups| {
        let geometry = Geometry {
            images,
            input: input.into(),
            output: node.shape,
            window,
            groups,
        };
        Box::new(Convolution {
            forward: Walk::forward(&geometry),
            backward: Walk::backward(&geometry),
            geometry,
            weight,
            bias,
        })
    };
    match &node.op {
        Op::Convolution {
            weight,
            bias,
            window,
            groups,
        } => {
            let layer = layer(*weight, *bias, *window, *groups);
            match is_depthwise(*groups, node.shape.channels, input.channels / groups) {
                true => Kind::Depthwise(layer),
                false => Kind::Convolution(layer),
            }
        }
        Op::Linear { weight, bias } => {
            Kind::Convolution(layer(*weight, *bias, Window::square(1), 1))
        }
        Op::BatchNorm { .. } => Kind::Norm {
            op: node.op.clone(),
            function: Function::Identity,
            normal: Box::new(Normal::new(node.shape.channels)),
        },
        Op::Activation(activation) => Kind::Activation(Function::Of(*activation)),
        Op::Add => Kind::Add,
        Op::Gate => Kind::Gate,
        Op::Shuffle { groups } => Kind::Move(vec![Moves::new(shuffle(input.channels, *groups))]),
        Op::Concat | Op::Slice { .. } | Op::PadChannels { .. } => {
            let runs = runs(graph, node).map(|run| Moves::new([run].into_iter()));
            Kind::Move(runs.collect())
        }
        Op::MaxPool(window) => Kind::MaxPool(MaxPool {
            window: *window,
            input,
            output: node.shape,
        }),
        Op::Dropout { p } => Kind::Noise {
            p: *p,
            whole: false,
        },
        Op::StochasticDepth { p } => Kind::Noise { p: *p, whole: true },
        Op::Flatten => Kind::Flatten,
        op => match Mix::of(op, input, node.shape) {
            Some(mix) => Kind::Mix(mix),
            None => unreachable!("{} is none of the sums", op.name()),
        },
    }
}

/// The values of all nodes that a step makes, in buffers.
#[derive(Debug)]
pub(super) struct Values {
    /// The buffer of each value, and how many numbers it has there.
    places: Vec<(usize, usize)>,
    buffers: Vec<Vec<f32>>,
}

impl Values {
    /// In training every value has a buffer of its own, since backward reads them; in evaluation it
    /// lives from the step that makes it to the last that reads it.
    fn new(steps: &[Step], values: usize, training: bool, size: impl Fn(usize) -> usize) -> Values {
        let mut last = vec![0; values];
        for (number, step) in steps.iter().enumerate() {
            for input in &step.inputs {
                last[input.value] = number;
            }
        }
        // What is given out at the end is never free.
        last[values - 1] = usize::MAX;
        let mut pool = Pool::default();
        let mut places = vec![(usize::MAX, 0); values];
        let mut make = |value: usize, pool: &mut Pool| {
            let len = size(value);
            places[value] = (pool.take(len), len);
            places[value].0
        };
        let mut buffers = vec![0; values];
        buffers[0] = make(0, &mut pool);
        for (number, step) in steps.iter().enumerate() {
            buffers[step.output] = make(step.output, &mut pool);
            if training {
                continue;
            }
            // The images' frame is written once.
            let mut done: Vec<usize> = step.inputs.iter().map(|input| input.value).collect();
            done.retain(|value| *value > 0 && last[*value] == number);
            done.dedup();
            done.iter().for_each(|value| pool.give(buffers[*value]));
        }
        Values {
            places,
            buffers: pool.buffers(),
        }
    }

    /// A value.
    pub(super) fn get(&self, value: usize) -> &[f32] {
        let (buffer, len) = self.places[value];
        &self.buffers[buffer][..len]
    }

    /// The buffer that a value is in.
    pub(super) fn buffer(&self, value: usize) -> usize {
        self.places[value].0
    }

    /// All buffers.
    pub(super) fn buffers(&self) -> impl Iterator<Item = &[f32]> {
        self.buffers.iter().map(|buffer| &buffer[..])
    }

    /// Lets a value be written while others are read.
    pub(super) fn write(&mut self, value: usize, write: impl FnOnce(&Values, &mut [f32])) {
        let (buffer, len) = self.places[value];
        let mut taken = std::mem::take(&mut self.buffers[buffer]);
        write(self, &mut taken[..len]);
        self.buffers[buffer] = taken;
    }
}

/// Buffers that are used again.
#[derive(Debug, Default)]
struct Pool {
    sizes: Vec<usize>,
    free: Vec<usize>,
}

impl Pool {
    /// A free buffer: the smallest that is large enough, else the largest, which grows.
    fn take(&mut self, wanted: usize) -> usize {
        let sizes = &self.sizes;
        let best = self.free.iter().enumerate().min_by_key(|(_, buffer)| {
            let size = sizes[**buffer];
            let small = size < wanted;
            (small, if small { usize::MAX - size } else { size })
        });
        let buffer = match best.map(|(at, _)| at) {
            Some(at) => self.free.swap_remove(at),
            None => {
                self.sizes.push(0);
                self.sizes.len() - 1
            }
        };
        self.sizes[buffer] = self.sizes[buffer].max(wanted);
        buffer
    }

    fn give(&mut self, buffer: usize) {
        self.free.push(buffer);
    }

    fn buffers(self) -> Vec<Vec<f32>> {
        self.sizes.into_iter().map(|size| vec![0.0; size]).collect()
    }
}

/// Gives every value's gradient a buffer: it lives from the last step that reads the value, which
/// runs backward first, to the step that made it.
fn share(
    steps: &mut [Step],
    values: usize,
    size: impl Fn(usize) -> usize,
) -> (Vec<usize>, Vec<Vec<f32>>) {
    let mut places = vec![usize::MAX; values];
    let mut pool = Pool::default();
    if let Some(last) = steps.last() {
        places[last.output] = pool.take(size(last.output));
    }
    for step in steps.iter_mut().rev() {
        // What nothing reads has no gradient, and no share in any.
        if places[step.output] == usize::MAX {
            continue;
        }
        let mut free = step.kind.works_in_place().then_some(places[step.output]);
        for input in &mut step.inputs {
            if !input.wanted {
                continue;
            }
            input.add = places[input.value] != usize::MAX;
            if !input.add {
                let place = free.take();
                places[input.value] = place.unwrap_or_else(|| pool.take(size(input.value)));
            }
        }
        if step
            .inputs
            .iter()
            .all(|input| places[input.value] != places[step.output])
        {
            pool.give(places[step.output]);
        }
    }
    (places, pool.buffers())
}
