//! What follows from an expansion's sums over all images, in f64: statistics of what it computes, and in backward the
//! gradient of its filters and what its input's still lacks. Formulas are in [`super`].

use rayon::prelude::*;

use super::{Expansion, lanes};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, stride};
use crate::cpu::kernels::lines::Lines;
use crate::cpu::kernels::statistics::Normal;

/// What a task has summed up of what an expansion reads: its rows, the numbers around which sums were taken, the sums.
pub(in crate::cpu) type Part<'a> = (usize, &'a [f32], &'a [f64]);

impl Expansion {
    /// Takes the sums of [`add_moments`](super::add_moments). Mean and variance of each padded channel of z follow.
    pub(in crate::cpu) fn measure<'a>(
        &mut self,
        isa: Isa,
        filters: &[f32],
        parts: impl Iterator<Item = Part<'a>> + Clone + Sync,
    ) -> (&[f64], &[f64]) {
        let channels = self.mean.len();
        let n = parts.clone().map(|(rows, ..)| rows).sum::<usize>() as f64;
        for (channel, mean) in self.mean.iter_mut().enumerate() {
            let sums = parts.clone().map(|(rows, around, sums)| {
                rows as f64 * f64::from(around[channel]) + sums[channel]
            });
            *mean = sums.sum::<f64>() / n;
        }
        let mean = &self.mean;
        let rows = self.covariance.par_chunks_exact_mut(channels).enumerate();
        rows.for_each(|(one, row)| {
            row.fill(0.0);
            for (rows, around, sums) in parts.clone() {
                let rows = rows as f64;
                let (sums, products) = sums.split_at(stride(channels));
                // From the mean of all to that of the part.
                let away = |channel: usize| {
                    f64::from(around[channel]) + sums[channel] / rows - mean[channel]
                };
                let (own, from_all) = (sums[one] / rows, rows * away(one));
                for (other, covariance) in row.iter_mut().enumerate() {
                    let at = (other / LANES * channels + one) * LANES + other % LANES;
                    let product = products[at] - own * sums[other] + from_all * away(other);
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
        let strips = self.spread.par_chunks_exact_mut(strip).zip(filters);
        strips.zip(sums).for_each(|((spread, filters), sums)| {
            let (spread, _) = spread.as_chunks_mut::<LANES>();
            let (filters, _) = filters.as_chunks::<LANES>();
            isa.run_loops(
                #[inline(always)]
                || {
                    for (spread, row) in spread.iter_mut().zip(covariance.chunks_exact(channels)) {
                        *spread = [0.0; LANES];
                        for (filters, covariance) in filters.iter().zip(row) {
                            for i in 0..LANES {
                                spread[i] += f64::from(filters[i]) * covariance;
                            }
                        }
                    }
                    sums.0.fill(0.0);
                    sums.1.fill(0.0);
                    for ((filters, spread), mean) in filters.iter().zip(&*spread).zip(mean) {
                        for i in 0..LANES {
                            sums.0[i] += f64::from(filters[i]) * mean;
                            sums.1[i] += f64::from(filters[i]) * spread[i];
                        }
                    }
                },
            );
        });
        (means, variances)
    }

    /// Takes what the normalisation has made of the statistics of [`Expansion::measure`].
    pub(in crate::cpu) fn follow(&mut self, normal: &Normal, filters: &[f32]) {
        let strips = filters.chunks_exact(self.mean.len() * LANES);
        for (number, (bias, filters)) in self.bias.chunks_mut(LANES).zip(strips).enumerate() {
            let (slope, shift) = (lanes(&normal.slope, number), lanes(&normal.shift, number));
            for (i, bias) in bias.iter_mut().enumerate() {
                // Filters as they are prepared, so that what is rounded there has no mean here.
                let rows = filters.as_chunks::<LANES>().0.iter().zip(&self.mean);
                let means = rows.map(|(filters, mean)| f64::from(filters[i] * slope[i]) * mean);
                *bias = (f64::from(shift[i]) - means.sum::<f64>()) as f32;
            }
        }
    }

    /// Where Σ g xᵀ is summed up, 0 again.
    pub(in crate::cpu) fn products(&mut self) -> &mut Lines {
        self.products.fill(0.0);
        &mut self.products
    }

    /// Takes Σ g of some images, by padded channel.
    pub(in crate::cpu) fn take<'a>(&mut self, parts: impl Iterator<Item = &'a [f64]>) {
        // What is in the padding does not matter.
        let sums = &mut self.sums[..self.bias.len()];
        sums.fill(0.0);
        for part in parts {
            sums.iter_mut()
                .zip(part)
                .for_each(|(sum, part)| *sum += part);
        }
    }

    /// Σ g, and Σ g (z − mean(z)), behind each other; all of Σ g xᵀ has been summed up.
    pub(in crate::cpu) fn sums(&mut self, filters: &[f32]) -> &[f64] {
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

    /// Adds to dW, and makes M and the offset, when the normalisation knows the sums of all `rows`.
    pub(in crate::cpu) fn differentiate(
        &mut self,
        (isa, rows): (Isa, usize),
        normal: &Normal,
        filters: &[f32],
        dw: &mut [f32],
    ) {
        self.add_to_filters((isa, rows), normal, dw);
        let strip = self.mean.len() * LANES;
        let own = Own {
            normal,
            filters,
            mean: &self.mean,
        };
        let correction = self.correction.par_chunks_exact_mut(strip).enumerate();
        let parts = correction.zip(self.offset.par_chunks_mut(LANES));
        parts.for_each(|((number, correction), offset)| {
            isa.run_loops(
                #[inline(always)]
                || own.correct(number, correction.as_chunks_mut().0, offset),
            );
        });
    }

    /// dW += slope (P′ − linear n W C).
    fn add_to_filters(&self, (isa, rows): (Isa, usize), normal: &Normal, dw: &mut [f32]) {
        let strip = self.mean.len() * LANES;
        let made = self.products.par_chunks_exact(strip);
        let made = made.zip(self.spread.par_chunks_exact(strip)).enumerate();
        let parts = dw.par_chunks_exact_mut(strip).zip(made);
        parts.for_each(|(dw, (number, (products, spread)))| {
            let (slope, linear) = (lanes(&normal.slope, number), lanes(&normal.linear, number));
            let sums = lanes(&self.sums, number);
            let width = LANES.min(self.bias.len() - number * LANES);
            let (dw, _) = dw.as_chunks_mut::<LANES>();
            let (products, _) = products.as_chunks::<LANES>();
            let (spread, _) = spread.as_chunks::<LANES>();
            isa.run_loops(
                #[inline(always)]
                || {
                    let made = products.iter().zip(spread).zip(&self.mean);
                    for (dw, ((products, spread), mean)) in dw.iter_mut().zip(made) {
                        for i in 0..width {
                            let product = f64::from(products[i]) - sums[i] * mean;
                            let own = f64::from(linear[i]) * rows as f64 * spread[i];
                            dw[i] += (f64::from(slope[i]) * (product - own)) as f32;
                        }
                    }
                },
            );
        });
    }
}

/// What M and the offset are made of.
struct Own<'a> {
    normal: &'a Normal,
    filters: &'a [f32],
    mean: &'a [f64],
}

impl Own<'_> {
    /// A strip of M, by channel of x: M = −Wᵀ slope linear W; and of the offset: −Wᵀ slope constant − M mean(x).
    #[inline(always)]
    fn correct(&self, number: usize, strip: &mut [[f32; LANES]], offset: &mut [f32]) {
        let normal = self.normal;
        let strips = || {
            self.filters
                .chunks_exact(self.mean.len() * LANES)
                .enumerate()
        };
        for (at, offset) in offset.iter_mut().enumerate() {
            let own = number * LANES + at;
            let mut all = 0.0;
            for (number, filters) in strips() {
                let (own, slope) = (lanes(filters, own), lanes(&normal.slope, number));
                let constant = lanes(&normal.constant, number);
                for i in 0..LANES {
                    all += f64::from(own[i] * slope[i]) * f64::from(constant[i]);
                }
            }
            for (other, (strip, mean)) in strip.iter_mut().zip(self.mean).enumerate() {
                let mut products = [0.0; LANES];
                for (number, filters) in strips() {
                    let (own, other) = (lanes(filters, own), lanes(filters, other));
                    let (slope, linear) =
                        (lanes(&normal.slope, number), lanes(&normal.linear, number));
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
