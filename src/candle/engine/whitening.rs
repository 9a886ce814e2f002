//! The groups of channels of a normalisation that decorrelates them. Large products are in the type of the values, the
//! matrices of groups in the [`wide`] one.

use candle_core::{Result, Tensor, Var};

use super::newton::{InverseRoot, identity, transposed};
use super::number::{channel_sums, wide};
use crate::net::Whitening;

/// Mean and covariance of the channels of each group in a batch.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    /// `[groups, d, 1]`.
    pub(super) mean: Tensor,
    pub(super) root: InverseRoot,
}

/// The channels of `x` [N, C, H, W] in groups of `d`, as rows `[groups, d, N · H · W]`.
pub(super) fn rows(x: &Tensor, d: usize) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let by_channel = x.transpose(0, 1)?.contiguous()?;
    by_channel.reshape((channels / d, d, ()))
}

/// The inverse of [`rows`], in the shape of `like`.
pub(super) fn from_rows(rows: &Tensor, like: &Tensor) -> Result<Tensor> {
    let (images, channels, height, width) = like.dims4()?;
    let by_channel = rows.reshape((channels, images, height, width))?;
    by_channel.transpose(0, 1)?.contiguous()
}

/// The mean of each channel of `x` [N, C, H, W], in groups of `d`: `[groups, d, 1]`.
pub(super) fn means(x: &Tensor, d: usize) -> Result<Tensor> {
    let (images, channels, height, width) = x.dims4()?;
    let sums = channel_sums(x)?.reshape((channels / d, d, 1))?;
    sums / (images * height * width) as f64
}

/// The rows without these means.
pub(super) fn centred(rows: &Tensor, means: &Tensor) -> Result<Tensor> {
    rows.broadcast_sub(&means.to_dtype(rows.dtype())?)
}

/// Matrices of the groups times rows.
pub(super) fn apply(matrices: &Tensor, rows: &Tensor) -> Result<Tensor> {
    matrices.to_dtype(rows.dtype())?.contiguous()?.matmul(rows)
}

/// Σ over samples of a · bᵀ, in the wide type.
pub(super) fn products(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.matmul(&transposed(b)?)?.to_dtype(wide(a.device()))
}

impl Groups {
    pub(super) fn measure(x: &Tensor, whitening: Whitening) -> Result<Groups> {
        let d = whitening.group;
        let mean = means(x, d)?;
        let centred = centred(&rows(x, d)?, &mean)?;
        let sigma = (products(&centred, &centred)? / centred.dim(2)? as f64)?;
        let sigma = (&sigma + (identity(&sigma)? * whitening.epsilon)?)?;
        let root = InverseRoot::of(&sigma, whitening.iterations)?;
        Ok(Groups { mean, root })
    }
}

/// running ← running + momentum · (now − running).
pub(super) fn follow(running: &Var, now: &Tensor, momentum: f64) -> Result<()> {
    let old = running.as_detached_tensor().to_dtype(now.dtype())?;
    let new = (&old + ((now - &old)? * momentum)?)?;
    running.set(&new.to_dtype(running.dtype())?)
}
