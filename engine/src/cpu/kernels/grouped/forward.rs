//! Grouped convolution: forward, and with transposed filters the gradient of the input.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::pixel_runs::{PixelRun, PixelRuns, TAPS};
use super::tap_rows::{TapRows, VectorOfRun, sums};
use super::{filter_offset, vectors_per_strip};
use crate::cpu::kernels::convolution::Phase;
use crate::cpu::kernels::destination::Destination;
use crate::cpu::kernels::epilogue::Epilogue;
use crate::cpu::kernels::isa::{Isa, prefetch_write, swap_lanes};
use crate::cpu::kernels::layout::{LANES, padded_len, pixel_stride};
use crate::cpu::kernels::matmul::multiply_add;
use crate::net::Shape;

/// Adjacent pixels for which one vector of channels is computed before the next vector.
const PIECE: usize = 16;

/// A grouped convolution.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct ForwardConvolution<'a> {
    pub(in crate::cpu) phases: &'a [Phase],
    /// Shape of one image of the source.
    pub(in crate::cpu) input: Shape,
    /// Shape of one image of the result.
    pub(in crate::cpu) output: Shape,
    /// Channels per group.
    pub(in crate::cpu) width: usize,
    /// Filters, see [`super::GroupedFilterLayout`].
    pub(in crate::cpu) filters: &'a [f32],
    pub(in crate::cpu) source: &'a [f32],
    /// Applied to the result, unless it is added to what is there.
    pub(in crate::cpu) epilogue: Option<Epilogue<'a>>,
}

impl ForwardConvolution<'_> {
    /// Computes all of `result`.
    pub(in crate::cpu) fn run(self, isa: Isa, result: Destination<'_>) {
        isa.run(Kernel {
            conv: self,
            result: result.data,
            add: result.add,
        });
    }
}

/// The vector kernel of [`ForwardConvolution`].
struct Kernel<'a, 'r> {
    conv: ForwardConvolution<'a>,
    result: &'r mut [f32],
    add: bool,
}

impl WithSimd for Kernel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // The number of sums follows from the number of registers.
        match (self.conv.width, S::F32_LANES) {
            (1, _) => self.phases::<S, 4, 1>(simd),
            (2, _) => self.phases::<S, 4, 2>(simd),
            (4, 16) => self.phases::<S, 4, 4>(simd),
            (4, _) => self.phases::<S, 2, 4>(simd),
            (_, 16) => self.phases::<S, 2, 8>(simd),
            _ => self.phases::<S, 1, 8>(simd),
        }
    }
}

impl Kernel<'_, '_> {
    /// Computes all phases for groups of `K` channels, `N` pixels of a run at a time.
    #[inline(always)]
    fn phases<S: Simd, const N: usize, const K: usize>(mut self, simd: S) {
        let conv = self.conv;
        let vectors = pixel_stride(conv.output.channels) / S::F32_LANES;
        let images = conv.source.len() / padded_len(conv.input);
        for phase in conv.phases {
            let rows = TapRows::of(phase).filter(|_| K == 1);
            // A phase without taps writes zeros.
            for first in (0..phase.taps.len().max(1)).step_by(TAPS) {
                let taps = &phase.taps[first..phase.taps.len().min(first + TAPS)];
                let add = self.add || first > 0;
                let last = first + TAPS >= phase.taps.len();
                let epilogue = conv.epilogue.filter(|_| last);
                let runs = PixelRuns {
                    phase,
                    taps,
                    source: conv.input,
                    result: conv.output,
                    vectors,
                    width: K,
                    images,
                    rows,
                };
                runs.for_each(
                    #[inline(always)]
                    |run| {
                        match run.rows {
                            Some(TapRows::Three) => self.line::<S, 3, 1>(simd, &run, vectors, add),
                            Some(TapRows::ThreeByTwo) => {
                                self.line::<S, 3, 2>(simd, &run, vectors, add);
                            }
                            Some(TapRows::Five) => self.line::<S, 5, 1>(simd, &run, vectors, add),
                            Some(TapRows::FiveByTwo) => {
                                self.line::<S, 5, 2>(simd, &run, vectors, add)
                            }
                            None => self.run::<S, N, K>(simd, &run, vectors, add),
                        }
                        if let Some(epilogue) = epilogue {
                            let offset = |i| (run.at + i * run.result_stride) * S::F32_LANES;
                            let strips = vectors * S::F32_LANES / LANES;
                            let offsets = (0..run.count).map(offset);
                            epilogue.run(simd, self.result, offsets, 0..strips);
                        }
                    },
                );
            }
        }
    }

    /// A run of adjacent pixels, by kernel rows.
    #[inline(always)]
    fn line<S: Simd, const COLUMNS: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        run: &PixelRun<'_>,
        vectors: usize,
        add: bool,
    ) {
        // Not inlined: one stack frame for all kinds would be large.
        simd.vectorize(Line::<COLUMNS, STRIDE> {
            kernel: self,
            run,
            vectors,
            add,
        });
    }

    /// One vector of channels for some pixels of such a run: `N` at a time as long as `pixels` has as many, which are
    /// removed from it.
    #[inline(always)]
    fn adjacent_pixels<S: Simd, const N: usize, const COLUMNS: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        run: &PixelRun<'_>,
        pixels: &mut Range<usize>,
        channel: usize,
        vectors: usize,
        add: bool,
    ) {
        let (source, filters) = (
            S::as_simd_f32s(self.conv.source).0,
            S::as_simd_f32s(self.conv.filters).0,
        );
        while pixels.len() >= N {
            let at = VectorOfRun {
                pixel: pixels.start,
                channel,
                vectors,
            };
            let sums = sums::<S, N, COLUMNS, STRIDE>(simd, source, filters, run.taps, at);
            let (result, _) = S::as_mut_simd_f32s(self.result);
            let to = &mut result[run.at + pixels.start * run.result_stride + channel..];
            let to = &mut to[..(N - 1) * run.result_stride + 1];
            for (i, sum) in sums.into_iter().enumerate() {
                let to = &mut to[i * run.result_stride];
                *to = if add { simd.add_f32s(*to, sum) } else { sum };
            }
            pixels.start += N;
        }
    }

    /// Any other run: `N` pixels, or for depthwise `N` vectors of channels, at a time.
    #[inline(always)]
    fn run<S: Simd, const N: usize, const K: usize>(
        &mut self,
        simd: S,
        run: &PixelRun<'_>,
        vectors: usize,
        add: bool,
    ) {
        let mut done = 0;
        if K > 1 {
            // The filters of one vector of channels stay in L1.
            for channel in 0..vectors {
                done = 0;
                while done + N <= run.count {
                    self.pixels::<S, N, 1, K>(simd, run, done, channel, add);
                    done += N;
                }
            }
        }
        while done + N <= run.count {
            for channel in 0..vectors {
                self.pixels::<S, N, 1, K>(simd, run, done, channel, add);
            }
            done += N;
        }
        for pixel in done..run.count {
            let mut channel = 0;
            // `N` independent sums hide the latency of the additions.
            while K == 1 && channel + N <= vectors {
                self.pixels::<S, 1, N, K>(simd, run, pixel, channel, add);
                channel += N;
            }
            while channel < vectors {
                self.pixels::<S, 1, 1, K>(simd, run, pixel, channel, add);
                channel += 1;
            }
        }
    }

    /// `N` pixels of a run from `first` on, and `C` vectors of channels from `channel` on; `C` is 1 unless depthwise.
    #[inline(always)]
    fn pixels<S: Simd, const N: usize, const C: usize, const K: usize>(
        &mut self,
        simd: S,
        run: &PixelRun<'_>,
        first: usize,
        channel: usize,
        add: bool,
    ) {
        let (source, _) = S::as_simd_f32s(self.conv.source);
        let (filters, _) = S::as_simd_f32s(self.conv.filters);
        let (source_stride, result_stride) = (run.source_stride, run.result_stride);
        let at = run.at + first * result_stride + channel;
        // Prefetches what is written after the next pixels.
        for i in 0..N {
            for c in 0..C {
                let offset = at + (2 * N + i) * result_stride + c;
                prefetch_write(simd, self.result, offset * S::F32_LANES);
            }
        }
        let (result, _) = S::as_mut_simd_f32s(self.result);
        let from = first * source_stride + channel;
        let mut acc = [[[simd.splat_f32s(0.0); K]; C]; N];
        for tap in run.taps {
            let filters = &filters[tap.filter + filter_offset::<S>(channel, K)..];
            let filters = &filters[..(K - 1) * vectors_per_strip::<S>() + C];
            let from = &source[tap.source + from..][..(N - 1) * source_stride + C];
            for (i, acc) in acc.iter_mut().enumerate() {
                let from = &from[i * source_stride..][..C];
                for (c, (acc, from)) in acc.iter_mut().zip(from).enumerate() {
                    for (k, acc) in acc.iter_mut().enumerate() {
                        let filter = filters[k * vectors_per_strip::<S>() + c];
                        *acc = multiply_add(simd, filter, *from, *acc);
                    }
                }
            }
        }
        let to = &mut result[at..][..(N - 1) * result_stride + C];
        for (i, acc) in acc.into_iter().enumerate() {
            let to = &mut to[i * result_stride..][..C];
            for (to, acc) in to.iter_mut().zip(acc) {
                let acc = sum_permuted(simd, acc);
                *to = if add { simd.add_f32s(*to, acc) } else { acc };
            }
        }
    }
}

/// The kernel for a run of adjacent pixels.
struct Line<'g, 'a, 'r, 'p, const COLUMNS: usize, const STRIDE: usize> {
    kernel: &'g mut Kernel<'a, 'r>,
    run: &'g PixelRun<'p>,
    vectors: usize,
    add: bool,
}

impl<const COLUMNS: usize, const STRIDE: usize> WithSimd for Line<'_, '_, '_, '_, COLUMNS, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (kernel, run, vectors, add) = (self.kernel, self.run, self.vectors, self.add);
        for first in (0..run.count).step_by(PIECE) {
            let end = run.count.min(first + PIECE);
            for channel in 0..vectors {
                let mut left = first..end;
                let left = &mut left;
                if S::F32_LANES == 16 {
                    kernel.adjacent_pixels::<S, 8, COLUMNS, STRIDE>(
                        simd, run, left, channel, vectors, add,
                    );
                }
                kernel.adjacent_pixels::<S, 4, COLUMNS, STRIDE>(
                    simd, run, left, channel, vectors, add,
                );
                kernel.adjacent_pixels::<S, 2, COLUMNS, STRIDE>(
                    simd, run, left, channel, vectors, add,
                );
                kernel.adjacent_pixels::<S, 1, COLUMNS, STRIDE>(
                    simd, run, left, channel, vectors, add,
                );
            }
        }
    }
}

/// Σₖ of vector k with its lanes permuted by ^ k, which moves each sum from its input channel to its output channel.
#[inline(always)]
fn sum_permuted<S: Simd, const K: usize>(simd: S, mut parts: [S::f32s; K]) -> S::f32s {
    if K > 4 {
        for k in 0..K - 4 {
            parts[k] = simd.add_f32s(parts[k], swap_lanes::<S, 4>(simd, parts[k + 4]));
        }
    }
    if K > 2 {
        for k in 0..2 {
            parts[k] = simd.add_f32s(parts[k], swap_lanes::<S, 2>(simd, parts[k + 2]));
        }
    }
    if K > 1 {
        parts[0] = simd.add_f32s(parts[0], swap_lanes::<S, 1>(simd, parts[1]));
    }
    parts[0]
}
