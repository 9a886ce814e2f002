//! Batch normalisation with the activation behind it, in two passes each way: one that sums, one
//! that computes.

use rayon::prelude::*;

use super::activation::{Function, gradient, value};
use super::isa::Isa;
use super::layout::{LANES, stride};

/// What a normalisation multiplies and adds, by padded channel. With x̂ = (x − mean) · scale, it is
/// y = (x − mean) · slope + shift, slope = scale · γ, shift = β; all 0 in the padding.
#[derive(Debug, Default)]
pub(super) struct Normal {
    pub(super) mean: Vec<f32>,
    pub(super) scale: Vec<f32>,
    pub(super) slope: Vec<f32>,
    pub(super) shift: Vec<f32>,
    /// Factors of the gradient, see [`differentiate`].
    constant: Vec<f32>,
    linear: Vec<f32>,
    /// A pair of sums for each part and channel.
    sums: Vec<f64>,
}

/// γ and β, or their gradients.
pub(super) type Pair<'a> = (&'a [f32], &'a [f32]);

impl Normal {
    pub(super) fn new(channels: usize) -> Normal {
        let zeros = || vec![0.0; stride(channels)];
        Normal {
            mean: zeros(),
            scale: zeros(),
            slope: zeros(),
            shift: zeros(),
            constant: zeros(),
            linear: zeros(),
            sums: vec![0.0; PARTS * 2 * stride(channels)],
        }
    }

    /// Takes the running statistics.
    pub(super) fn take(&mut self, running: Pair<'_>, affine: Pair<'_>, epsilon: f64) {
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

    /// Takes the statistics of a batch, and moves the running ones by `momentum` towards its mean
    /// and unbiased variance.
    pub(super) fn measure(
        &mut self,
        isa: Isa,
        x: &[f32],
        affine: Pair<'_>,
        (epsilon, momentum): (f64, f64),
        running: (&mut [f32], &mut [f32]),
    ) {
        let stride = self.mean.len();
        let rows = x.len() / stride;
        // Sums of differences from the first row: squares of large means would cancel.
        let around = &x[..stride];
        let sums = &mut self.sums;
        in_parts(
            isa,
            sums,
            stride,
            rows,
            #[inline(always)]
            |rows, sums| {
                let x = &x[rows.start * stride..rows.end * stride];
                for (channel, sums) in sums.chunks_exact_mut(2 * LANES).enumerate() {
                    let at = channel * LANES;
                    let around = lanes(&around[at..]);
                    let (mut sum, mut square) = ([0.0; LANES], [0.0; LANES]);
                    for row in x.chunks_exact(stride) {
                        let x = lanes(&row[at..]);
                        for i in 0..LANES {
                            let x = x[i] - around[i];
                            sum[i] += x;
                            square[i] += x * x;
                        }
                    }
                    for i in 0..LANES {
                        sums[i] += f64::from(sum[i]);
                        sums[LANES + i] += f64::from(square[i]);
                    }
                }
            },
        );
        let n = rows as f64;
        for (channel, around) in around.iter().enumerate().take(affine.0.len()) {
            let (sum, square) = total(&self.sums, stride, channel);
            let mean = f64::from(*around) + sum / n;
            let squares = square - sum * sum / n;
            // Below 0 by rounding only; NaN stays.
            let squares = if squares < 0.0 { 0.0 } else { squares };
            let follow = |running: &mut f32, now: f64| {
                let before = f64::from(*running);
                *running = (before + momentum * (now - before)) as f32;
            };
            follow(&mut running.0[channel], mean);
            follow(&mut running.1[channel], squares / (n - 1.0));
            self.set(channel, mean, 1.0 / (squares / n + epsilon).sqrt(), affine);
        }
    }

    /// y = f((x − mean) · slope + shift).
    pub(super) fn apply(&self, isa: Isa, function: Function, x: &[f32], y: &mut [f32]) {
        let stride = self.mean.len();
        // One length for all: no bound is checked in the loop.
        let (mean, slope, shift) = (
            &self.mean[..stride],
            &self.slope[..stride],
            &self.shift[..stride],
        );
        each_chunk(stride, y, |at, y| {
            let x = &x[at..][..y.len()];
            isa.run_loops(
                #[inline(always)]
                || {
                    function.specialised(
                        #[inline(always)]
                        |function| {
                            for (y, x) in y.chunks_exact_mut(stride).zip(x.chunks_exact(stride)) {
                                let (y, x) = (&mut y[..stride], &x[..stride]);
                                for i in 0..stride {
                                    y[i] = value(function, (x[i] - mean[i]) * slope[i] + shift[i]);
                                }
                            }
                        },
                    );
                },
            );
        });
    }

    /// dx, dγ and dβ, given dy. With g = dy · f′, n rows, and sums over them: dβ = Σ g, dγ = Σ g · x̂,
    /// dx = slope · (g − dβ / n − x̂ · dγ / n). `dx` is written, or added to with `add`.
    pub(super) fn differentiate(
        &mut self,
        (isa, function): (Isa, Function),
        (x, dy): Pair<'_>,
        (dx, add): (&mut [f32], bool),
        affine: (&mut [f32], &mut [f32]),
    ) {
        let stride = self.mean.len();
        let rows = x.len() / stride;
        let (mean, slope, shift) = (&self.mean, &self.slope, &self.shift);
        in_parts(
            isa,
            &mut self.sums,
            stride,
            rows,
            #[inline(always)]
            |rows, sums| {
                let range = rows.start * stride..rows.end * stride;
                let (x, dy) = (&x[range.clone()], &dy[range]);
                function.specialised(
                    #[inline(always)]
                    |function| {
                        for (channel, sums) in sums.chunks_exact_mut(2 * LANES).enumerate() {
                            let at = channel * LANES;
                            let (mean, slope) = (lanes(&mean[at..]), lanes(&slope[at..]));
                            let shift = lanes(&shift[at..]);
                            let (mut sum, mut product) = ([0.0; LANES], [0.0; LANES]);
                            for (x, dy) in x.chunks_exact(stride).zip(dy.chunks_exact(stride)) {
                                let (x, dy) = (lanes(&x[at..]), lanes(&dy[at..]));
                                for i in 0..LANES {
                                    let x = x[i] - mean[i];
                                    let g = gradient(function, x * slope[i] + shift[i], dy[i]);
                                    sum[i] += g;
                                    product[i] += g * x;
                                }
                            }
                            for i in 0..LANES {
                                sums[i] += f64::from(sum[i]);
                                sums[LANES + i] += f64::from(product[i]);
                            }
                        }
                    },
                );
            },
        );
        for channel in 0..affine.0.len() {
            let (sum, product) = total(&self.sums, stride, channel);
            let scale = f64::from(self.scale[channel]);
            let product = product * scale;
            affine.0[channel] += product as f32;
            affine.1[channel] += sum as f32;
            self.constant[channel] = (sum / rows as f64) as f32;
            self.linear[channel] = (scale * product / rows as f64) as f32;
        }
        let normal = &*self;
        each_chunk(stride, dx, |at, dx| {
            let (x, dy) = (&x[at..][..dx.len()], &dy[at..][..dx.len()]);
            isa.run_loops(
                #[inline(always)]
                || {
                    function.specialised(
                        #[inline(always)]
                        |function| {
                            let from = x.chunks_exact(stride).zip(dy.chunks_exact(stride));
                            for (dx, (x, dy)) in dx.chunks_exact_mut(stride).zip(from) {
                                normal.input_gradient(function, x, dy, dx, add);
                            }
                        },
                    );
                },
            );
        });
    }

    #[inline(always)]
    fn input_gradient(&self, function: Function, x: &[f32], dy: &[f32], dx: &mut [f32], add: bool) {
        let stride = self.mean.len();
        let (mean, slope, shift) = (
            &self.mean[..stride],
            &self.slope[..stride],
            &self.shift[..stride],
        );
        let (constant, linear) = (&self.constant[..stride], &self.linear[..stride]);
        let (x, dy, dx) = (&x[..stride], &dy[..stride], &mut dx[..stride]);
        for i in 0..stride {
            let x = x[i] - mean[i];
            let g = gradient(function, x * slope[i] + shift[i], dy[i]);
            let now = slope[i] * (g - constant[i] - x * linear[i]);
            dx[i] = if add { dx[i] + now } else { now };
        }
    }
}

/// Parts that sums are cut into: a constant, so that they do not depend on threads.
const PARTS: usize = 16;
/// Rows that are summed in f32 before f64 takes over.
const ROWS: usize = 64;

/// Calls `sum` with rows and the sums of their part, in vectors for all channels: [LANES sums, LANES
/// other sums] for each block of channels.
fn in_parts(
    isa: Isa,
    sums: &mut [f64],
    stride: usize,
    rows: usize,
    sum: impl Fn(std::ops::Range<usize>, &mut [f64]) + Sync,
) {
    let share = rows.div_ceil(PARTS).next_multiple_of(ROWS);
    let parts = sums.par_chunks_exact_mut(2 * stride).enumerate();
    parts.for_each(|(part, sums)| {
        sums.fill(0.0);
        let end = rows.min((part + 1) * share);
        for start in (part * share..end).step_by(ROWS) {
            isa.run_loops(
                #[inline(always)]
                || sum(start..end.min(start + ROWS), sums),
            );
        }
    });
}

/// The two sums of a channel over all parts.
fn total(sums: &[f64], stride: usize, channel: usize) -> (f64, f64) {
    let at = channel / LANES * 2 * LANES + channel % LANES;
    let parts = sums.chunks_exact(2 * stride);
    parts.fold((0.0, 0.0), |(a, b), part| {
        (a + part[at], b + part[at + LANES])
    })
}

/// The first vector of a slice.
#[inline(always)]
pub(super) fn lanes(x: &[f32]) -> &[f32; LANES] {
    x.first_chunk().unwrap_or(&[0.0; LANES])
}

/// Cuts a value into chunks of whole pixels for several threads; `each` is told where its chunk
/// begins.
pub(super) fn each_chunk(stride: usize, y: &mut [f32], each: impl Fn(usize, &mut [f32]) + Sync) {
    let len = (CHUNK / stride).max(1) * stride;
    y.par_chunks_mut(len)
        .enumerate()
        .for_each(|(number, y)| each(number * len, y));
}

/// Numbers that a thread takes at a time.
const CHUNK: usize = 1 << 15;
