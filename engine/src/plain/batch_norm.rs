//! Batch normalisation (Ioffe and Szegedy 2015), with PyTorch's conventions.

use crate::net::Shape;
use crate::real::Real;

/// What a batch looked like: mean and 1 / √(variance + ε) of each channel.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    pub(super) mean: Vec<f64>,
    pub(super) scale: Vec<f64>,
}

/// γ and β.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine<'a, T> {
    pub(super) gamma: &'a [T],
    pub(super) beta: &'a [T],
}

/// The statistics of the batch; the running ones move by `momentum` towards its mean and its
/// unbiased variance.
pub(super) fn measure<T: Real>(
    (images, shape): (usize, Shape),
    x: &[T],
    (epsilon, momentum): (f64, f64),
    batch: &mut Statistics,
    running: (&mut [T], &mut [T]),
) {
    let n = (images * shape.pixels()) as f64;
    for channel in 0..shape.channels {
        let values = || planes(images, shape, channel).flat_map(|plane| &x[plane]);
        let mean = values().map(|x| x.wide()).sum::<f64>() / n;
        let squares: f64 = values().map(|x| (x.wide() - mean).powi(2)).sum();
        batch.mean[channel] = mean;
        batch.scale[channel] = 1.0 / (squares / n + epsilon).sqrt();
        let follow = |running: &mut T, now: f64| {
            *running = T::of(running.wide() + momentum * (now - running.wide()));
        };
        follow(&mut running.0[channel], mean);
        follow(&mut running.1[channel], squares / (n - 1.0));
    }
}

/// y = (x − mean) · scale · γ + β.
pub(super) fn forward<T: Real>(
    (images, shape): (usize, Shape),
    statistics: &Statistics,
    affine: Affine<'_, T>,
    x: &[T],
    y: &mut [T],
) {
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

/// The gradients, where the statistics are the batch's. With x̂ = (x − mean) · scale and n numbers a
/// channel: dβ = Σ dy, dγ = Σ dy · x̂, dx = γ · scale · (dy − dβ / n − x̂ · dγ / n).
pub(super) fn backward<T: Real>(
    (images, shape): (usize, Shape),
    statistics: &Statistics,
    gamma: &[T],
    (x, dy): (&[T], &[T]),
    dx: &mut [T],
    affine: (&mut [T], &mut [T]),
) {
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
        affine.0[channel] += T::of(product);
        affine.1[channel] += T::of(sum);
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

/// Where the numbers of a channel are, image by image.
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
