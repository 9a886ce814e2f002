//! BatchNorm (Ioffe and Szegedy 2015), with PyTorch's conventions. Statistics and sums are computed in f64.

use crate::net::Shape;
use crate::real::Real;

/// Mean and 1 / √(variance + ε) of each channel.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    pub(super) mean: Vec<f64>,
    pub(super) scale: Vec<f64>,
}

/// γ and β, one number per channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine<'a, T> {
    pub(super) gamma: &'a [T],
    pub(super) beta: &'a [T],
}

/// The gradients of γ and β.
#[derive(Debug)]
pub(super) struct AffineGradient<'a, T> {
    pub(super) gamma: &'a mut [T],
    pub(super) beta: &'a mut [T],
}

/// The running statistics and constants of a BatchNorm; `momentum` is the weight of a new batch.
#[derive(Debug)]
pub(super) struct Running<'a, T> {
    pub(super) mean: &'a mut [T],
    pub(super) variance: &'a mut [T],
    pub(super) epsilon: f64,
    pub(super) momentum: f64,
}

/// The shape `[images, C, H, W]` of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchShape {
    pub(super) images: usize,
    /// Shape of one image.
    pub(super) shape: Shape,
}

/// Computes the statistics of a batch, and updates the running ones by its mean and unbiased variance.
pub(super) fn measure<T: Real>(
    batch_shape: BatchShape,
    x: &[T],
    batch: &mut Statistics,
    running: Running<'_, T>,
) {
    let BatchShape { images, shape } = batch_shape;
    let Running {
        epsilon, momentum, ..
    } = running;
    let n = (images * shape.pixels()) as f64;
    for channel in 0..shape.channels {
        let values = || planes(images, shape, channel).flat_map(|plane| &x[plane]);
        let mean = values().map(|x| x.wide()).sum::<f64>() / n;
        let squares: f64 = values().map(|x| (x.wide() - mean).powi(2)).sum();
        batch.mean[channel] = mean;
        batch.scale[channel] = 1.0 / (squares / n + epsilon).sqrt();
        let update = |running: &mut T, now: f64| {
            *running = T::of(running.wide() + momentum * (now - running.wide()));
        };
        update(&mut running.mean[channel], mean);
        update(&mut running.variance[channel], squares / (n - 1.0));
    }
}

/// y = (x − mean) · scale · γ + β.
pub(super) fn forward<T: Real>(
    batch_shape: BatchShape,
    statistics: &Statistics,
    affine: Affine<'_, T>,
    x: &[T],
    y: &mut [T],
) {
    let BatchShape { images, shape } = batch_shape;
    for channel in 0..shape.channels {
        let mean = T::of(statistics.mean[channel]);
        let scale = T::of(statistics.scale[channel] * affine.gamma[channel].wide());
        for plane in planes(images, shape, channel) {
            for (y, x) in y[plane.clone()].iter_mut().zip(&x[plane]) {
                *y = (*x - mean) * scale + affine.beta[channel];
            }
        }
    }
}

/// Adds to the gradients of x, γ and β, given the statistics of the batch. With x̂ = (x − mean) · scale and n numbers per
/// channel: dβ = Σ dy, dγ = Σ dy · x̂, dx = γ · scale · (dy − dβ / n − x̂ · dγ / n).
pub(super) fn backward<T: Real>(
    batch_shape: BatchShape,
    statistics: &Statistics,
    gamma: &[T],
    x: &[T],
    dy: &[T],
    dx: &mut [T],
    affine: AffineGradient<'_, T>,
) {
    let BatchShape { images, shape } = batch_shape;
    let n = (images * shape.pixels()) as f64;
    for (channel, gamma) in gamma.iter().enumerate() {
        let (mean, scale) = (statistics.mean[channel], statistics.scale[channel]);
        let (mut sum, mut product) = (0.0, 0.0);
        for plane in planes(images, shape, channel) {
            for (x, dy) in x[plane.clone()].iter().zip(&dy[plane]) {
                sum += dy.wide();
                product += dy.wide() * (x.wide() - mean) * scale;
            }
        }
        affine.gamma[channel] += T::of(product);
        affine.beta[channel] += T::of(sum);
        let factor = T::of(gamma.wide() * scale);
        let (shift, slope) = (T::of(sum / n), T::of(scale * product / n));
        let mean = T::of(mean);
        for plane in planes(images, shape, channel) {
            let from = x[plane.clone()].iter().zip(&dy[plane.clone()]);
            for (dx, (x, dy)) in dx[plane].iter_mut().zip(from) {
                *dx += factor * (*dy - shift - (*x - mean) * slope);
            }
        }
    }
}

/// The range of a channel's numbers in each image.
fn planes(
    images: usize,
    shape: Shape,
    channel: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    let pixels = shape.pixels();
    (0..images).map(move |image| {
        let start = (image * shape.channels + channel) * pixels;
        start..start + pixels
    })
}
