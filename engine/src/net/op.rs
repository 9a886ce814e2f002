//! The operations that a node can be. Every one computes each image of a batch alone, but for
//! BatchNorm in training.

use super::tensor::TensorId;

/// What a node computes from the values of its inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The images. Only the first node is one.
    Input,
    /// Cross-correlation. `weight` is [out, in / groups, kernel height, kernel width].
    Convolution {
        /// The filters.
        weight: TensorId,
        /// One number an output channel.
        bias: Option<TensorId>,
        /// Where the filters look.
        window: Window,
        /// Input and output channels fall into this many groups that do not see each other.
        groups: usize,
    },
    /// (x − mean) / √(variance + ε) · γ + β a channel: in training over the batch, biased, and the
    /// running statistics move by `momentum` towards mean and unbiased variance of the batch; in
    /// evaluation by the running statistics.
    BatchNorm {
        /// γ.
        gamma: TensorId,
        /// β.
        beta: TensorId,
        /// Running mean.
        mean: TensorId,
        /// Running variance.
        variance: TensorId,
        /// How many batches the running statistics have seen.
        batches: Option<TensorId>,
        /// ε.
        epsilon: f64,
        /// Share of a batch in the running statistics, as in PyTorch.
        momentum: f64,
    },
    /// A function of each number by itself.
    Activation(Activation),
    /// Sum of two values of one shape.
    Add,
    /// The first value times the second, which has one number a channel.
    Gate,
    /// Channels of all inputs, one after the other.
    Concat,
    /// `len` channels from `start` on.
    Slice {
        /// First channel.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Channels seen as [groups, channels / groups] and transposed (Zhang et al. 2018).
    Shuffle {
        /// Number of groups.
        groups: usize,
    },
    /// Channels of zeros put before and after.
    PadChannels {
        /// How many before.
        before: usize,
        /// How many after.
        after: usize,
    },
    /// Largest number in each window; padding never wins.
    MaxPool(Window),
    /// Mean of each window.
    AveragePool {
        /// Where it looks.
        window: Window,
        /// Whether padding counts as zeros that are averaged.
        count_padding: bool,
    },
    /// Mean over windows that cut the map into `height` × `width` parts, as PyTorch's
    /// `AdaptiveAvgPool2d`; 1 × 1 is global pooling.
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
    /// A map as one vector, in the order channel, row, column.
    Flatten,
    /// `weight` · x + bias; `weight` is [out, in], and the input a vector.
    Linear {
        /// The matrix.
        weight: TensorId,
        /// One number an output.
        bias: Option<TensorId>,
    },
    /// In training, each number is 0 with probability `p`, else divided by 1 − p.
    Dropout {
        /// Probability of 0; below 1.
        p: f64,
    },
    /// In training, each image is 0 with probability `p`, else divided by 1 − p (Huang et al. 2016).
    StochasticDepth {
        /// Probability of 0; below 1.
        p: f64,
    },
}

impl Op {
    /// The operation's name as people say it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Convolution { .. } => "convolution",
            Op::BatchNorm { .. } => "BatchNorm",
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
            Op::StochasticDepth { .. } => "stochastic depth",
        }
    }

    /// The tensors it uses, in state-dict order.
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
            _ => Vec::new(),
        }
    }

    /// Puts other tensors in place of those it uses.
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
            _ => {}
        }
    }
}

/// Functions of one number. Where one has a kink, its derivative there is that of PyTorch.
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
    /// Its name as people write it.
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

/// Where a convolution or pooling looks: (height, width) each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Size in taps.
    pub kernel: (usize, usize),
    /// Distance from one output pixel to the next.
    pub stride: (usize, usize),
    /// Pixels added at the top and at the left.
    pub before: (usize, usize),
    /// Pixels added at the bottom and at the right.
    pub after: (usize, usize),
    /// Distance from one tap to the next.
    pub dilation: (usize, usize),
    /// Whether a last window that lies partly outside counts, as PyTorch's `ceil_mode`.
    pub ceil: bool,
}

impl Window {
    /// A square window with stride 1 and no padding.
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
