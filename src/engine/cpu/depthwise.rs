//! Convolutions that give every channel one filter of its own.

use pulp::{Simd, WithSimd};

use super::convolution::{Tap, Walk};
use super::isa::{Isa, fetch_place};
use super::layout::{padded, stride};
use super::multiply::multiply_add;
use crate::net::Shape;

/// Computes all of `result` from `source` by the walks; filters are [tap][padded channel].
pub(super) fn gather(
    isa: Isa,
    walks: &[Walk],
    shapes: (Shape, Shape),
    filters: &[f32],
    source: &[f32],
    (result, add): (&mut [f32], bool),
) {
    isa.run(Gather {
        walks,
        shapes,
        filters,
        source,
        result,
        add,
    });
}

/// Pixels that are computed at once where all see the same taps.
const PIXELS: usize = 4;
/// Taps that are gone through at once.
const TAPS: usize = 64;

/// A gather over some images.
struct Gather<'a> {
    walks: &'a [Walk],
    shapes: (Shape, Shape),
    filters: &'a [f32],
    source: &'a [f32],
    result: &'a mut [f32],
    add: bool,
}

/// A tap as a pixel sees it: where its filters are, and where the pixel of the source, in vectors.
type Seen = (usize, usize);

/// Pixels that see the same taps, side by side or in one place of one image after the other.
struct Run<'a> {
    /// As the first pixel sees them.
    seen: &'a [Seen],
    /// Where the first pixel is, in vectors.
    at: usize,
    /// Vectors from one pixel to the next, in source and result.
    steps: (usize, usize),
    count: usize,
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = stride(self.shapes.1.channels) / S::F32_LANES;
        let images = self.source.len() / padded(self.shapes.0);
        for walk in self.walks {
            // A walk without taps writes zeros.
            for first in (0..walk.taps.len().max(1)).step_by(TAPS) {
                let taps = &walk.taps[first..walk.taps.len().min(first + TAPS)];
                let add = self.add || first > 0;
                runs(walk, taps, self.shapes, vectors, images, |run| {
                    self.run(simd, &run, vectors, add);
                });
            }
        }
    }
}

impl Gather<'_> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, run: &Run<'_>, vectors: usize, add: bool) {
        let mut done = 0;
        while done + PIXELS <= run.count {
            for channel in 0..vectors {
                self.pixels::<S, PIXELS, 1>(simd, run, (done, channel), add);
            }
            done += PIXELS;
        }
        for pixel in done..run.count {
            // As many sums at once: each addition waits for the one before.
            let mut channel = 0;
            while channel + PIXELS <= vectors {
                self.pixels::<S, 1, PIXELS>(simd, run, (pixel, channel), add);
                channel += PIXELS;
            }
            while channel < vectors {
                self.pixels::<S, 1, 1>(simd, run, (pixel, channel), add);
                channel += 1;
            }
        }
    }

    /// `N` pixels of a run from `first` on, `C` vectors of channels from `channel` on.
    #[inline(always)]
    fn pixels<S: Simd, const N: usize, const C: usize>(
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
        let mut acc = [[simd.splat_f32s(0.0); C]; N];
        for (filter, at) in run.seen {
            let filter = &filters[filter + channel..][..C];
            let from = &source[at + from..][..(N - 1) * steps.0 + C];
            for (i, acc) in acc.iter_mut().enumerate() {
                let from = &from[i * steps.0..][..C];
                for (acc, (filter, from)) in acc.iter_mut().zip(filter.iter().zip(from)) {
                    *acc = multiply_add(simd, *filter, *from, *acc);
                }
            }
        }
        let to = &mut result[at..][..(N - 1) * steps.1 + C];
        for (i, acc) in acc.into_iter().enumerate() {
            let to = &mut to[i * steps.1..][..C];
            for (to, acc) in to.iter_mut().zip(acc) {
                *to = if add { simd.add_f32s(*to, acc) } else { acc };
            }
        }
    }
}

/// Goes through the pixels that a walk computes in all images, in runs as long as can be.
#[inline(always)]
fn runs(
    walk: &Walk,
    taps: &[Tap],
    (from, to): (Shape, Shape),
    vectors: usize,
    images: usize,
    mut each: impl FnMut(Run<'_>),
) {
    let sizes = (from.pixels() * vectors, to.pixels() * vectors);
    let along = (walk.stride.1 * vectors, walk.step.1 * vectors);
    // Where all taps are inside, as far as the width goes.
    let inner = inner(taps, walk.stride.1, from.width, walk.grid.1);
    let by_image = images > inner.len();
    let mut seen = [(0, 0); TAPS];
    for image in 0..if by_image { 1 } else { images } {
        for down in 0..walk.grid.0 {
            let row = (walk.origin.0 + down * walk.step.0) * to.width + walk.origin.1;
            let mut over = 0;
            while over < walk.grid.1 {
                let mut len = 0;
                for tap in taps {
                    let y = inside(down * walk.stride.0, tap.down, from.height);
                    let x = inside(over * walk.stride.1, tap.over, from.width);
                    if let (Some(y), Some(x)) = (y, x) {
                        let at = image * sizes.0 + (y * from.width + x) * vectors;
                        seen[len] = (tap.number * vectors, at);
                        len += 1;
                    }
                }
                let (steps, count) = match (by_image, inner.contains(&over)) {
                    (true, _) => (sizes, images),
                    (false, true) => (along, inner.end - over),
                    (false, false) => (along, 1),
                };
                each(Run {
                    seen: &seen[..len],
                    at: image * sizes.1 + (row + over * walk.step.1) * vectors,
                    steps,
                    count,
                });
                over += if by_image { 1 } else { count };
            }
        }
    }
}

/// The places along a line at which all taps are inside.
#[inline(always)]
fn inner(taps: &[Tap], step: usize, width: usize, count: usize) -> std::ops::Range<usize> {
    taps.iter().fold(0..count, |all, tap| {
        let own = reach(tap.over, step, width, count);
        all.start.max(own.start)..all.end.min(own.end)
    })
}

/// The places i along an axis with 0 ≤ i · step + shift < size.
#[inline(always)]
fn reach(shift: isize, step: usize, size: usize, count: usize) -> std::ops::Range<usize> {
    let first = shift.min(0).unsigned_abs().div_ceil(step);
    let end = (size as isize - shift).max(0) as usize;
    first..end.div_ceil(step).min(count)
}

/// Where a tap falls along one axis.
#[inline(always)]
fn inside(at: usize, shift: isize, size: usize) -> Option<usize> {
    at.checked_add_signed(shift).filter(|at| *at < size)
}

/// dw += Σ x · dy over some images, as [tap][padded channel]. `walk` is that of [`Walk::forward`].
pub(super) fn weight_gradient(
    isa: Isa,
    walk: &Walk,
    shapes: (Shape, Shape),
    (x, dy): (&[f32], &[f32]),
    dw: &mut [f32],
) {
    isa.run(Products {
        walk,
        shapes,
        x,
        dy,
        dw,
    });
}

/// Σ x · dy over some images.
struct Products<'a> {
    walk: &'a Walk,
    shapes: (Shape, Shape),
    x: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = stride(self.shapes.1.channels) / S::F32_LANES;
        let images = self.dy.len() / padded(self.shapes.1);
        for taps in self.walk.taps.chunks(TAPS) {
            runs(self.walk, taps, self.shapes, vectors, images, |run| {
                for channel in 0..vectors {
                    let mut seen = run.seen;
                    seen = self.taps::<S, 6>(simd, &run, seen, channel);
                    seen = self.taps::<S, 4>(simd, &run, seen, channel);
                    seen = self.taps::<S, 3>(simd, &run, seen, channel);
                    seen = self.taps::<S, 2>(simd, &run, seen, channel);
                    self.taps::<S, 1>(simd, &run, seen, channel);
                }
            });
        }
    }
}

impl Products<'_> {
    /// Adds a run's products of one vector of channels under each tap, `N` taps at a time; returns the
    /// taps that are left.
    #[inline(always)]
    fn taps<'s, S: Simd, const N: usize>(
        &mut self,
        simd: S,
        run: &Run<'_>,
        seen: &'s [Seen],
        channel: usize,
    ) -> &'s [Seen] {
        let (x, _) = S::as_simd_f32s(self.x);
        let (dy, dw) = (S::as_simd_f32s(self.dy).0, S::as_mut_simd_f32s(self.dw).0);
        // One length for all taps: their bound is checked once.
        let last = ((run.count - 1) * run.steps.0, (run.count - 1) * run.steps.1);
        let dy = &dy[run.at + channel..][..=last.1];
        let (seen, rest) = seen.as_chunks::<N>();
        for seen in seen {
            let x = seen.map(|(_, at)| &x[at + channel..][..=last.0]);
            // Two sums a tap: each addition waits for the one before.
            let mut sums = [[simd.splat_f32s(0.0); N]; 2];
            let mut at = (0, 0);
            let mut add = |sums: &mut [S::f32s; N]| {
                let dy = dy[at.1];
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = multiply_add(simd, x[at.0], dy, *sum);
                }
                at = (at.0 + run.steps.0, at.1 + run.steps.1);
            };
            for _ in 0..run.count / 2 {
                sums.iter_mut().for_each(&mut add);
            }
            for _ in 0..run.count % 2 {
                add(&mut sums[0]);
            }
            for (number, (filter, _)) in seen.iter().enumerate() {
                let sum = simd.add_f32s(sums[0][number], sums[1][number]);
                let dw = &mut dw[filter + channel];
                *dw = simd.add_f32s(*dw, sum);
            }
        }
        rest
    }
}
