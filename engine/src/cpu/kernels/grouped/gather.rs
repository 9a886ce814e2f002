//! The result, and the gradient of the input.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::rows::{Rows, sums};
use super::runs::{Run, TAPS, runs};
use super::{place, step};
use crate::cpu::kernels::convolution::Walk;
use crate::cpu::kernels::finish::Finish;
use crate::cpu::kernels::isa::{Isa, fetch_place, swap};
use crate::cpu::kernels::layout::{LANES, padded, stride};
use crate::cpu::kernels::multiply::multiply_add;
use crate::net::Shape;

/// Pixels side by side for which a vector of channels is computed before the next.
const PIECE: usize = 16;

/// Computes all of `result` from `source` by the walks.
pub(in crate::cpu) fn gather(
    isa: Isa,
    walks: &[Walk],
    shapes: (Shape, Shape),
    (width, filters): (usize, &[f32]),
    source: &[f32],
    (result, add): (&mut [f32], bool),
    finish: Option<Finish<'_>>,
) {
    isa.run(Gather {
        walks,
        shapes,
        width,
        filters,
        source,
        result,
        add,
        finish,
    });
}

/// A gather over some images.
struct Gather<'a> {
    walks: &'a [Walk],
    shapes: (Shape, Shape),
    /// Of a group.
    width: usize,
    filters: &'a [f32],
    source: &'a [f32],
    result: &'a mut [f32],
    add: bool,
    /// What is done to the result where it is not added.
    finish: Option<Finish<'a>>,
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums as there are registers for.
        match (self.width, S::F32_LANES) {
            (1, _) => self.walks::<S, 4, 1>(simd),
            (2, _) => self.walks::<S, 4, 2>(simd),
            (4, 16) => self.walks::<S, 4, 4>(simd),
            (4, _) => self.walks::<S, 2, 4>(simd),
            (_, 16) => self.walks::<S, 2, 8>(simd),
            _ => self.walks::<S, 1, 8>(simd),
        }
    }
}

impl Gather<'_> {
    /// For groups of `K` channels; `N` pixels are computed at once where all see the same taps.
    #[inline(always)]
    fn walks<S: Simd, const N: usize, const K: usize>(mut self, simd: S) {
        let vectors = stride(self.shapes.1.channels) / S::F32_LANES;
        let images = self.source.len() / padded(self.shapes.0);
        for walk in self.walks {
            let rows = Rows::of(walk).filter(|_| K == 1);
            // A walk without taps writes zeros.
            for first in (0..walk.taps.len().max(1)).step_by(TAPS) {
                let taps = &walk.taps[first..walk.taps.len().min(first + TAPS)];
                let add = self.add || first > 0;
                let last = first + TAPS >= walk.taps.len();
                let finish = self.finish.filter(|_| last);
                runs(
                    walk,
                    taps,
                    self.shapes,
                    (vectors, K),
                    images,
                    rows,
                    #[inline(always)]
                    |run| {
                        match run.rows {
                            Some(Rows::Three) => self.line::<S, 3, 1>(simd, &run, vectors, add),
                            Some(Rows::ThreeByTwo) => {
                                self.line::<S, 3, 2>(simd, &run, vectors, add);
                            }
                            Some(Rows::Five) => self.line::<S, 5, 1>(simd, &run, vectors, add),
                            Some(Rows::FiveByTwo) => self.line::<S, 5, 2>(simd, &run, vectors, add),
                            None => self.run::<S, N, K>(simd, &run, vectors, add),
                        }
                        if let Some(finish) = finish {
                            let place = |i| (run.at + i * run.steps.1) * S::F32_LANES;
                            let strips = vectors * S::F32_LANES / LANES;
                            let places = (0..run.count).map(place);
                            finish.run(simd, self.result, places, 0..strips);
                        }
                    },
                );
            }
        }
    }

    /// A run of pixels side by side, by rows of taps.
    #[inline(always)]
    fn line<S: Simd, const COLUMNS: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        run: &Run<'_>,
        vectors: usize,
        add: bool,
    ) {
        // A function of its own, as the frame of all kinds would be large.
        simd.vectorize(Line::<COLUMNS, STRIDE> {
            gather: self,
            run,
            vectors,
            add,
        });
    }

    /// Some pixels of such a run for a vector of channels, `N` at once as long as there are as many.
    #[inline(always)]
    fn side_by_side<S: Simd, const N: usize, const COLUMNS: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        run: &Run<'_>,
        pixels: &mut Range<usize>,
        (channel, vectors): (usize, usize),
        add: bool,
    ) {
        let from = (
            S::as_simd_f32s(self.source).0,
            S::as_simd_f32s(self.filters).0,
        );
        while pixels.len() >= N {
            let place = (pixels.start, channel, vectors);
            let sums = sums::<S, N, COLUMNS, STRIDE>(simd, from, run.seen, place);
            let (result, _) = S::as_mut_simd_f32s(self.result);
            let to = &mut result[run.at + pixels.start * run.steps.1 + channel..];
            let to = &mut to[..(N - 1) * run.steps.1 + 1];
            for (i, sum) in sums.into_iter().enumerate() {
                let to = &mut to[i * run.steps.1];
                *to = if add { simd.add_f32s(*to, sum) } else { sum };
            }
            pixels.start += N;
        }
    }

    #[inline(always)]
    fn run<S: Simd, const N: usize, const K: usize>(
        &mut self,
        simd: S,
        run: &Run<'_>,
        vectors: usize,
        add: bool,
    ) {
        let mut done = 0;
        if K > 1 {
            // Filters are many: those of one vector stay in the first cache.
            for channel in 0..vectors {
                done = 0;
                while done + N <= run.count {
                    self.pixels::<S, N, 1, K>(simd, run, (done, channel), add);
                    done += N;
                }
            }
        }
        while done + N <= run.count {
            for channel in 0..vectors {
                self.pixels::<S, N, 1, K>(simd, run, (done, channel), add);
            }
            done += N;
        }
        for pixel in done..run.count {
            let mut channel = 0;
            // As many sums at once: each addition waits for the one before.
            while K == 1 && channel + N <= vectors {
                self.pixels::<S, 1, N, K>(simd, run, (pixel, channel), add);
                channel += N;
            }
            while channel < vectors {
                self.pixels::<S, 1, 1, K>(simd, run, (pixel, channel), add);
                channel += 1;
            }
        }
    }

    /// `N` pixels of a run from `first` on, `C` vectors of channels from `channel` on: one, where groups are of more
    /// than one.
    #[inline(always)]
    fn pixels<S: Simd, const N: usize, const C: usize, const K: usize>(
        &mut self,
        simd: S,
        run: &Run<'_>,
        (first, channel): (usize, usize),
        add: bool,
    ) {
        let (source, _) = S::as_simd_f32s(self.source);
        let (filters, _) = S::as_simd_f32s(self.filters);
        let steps = run.steps;
        let at = run.at + first * steps.1 + channel;
        // What is written after the next pixels.
        for i in 0..N {
            for c in 0..C {
                let place = at + (2 * N + i) * steps.1 + c;
                fetch_place(simd, self.result, place * S::F32_LANES);
            }
        }
        let (result, _) = S::as_mut_simd_f32s(self.result);
        let from = first * steps.0 + channel;
        let mut acc = [[[simd.splat_f32s(0.0); K]; C]; N];
        for (filter, at) in run.seen {
            let filters = &filters[filter + place::<S>(channel, K)..][..(K - 1) * step::<S>() + C];
            let from = &source[at + from..][..(N - 1) * steps.0 + C];
            for (i, acc) in acc.iter_mut().enumerate() {
                let from = &from[i * steps.0..][..C];
                for (c, (acc, from)) in acc.iter_mut().zip(from).enumerate() {
                    for (k, acc) in acc.iter_mut().enumerate() {
                        *acc = multiply_add(simd, filters[k * step::<S>() + c], *from, *acc);
                    }
                }
            }
        }
        let to = &mut result[at..][..(N - 1) * steps.1 + C];
        for (i, acc) in acc.into_iter().enumerate() {
            let to = &mut to[i * steps.1..][..C];
            for (to, acc) in to.iter_mut().zip(acc) {
                let acc = fold(simd, acc);
                *to = if add { simd.add_f32s(*to, acc) } else { acc };
            }
        }
    }
}

/// A run of pixels side by side.
struct Line<'g, 'a, 'r, const COLUMNS: usize, const STRIDE: usize> {
    gather: &'g mut Gather<'a>,
    run: &'g Run<'r>,
    vectors: usize,
    add: bool,
}

impl<const COLUMNS: usize, const STRIDE: usize> WithSimd for Line<'_, '_, '_, COLUMNS, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (gather, run, add) = (self.gather, self.run, self.add);
        for first in (0..run.count).step_by(PIECE) {
            let end = run.count.min(first + PIECE);
            for channel in 0..self.vectors {
                let mut left = first..end;
                let left = &mut left;
                let place = (channel, self.vectors);
                if S::F32_LANES == 16 {
                    gather.side_by_side::<S, 8, COLUMNS, STRIDE>(simd, run, left, place, add);
                }
                gather.side_by_side::<S, 4, COLUMNS, STRIDE>(simd, run, left, place, add);
                gather.side_by_side::<S, 2, COLUMNS, STRIDE>(simd, run, left, place, add);
                gather.side_by_side::<S, 1, COLUMNS, STRIDE>(simd, run, left, place, add);
            }
        }
    }
}

/// Σ_k of number k, its lanes swapped by k: what is meant for the channels k places away.
#[inline(always)]
fn fold<S: Simd, const K: usize>(simd: S, mut parts: [S::f32s; K]) -> S::f32s {
    if K > 4 {
        for k in 0..K - 4 {
            parts[k] = simd.add_f32s(parts[k], swap::<S, 4>(simd, parts[k + 4]));
        }
    }
    if K > 2 {
        for k in 0..2 {
            parts[k] = simd.add_f32s(parts[k], swap::<S, 2>(simd, parts[k + 2]));
        }
    }
    if K > 1 {
        parts[0] = simd.add_f32s(parts[0], swap::<S, 1>(simd, parts[1]));
    }
    parts[0]
}
