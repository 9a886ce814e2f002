//! A matrix times a vector. Values are [N, features, 1, 1], the weight [out, in].

use candle_core::{Result, Tensor};

use super::number::per_channel;

/// y = w · x + b.
pub(super) fn forward(w: &Tensor, b: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    let y = value(matrix(x)?.matmul(&w.t()?)?)?;
    match b {
        Some(b) => y.broadcast_add(&per_channel(b, &y)?),
        None => Ok(y),
    }
}

/// dx = wᵀ · dy.
pub(super) fn backward_input(w: &Tensor, dy: &Tensor) -> Result<Tensor> {
    value(matrix(dy)?.matmul(w)?)
}

/// dw = dy · xᵀ.
pub(super) fn backward_weight(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    matrix(dy)?.t()?.matmul(&matrix(x)?)
}

fn matrix(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(1)
}

fn value(y: Tensor) -> Result<Tensor> {
    let (images, features) = y.dims2()?;
    y.reshape((images, features, 1, 1))
}
