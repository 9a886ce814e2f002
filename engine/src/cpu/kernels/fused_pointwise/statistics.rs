//! What a fused pointwise convolution derives, in f64, from sums over the whole batch: the statistics of its output, and
//! in backward the filter gradient and the BatchNorm-statistics term of the input gradient. The formulas are in
//! [`super`].

use rayon::prelude::*;

use super::{FusedPointwise, lanes};
use crate::cpu::kernels::aligned_buffer::AlignedBuffer;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, pixel_stride};
use crate::cpu::kernels::statistics::{NormCoefficients, PartialMoments};

impl FusedPointwise {
    /// Merges the moments of [`add_moments`](super::add_moments) of all parts of a batch; returns mean and variance of each
    /// padded channel of z.
    pub(in crate::cpu) fn output_statistics<'a>(
        &mut self,
        isa: Isa,
        filters: &[f32],
        parts: impl Iterator<Item = PartialMoments<'a>> + Clone + Sync,
    ) -> (&[f64], &[f64]) {
        let channels = self.mean.len();
        let n = parts.clone().map(|part| part.rows).sum::<usize>() as f64;
        for (channel, mean) in self.mean.iter_mut().enumerate() {
            let sums = parts
                .clone()
                .map(|part| part.rows as f64 * f64::from(part.pivot[channel]) + part.sums[channel]);
            *mean = sums.sum::<f64>() / n;
        }
        let mean = &self.mean;
        let rows = self.covariance.par_chunks_exact_mut(channels).enumerate();
        rows.for_each(|(one, row)| {
            row.fill(0.0);
            for part in parts.clone() {
                let rows = part.rows as f64;
                let (sums, products) = part.sums.split_at(pixel_stride(channels));
                // Mean of the part minus mean of the batch.
                let distance = |channel: usize| {
                    f64::from(part.pivot[channel]) + sums[channel] / rows - mean[channel]
                };
                let (own, from_all) = (sums[one] / rows, rows * distance(one));
                for (other, covariance) in row.iter_mut().enumerate() {
                    let at = (other / LANES * channels + one) * LANES + other % LANES;
                    let product = products[at] - own * sums[other] + from_all * distance(other);
                    *covariance += product / n;
                }
            }
        });
        let covariance = &self.covariance;
        let strip = channels * LANES;
        let middle = self.sums.len() / 2;
        let (means, variances) = self.sums.split_at_mut(middle);
        let sums = means
            .par_chunks_exact_mut(LANES)
            .zip(variances.par_chunks_exact_mut(LANES));
        let filters = filters.par_chunks_exact(strip);
        let strips = self
            .filter_covariance
            .par_chunks_exact_mut(strip)
            .zip(filters);
        strips
            .zip(sums)
            .for_each(|((filter_covariance, filters), sums)| {
                let (filter_covariance, _) = filter_covariance.as_chunks_mut::<LANES>();
                let (filters, _) = filters.as_chunks::<LANES>();
                isa.run_loops(
                    #[inline(always)]
                    || {
                        for (filter_covariance, row) in filter_covariance
                            .iter_mut()
                            .zip(covariance.chunks_exact(channels))
                        {
                            *filter_covariance = [0.0; LANES];
                            for (filters, covariance) in filters.iter().zip(row) {
                                for i in 0..LANES {
                                    filter_covariance[i] += f64::from(filters[i]) * covariance;
                                }
                            }
                        }
                        sums.0.fill(0.0);
                        sums.1.fill(0.0);
                        for ((filters, filter_covariance), mean) in
                            filters.iter().zip(&*filter_covariance).zip(mean)
                        {
                            for i in 0..LANES {
                                sums.0[i] += f64::from(filters[i]) * mean;
                                sums.1[i] += f64::from(filters[i]) * filter_covariance[i];
                            }
                        }
                    },
                );
            });
        (means, variances)
    }

    /// Computes the bias, from the coefficients that follow from [`FusedPointwise::output_statistics`].
    pub(in crate::cpu) fn set_bias(&mut self, coefficients: &NormCoefficients, filters: &[f32]) {
        let strips = filters.chunks_exact(self.mean.len() * LANES);
        for (number, (bias, filters)) in self.bias.chunks_mut(LANES).zip(strips).enumerate() {
            let (slope, shift) = (
                lanes(&coefficients.slope, number),
                lanes(&coefficients.shift, number),
            );
            for (i, bias) in bias.iter_mut().enumerate() {
                // The product is rounded as in `scale_filters`, so that the rounding errors there cause no shift of
                // the mean.
                let rows = filters.as_chunks::<LANES>().0.iter().zip(&self.mean);
                let means = rows.map(|(filters, mean)| f64::from(filters[i] * slope[i]) * mean);
                *bias = (f64::from(shift[i]) - means.sum::<f64>()) as f32;
            }
        }
    }

    /// The buffer for Σ g xᵀ, set to 0.
    pub(in crate::cpu) fn products(&mut self) -> &mut AlignedBuffer {
        self.products.fill(0.0);
        &mut self.products
    }

    /// Sums Σ g of all parts of a batch, per padded channel.
    pub(in crate::cpu) fn sum_gradients<'a>(&mut self, parts: impl Iterator<Item = &'a [f64]>) {
        // Padding channels are left out: they may hold any number.
        let sums = &mut self.sums[..self.bias.len()];
        sums.fill(0.0);
        for part in parts {
            sums.iter_mut()
                .zip(part)
                .for_each(|(sum, part)| *sum += part);
        }
    }

    /// Σ g, and behind it Σ g (z − mean(z)), per padded channel; [`FusedPointwise::products`] has to be complete.
    pub(in crate::cpu) fn norm_gradient_sums(&mut self, filters: &[f32]) -> &[f64] {
        let strip = self.mean.len() * LANES;
        let middle = self.sums.len() / 2;
        let (sums, more) = self.sums.split_at_mut(middle);
        let filters = filters
            .chunks_exact(strip)
            .zip(self.products.chunks_exact(strip));
        let channels = sums
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(more.as_chunks_mut::<LANES>().0);
        for ((filters, products), (sums, more)) in filters.zip(channels) {
            *more = [0.0; LANES];
            let rows = filters.as_chunks::<LANES>().0.iter();
            let rows = rows.zip(products.as_chunks::<LANES>().0).zip(&self.mean);
            for ((filters, products), mean) in rows {
                for i in 0..LANES {
                    let product = f64::from(products[i]) - sums[i] * mean;
                    more[i] += f64::from(filters[i]) * product;
                }
            }
        }
        &self.sums
    }

    /// Adds to dW, and computes M and the offset, from the backward coefficients of a batch with n = `rows` pixels.
    pub(in crate::cpu) fn differentiate(
        &mut self,
        isa: Isa,
        rows: usize,
        coefficients: &NormCoefficients,
        filters: &[f32],
        dw: &mut [f32],
    ) {
        self.add_filter_gradient(isa, rows, coefficients, dw);
        let strip = self.mean.len() * LANES;
        let term = StatisticsTerm {
            coefficients,
            filters,
            mean: &self.mean,
        };
        let filters = self
            .statistics_filters
            .par_chunks_exact_mut(strip)
            .enumerate();
        let parts = filters.zip(self.offset.par_chunks_mut(LANES));
        parts.for_each(|((number, filters), offset)| {
            isa.run_loops(
                #[inline(always)]
                || term.compute(number, filters.as_chunks_mut().0, offset),
            );
        });
    }

    /// dW += slope (P′ − linear n W C).
    fn add_filter_gradient(
        &self,
        isa: Isa,
        rows: usize,
        coefficients: &NormCoefficients,
        dw: &mut [f32],
    ) {
        let strip = self.mean.len() * LANES;
        let made = self.products.par_chunks_exact(strip);
        let made = made
            .zip(self.filter_covariance.par_chunks_exact(strip))
            .enumerate();
        let parts = dw.par_chunks_exact_mut(strip).zip(made);
        parts.for_each(|(dw, (number, (products, filter_covariance)))| {
            let (slope, linear) = (
                lanes(&coefficients.slope, number),
                lanes(&coefficients.linear, number),
            );
            let sums = lanes(&self.sums, number);
            let width = LANES.min(self.bias.len() - number * LANES);
            let (dw, _) = dw.as_chunks_mut::<LANES>();
            let (products, _) = products.as_chunks::<LANES>();
            let (filter_covariance, _) = filter_covariance.as_chunks::<LANES>();
            isa.run_loops(
                #[inline(always)]
                || {
                    let made = products.iter().zip(filter_covariance).zip(&self.mean);
                    for (dw, ((products, filter_covariance), mean)) in dw.iter_mut().zip(made) {
                        for i in 0..width {
                            let product = f64::from(products[i]) - sums[i] * mean;
                            let own = f64::from(linear[i]) * rows as f64 * filter_covariance[i];
                            dw[i] += (f64::from(slope[i]) * (product - own)) as f32;
                        }
                    }
                },
            );
        });
    }
}

/// What M and the offset are computed from.
struct StatisticsTerm<'a> {
    coefficients: &'a NormCoefficients,
    filters: &'a [f32],
    mean: &'a [f64],
}

impl StatisticsTerm<'_> {
    /// Computes strip `number` of M = −Wᵀ slope linear W, `[channel of x][LANES]`, and of the offset
    /// = −Wᵀ slope constant − M mean(x).
    #[inline(always)]
    fn compute(&self, number: usize, strip: &mut [[f32; LANES]], offset: &mut [f32]) {
        let coefficients = self.coefficients;
        let strips = || {
            self.filters
                .chunks_exact(self.mean.len() * LANES)
                .enumerate()
        };
        for (at, offset) in offset.iter_mut().enumerate() {
            let own = number * LANES + at;
            let mut all = 0.0;
            for (number, filters) in strips() {
                let (own, slope) = (lanes(filters, own), lanes(&coefficients.slope, number));
                let constant = lanes(&coefficients.constant, number);
                for i in 0..LANES {
                    all += f64::from(own[i] * slope[i]) * f64::from(constant[i]);
                }
            }
            for (other, (strip, mean)) in strip.iter_mut().zip(self.mean).enumerate() {
                let mut products = [0.0; LANES];
                for (number, filters) in strips() {
                    let (own, other) = (lanes(filters, own), lanes(filters, other));
                    let (slope, linear) = (
                        lanes(&coefficients.slope, number),
                        lanes(&coefficients.linear, number),
                    );
                    for i in 0..LANES {
                        products[i] += own[i] * slope[i] * linear[i] * other[i];
                    }
                }
                let sum = products.iter().map(|x| f64::from(*x)).sum::<f64>();
                strip[at] = -sum as f32;
                all += f64::from(strip[at]) * mean;
            }
            *offset = -all as f32;
        }
    }
}
