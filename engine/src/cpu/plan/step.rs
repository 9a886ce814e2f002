//! The steps of a network: what is computed in one go.

use crate::channels::{runs, shuffle};
use crate::cpu::kernels::activation::Function;
use crate::cpu::kernels::convolution::winograd::{self, Winograd};
use crate::cpu::kernels::convolution::{Geometry, Walk};
use crate::cpu::kernels::expand::{Expansion, Pointwise};
use crate::cpu::kernels::finish::Finish;
use crate::cpu::kernels::grouped::Narrow;
use crate::cpu::kernels::layout::{Images, Plane};
use crate::cpu::kernels::max_pool::MaxPool;
use crate::cpu::kernels::mix::Mix;
use crate::cpu::kernels::moves::Moves;
use crate::cpu::kernels::statistics::Normal;
use crate::net::{Graph, Node, Op, Shape, TensorId, Window};

/// One operation.
#[derive(Debug)]
pub(in crate::cpu) struct Step {
    pub(in crate::cpu) kind: Kind,
    /// The node whose noise it is.
    pub(in crate::cpu) node: usize,
    pub(in crate::cpu) inputs: Vec<Input>,
    pub(in crate::cpu) output: usize,
    pub(in crate::cpu) shape: Shape,
}

/// A value that a step reads.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Input {
    pub(in crate::cpu) value: usize,
    pub(in crate::cpu) shape: Shape,
}

/// What a step does.
#[derive(Debug)]
pub(in crate::cpu) enum Kind {
    /// A convolution or linear layer.
    Convolution(Box<Convolution>),
    Norm(Box<Norm>),
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
    pub(in crate::cpu) fn name(&self) -> &'static str {
        match self {
            Kind::Convolution(layer) => match layer.algorithm {
                Algorithm::Product => "convolution",
                Algorithm::Winograd(_) => "winograd",
                Algorithm::Grouped(Narrow { width: 1, .. }) => "depthwise",
                Algorithm::Grouped(_) => "grouped",
            },
            Kind::Norm(_) => "norm",
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

/// BatchNorm and the activation behind it. A second input is added between the two, see
/// [`passes::shortcut`](super::passes::shortcut).
#[derive(Debug)]
pub(in crate::cpu) struct Norm {
    pub(in crate::cpu) op: Op,
    pub(in crate::cpu) function: Function,
    pub(in crate::cpu) normal: Normal,
}

impl Norm {
    /// As the end of a convolution.
    pub(in crate::cpu) fn finish(&self) -> Finish<'_> {
        Finish {
            normal: &self.normal,
            function: self.function,
        }
    }
}

impl Step {
    /// The normalisation that it is, or ends with.
    pub(in crate::cpu) fn norm(&self) -> Option<&Norm> {
        match &self.kind {
            Kind::Norm(norm) => Some(norm),
            Kind::Convolution(layer) => layer.norm.as_deref(),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(in crate::cpu) fn norm_mut(&mut self) -> Option<&mut Norm> {
        match &mut self.kind {
            Kind::Norm(norm) => Some(norm),
            Kind::Convolution(layer) => layer.norm.as_deref_mut(),
            _ => None,
        }
    }

    /// The convolution that it is, where that is an expansion.
    pub(in crate::cpu) fn expansion(&self) -> Option<(&Convolution, &Expansion)> {
        match &self.kind {
            Kind::Convolution(layer) => Some((layer, layer.expansion.as_deref()?)),
            _ => None,
        }
    }
}

/// A convolution's tensors, sizes and walks.
#[derive(Debug)]
pub(in crate::cpu) struct Convolution {
    pub(in crate::cpu) geometry: Geometry,
    pub(in crate::cpu) weight: TensorId,
    pub(in crate::cpu) bias: Option<TensorId>,
    pub(in crate::cpu) forward: Vec<Walk>,
    pub(in crate::cpu) backward: Vec<Walk>,
    pub(in crate::cpu) algorithm: Algorithm,
    /// What its result goes through before it is left, see
    /// [`passes::finish`](super::passes::finish).
    pub(in crate::cpu) norm: Option<Box<Norm>>,
    /// In training, where it has such a normalisation.
    pub(in crate::cpu) expansion: Option<Box<Expansion>>,
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum Algorithm {
    /// As a product of matrices.
    Product,
    Winograd(Winograd),
    Grouped(Narrow),
}

impl Algorithm {
    /// The fastest for a batch of so many images.
    fn of(g: &Geometry, images: usize) -> Algorithm {
        if let Some(narrow) = Narrow::of(&g.filters()) {
            return Algorithm::Grouped(narrow);
        }
        match Winograd::of(g, images) {
            Some(winograd) => Algorithm::Winograd(winograd),
            None => Algorithm::Product,
        }
    }
}

impl Convolution {
    /// As an expansion's kernels take it.
    pub(in crate::cpu) fn pointwise(&self) -> Pointwise<'_> {
        Pointwise {
            geometry: &self.geometry,
            walks: &self.forward,
        }
    }

    /// Numbers of the filters as forward, or backward, reads them; 0 where it reads them as they are kept.
    pub(in crate::cpu) fn prepared(&self, backward: bool) -> usize {
        let filters = self.geometry.filters();
        match (backward, self.algorithm) {
            (false, Algorithm::Product) if self.expansion.is_some() => filters.len(),
            (false, Algorithm::Product | Algorithm::Grouped(_)) => 0,
            (false, Algorithm::Winograd(_)) => winograd::transformed(&filters).len(),
            (true, Algorithm::Product) => filters.transposed().len(),
            (true, Algorithm::Grouped(narrow)) => narrow.turned(),
            (true, Algorithm::Winograd(_)) => {
                let turned = filters.transposed();
                winograd::transformed(&turned).len() + turned.len()
            }
        }
    }

    /// Numbers of its filters as forward reads them, and of their gradient as a task sums it up.
    pub(in crate::cpu) fn numbers(&self) -> usize {
        let filters = self.geometry.filters();
        match self.algorithm {
            Algorithm::Product => filters.len(),
            Algorithm::Winograd(_) => winograd::transformed(&filters).len(),
            Algorithm::Grouped(narrow) => narrow.len(),
        }
    }
}

/// The steps in order, for a batch of so many images. A BatchNorm and an activation that alone reads it become
/// one.
pub(in crate::cpu) fn steps(graph: &Graph, images: usize) -> Vec<Step> {
    let nodes = graph.nodes();
    let mut readers = vec![0; nodes.len()];
    for input in nodes.iter().flat_map(|node| &node.inputs) {
        readers[input.index()] += 1;
    }
    let mut steps: Vec<Step> = Vec::new();
    for (number, node) in nodes.iter().enumerate().skip(1) {
        if let (Op::Activation(activation), Some(last)) = (&node.op, steps.last_mut())
            && let Kind::Norm(norm) = &mut last.kind
            && last.output == node.inputs[0].index()
            && norm.function == Function::Identity
            && readers[last.output] == 1
        {
            norm.function = Function::Of(*activation);
            last.output = number;
            continue;
        }
        let inputs = node.inputs.iter().map(|input| Input {
            value: input.index(),
            shape: graph.shape(*input),
        });
        steps.push(Step {
            kind: kind(graph, node, images),
            node: number,
            inputs: inputs.collect(),
            output: number,
            shape: node.shape,
        });
    }
    steps
}

/// Where one convolution alone reads the images, and they have few channels: lays them out so that
/// it gathers along each row of its kernel at once.
pub(in crate::cpu) fn frame(steps: &mut [Step], shape: Shape, lanes: usize) -> Images {
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
    if groups > 1 || window.dilation.1 > 1 || shape.channels >= lanes / 2 {
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
            input: input.into(),
            output: node.shape,
            window,
            groups,
        };
        Box::new(Convolution {
            forward: Walk::forward(&geometry),
            backward: Walk::backward(&geometry),
            algorithm: Algorithm::of(&geometry, images),
            norm: None,
            expansion: None,
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
        } => Kind::Convolution(layer(*weight, *bias, *window, *groups)),
        Op::Linear { weight, bias } => {
            Kind::Convolution(layer(*weight, *bias, Window::square(1), 1))
        }
        Op::BatchNorm { .. } => Kind::Norm(Box::new(Norm {
            op: node.op.clone(),
            function: Function::Identity,
            normal: Normal::new(node.shape.channels),
        })),
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
