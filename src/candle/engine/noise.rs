//! Dropout, channel dropout and stochastic depth, which take the same away as in every engine.

use candle_core::{Device, Result, Tensor};

use crate::engine::common::factor;
use crate::net::Op;

/// What the value of a node is multiplied by, forward and backward: a factor for each number of `x` for
/// dropout, for each channel of each image for channel dropout, for each image for stochastic depth.
pub(super) fn factors(op: &Op, seed: u64, x: &Tensor) -> Result<Tensor> {
    let (images, channels, height, width) = x.dims4()?;
    let (p, shape) = match op {
        Op::StochasticDepth { p } => (*p, (images, 1, 1, 1)),
        Op::ChannelDropout { p } => (*p, (images, channels, 1, 1)),
        Op::Dropout { p } => (*p, (images, channels, height, width)),
        _ => (0.0, (1, 1, 1, 1)),
    };
    let len = shape.0 * shape.1 * shape.2 * shape.3;
    let factors: Vec<f64> = (0..len).map(|place| factor(p, seed, place)).collect();
    Tensor::from_vec(factors, shape, &Device::Cpu)?
        .to_dtype(x.dtype())?
        .to_device(x.device())
}
