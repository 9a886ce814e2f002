//! The steps of a plan: each computes one value with one kernel, and may fuse several nodes of the graph.

use crate::channels::{runs, shuffle};
use crate::cpu::kernels::activation::Function;
use crate::cpu::kernels::channel_copy::ChannelCopy;
use crate::cpu::kernels::convolution::winograd::{self, Winograd};
use crate::cpu::kernels::convolution::{Geometry, Phase};
use crate::cpu::kernels::epilogue::Epilogue;
use crate::cpu::kernels::fused_pointwise::{FusedPointwise, PointwiseConvolution};
use crate::cpu::kernels::grouped::GroupedFilterLayout;
use crate::cpu::kernels::layout::{ImageLayout, InputLayout};
use crate::cpu::kernels::max_pool::MaxPool;
use crate::cpu::kernels::resample::Resample;
use crate::cpu::kernels::statistics::NormCoefficients;
use crate::cpu::kernels::whitening::WhiteningState;
use crate::net::{
    ChannelEquilibrium, Graph, IterNorm, Node, Op, Shape, TensorId, Whitening, Window,
};
use crate::noise;

/// A step, which computes one value.
#[derive(Debug)]
pub(in crate::cpu) struct Step {
    pub(in crate::cpu) kind: StepKind,
    /// The first node that it computes; seeds dropout, channel dropout and stochastic depth.
    pub(in crate::cpu) node: usize,
    pub(in crate::cpu) inputs: Vec<StepInput>,
    /// The value that it computes: the index of its node.
    pub(in crate::cpu) output: usize,
    /// Shape of one image of that value.
    pub(in crate::cpu) shape: Shape,
}

/// A value that a step reads: the index of its node, and the shape of one image.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct StepInput {
    pub(in crate::cpu) value: usize,
    pub(in crate::cpu) shape: Shape,
}

/// What a step computes.
#[derive(Debug)]
pub(in crate::cpu) enum StepKind {
    /// A convolution or linear layer.
    Convolution(Box<Convolution>),
    Norm(Box<FusedNorm>),
    Whitening(Box<WhiteningNorm>),
    Activation(Function),
    Add,
    Gate,
    /// Concatenation, slice, shuffle or channel padding: the copies from each input.
    ChannelCopy(Vec<ChannelCopy>),
    MaxPool(MaxPool),
    Resample(Resample),
    /// Dropout, channel dropout or stochastic depth: 0 with probability `p`, drawn for `run` elements at once, see
    /// [`noise::shared`].
    Noise {
        p: f64,
        run: usize,
    },
    Flatten,
}

impl StepKind {
    /// The name that listings show.
    pub(in crate::cpu) fn name(&self) -> &'static str {
        match self {
            StepKind::Convolution(layer) => match layer.algorithm {
                Algorithm::Direct => "convolution",
                Algorithm::Winograd(_) => "winograd",
                Algorithm::Grouped(GroupedFilterLayout { width: 1, .. }) => "depthwise",
                Algorithm::Grouped(_) => "grouped",
            },
            StepKind::Norm(_) => "norm",
            StepKind::Whitening(norm) => match norm.layer {
                WhiteningLayer::IterNorm(_) => "iternorm",
                WhiteningLayer::Equilibrium(..) => "equilibrium",
            },
            StepKind::Activation(_) => "activation",
            StepKind::Add => "add",
            StepKind::Gate => "gate",
            StepKind::ChannelCopy(_) => "copy",
            StepKind::MaxPool(_) => "max pool",
            StepKind::Resample(_) => "resample",
            StepKind::Noise { .. } => "noise",
            StepKind::Flatten => "flatten",
        }
    }
}

/// BatchNorm with the activation that follows it. A second input of its step is a residual that is added between the two,
/// see [`passes::shortcut`](super::passes::shortcut).
#[derive(Debug)]
pub(in crate::cpu) struct FusedNorm {
    /// The BatchNorm.
    pub(in crate::cpu) op: Op,
    pub(in crate::cpu) function: Function,
    pub(in crate::cpu) coefficients: NormCoefficients,
}

/// A normalisation that decorrelates channels.
#[derive(Debug)]
pub(in crate::cpu) struct WhiteningNorm {
    pub(in crate::cpu) layer: WhiteningLayer,
    pub(in crate::cpu) state: WhiteningState,
}

/// Which one.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum WhiteningLayer {
    IterNorm(IterNorm),
    /// With the channels of its instance branch.
    Equilibrium(ChannelEquilibrium, usize),
}

impl WhiteningNorm {
    /// What the step of a layer with so many channels computes.
    fn step(layer: WhiteningLayer, whitening: Whitening, channels: usize) -> StepKind {
        let state = WhiteningState::new(channels, whitening);
        StepKind::Whitening(Box::new(WhiteningNorm { layer, state }))
    }

    /// Elements of the sums of its gradients.
    pub(in crate::cpu) fn gradients_len(&self) -> usize {
        self.state.gradients_len(match self.layer {
            WhiteningLayer::IterNorm(_) => None,
            WhiteningLayer::Equilibrium(_, hidden) => Some(hidden),
        })
    }
}

impl FusedNorm {
    /// As the epilogue of a convolution.
    pub(in crate::cpu) fn epilogue(&self) -> Epilogue<'_> {
        Epilogue {
            coefficients: &self.coefficients,
            function: self.function,
        }
    }
}

impl Step {
    /// The BatchNorm that it is, or that it fuses.
    pub(in crate::cpu) fn norm(&self) -> Option<&FusedNorm> {
        match &self.kind {
            StepKind::Norm(norm) => Some(norm),
            StepKind::Convolution(layer) => layer.norm.as_deref(),
            _ => None,
        }
    }

    /// As [`Step::norm`], to be changed.
    pub(in crate::cpu) fn norm_mut(&mut self) -> Option<&mut FusedNorm> {
        match &mut self.kind {
            StepKind::Norm(norm) => Some(norm),
            StepKind::Convolution(layer) => layer.norm.as_deref_mut(),
            _ => None,
        }
    }

    /// The convolution that it is, if that is a fused pointwise one.
    pub(in crate::cpu) fn fused_pointwise(&self) -> Option<(&Convolution, &FusedPointwise)> {
        match &self.kind {
            StepKind::Convolution(layer) => Some((layer, layer.fused.as_deref()?)),
            _ => None,
        }
    }
}

/// A convolution or linear layer.
#[derive(Debug)]
pub(in crate::cpu) struct Convolution {
    pub(in crate::cpu) geometry: Geometry,
    pub(in crate::cpu) weight: TensorId,
    pub(in crate::cpu) bias: Option<TensorId>,
    /// The single phase of forward.
    pub(in crate::cpu) forward: Vec<Phase>,
    /// The phases of the input gradient.
    pub(in crate::cpu) backward: Vec<Phase>,
    pub(in crate::cpu) algorithm: Algorithm,
    /// BatchNorm and activation that are fused into it: as epilogue in evaluation, see
    /// [`passes::epilogue`](super::passes::epilogue); as fused pointwise convolution in training.
    pub(in crate::cpu) norm: Option<Box<FusedNorm>>,
    /// State of a fused pointwise convolution; set in training where `norm` is.
    pub(in crate::cpu) fused: Option<Box<FusedPointwise>>,
}

/// The algorithm of a convolution.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum Algorithm {
    /// Direct convolution: an implicit matrix product.
    Direct,
    Winograd(Winograd),
    Grouped(GroupedFilterLayout),
}

impl Algorithm {
    /// The fastest algorithm for a batch of `images`.
    fn of(g: &Geometry, images: usize) -> Algorithm {
        if let Some(grouped) = GroupedFilterLayout::of(&g.filters()) {
            return Algorithm::Grouped(grouped);
        }
        match Winograd::of(g, images) {
            Some(winograd) => Algorithm::Winograd(winograd),
            None => Algorithm::Direct,
        }
    }
}

impl Convolution {
    /// The arguments of the fused pointwise kernels.
    pub(in crate::cpu) fn pointwise(&self) -> PointwiseConvolution<'_> {
        PointwiseConvolution {
            geometry: &self.geometry,
            phases: &self.forward,
        }
    }

    /// Elements of the prepared filters that forward, or the input gradient, reads; 0 where it reads the stored ones.
    pub(in crate::cpu) fn prepared_len(&self, backward: bool) -> usize {
        let filters = self.geometry.filters();
        match (backward, self.algorithm) {
            (false, Algorithm::Direct) if self.fused.is_some() => filters.len(),
            (false, Algorithm::Direct | Algorithm::Grouped(_)) => 0,
            (false, Algorithm::Winograd(_)) => winograd::transformed_layout(&filters).len(),
            (true, Algorithm::Direct) => filters.transposed().len(),
            (true, Algorithm::Grouped(grouped)) => grouped.transposed_len(),
            (true, Algorithm::Winograd(_)) => {
                let transposed = filters.transposed();
                winograd::transformed_layout(&transposed).len() + transposed.len()
            }
        }
    }

    /// Elements of the filters that forward reads, and of a shard's partial filter gradient.
    pub(in crate::cpu) fn filter_len(&self) -> usize {
        let filters = self.geometry.filters();
        match self.algorithm {
            Algorithm::Direct => filters.len(),
            Algorithm::Winograd(_) => winograd::transformed_layout(&filters).len(),
            Algorithm::Grouped(grouped) => grouped.len(),
        }
    }
}

/// The steps of a graph in order, for a batch of `images`. A BatchNorm is fused with an activation that is its only
/// reader.
pub(in crate::cpu) fn steps(graph: &Graph, images: usize) -> Vec<Step> {
    let nodes = graph.nodes();
    let mut readers = vec![0; nodes.len()];
    for input in nodes.iter().flat_map(|node| &node.inputs) {
        readers[input.index()] += 1;
    }
    let mut steps: Vec<Step> = Vec::new();
    for (number, node) in nodes.iter().enumerate().skip(1) {
        if let (Op::Activation(activation), Some(last)) = (&node.op, steps.last_mut())
            && let StepKind::Norm(norm) = &mut last.kind
            && last.output == node.inputs[0].index()
            && norm.function == Function::Identity
            && readers[last.output] == 1
        {
            norm.function = Function::Of(*activation);
            last.output = number;
            continue;
        }
        let inputs = node.inputs.iter().map(|input| StepInput {
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

/// Chooses the layout of the input images: [`InputLayout::Framed`] if they have few channels and a single convolution reads
/// them, which is changed to match.
pub(in crate::cpu) fn choose_input_layout(
    steps: &mut [Step],
    shape: Shape,
    lanes: usize,
) -> InputLayout {
    let mut readers = steps
        .iter_mut()
        .filter(|step| step.inputs.iter().any(|input| input.value == 0));
    let (Some(step), None) = (readers.next(), readers.next()) else {
        return InputLayout::Padded;
    };
    let StepKind::Convolution(layer) = &mut step.kind else {
        return InputLayout::Padded;
    };
    let Geometry { groups, window, .. } = layer.geometry;
    if groups > 1 || window.dilation.1 > 1 || shape.channels >= lanes / 2 {
        return InputLayout::Padded;
    }
    let (before, after) = (window.before, window.after);
    layer.geometry.input = ImageLayout {
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
    layer.forward = Phase::forward(&layer.geometry);
    InputLayout::Framed { before, after }
}

/// What the step of a node computes.
fn kind(graph: &Graph, node: &Node, images: usize) -> StepKind {
    let input = graph.shape(node.inputs[0]);
    let layer = |weight, bias, window, groups| {
        let geometry = Geometry {
            input: input.into(),
            output: node.shape,
            window,
            groups,
        };
        Box::new(Convolution {
            forward: Phase::forward(&geometry),
            backward: Phase::backward(&geometry),
            algorithm: Algorithm::of(&geometry, images),
            norm: None,
            fused: None,
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
        } => StepKind::Convolution(layer(*weight, *bias, *window, *groups)),
        Op::Linear { weight, bias } => {
            StepKind::Convolution(layer(*weight, *bias, Window::square(1), 1))
        }
        Op::BatchNorm { .. } => StepKind::Norm(Box::new(FusedNorm {
            op: node.op.clone(),
            function: Function::Identity,
            coefficients: NormCoefficients::new(node.shape.channels),
        })),
        Op::IterNorm(layer) => {
            let kind = WhiteningLayer::IterNorm(*layer);
            WhiteningNorm::step(kind, layer.whitening, node.shape.channels)
        }
        Op::ChannelEquilibrium(layer) => {
            let hidden = graph.tensor(layer.weight).len();
            let kind = WhiteningLayer::Equilibrium(*layer, hidden);
            WhiteningNorm::step(kind, layer.whitening, node.shape.channels)
        }
        Op::Activation(activation) => StepKind::Activation(Function::Of(*activation)),
        Op::Add => StepKind::Add,
        Op::Gate => StepKind::Gate,
        Op::Shuffle { groups } => {
            StepKind::ChannelCopy(vec![ChannelCopy::new(shuffle(input.channels, *groups))])
        }
        Op::Concat | Op::Slice { .. } | Op::PadChannels { .. } => {
            let runs = runs(graph, node).map(|run| ChannelCopy::new([run].into_iter()));
            StepKind::ChannelCopy(runs.collect())
        }
        Op::MaxPool(window) => StepKind::MaxPool(MaxPool {
            window: *window,
            input,
            output: node.shape,
        }),
        Op::Dropout { p } | Op::ChannelDropout { p } | Op::StochasticDepth { p } => {
            StepKind::Noise {
                p: *p,
                run: noise::shared(&node.op, node.shape),
            }
        }
        Op::Flatten => StepKind::Flatten,
        op => match Resample::of(op, input, node.shape) {
            Some(resample) => StepKind::Resample(resample),
            None => unreachable!("{} is no resampling", op.name()),
        },
    }
}
