//! Building blocks that several families share.

use super::{Norm, Options};
use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};
use crate::net::tensor::Init;

/// Adds a convolution, its BatchNorm and optionally an activation, named as by torchvision's `Conv2dNormActivation`.
pub(super) fn convolution_norm(
    graph: &mut Graph,
    name: &str,
    x: Value,
    convolution: &Convolution,
    norm: BatchNorm,
    activation: Option<Activation>,
) -> Result<Value> {
    let x = graph.convolution(&format!("{name}.0"), x, convolution)?;
    let x = graph.batch_norm_with(&format!("{name}.1"), x, norm)?;
    match activation {
        Some(activation) => graph.activation(&format!("{name}.2"), x, activation),
        None => Ok(x),
    }
}

/// Adds Channel Equilibrium at the end of a block's branch, if the network has it. Maps of one pixel, whose variance is 0,
/// are left as they are.
pub(super) fn equilibrium(
    graph: &mut Graph,
    options: &Options,
    name: &str,
    x: Value,
) -> Result<Value> {
    match options.norm {
        Norm::Equilibrium {
            whitening,
            reduction,
        } if graph.shape(x).pixels() > 1 => {
            graph.channel_equilibrium(name, x, whitening, reduction)
        }
        _ => Ok(x),
    }
}

/// Stride and dilation of a 3 × 3 convolution in a network that is dilated by `rate` instead of strided (Yu and Koltun
/// 2016): one with a stride loses it and has half of the rate, any other one has the rate. A rate of 1 changes nothing.
pub(super) fn dilated(stride: usize, rate: usize) -> (usize, usize) {
    if stride > 1 && rate > 1 {
        (1, rate / 2)
    } else {
        (stride, rate)
    }
}

/// `channels` · `width`, rounded to a multiple of 8 (at least 8), and up where rounding would remove more than 10 %:
/// torchvision's `_make_divisible`.
pub(super) fn scaled(channels: usize, width: f64) -> usize {
    let exact = channels as f64 * width;
    let near = ((exact + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * exact {
        near + 8
    } else {
        near
    }
}

/// Squeeze-and-excitation (Hu et al. 2018): a gate on channels computed from their means by two 1 × 1 convolutions, as
/// torchvision's `SqueezeExcitation`.
pub(super) struct SqueezeExcitation {
    /// Channels between the two convolutions.
    pub(super) squeeze: usize,
    /// Activation after the first convolution.
    pub(super) activation: Activation,
    /// Activation after the second convolution.
    pub(super) gate: Activation,
    /// Whether biases are initialised to 0, rather than as in PyTorch.
    pub(super) zero_bias: bool,
}

impl SqueezeExcitation {
    pub(super) fn add(&self, graph: &mut Graph, name: &str, input: Value) -> Result<Value> {
        let channels = graph.shape(input).channels;
        let layer = |out: usize, fan_in: usize| {
            let bias = if self.zero_bias {
                Init::Constant(0.0)
            } else {
                Init::Uniform {
                    bound: 1.0 / (fan_in as f64).sqrt(),
                }
            };
            Convolution::new(out, 1).kaiming_fan_out().bias(bias)
        };
        let named = |leaf: &str| format!("{name}.{leaf}");
        let x = graph.global_average_pool(&named("avgpool"), input)?;
        let x = graph.convolution(&named("fc1"), x, &layer(self.squeeze, channels))?;
        let x = graph.activation(&named("activation"), x, self.activation)?;
        let x = graph.convolution(&named("fc2"), x, &layer(channels, self.squeeze))?;
        let x = graph.activation(&named("scale_activation"), x, self.gate)?;
        graph.add(&named("scale"), Op::Gate, &[input, x])
    }
}

/// Adds a linear layer initialised near 0: weight normal with deviation 0.01, bias 0.
pub(super) fn small_linear(graph: &mut Graph, name: &str, x: Value, out: usize) -> Result<Value> {
    let weight = Init::Normal { deviation: 0.01 };
    graph.linear_with(name, x, out, weight, Some(Init::Constant(0.0)))
}
