//! Iterative normalisation (Huang et al. 2019): y = γ · W · (x − mean) + β per group of channels.

use candle_core::{Result, Tensor};

use super::newton::transposed;
use super::number::channel_sums;
use super::tensors::Tensors;
use super::whitening::{Groups, apply, centred, follow, from_rows, means, products, rows};
use crate::net::IterNorm;

/// Training where `momentum` is the weight of the batch in the running statistics, else evaluation. Returns what backward
/// needs of training.
pub(super) fn forward(
    layer: &IterNorm,
    tensors: &Tensors,
    momentum: Option<f64>,
    x: &Tensor,
) -> Result<(Tensor, Option<Groups>)> {
    let values = &tensors.values;
    let d = layer.whitening.group;
    let (mean, matrix, groups) = match momentum {
        None => (values.value(layer.mean)?, values.value(layer.matrix)?, None),
        Some(momentum) => {
            let groups = Groups::measure(x, layer.whitening)?;
            let matrix = whitener(&groups)?;
            follow(values.var(layer.mean)?, &groups.mean, momentum)?;
            follow(values.var(layer.matrix)?, &matrix, momentum)?;
            (groups.mean.clone(), matrix, Some(groups))
        }
    };
    let white = apply(&matrix, &centred(&rows(x, d)?, &mean)?)?;
    let y = from_rows(&white, x)?
        .broadcast_mul(&values.value(layer.gamma)?)?
        .broadcast_add(&values.value(layer.beta)?)?;
    Ok((y, groups))
}

/// Adds to the gradients of γ and β; returns that of x. With Xc = X − mean, X̂ = W · Xc, W = P_T / √tr and m samples:
/// dγ = Σ dy · x̂, dβ = Σ dy, dW = dX̂ · Xcᵀ, dP_T = dW / √tr, dtr = −⟨dW, W⟩ / (2 tr),
/// dXc = Wᵀ · dX̂ + (dΣ + dΣᵀ) · Xc / m, and dX = dXc − its mean.
pub(super) fn backward(
    layer: &IterNorm,
    tensors: &Tensors,
    groups: &Groups,
    x: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let d = layer.whitening.group;
    let gamma = tensors.values.value(layer.gamma)?;
    let matrix = whitener(groups)?;
    let rows_centred = centred(&rows(x, d)?, &groups.mean)?;
    let white = from_rows(&apply(&matrix, &rows_centred)?, x)?;
    let sums = |of: &Tensor| {
        channel_sums(of)?
            .reshape(gamma.shape())?
            .to_dtype(gamma.dtype())
    };
    tensors.add_gradient(layer.gamma, &sums(&(dy * white)?)?)?;
    tensors.add_gradient(layer.beta, &sums(dy)?)?;
    let gradient = rows(&dy.broadcast_mul(&gamma)?, d)?;
    let trace = &groups.root.trace;
    let dmatrix = products(&gradient, &rows_centred)?;
    let dtrace = (&dmatrix * &matrix)?.sum_keepdim((1, 2))?;
    let dtrace = (dtrace / (trace * -2.0)?)?;
    let dp = dmatrix.broadcast_div(&trace.sqrt()?)?;
    let dsigma = groups.root.backward(&dp, Some(&dtrace))?;
    let through = apply(&(dsigma / rows_centred.dim(2)? as f64)?, &rows_centred)?;
    let dcentred = (apply(&transposed(&matrix)?, &gradient)? + through)?;
    let dx = from_rows(&dcentred, x)?;
    from_rows(&centred(&dcentred, &means(&dx, d)?)?, x)
}

/// W = P_T / √tr.
fn whitener(groups: &Groups) -> Result<Tensor> {
    groups.root.last().broadcast_div(&groups.root.trace.sqrt()?)
}
