//! What the families have in common.

use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::{Activation, Op};
use crate::net::tensor::Init;

/// A convolution, its BatchNorm and perhaps an activation, numbered as torchvision's
/// `Conv2dNormActivation` numbers them.
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

/// `channels` · `width` as a multiple of 8: the nearest, and the one above it where the nearest
/// takes more than a tenth away. torchvision's MobileNets and MNASNet count so.
pub(super) fn scaled(channels: usize, width: f64) -> usize {
    let exact = channels as f64 * width;
    let near = ((exact + 4.0) as usize / 8 * 8).max(8);
    match (near as f64) < 0.9 * exact {
        true => near + 8,
        false => near,
    }
}

/// A gate on channels (Hu et al. 2018): their means through two layers, as torchvision's
/// `SqueezeExcitation`.
pub(super) struct SqueezeExcitation {
    /// Channels between the layers.
    pub(super) squeeze: usize,
    /// What follows the first layer.
    pub(super) activation: Activation,
    /// What follows the second.
    pub(super) gate: Activation,
    /// Whether biases start at 0, rather than as PyTorch starts them.
    pub(super) zero_bias: bool,
}

impl SqueezeExcitation {
    pub(super) fn add(&self, graph: &mut Graph, name: &str, input: Value) -> Result<Value> {
        let channels = graph.shape(input).channels;
        let layer = |out: usize, fan_in: usize| {
            let bias = match self.zero_bias {
                true => Init::Constant(0.0),
                false => Init::Uniform {
                    bound: 1.0 / (fan_in as f64).sqrt(),
                },
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

/// A classifier's last layer that starts near 0: normal with deviation 0.01, bias 0.
pub(super) fn small_linear(graph: &mut Graph, name: &str, x: Value, out: usize) -> Result<Value> {
    let weight = Init::Normal { deviation: 0.01 };
    graph.linear_with(name, x, out, weight, Some(Init::Constant(0.0)))
}
