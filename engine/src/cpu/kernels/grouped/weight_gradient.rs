//! The filter gradient of a grouped convolution.

use pulp::{Simd, WithSimd};

use super::pixel_runs::{PixelRun, PixelRuns, TAPS, TapOffset};
use super::tap_rows::{TapRows, add_products};
use super::{filter_offset, vectors_per_strip};
use crate::cpu::kernels::convolution::Phase;
use crate::cpu::kernels::isa::{Isa, swap_lanes};
use crate::cpu::kernels::layout::{padded_len, pixel_stride};
use crate::cpu::kernels::matmul::multiply_add;
use crate::net::Shape;

/// dw += Σ x · dy over the pixels of some images, for each tap; dw is in
/// [`GroupedFilterLayout`](super::GroupedFilterLayout).
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct WeightGradient<'a> {
    /// The phase of [`Phase::forward`].
    pub(in crate::cpu) phase: &'a Phase,
    /// Shape of one image of x.
    pub(in crate::cpu) input: Shape,
    /// Shape of one image of dy.
    pub(in crate::cpu) output: Shape,
    /// Channels per group.
    pub(in crate::cpu) width: usize,
}

impl WeightGradient<'_> {
    /// Adds the gradient of some images to `dw`.
    pub(in crate::cpu) fn add(self, isa: Isa, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let gradient = self;
        isa.run(Kernel {
            gradient,
            x,
            dy,
            dw,
        });
    }
}

/// The vector kernel of [`WeightGradient`].
struct Kernel<'a> {
    gradient: WeightGradient<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let WeightGradient {
            phase,
            input,
            output,
            width,
        } = self.gradient;
        let vectors = pixel_stride(output.channels) / S::F32_LANES;
        let images = self.dy.len() / padded_len(output);
        let rows = TapRows::of(phase).filter(|_| width == 1);
        for taps in phase.taps.chunks(TAPS) {
            let runs = PixelRuns {
                phase,
                taps,
                source: input,
                result: output,
                vectors,
                width,
                images,
                rows,
            };
            runs.for_each(
                #[inline(always)]
                |run| match run.rows {
                    Some(TapRows::Three) => self.line::<S, 4, 3, 1>(simd, &run, vectors),
                    Some(TapRows::ThreeByTwo) => self.line::<S, 4, 3, 2>(simd, &run, vectors),
                    Some(TapRows::Five) => self.line::<S, 2, 5, 1>(simd, &run, vectors),
                    Some(TapRows::FiveByTwo) => self.line::<S, 2, 5, 2>(simd, &run, vectors),
                    None => self.run(simd, &run, vectors),
                },
            );
        }
    }
}

impl Kernel<'_> {
    /// Adds the products of a run, any taps.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, run: &PixelRun<'_>, vectors: usize) {
        for channel in 0..vectors {
            let taps = run.taps;
            // The number of sums follows from the number of registers.
            match (self.gradient.width, S::F32_LANES) {
                (1, _) => {
                    let taps = self.taps::<S, 6, 2, 1>(simd, run, taps, channel);
                    let taps = self.taps::<S, 4, 2, 1>(simd, run, taps, channel);
                    let taps = self.taps::<S, 3, 2, 1>(simd, run, taps, channel);
                    let taps = self.taps::<S, 2, 2, 1>(simd, run, taps, channel);
                    self.taps::<S, 1, 2, 1>(simd, run, taps, channel);
                }
                (2, _) => {
                    let taps = self.taps::<S, 6, 1, 2>(simd, run, taps, channel);
                    let taps = self.taps::<S, 3, 1, 2>(simd, run, taps, channel);
                    self.taps::<S, 1, 2, 2>(simd, run, taps, channel);
                }
                (4, _) => {
                    let taps = self.taps::<S, 3, 1, 4>(simd, run, taps, channel);
                    self.taps::<S, 1, 2, 4>(simd, run, taps, channel);
                }
                (_, 16) => {
                    let taps = self.taps::<S, 3, 1, 8>(simd, run, taps, channel);
                    self.taps::<S, 1, 1, 8>(simd, run, taps, channel);
                }
                _ => {
                    self.taps::<S, 1, 1, 8>(simd, run, taps, channel);
                }
            }
        }
    }

    /// Adds the products of a run of adjacent pixels, by kernel rows, with `P` partial sums per tap.
    #[inline(always)]
    fn line<S: Simd, const P: usize, const COLUMNS: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        run: &PixelRun<'_>,
        vectors: usize,
    ) {
        let (x, _) = S::as_simd_f32s(self.x);
        let (dy, dw) = (S::as_simd_f32s(self.dy).0, S::as_mut_simd_f32s(self.dw).0);
        for channel in 0..vectors {
            let dy = &dy[run.at + channel..];
            for row in run.taps.as_chunks::<COLUMNS>().0 {
                let x = &x[row[0].source + channel..];
                let mut sums = [[simd.splat_f32s(0.0); COLUMNS]; P];
                let mut left = 0..run.count;
                let left = &mut left;
                add_products::<S, 8, P, COLUMNS, STRIDE>(simd, x, dy, vectors, left, &mut sums);
                add_products::<S, 2, P, COLUMNS, STRIDE>(simd, x, dy, vectors, left, &mut sums);
                add_products::<S, 1, P, COLUMNS, STRIDE>(simd, x, dy, vectors, left, &mut sums);
                for (column, tap) in row.iter().enumerate() {
                    let [first, rest @ ..] = &sums[..] else {
                        continue;
                    };
                    let sum = rest.iter().fold(first[column], |sum, other| {
                        simd.add_f32s(sum, other[column])
                    });
                    let dw = &mut dw[tap.filter + channel];
                    *dw = simd.add_f32s(*dw, sum);
                }
            }
        }
    }

    /// Adds the products of a run for one vector of channels and groups of `K` channels, `N` taps at a time; returns the
    /// taps that are left. `P` partial sums per product hide the latency of the dependent additions.
    #[inline(always)]
    fn taps<'s, S: Simd, const N: usize, const P: usize, const K: usize>(
        &mut self,
        simd: S,
        run: &PixelRun<'_>,
        taps: &'s [TapOffset],
        channel: usize,
    ) -> &'s [TapOffset] {
        let (x, _) = S::as_simd_f32s(self.x);
        let (dy, dw) = (S::as_simd_f32s(self.dy).0, S::as_mut_simd_f32s(self.dw).0);
        // One length for all taps, so that bounds are checked once.
        let (x_stride, dy_stride) = (run.source_stride, run.result_stride);
        let last = ((run.count - 1) * x_stride, (run.count - 1) * dy_stride);
        let dy = &dy[run.at + channel..][..=last.1];
        let (taps, rest) = taps.as_chunks::<N>();
        for taps in taps {
            let x = taps.map(|tap| &x[tap.source + channel..][..=last.0]);
            let mut sums = [[[simd.splat_f32s(0.0); N]; K]; P];
            let mut at = (0, 0);
            for _ in 0..run.count / P {
                for sums in &mut sums {
                    add(simd, sums, x.map(|x| x[at.0]), dy[at.1]);
                    at = (at.0 + x_stride, at.1 + dy_stride);
                }
            }
            for _ in 0..run.count % P {
                add(simd, &mut sums[0], x.map(|x| x[at.0]), dy[at.1]);
                at = (at.0 + x_stride, at.1 + dy_stride);
            }
            for (number, tap) in taps.iter().enumerate() {
                let dw = &mut dw[tap.filter + filter_offset::<S>(channel, K)..];
                let dw = &mut dw[..(K - 1) * vectors_per_strip::<S>() + 1];
                for k in 0..K {
                    let dw = &mut dw[k * vectors_per_strip::<S>()];
                    let [first, rest @ ..] = &sums[..] else {
                        continue;
                    };
                    let sum = rest.iter().fold(first[k][number], |sum, other| {
                        simd.add_f32s(sum, other[k][number])
                    });
                    *dw = simd.add_f32s(*dw, sum);
                }
            }
        }
        rest
    }
}

/// sums\[k\] += x · dy, with the lanes of dy permuted by ^ k.
#[inline(always)]
fn add<S: Simd, const N: usize, const K: usize>(
    simd: S,
    sums: &mut [[S::f32s; N]; K],
    x: [S::f32s; N],
    mut dy: S::f32s,
) {
    // In Gray code order, in which a single permutation leads from one k to the next.
    for number in 0..K {
        dy = match number.trailing_zeros() {
            _ if number == 0 => dy,
            0 => swap_lanes::<S, 1>(simd, dy),
            1 => swap_lanes::<S, 2>(simd, dy),
            _ => swap_lanes::<S, 4>(simd, dy),
        };
        let k = number ^ (number >> 1);
        for (sum, x) in sums[k].iter_mut().zip(x) {
            *sum = multiply_add(simd, x, dy, *sum);
        }
    }
}
