//! From batch statistics to the per-channel coefficients of a BatchNorm, forward and backward; statistics are computed in
//! f64.

use super::isa::Isa;
use super::layout::{LANES, pixel_stride};

/// The coefficients of a BatchNorm, one per padded channel (0 in the padding).
///
/// Forward: y = (x − mean) · slope + shift, where slope = scale · γ, scale = 1 / √(variance + ε) and shift = β.
/// Backward: dx = slope · (g − constant − (x − mean) · linear), see
/// [`NormCoefficients::add_affine_gradient`].
#[derive(Debug, Default)]
pub(in crate::cpu) struct NormCoefficients {
    pub(in crate::cpu) mean: Vec<f32>,
    pub(in crate::cpu) scale: Vec<f32>,
    pub(in crate::cpu) slope: Vec<f32>,
    pub(in crate::cpu) shift: Vec<f32>,
    /// dβ / n.
    pub(in crate::cpu) constant: Vec<f32>,
    /// scale · dγ / n.
    pub(in crate::cpu) linear: Vec<f32>,
}

/// γ and β, one number per channel.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Affine<'a> {
    pub(in crate::cpu) gamma: &'a [f32],
    pub(in crate::cpu) beta: &'a [f32],
}

/// The gradients of γ and β.
#[derive(Debug)]
pub(in crate::cpu) struct AffineGradient<'a> {
    pub(in crate::cpu) gamma: &'a mut [f32],
    pub(in crate::cpu) beta: &'a mut [f32],
}

/// The running statistics of a BatchNorm, and its constants: `momentum` is the weight of a new batch, as in PyTorch.
#[derive(Debug)]
pub(in crate::cpu) struct Running<'a> {
    pub(in crate::cpu) mean: &'a mut [f32],
    pub(in crate::cpu) variance: &'a mut [f32],
    pub(in crate::cpu) epsilon: f64,
    pub(in crate::cpu) momentum: f64,
}

/// Shifted moments of a part of a batch: `sums` holds Σ (x − pivot), and after all channels of that the second
/// moments; see [`batch_norm::moments`](super::batch_norm::moments) and
/// [`fused_pointwise::add_moments`](super::fused_pointwise::add_moments).
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct PartialMoments<'a> {
    /// Numbers per channel.
    pub(in crate::cpu) rows: usize,
    /// One number per channel near its mean, which keeps the sums from cancelling.
    pub(in crate::cpu) pivot: &'a [f32],
    pub(in crate::cpu) sums: &'a [f64],
}

impl NormCoefficients {
    pub(in crate::cpu) fn new(channels: usize) -> NormCoefficients {
        let zeros = || vec![0.0; pixel_stride(channels)];
        NormCoefficients {
            mean: zeros(),
            scale: zeros(),
            slope: zeros(),
            shift: zeros(),
            constant: zeros(),
            linear: zeros(),
        }
    }

    /// Bytes of all coefficients.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        let rows = [&self.mean, &self.scale, &self.slope, &self.shift];
        let rows = rows.into_iter().chain([&self.constant, &self.linear]);
        rows.map(|row| size_of_val(&row[..])).sum()
    }

    /// Sets the forward coefficients from running statistics, for evaluation.
    pub(in crate::cpu) fn use_running(
        &mut self,
        mean: &[f32],
        variance: &[f32],
        affine: Affine<'_>,
        epsilon: f64,
    ) {
        for (channel, (mean, variance)) in mean.iter().zip(variance).enumerate() {
            let scale = 1.0 / (f64::from(*variance) + epsilon).sqrt();
            self.set(channel, f64::from(*mean), scale, affine);
        }
    }

    fn set(&mut self, channel: usize, mean: f64, scale: f64, affine: Affine<'_>) {
        self.mean[channel] = mean as f32;
        self.scale[channel] = scale as f32;
        self.slope[channel] = (scale * f64::from(affine.gamma[channel])) as f32;
        self.shift[channel] = affine.beta[channel];
    }

    /// Merges the moments of all parts of a batch, sets the forward coefficients from its mean and biased variance, and
    /// updates the running statistics by its mean and unbiased variance.
    pub(in crate::cpu) fn use_batch<'a>(
        &mut self,
        isa: Isa,
        parts: impl Iterator<Item = PartialMoments<'a>> + Clone,
        affine: Affine<'_>,
        mut running: Running<'_>,
    ) {
        let stride = self.mean.len();
        let n = parts.clone().map(|part| part.rows).sum::<usize>() as f64;
        for first in (0..stride).step_by(LANES) {
            let parts = parts.clone().map(|part| {
                let pivot: &[f32; LANES] = lanes_from(part.pivot, first);
                let (sums, squares) = part.sums.split_at(stride);
                (
                    part.rows as f64,
                    pivot,
                    lanes_from(sums, first),
                    lanes_from(squares, first),
                )
            });
            let (mut means, mut squares) = ([0.0; LANES], [0.0; LANES]);
            isa.run_loops(
                #[inline(always)]
                || {
                    for (rows, pivot, sums, _) in parts.clone() {
                        for i in 0..LANES {
                            means[i] += rows * f64::from(pivot[i]) + sums[i];
                        }
                    }
                    means.iter_mut().for_each(|mean| *mean /= n);
                    // Squared differences from the mean of the batch: those from the mean of the part, and the
                    // distance of that (Chan et al. 1983).
                    for (rows, pivot, sums, own) in parts.clone() {
                        for i in 0..LANES {
                            let mean = sums[i] / rows;
                            let distance = f64::from(pivot[i]) + mean - means[i];
                            squares[i] += own[i] - sums[i] * mean + rows * distance * distance;
                        }
                    }
                },
            );
            let channels = first..affine.gamma.len().min(first + LANES);
            for (channel, (mean, squares)) in channels.zip(means.into_iter().zip(squares)) {
                let moments = Moments { n, mean, squares };
                self.use_moments(channel, moments, affine, &mut running);
            }
        }
    }

    /// As [`NormCoefficients::use_batch`], given the mean and biased variance of each channel's `n` numbers.
    pub(in crate::cpu) fn use_mean_and_variance(
        &mut self,
        means: &[f64],
        variances: &[f64],
        n: usize,
        affine: Affine<'_>,
        mut running: Running<'_>,
    ) {
        let n = n as f64;
        for channel in 0..affine.gamma.len() {
            let (mean, squares) = (means[channel], n * variances[channel]);
            let moments = Moments { n, mean, squares };
            self.use_moments(channel, moments, affine, &mut running);
        }
    }

    /// Sets the forward coefficients and updates the running statistics of one channel.
    fn use_moments(
        &mut self,
        channel: usize,
        moments: Moments,
        affine: Affine<'_>,
        running: &mut Running<'_>,
    ) {
        let Moments { n, mean, squares } = moments;
        let Running {
            epsilon, momentum, ..
        } = *running;
        // Negative by rounding only; NaN stays.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        let update = |running: &mut f32, now: f64| {
            let before = f64::from(*running);
            *running = (before + momentum * (now - before)) as f32;
        };
        update(&mut running.mean[channel], mean);
        update(&mut running.variance[channel], squares / (n - 1.0));
        self.set(channel, mean, 1.0 / (squares / n + epsilon).sqrt(), affine);
    }

    /// Adds to dγ and dβ, and sets the backward coefficients, from the sums of [`NormCoefficients::gradient_sums`] of all
    /// parts of a batch with n = `rows` numbers per channel.
    ///
    /// With x̂ = (x − mean) · scale: dβ = Σ g, dγ = Σ g · x̂, dx = slope · (g − dβ / n − x̂ · dγ / n) (Ioffe and
    /// Szegedy 2015, section 3).
    pub(in crate::cpu) fn add_affine_gradient<'a>(
        &mut self,
        isa: Isa,
        parts: impl Iterator<Item = &'a [f64]> + Clone,
        rows: usize,
        affine: AffineGradient<'_>,
    ) {
        let stride = self.mean.len();
        for first in (0..stride).step_by(LANES) {
            let (mut sums, mut products) = ([0.0; LANES], [0.0; LANES]);
            isa.run_loops(
                #[inline(always)]
                || {
                    for part in parts.clone() {
                        let (own, more) = part.split_at(stride);
                        let (own, more) = (lanes_from(own, first), lanes_from(more, first));
                        for i in 0..LANES {
                            sums[i] += own[i];
                            products[i] += more[i];
                        }
                    }
                },
            );
            let channels = first..affine.gamma.len().min(first + LANES);
            for (channel, (sum, product)) in channels.zip(sums.into_iter().zip(products)) {
                let scale = f64::from(self.scale[channel]);
                let product = product * scale;
                affine.gamma[channel] += product as f32;
                affine.beta[channel] += sum as f32;
                self.constant[channel] = (sum / rows as f64) as f32;
                self.linear[channel] = (scale * product / rows as f64) as f32;
            }
        }
    }
}

/// Mean and Σ (x − mean)² of the `n` numbers of a channel.
#[derive(Debug, Clone, Copy)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

/// [`LANES`] channels from `first` on, which is a multiple of it.
fn lanes_from<T>(channels: &[T], first: usize) -> &[T; LANES] {
    &channels.as_chunks().0[first / LANES]
}
