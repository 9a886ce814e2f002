//! The operations of nodes. Each computes every image of a batch independently, except normalisations in training.

use super::tensor::TensorId;
use super::whitening::{ChannelEquilibrium, IterNorm};

/// What a node computes from the values of its inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The input images; the first node, and only that.
    Input,
    /// Cross-correlation with a `weight` of shape `[out, in / groups, kernel height, kernel width]`.
    Convolution {
        /// The filters.
        weight: TensorId,
        /// One number per output channel.
        bias: Option<TensorId>,
        /// Kernel size, stride, padding and dilation.
        window: Window,
        /// Number of groups of input and output channels, which are convolved independently.
        groups: usize,
    },
    /// (x − mean) / √(variance + ε) · γ + β per channel (Ioffe and Szegedy 2015), as PyTorch's `BatchNorm2d`. Training
    /// normalises by mean and biased variance of the batch, and updates the running statistics with its mean and unbiased
    /// variance; evaluation normalises by the running statistics.
    BatchNorm {
        /// γ.
        gamma: TensorId,
        /// β.
        beta: TensorId,
        /// Running mean.
        mean: TensorId,
        /// Running variance.
        variance: TensorId,
        /// Number of batches in the running statistics, `num_batches_tracked`.
        batches: Option<TensorId>,
        /// ε.
        epsilon: f64,
        /// Weight of a new batch in the running statistics, 0..1, as in PyTorch.
        momentum: f64,
    },
    /// Iterative normalisation (Huang et al. 2019).
    IterNorm(IterNorm),
    /// Channel Equilibrium (Tang et al. 2020).
    ChannelEquilibrium(ChannelEquilibrium),
    /// An elementwise function.
    Activation(Activation),
    /// Elementwise sum of two values of one shape.
    Add,
    /// The first value times the second, which has one number per channel, as in squeeze-and-excitation.
    Gate,
    /// Concatenation along channels.
    Concat,
    /// `len` channels from `start` on.
    Slice {
        /// First channel.
        start: usize,
        /// Number of channels.
        len: usize,
    },
    /// Channel shuffle: channels as `[groups, channels / groups]`, transposed (Zhang et al. 2018).
    Shuffle {
        /// Number of groups.
        groups: usize,
    },
    /// Zero padding along channels.
    PadChannels {
        /// Channels added before.
        before: usize,
        /// Channels added after.
        after: usize,
    },
    /// Maximum of each window; padding counts as −∞.
    MaxPool(Window),
    /// Mean of each window.
    AveragePool {
        /// Kernel size, stride, padding and dilation.
        window: Window,
        /// Whether padding is averaged as zeros, as PyTorch's `count_include_pad`.
        count_padding: bool,
    },
    /// Mean of each of `height` × `width` regions of the map, as PyTorch's `AdaptiveAvgPool2d`; 1 × 1 is global average
    /// pooling.
    AdaptiveAveragePool {
        /// Height of the result.
        height: usize,
        /// Width of the result.
        width: usize,
    },
    /// Bilinear interpolation.
    Resize {
        /// Height of the result.
        height: usize,
        /// Width of the result.
        width: usize,
        /// Whether the corner pixels of both maps coincide, as in PyTorch.
        align_corners: bool,
    },
    /// The value as one vector, in the order channel, row, column.
    Flatten,
    /// `weight` · x + bias for a vector x; `weight` is `[out, in]`.
    Linear {
        /// The matrix.
        weight: TensorId,
        /// One number per output.
        bias: Option<TensorId>,
    },
    /// Dropout: in training, each number is set to 0 with probability `p`, else divided by 1 − p.
    Dropout {
        /// Probability of 0; below 1.
        p: f64,
    },
    /// Channel dropout (Tompson et al. 2015), PyTorch's `Dropout2d`: in training, each channel of each image is set to 0 with
    /// probability `p`, else divided by 1 − p.
    ChannelDropout {
        /// Probability of 0; below 1.
        p: f64,
    },
    /// Stochastic depth (Huang et al. 2016): in training, each image is set to 0 with probability `p`, else divided by
    /// 1 − p.
    StochasticDepth {
        /// Probability of 0; below 1.
        p: f64,
    },
}

impl Op {
    /// Takes over what may be changed of a built network: BatchNorm's momentum and the probabilities of dropout. `own` is
    /// the same operation.
    pub(super) fn follow(&mut self, own: &Op) {
        match (self, own) {
            (Op::BatchNorm { momentum: to, .. }, Op::BatchNorm { momentum, .. }) => *to = *momentum,
            (Op::Dropout { p: to }, Op::Dropout { p })
            | (Op::ChannelDropout { p: to }, Op::ChannelDropout { p })
            | (Op::StochasticDepth { p: to }, Op::StochasticDepth { p }) => *to = *p,
            _ => {}
        }
    }

    /// The operation's name for messages and listings.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Convolution { .. } => "convolution",
            Op::BatchNorm { .. } => "BatchNorm",
            Op::IterNorm(_) => "IterNorm",
            Op::ChannelEquilibrium(_) => "Channel Equilibrium",
            Op::Activation(activation) => activation.name(),
            Op::Add => "add",
            Op::Gate => "gate",
            Op::Concat => "concat",
            Op::Slice { .. } => "slice",
            Op::Shuffle { .. } => "channel shuffle",
            Op::PadChannels { .. } => "channel padding",
            Op::MaxPool(_) => "max pooling",
            Op::AveragePool { .. } => "average pooling",
            Op::AdaptiveAveragePool {
                height: 1,
                width: 1,
            } => "global average pooling",
            Op::AdaptiveAveragePool { .. } => "adaptive average pooling",
            Op::Resize { .. } => "bilinear resize",
            Op::Flatten => "flatten",
            Op::Linear { .. } => "linear",
            Op::Dropout { .. } => "dropout",
            Op::ChannelDropout { .. } => "channel dropout",
            Op::StochasticDepth { .. } => "stochastic depth",
        }
    }

    /// The tensors that it uses, in state-dict order.
    pub fn tensors(&self) -> Vec<TensorId> {
        match self {
            Op::Convolution { weight, bias, .. } | Op::Linear { weight, bias } => {
                [*weight].into_iter().chain(*bias).collect()
            }
            Op::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                batches,
                ..
            } => [*gamma, *beta, *mean, *variance]
                .into_iter()
                .chain(*batches)
                .collect(),
            Op::IterNorm(layer) => layer.tensors().to_vec(),
            Op::ChannelEquilibrium(layer) => layer.tensors().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Replaces every tensor id by `new` of it.
    pub fn rename(&mut self, new: impl Fn(TensorId) -> TensorId) {
        let optional = |id: &mut Option<TensorId>| *id = id.map(&new);
        match self {
            Op::Convolution { weight, bias, .. } | Op::Linear { weight, bias } => {
                *weight = new(*weight);
                optional(bias);
            }
            Op::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                batches,
                ..
            } => {
                for id in [gamma, beta, mean, variance] {
                    *id = new(*id);
                }
                optional(batches);
            }
            Op::IterNorm(layer) => layer
                .tensors_mut()
                .into_iter()
                .for_each(|id| *id = new(*id)),
            Op::ChannelEquilibrium(layer) => {
                layer
                    .tensors_mut()
                    .into_iter()
                    .for_each(|id| *id = new(*id));
            }
            _ => {}
        }
    }
}

/// An elementwise activation function. At kinks, the derivative is that of PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0); derivative 0 at 0.
    Relu,
    /// min(max(x, 0), 6); derivative 0 at 0 and at 6.
    Relu6,
    /// x · hard-sigmoid(x); derivative 0 up to and at −3, 1 from 3 on.
    HardSwish,
    /// min(max(x + 3, 0), 6) / 6; derivative 0 at −3 and at 3.
    HardSigmoid,
    /// 1 / (1 + e^−x).
    Sigmoid,
    /// x · sigmoid(x).
    Silu,
}

impl Activation {
    /// Its name for messages and listings.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "ReLU",
            Activation::Relu6 => "ReLU6",
            Activation::HardSwish => "hard-swish",
            Activation::HardSigmoid => "hard-sigmoid",
            Activation::Sigmoid => "sigmoid",
            Activation::Silu => "SiLU",
        }
    }
}

/// The sliding window of a convolution or pooling; pairs are (vertical, horizontal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Kernel size in taps.
    pub kernel: (usize, usize),
    /// Stride: input pixels from one window to the next.
    pub stride: (usize, usize),
    /// Padding in pixels at the top and at the left.
    pub before: (usize, usize),
    /// Padding in pixels at the bottom and at the right.
    pub after: (usize, usize),
    /// Dilation: input pixels from one tap to the next.
    pub dilation: (usize, usize),
    /// Whether the output size is rounded up, so that the last window may reach past the padding: PyTorch's `ceil_mode`.
    pub ceil: bool,
}

impl Window {
    /// A square window with stride and dilation 1 and no padding.
    pub fn square(kernel: usize) -> Window {
        Window {
            kernel: (kernel, kernel),
            stride: (1, 1),
            before: (0, 0),
            after: (0, 0),
            dilation: (1, 1),
            ceil: false,
        }
    }
}
