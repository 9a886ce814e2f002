//! What the families have in common.

use crate::error::Result;
use crate::net::build::{BatchNorm, Convolution};
use crate::net::graph::{Graph, Value};
use crate::net::op::Activation;

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
