//! What a batch normalisation knows of a batch: its mean and variance, and the sums of its gradient.

use super::isa::Isa;
use super::layout::{LANES, stride};

/// What a normalisation multiplies and adds, by padded channel. With x̂ = (x − mean) · scale, it is
/// y = (x − mean) · slope + shift, slope = scale · γ, shift = β; all 0 in the padding.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Normal {
    pub(in crate::cpu) mean: Vec<f32>,
    pub(in crate::cpu) scale: Vec<f32>,
    pub(in crate::cpu) slope: Vec<f32>,
    pub(in crate::cpu) shift: Vec<f32>,
    /// Factors of the gradient, see [`Normal::differentiate`].
    pub(in crate::cpu) constant: Vec<f32>,
    pub(in crate::cpu) linear: Vec<f32>,
}

/// γ and β, or their gradients.
pub(in crate::cpu) type Pair<'a> = (&'a [f32], &'a [f32]);

impl Normal {
    pub(in crate::cpu) fn new(channels: usize) -> Normal {
        let zeros = || vec![0.0; stride(channels)];
        Normal {
            mean: zeros(),
            scale: zeros(),
            slope: zeros(),
            shift: zeros(),
            constant: zeros(),
            linear: zeros(),
        }
    }

    /// Bytes it holds.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        let rows = [&self.mean, &self.scale, &self.slope, &self.shift];
        let rows = rows.into_iter().chain([&self.constant, &self.linear]);
        rows.map(|row| size_of_val(&row[..])).sum()
    }

    /// Takes the running statistics.
    pub(in crate::cpu) fn take(&mut self, running: Pair<'_>, affine: Pair<'_>, epsilon: f64) {
        for (channel, (mean, variance)) in running.0.iter().zip(running.1).enumerate() {
            let scale = 1.0 / (f64::from(*variance) + epsilon).sqrt();
            self.set(channel, f64::from(*mean), scale, affine);
        }
    }

    fn set(&mut self, channel: usize, mean: f64, scale: f64, affine: Pair<'_>) {
        self.mean[channel] = mean as f32;
        self.scale[channel] = scale as f32;
        self.slope[channel] = (scale * f64::from(affine.0[channel])) as f32;
        self.shift[channel] = affine.1[channel];
    }

    /// Takes the statistics of a batch, and moves the running ones towards its mean and unbiased variance; `rates` are
    /// ε and the momentum of that. Each part of the batch gives its rows, and the sums of [`moments`](super::norm::moments) with
    /// the numbers around which they were taken.
    pub(in crate::cpu) fn measure<'a>(
        &mut self,
        isa: Isa,
        parts: impl Iterator<Item = (usize, &'a [f32], &'a [f64])> + Clone,
        affine: Pair<'_>,
        rates: (f64, f64),
        running: (&mut [f32], &mut [f32]),
    ) {
        let stride = self.mean.len();
        let n = parts.clone().map(|(rows, ..)| rows).sum::<usize>() as f64;
        for first in (0..stride).step_by(LANES) {
            let parts = parts.clone().map(|(rows, around, sums)| {
                let around: &[f32; LANES] = some_of(around, first);
                let (sums, squares) = sums.split_at(stride);
                (
                    rows as f64,
                    around,
                    some_of(sums, first),
                    some_of(squares, first),
                )
            });
            let (mut means, mut squares) = ([0.0; LANES], [0.0; LANES]);
            isa.run_loops(
                #[inline(always)]
                || {
                    for (rows, around, sums, _) in parts.clone() {
                        for i in 0..LANES {
                            means[i] += rows * f64::from(around[i]) + sums[i];
                        }
                    }
                    means.iter_mut().for_each(|mean| *mean /= n);
                    // Squared differences from the mean of all: from that of the part, and its own.
                    for (rows, around, sums, own) in parts.clone() {
                        for i in 0..LANES {
                            let mean = sums[i] / rows;
                            let away = f64::from(around[i]) + mean - means[i];
                            squares[i] += own[i] - sums[i] * mean + rows * away * away;
                        }
                    }
                },
            );
            let channels = first..affine.0.len().min(first + LANES);
            for (channel, moments) in channels.zip(means.into_iter().zip(squares)) {
                let into = (&mut running.0[channel], &mut running.1[channel]);
                self.settle(channel, moments, n, affine, rates, into);
            }
        }
    }

    /// As [`Normal::measure`], where the mean and variance of each channel's `n` numbers are known.
    pub(in crate::cpu) fn take_moments(
        &mut self,
        (means, variances): (&[f64], &[f64]),
        n: usize,
        affine: Pair<'_>,
        rates: (f64, f64),
        running: (&mut [f32], &mut [f32]),
    ) {
        let n = n as f64;
        let running = running.0.iter_mut().zip(running.1);
        for (channel, running) in running.enumerate() {
            let moments = (means[channel], n * variances[channel]);
            self.settle(channel, moments, n, affine, rates, running);
        }
    }

    /// Takes the mean of a channel's `n` numbers and their squared differences from it.
    fn settle(
        &mut self,
        channel: usize,
        (mean, squares): (f64, f64),
        n: f64,
        affine: Pair<'_>,
        (epsilon, momentum): (f64, f64),
        running: (&mut f32, &mut f32),
    ) {
        // Below 0 by rounding only; NaN stays.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        let follow = |running: &mut f32, now: f64| {
            let before = f64::from(*running);
            *running = (before + momentum * (now - before)) as f32;
        };
        follow(running.0, mean);
        follow(running.1, squares / (n - 1.0));
        self.set(channel, mean, 1.0 / (squares / n + epsilon).sqrt(), affine);
    }

    /// Takes the sums of [`Normal::gradients`] of all parts of a batch of `rows`: adds to dγ and dβ,
    /// and keeps what dx is made with. dβ = Σ g, dγ = Σ g · x̂, dx = slope · (g − dβ / n − x̂ · dγ / n).
    pub(in crate::cpu) fn differentiate<'a>(
        &mut self,
        isa: Isa,
        parts: impl Iterator<Item = &'a [f64]> + Clone,
        rows: usize,
        affine: (&mut [f32], &mut [f32]),
    ) {
        let stride = self.mean.len();
        for first in (0..stride).step_by(LANES) {
            let (mut sums, mut products) = ([0.0; LANES], [0.0; LANES]);
            isa.run_loops(
                #[inline(always)]
                || {
                    for part in parts.clone() {
                        let (own, more) = part.split_at(stride);
                        let (own, more) = (some_of(own, first), some_of(more, first));
                        for i in 0..LANES {
                            sums[i] += own[i];
                            products[i] += more[i];
                        }
                    }
                },
            );
            let channels = first..affine.0.len().min(first + LANES);
            for (channel, (sum, product)) in channels.zip(sums.into_iter().zip(products)) {
                let scale = f64::from(self.scale[channel]);
                let product = product * scale;
                affine.0[channel] += product as f32;
                affine.1[channel] += sum as f32;
                self.constant[channel] = (sum / rows as f64) as f32;
                self.linear[channel] = (scale * product / rows as f64) as f32;
            }
        }
    }
}

/// [`LANES`] channels from `first` on, a multiple of it.
fn some_of<T>(channels: &[T], first: usize) -> &[T; LANES] {
    &channels.as_chunks().0[first / LANES]
}
