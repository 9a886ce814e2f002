//! Batch normalisation with the activation behind it, and the sum between them where there is one, in two passes each way: one that sums, one
//! that computes.

use super::activation::{Function, gradient, specialised, value};
use super::isa::{Isa, fetch_ahead};
use super::layout::LANES;
use super::multiply::multiply_add;
use super::statistics::Normal;
use pulp::{Simd, WithSimd};

impl Normal {
    /// y = f((x − mean) · slope + shift + shortcut).
    pub(in crate::cpu) fn apply(
        &self,
        isa: Isa,
        function: Function,
        x: &[f32],
        shortcut: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let normal = self;
        match shortcut {
            None => isa.run(Apply::<false> {
                normal,
                function,
                x,
                shortcut: x,
                y,
            }),
            Some(shortcut) => isa.run(Apply::<true> {
                normal,
                function,
                x,
                shortcut,
                y,
            }),
        }
    }

    /// Turns dy into g = dy · f′, and adds Σ g and Σ g · (x − mean) to `sums`. With a shortcut `y` is f's value,
    /// from which f′ follows.
    pub(in crate::cpu) fn gradients(
        &self,
        (isa, function): (Isa, Function),
        (x, y): (&[f32], Option<&[f32]>),
        dy: &mut [f32],
        sums: &mut [f64],
    ) {
        let rows = ROWS * self.mean.len();
        let mut values = y.map(|y| y.chunks(rows));
        for (x, dy) in x.chunks(rows).zip(dy.chunks_mut(rows)) {
            let normal = self;
            match values.as_mut().and_then(Iterator::next) {
                Some(y) => {
                    let kernel = Gradients::<true> {
                        normal,
                        function,
                        x,
                        y,
                        dy,
                    };
                    isa.run(Rows { kernel, sums });
                }
                None => {
                    let kernel = Gradients::<false> {
                        normal,
                        function,
                        x,
                        y: x,
                        dy,
                    };
                    isa.run(Rows { kernel, sums });
                }
            }
        }
    }

    /// dx, given g, or added to it.
    pub(in crate::cpu) fn input_gradient(
        &self,
        isa: Isa,
        x: &[f32],
        g: &[f32],
        (dx, add): (&mut [f32], bool),
    ) {
        isa.run(InputGradient {
            normal: self,
            x,
            g,
            dx,
            add,
        });
    }
}

/// Adds Σ (x − around) and the sum of its square over rows to `sums`: squares of large means would
/// cancel.
pub(in crate::cpu) fn moments(isa: Isa, x: &[f32], around: &[f32], sums: &mut [f64]) {
    for x in x.chunks(ROWS * around.len()) {
        let kernel = Moments { around, x };
        isa.run(Rows { kernel, sums });
    }
}

/// Rows that are summed in f32 before f64 takes over.
pub(in crate::cpu) const ROWS: usize = 16;

/// Two sums over the rows of a block.
pub(in crate::cpu) trait Sum {
    /// For `N` vectors of channels, of which the first is number `at`.
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2];
}

/// Adds the sums of a block's rows, all channels, to those of the part.
pub(in crate::cpu) struct Rows<'a, K> {
    pub(in crate::cpu) kernel: K,
    pub(in crate::cpu) sums: &'a mut [f64],
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
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
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

/// Σ g and Σ g · (x − mean); g takes the place of dy. `GIVEN`: f′ follows from y.
struct Gradients<'a, const GIVEN: bool> {
    normal: &'a Normal,
    function: Function,
    x: &'a [f32],
    y: &'a [f32],
    dy: &'a mut [f32],
}

impl<const GIVEN: bool> Sum for Gradients<'_, GIVEN> {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
        let stride = self.normal.mean.len();
        let mean = some::<S, N>(&self.normal.mean, at);
        let slope = some::<S, N>(&self.normal.slope, at);
        let shift = some::<S, N>(&self.normal.shift, at);
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
                            let y = match GIVEN {
                                true => y[i],
                                false => multiply_add(simd, x, slope[i], shift[i]),
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

/// Vectors of a row of channels, from number `at` on.
#[inline(always)]
pub(in crate::cpu) fn some<S: Simd, const N: usize>(row: &[f32], at: usize) -> [S::f32s; N] {
    let row = &S::as_simd_f32s(row).0[at..at + N];
    std::array::from_fn(|i| row[i])
}

/// y = f((x − mean) · slope + shift), or with the shortcut, `SUM`, inside f.
struct Apply<'a, const SUM: bool> {
    normal: &'a Normal,
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
            S::as_simd_f32s(&self.normal.mean).0,
            S::as_simd_f32s(&self.normal.slope).0,
            S::as_simd_f32s(&self.normal.shift).0,
        );
        let vectors = mean.len();
        let (slope, shift) = (&slope[..vectors], &shift[..vectors]);
        let function = self.function;
        let x = S::as_simd_f32s(self.x).0.chunks_exact(vectors);
        let shortcut = S::as_simd_f32s(self.shortcut).0.chunks_exact(vectors);
        let y = S::as_mut_simd_f32s(self.y).0.chunks_exact_mut(vectors);
        specialised!(function => for (y, (x, shortcut)) in y.zip(x.zip(shortcut)) {
            for i in 0..vectors {
                fetch_ahead(simd, &x[i]);
                let x = simd.sub_f32s(x[i], mean[i]);
                let mut inner = multiply_add(simd, x, slope[i], shift[i]);
                if SUM {
                    fetch_ahead(simd, &shortcut[i]);
                    inner = simd.add_f32s(inner, shortcut[i]);
                }
                y[i] = value(simd, function, inner);
            }
        });
    }
}

/// dx = slope · (g − constant − (x − mean) · linear).
struct InputGradient<'a> {
    normal: &'a Normal,
    x: &'a [f32],
    g: &'a [f32],
    dx: &'a mut [f32],
    add: bool,
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = self.normal.mean.len() / S::F32_LANES;
        let all = |x| &S::as_simd_f32s(x).0[..vectors];
        let normal = self.normal;
        let (mean, slope) = (all(&normal.mean), all(&normal.slope));
        let (constant, linear) = (all(&normal.constant), all(&normal.linear));
        let x = S::as_simd_f32s(self.x).0.chunks_exact(vectors);
        let g = S::as_simd_f32s(self.g).0.chunks_exact(vectors);
        let dx = S::as_mut_simd_f32s(self.dx).0.chunks_exact_mut(vectors);
        for (dx, (x, g)) in dx.zip(x.zip(g)) {
            for i in 0..vectors {
                fetch_ahead(simd, &x[i]);
                fetch_ahead(simd, &g[i]);
                let x = simd.sub_f32s(x[i], mean[i]);
                let g = simd.sub_f32s(g[i], constant[i]);
                let g = simd.sub_f32s(g, simd.mul_f32s(x, linear[i]));
                dx[i] = match self.add {
                    true => multiply_add(simd, slope[i], g, dx[i]),
                    false => simd.mul_f32s(slope[i], g),
                };
            }
        }
    }
}

/// The first vector of a slice.
#[inline(always)]
pub(in crate::cpu) fn lanes(x: &[f32]) -> &[f32; LANES] {
    x.first_chunk().unwrap_or(&[0.0; LANES])
}
