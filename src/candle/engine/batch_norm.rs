//! Batch normalisation (Ioffe and Szegedy 2015), with PyTorch's conventions. Statistics are in the
//! [`wide`] type, or that of the values where it goes by kernels.

use candle_core::{Result, Tensor, Var};

use super::kernels::BatchNorm;
use super::number::{channel_sums, per_channel, wide};
use super::whitening::follow;

/// Mean and 1 / √(variance + ε) of each channel.
#[derive(Debug, Clone)]
pub(super) struct Statistics {
    pub(super) mean: Tensor,
    pub(super) scale: Tensor,
}

/// The running mean and variance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) mean: &'a Var,
    pub(super) variance: &'a Var,
}

/// The gradients of input, γ and β.
#[derive(Debug)]
pub(super) struct Gradients {
    pub(super) x: Tensor,
    pub(super) gamma: Tensor,
    pub(super) beta: Tensor,
}

/// The statistics of the batch; the running ones move by `momentum` towards its mean and its unbiased
/// variance.
pub(super) fn measure(
    x: &Tensor,
    epsilon: f64,
    momentum: f64,
    running: Running<'_>,
) -> Result<Statistics> {
    if let Some(kernels) = BatchNorm::of(x) {
        return kernels.measure(epsilon, momentum, running);
    }
    let n = numbers(x)?;
    let mean = (channel_sums(x)? / n)?;
    let squares = channel_sums(&centred(x, &mean)?.sqr()?)?;
    follow(running.mean, &mean, momentum)?;
    follow(running.variance, &(&squares / (n - 1.0))?, momentum)?;
    Ok(Statistics {
        mean,
        scale: inverse_deviation(&(squares / n)?, epsilon)?,
    })
}

/// The running statistics, as evaluation uses them.
pub(super) fn recall(epsilon: f64, running: Running<'_>) -> Result<Statistics> {
    let wide = wide(running.mean.device());
    let variance = running.variance.as_detached_tensor().to_dtype(wide)?;
    Ok(Statistics {
        mean: running.mean.as_detached_tensor().to_dtype(wide)?,
        scale: inverse_deviation(&variance, epsilon)?,
    })
}

/// y = (x − mean) · scale · γ + β.
pub(super) fn forward(
    statistics: &Statistics,
    gamma: &Tensor,
    beta: &Tensor,
    x: &Tensor,
) -> Result<Tensor> {
    if let Some(kernels) = BatchNorm::of(x) {
        return kernels.forward(statistics, gamma, beta);
    }
    let slope = slope(statistics, gamma)?;
    centred(x, &statistics.mean)?
        .broadcast_mul(&per_channel(&slope, x)?)?
        .broadcast_add(&per_channel(beta, x)?)
}

/// The gradients, where the statistics are the batch's. With x̂ = (x − mean) · scale and n numbers a
/// channel: dβ = Σ dy, dγ = Σ dy · x̂, dx = γ · scale · (dy − dβ / n − x̂ · dγ / n).
pub(super) fn backward(
    statistics: &Statistics,
    gamma: &Tensor,
    x: &Tensor,
    dy: &Tensor,
) -> Result<Gradients> {
    if let Some(kernels) = BatchNorm::of(x) {
        return kernels.backward(statistics, gamma, dy);
    }
    let n = numbers(x)?;
    let centred = centred(x, &statistics.mean)?;
    let dbeta = channel_sums(dy)?;
    let dgamma = (channel_sums(&(dy * &centred)?)? * &statistics.scale)?;
    let slope = slope(statistics, gamma)?;
    let shift = per_channel(&(&dbeta / n)?, x)?;
    let tilt = per_channel(&((&dgamma * &statistics.scale)? / n)?, x)?;
    let dx = (dy.broadcast_sub(&shift)? - centred.broadcast_mul(&tilt)?)?;
    Ok(Gradients {
        x: dx.broadcast_mul(&per_channel(&slope, x)?)?,
        gamma: dgamma.to_dtype(gamma.dtype())?,
        beta: dbeta.to_dtype(gamma.dtype())?,
    })
}

/// How many numbers a channel has.
fn numbers(x: &Tensor) -> Result<f64> {
    let (images, _, height, width) = x.dims4()?;
    Ok((images * height * width) as f64)
}

fn centred(x: &Tensor, mean: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&per_channel(mean, x)?)
}

fn slope(statistics: &Statistics, gamma: &Tensor) -> Result<Tensor> {
    &statistics.scale * gamma.to_dtype(statistics.scale.dtype())?
}

fn inverse_deviation(variance: &Tensor, epsilon: f64) -> Result<Tensor> {
    (variance + epsilon)?.sqrt()?.recip()
}
