//! Batch normalisation with the activation behind it, in two passes each way: one that sums, one
//! that computes.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::activation::{Function, gradient, specialised, value};
use super::isa::Isa;
use super::layout::{LANES, stride};
use super::multiply::multiply_add;

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
    /// For each part the sums of all channels, and then the other sums.
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

    /// Bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        let rows = [&self.mean, &self.scale, &self.slope, &self.shift];
        let rows = rows.into_iter().chain([&self.constant, &self.linear]);
        rows.map(|row| size_of_val(&row[..])).sum::<usize>() + size_of_val(&self.sums[..])
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
        sum_up(isa, &mut self.sums, stride, rows, |rows| Moments {
            around,
            x: &x[rows.start * stride..rows.end * stride],
        });
        let n = rows as f64;
        for (channel, around) in around.iter().enumerate().take(affine.0.len()) {
            let (sum, square) = (self.sums[channel], self.sums[stride + channel]);
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
        each_chunk(self.mean.len(), y, |at, y| {
            isa.run(Apply {
                normal: self,
                function,
                x: &x[at..][..y.len()],
                y,
            });
        });
    }

    /// dx, dγ and dβ, given dy. With g = dy · f′, n rows, and sums over them: dβ = Σ g, dγ = Σ g · x̂,
    /// dx = slope · (g − dβ / n − x̂ · dγ / n).
    pub(super) fn differentiate(
        &mut self,
        (isa, function): (Isa, Function),
        x: &[f32],
        gradients: Into<'_>,
        affine: (&mut [f32], &mut [f32]),
    ) {
        let dy = gradients.dy();
        let stride = self.mean.len();
        let rows = x.len() / stride;
        let mut sums = std::mem::take(&mut self.sums);
        sum_up(isa, &mut sums, stride, rows, |rows| {
            let range = rows.start * stride..rows.end * stride;
            Gradients {
                normal: &*self,
                function,
                x: &x[range.clone()],
                dy: &dy[range],
            }
        });
        self.sums = sums;
        for channel in 0..affine.0.len() {
            let (sum, product) = (self.sums[channel], self.sums[stride + channel]);
            let scale = f64::from(self.scale[channel]);
            let product = product * scale;
            affine.0[channel] += product as f32;
            affine.1[channel] += sum as f32;
            self.constant[channel] = (sum / rows as f64) as f32;
            self.linear[channel] = (scale * product / rows as f64) as f32;
        }
        let normal = &*self;
        gradients.each_chunk(stride, |at, kernel| {
            let x = &x[at..][..kernel.len()];
            isa.run(InputGradient {
                normal,
                function,
                x,
                into: kernel,
            });
        });
    }
}

/// Parts that sums are cut into at most.
const PARTS: usize = 16;
/// Rows that are summed in f32 before f64 takes over.
const ROWS: usize = 64;

/// Two sums over rows for each channel, into the first two strides of `sums`. They are cut into parts
/// that depend on sizes alone.
fn sum_up<K: Sum>(
    isa: Isa,
    sums: &mut [f64],
    stride: usize,
    rows: usize,
    kernel: impl Fn(std::ops::Range<usize>) -> K + Sync,
) {
    let share = rows.div_ceil(PARTS).next_multiple_of(ROWS);
    let sums = &mut sums[..rows.div_ceil(share) * 2 * stride];
    let parts = sums.par_chunks_exact_mut(2 * stride).enumerate();
    parts.for_each(|(part, sums)| {
        sums.fill(0.0);
        let end = rows.min((part + 1) * share);
        for start in (part * share..end).step_by(ROWS) {
            let kernel = kernel(start..end.min(start + ROWS));
            isa.run(Rows { kernel, sums });
        }
    });
    let (first, rest) = sums.split_at_mut(2 * stride);
    for part in rest.chunks_exact(2 * stride) {
        first
            .iter_mut()
            .zip(part)
            .for_each(|(sum, part)| *sum += part);
    }
}

/// Two sums over the rows of a block.
trait Sum {
    /// For `N` vectors of channels, of which the first is number `at`.
    fn sums<S: Simd, const N: usize>(&self, simd: S, at: usize) -> [[S::f32s; N]; 2];
}

/// Adds the sums of a block's rows, all channels, to those of the part.
struct Rows<'a, K> {
    kernel: K,
    sums: &'a mut [f64],
}

impl<K: Sum> WithSimd for Rows<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = self.sums.len() / 2 / S::F32_LANES;
        let mut at = 0;
        while at < vectors {
            match vectors - at {
                1 => at += self.some::<S, 1>(simd, at),
                2 | 3 => at += self.some::<S, 2>(simd, at),
                _ => at += self.some::<S, 4>(simd, at),
            }
        }
    }
}

impl<K: Sum> Rows<'_, K> {
    #[inline(always)]
    fn some<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> usize {
        let sums = self.kernel.sums::<S, N>(simd, at);
        let (first, second) = self.sums.split_at_mut(self.sums.len() / 2);
        for (to, sums) in [first, second].into_iter().zip(sums) {
            let to = to[at * S::F32_LANES..].chunks_exact_mut(S::F32_LANES);
            for (to, sums) in to.zip(sums) {
                let mut lanes = [0.0_f32; LANES];
                simd.partial_store_f32s(&mut lanes[..S::F32_LANES], sums);
                to.iter_mut()
                    .zip(lanes)
                    .for_each(|(to, sum)| *to += f64::from(sum));
            }
        }
        N
    }
}

/// Σ (x − around) and its square.
struct Moments<'a> {
    around: &'a [f32],
    x: &'a [f32],
}

impl Sum for Moments<'_> {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
        let mut sums = [[simd.splat_f32s(0.0); N]; 2];
        let around = some::<S, N>(self.around, at);
        for x in self.x.chunks_exact(self.around.len()) {
            let x = some::<S, N>(x, at);
            for i in 0..N {
                let x = simd.sub_f32s(x[i], around[i]);
                sums[0][i] = simd.add_f32s(sums[0][i], x);
                sums[1][i] = multiply_add(simd, x, x, sums[1][i]);
            }
        }
        sums
    }
}

/// Σ g and Σ g · (x − mean).
struct Gradients<'a> {
    normal: &'a Normal,
    function: Function,
    x: &'a [f32],
    dy: &'a [f32],
}

impl Sum for Gradients<'_> {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
        let stride = self.normal.mean.len();
        let mean = some::<S, N>(&self.normal.mean, at);
        let slope = some::<S, N>(&self.normal.slope, at);
        let shift = some::<S, N>(&self.normal.shift, at);
        let function = self.function;
        specialised!(function => {
            let mut sums = [[simd.splat_f32s(0.0); N]; 2];
            for (x, dy) in self.x.chunks_exact(stride).zip(self.dy.chunks_exact(stride)) {
                let (x, dy) = (some::<S, N>(x, at), some::<S, N>(dy, at));
                for i in 0..N {
                    let x = simd.sub_f32s(x[i], mean[i]);
                    let y = multiply_add(simd, x, slope[i], shift[i]);
                    let g = gradient(simd, function, y, dy[i]);
                    sums[0][i] = simd.add_f32s(sums[0][i], g);
                    sums[1][i] = multiply_add(simd, g, x, sums[1][i]);
                }
            }
            sums
        })
    }
}

/// Vectors of a row of channels, from number `at` on.
#[inline(always)]
fn some<S: Simd, const N: usize>(row: &[f32], at: usize) -> [S::f32s; N] {
    let row = &S::as_simd_f32s(row).0[at..at + N];
    std::array::from_fn(|i| row[i])
}

/// y = f((x − mean) · slope + shift).
struct Apply<'a> {
    normal: &'a Normal,
    function: Function,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (mean, slope, shift) = (
            S::as_simd_f32s(&self.normal.mean).0,
            S::as_simd_f32s(&self.normal.slope).0,
            S::as_simd_f32s(&self.normal.shift).0,
        );
        let vectors = mean.len();
        let (slope, shift) = (&slope[..vectors], &shift[..vectors]);
        let function = self.function;
        let x = S::as_simd_f32s(self.x).0.chunks_exact(vectors);
        let y = S::as_mut_simd_f32s(self.y).0.chunks_exact_mut(vectors);
        specialised!(function => for (y, x) in y.zip(x) {
            for i in 0..vectors {
                let x = simd.sub_f32s(x[i], mean[i]);
                y[i] = value(simd, function, multiply_add(simd, x, slope[i], shift[i]));
            }
        });
    }
}

/// dx = slope · (g − constant − (x − mean) · linear).
struct InputGradient<'a> {
    normal: &'a Normal,
    function: Function,
    x: &'a [f32],
    into: Into<'a>,
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = self.normal.mean.len() / S::F32_LANES;
        let all = |x| &S::as_simd_f32s(x).0[..vectors];
        let normal = self.normal;
        let (mean, slope, shift) = (all(&normal.mean), all(&normal.slope), all(&normal.shift));
        let (constant, linear) = (all(&normal.constant), all(&normal.linear));
        let function = self.function;
        let x = S::as_simd_f32s(self.x).0.chunks_exact(vectors);
        specialised!(function => {
            let factors = |i: usize| [mean[i], slope[i], shift[i], constant[i], linear[i]];
            match self.into {
                Into::Same(dx) => {
                    let dx = S::as_mut_simd_f32s(dx).0.chunks_exact_mut(vectors);
                    for (dx, x) in dx.zip(x) {
                        for i in 0..vectors {
                            let g = centred(simd, function, (x[i], dx[i]), factors(i));
                            dx[i] = simd.mul_f32s(slope[i], g);
                        }
                    }
                }
                Into::Other { dy, dx, add } => {
                    let dy = S::as_simd_f32s(dy).0.chunks_exact(vectors);
                    let dx = S::as_mut_simd_f32s(dx).0.chunks_exact_mut(vectors);
                    for (dx, (x, dy)) in dx.zip(x.zip(dy)) {
                        for i in 0..vectors {
                            let g = centred(simd, function, (x[i], dy[i]), factors(i));
                            dx[i] = match add {
                                true => multiply_add(simd, slope[i], g, dx[i]),
                                false => simd.mul_f32s(slope[i], g),
                            };
                        }
                    }
                }
            }
        });
    }
}

/// g − constant − (x − mean) · linear.
#[inline(always)]
fn centred<S: Simd>(
    simd: S,
    function: Function,
    (x, dy): (S::f32s, S::f32s),
    [mean, slope, shift, constant, linear]: [S::f32s; 5],
) -> S::f32s {
    let x = simd.sub_f32s(x, mean);
    let g = gradient(simd, function, multiply_add(simd, x, slope, shift), dy);
    simd.sub_f32s(simd.sub_f32s(g, constant), simd.mul_f32s(x, linear))
}

/// Where the gradient of an output is, and where that of the input goes.
pub(super) enum Into<'a> {
    /// In its place.
    Same(&'a mut [f32]),
    /// Elsewhere, written or added.
    Other {
        dy: &'a [f32],
        dx: &'a mut [f32],
        add: bool,
    },
}

impl Into<'_> {
    /// The gradient of the output.
    fn dy(&self) -> &[f32] {
        match self {
            Into::Same(dy) => dy,
            Into::Other { dy, .. } => dy,
        }
    }

    /// Numbers.
    pub(super) fn len(&self) -> usize {
        self.dy().len()
    }

    /// Cuts it as [`each_chunk`] does.
    pub(super) fn each_chunk(self, stride: usize, each: impl Fn(usize, Into<'_>) + Sync) {
        match self {
            Into::Same(dx) => each_chunk(stride, dx, |at, dx| each(at, Into::Same(dx))),
            Into::Other { dy, dx, add } => each_chunk(stride, dx, |at, dx| {
                let dy = &dy[at..][..dx.len()];
                each(at, Into::Other { dy, dx, add });
            }),
        }
    }
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
