//! BatchNorm with the activation that follows it, and with the residual sum between the two where there is one. Forward
//! and backward take two passes each: a reduction over the batch, and an elementwise pass.

use super::activation::{Function, gradient, specialised, value};
use super::destination::Destination;
use super::isa::{Isa, prefetch_ahead};
use super::layout::LANES;
use super::matmul::multiply_add;
use super::statistics::NormCoefficients;
use pulp::{Simd, WithSimd};

impl NormCoefficients {
    /// y = f((x − mean) · slope + shift + shortcut).
    pub(in crate::cpu) fn apply(
        &self,
        isa: Isa,
        function: Function,
        x: &[f32],
        shortcut: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let coefficients = self;
        match shortcut {
            None => isa.run(Apply::<false> {
                coefficients,
                function,
                x,
                shortcut: x,
                y,
            }),
            Some(shortcut) => isa.run(Apply::<true> {
                coefficients,
                function,
                x,
                shortcut,
                y,
            }),
        }
    }

    /// Replaces `dy` by g = dy · f′, and adds Σ g and Σ g · (x − mean) per channel to the two halves of `sums`. f′ is
    /// computed from the output `y` where it is given, as with a shortcut, else from `x`.
    pub(in crate::cpu) fn gradient_sums(
        &self,
        isa: Isa,
        function: Function,
        x: &[f32],
        y: Option<&[f32]>,
        dy: &mut [f32],
        sums: &mut [f64],
    ) {
        let rows = ROWS * self.mean.len();
        let mut values = y.map(|y| y.chunks(rows));
        for (x, dy) in x.chunks(rows).zip(dy.chunks_mut(rows)) {
            let coefficients = self;
            match values.as_mut().and_then(Iterator::next) {
                Some(y) => {
                    let kernel = Gradients::<true> {
                        coefficients,
                        function,
                        x,
                        y,
                        dy,
                    };
                    isa.run(AddRowSums { kernel, sums });
                }
                None => {
                    let kernel = Gradients::<false> {
                        coefficients,
                        function,
                        x,
                        y: x,
                        dy,
                    };
                    isa.run(AddRowSums { kernel, sums });
                }
            }
        }
    }

    /// dx, given g of [`NormCoefficients::gradient_sums`].
    pub(in crate::cpu) fn input_gradient(
        &self,
        isa: Isa,
        x: &[f32],
        g: &[f32],
        dx: Destination<'_>,
    ) {
        let Destination { data: dx, add } = dx;
        isa.run(InputGradient {
            coefficients: self,
            x,
            g,
            dx,
            add,
        });
    }
}

/// Adds Σ (x − pivot) and Σ (x − pivot)² per channel to the two halves of `sums`. The pivot, a number near the mean,
/// avoids the cancellation of Σ x² − n · mean².
pub(in crate::cpu) fn moments(isa: Isa, x: &[f32], pivot: &[f32], sums: &mut [f64]) {
    for x in x.chunks(ROWS * pivot.len()) {
        let kernel = Moments { pivot, x };
        isa.run(AddRowSums { kernel, sums });
    }
}

/// Rows summed in f32 before they are added in f64.
pub(in crate::cpu) const ROWS: usize = 16;

/// A reduction over the rows (pixels) of a block that gives two sums per channel.
pub(in crate::cpu) trait RowSums {
    /// The sums for `N` vectors of channels, of which the first is number `at`.
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2];
}

/// The kernel that adds the two sums of a reduction, for all channels, to the two halves of `sums`.
pub(in crate::cpu) struct AddRowSums<'a, K> {
    pub(in crate::cpu) kernel: K,
    pub(in crate::cpu) sums: &'a mut [f64],
}

impl<K: RowSums> WithSimd for AddRowSums<'_, K> {
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

impl<K: RowSums> AddRowSums<'_, K> {
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

/// Σ (x − pivot) and Σ (x − pivot)².
struct Moments<'a> {
    pivot: &'a [f32],
    x: &'a [f32],
}

impl RowSums for Moments<'_> {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
        let mut sums = [[simd.splat_f32s(0.0); N]; 2];
        let pivot = some::<S, N>(self.pivot, at);
        for x in self.x.chunks_exact(self.pivot.len()) {
            let x = some::<S, N>(x, at);
            for i in 0..N {
                let x = simd.sub_f32s(x[i], pivot[i]);
                sums[0][i] = simd.add_f32s(sums[0][i], x);
                sums[1][i] = multiply_add(simd, x, x, sums[1][i]);
            }
        }
        sums
    }
}

/// Σ g and Σ g · (x − mean), where g = dy · f′ replaces dy. f′ is computed from `y` if `FROM_OUTPUT`, else from `x`.
struct Gradients<'a, const FROM_OUTPUT: bool> {
    coefficients: &'a NormCoefficients,
    function: Function,
    x: &'a [f32],
    y: &'a [f32],
    dy: &'a mut [f32],
}

impl<const FROM_OUTPUT: bool> RowSums for Gradients<'_, FROM_OUTPUT> {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
        let stride = self.coefficients.mean.len();
        let mean = some::<S, N>(&self.coefficients.mean, at);
        let slope = some::<S, N>(&self.coefficients.slope, at);
        let shift = some::<S, N>(&self.coefficients.shift, at);
        let function = self.function;
        let x = self.x.chunks_exact(stride);
        let y = self.y.chunks_exact(stride);
        let rows = x.zip(y).zip(self.dy.chunks_exact_mut(stride));
        specialised!(function => {
            let mut sums = [[simd.splat_f32s(0.0); N]; 2];
            for ((x, y), dy) in rows {
                let (x, y) = (some::<S, N>(x, at), some::<S, N>(y, at));
                let dy = &mut S::as_mut_simd_f32s(dy).0[at..at + N];
                for i in 0..N {
                    let x = simd.sub_f32s(x[i], mean[i]);
                    let g = match function {
                        Function::Identity => dy[i],
                        _ => {
                            let y = if FROM_OUTPUT {
                                y[i]
                            } else {
                                multiply_add(simd, x, slope[i], shift[i])
                            };
                            dy[i] = gradient(simd, function, y, dy[i]);
                            dy[i]
                        }
                    };
                    sums[0][i] = simd.add_f32s(sums[0][i], g);
                    sums[1][i] = multiply_add(simd, g, x, sums[1][i]);
                }
            }
            sums
        })
    }
}

/// `N` vectors of a row of channels, of which the first is number `at`.
#[inline(always)]
pub(in crate::cpu) fn some<S: Simd, const N: usize>(row: &[f32], at: usize) -> [S::f32s; N] {
    let row = &S::as_simd_f32s(row).0[at..at + N];
    std::array::from_fn(|i| row[i])
}

/// y = f((x − mean) · slope + shift), where `SUM` with the shortcut added inside f.
struct Apply<'a, const SUM: bool> {
    coefficients: &'a NormCoefficients,
    function: Function,
    x: &'a [f32],
    shortcut: &'a [f32],
    y: &'a mut [f32],
}

impl<const SUM: bool> WithSimd for Apply<'_, SUM> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (mean, slope, shift) = (
            S::as_simd_f32s(&self.coefficients.mean).0,
            S::as_simd_f32s(&self.coefficients.slope).0,
            S::as_simd_f32s(&self.coefficients.shift).0,
        );
        let vectors = mean.len();
        let (slope, shift) = (&slope[..vectors], &shift[..vectors]);
        let function = self.function;
        let x = S::as_simd_f32s(self.x).0.chunks_exact(vectors);
        let shortcut = S::as_simd_f32s(self.shortcut).0.chunks_exact(vectors);
        let y = S::as_mut_simd_f32s(self.y).0.chunks_exact_mut(vectors);
        specialised!(function => for (y, (x, shortcut)) in y.zip(x.zip(shortcut)) {
            for i in 0..vectors {
                prefetch_ahead(simd, &x[i]);
                let x = simd.sub_f32s(x[i], mean[i]);
                let mut inner = multiply_add(simd, x, slope[i], shift[i]);
                if SUM {
                    prefetch_ahead(simd, &shortcut[i]);
                    inner = simd.add_f32s(inner, shortcut[i]);
                }
                y[i] = value(simd, function, inner);
            }
        });
    }
}

/// dx = slope · (g − constant − (x − mean) · linear).
struct InputGradient<'a> {
    coefficients: &'a NormCoefficients,
    x: &'a [f32],
    g: &'a [f32],
    dx: &'a mut [f32],
    add: bool,
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = self.coefficients.mean.len() / S::F32_LANES;
        let all = |x| &S::as_simd_f32s(x).0[..vectors];
        let coefficients = self.coefficients;
        let (mean, slope) = (all(&coefficients.mean), all(&coefficients.slope));
        let (constant, linear) = (all(&coefficients.constant), all(&coefficients.linear));
        let x = S::as_simd_f32s(self.x).0.chunks_exact(vectors);
        let g = S::as_simd_f32s(self.g).0.chunks_exact(vectors);
        let dx = S::as_mut_simd_f32s(self.dx).0.chunks_exact_mut(vectors);
        for (dx, (x, g)) in dx.zip(x.zip(g)) {
            for i in 0..vectors {
                prefetch_ahead(simd, &x[i]);
                prefetch_ahead(simd, &g[i]);
                let x = simd.sub_f32s(x[i], mean[i]);
                let g = simd.sub_f32s(g[i], constant[i]);
                let g = simd.sub_f32s(g, simd.mul_f32s(x, linear[i]));
                dx[i] = if self.add {
                    multiply_add(simd, slope[i], g, dx[i])
                } else {
                    simd.mul_f32s(slope[i], g)
                };
            }
        }
    }
}

/// The first [`LANES`] elements of a slice.
#[inline(always)]
pub(in crate::cpu) fn lanes(x: &[f32]) -> &[f32; LANES] {
    x.first_chunk().unwrap_or(&[0.0; LANES])
}
