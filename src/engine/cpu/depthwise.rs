//! Convolutions that give every channel one filter of its own.

use pulp::{Simd, WithSimd};

use super::convolution::{Geometry, Tap, Walk};
use super::isa::Isa;
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
    let images = source.chunks_exact(padded(shapes.0));
    let results = result.chunks_exact_mut(padded(shapes.1));
    results.zip(images).for_each(|(result, source)| {
        isa.run(Image {
            walks,
            shapes,
            filters,
            source,
            result,
            add,
        });
    });
}

/// Pixels side by side that are computed at once where all see the same taps.
const PIXELS: usize = 4;
/// Taps that are gone through at once.
const TAPS: usize = 64;

/// One image of a gather.
struct Image<'a> {
    walks: &'a [Walk],
    shapes: (Shape, Shape),
    filters: &'a [f32],
    source: &'a [f32],
    result: &'a mut [f32],
    add: bool,
}

/// A tap as a pixel sees it: where its filters are, and where the pixel of the source, in vectors.
type Seen = (usize, usize);

impl WithSimd for Image<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for walk in self.walks {
            // A walk without taps writes zeros.
            for first in (0..walk.taps.len().max(1)).step_by(TAPS) {
                let taps = &walk.taps[first..walk.taps.len().min(first + TAPS)];
                for down in 0..walk.grid.0 {
                    self.line(simd, walk, taps, down, self.add || first > 0);
                }
            }
        }
    }
}

impl Image<'_> {
    #[inline(always)]
    fn line<S: Simd>(&mut self, simd: S, walk: &Walk, taps: &[Tap], down: usize, add: bool) {
        let (from, to) = self.shapes;
        let vectors = stride(to.channels) / S::F32_LANES;
        let row = (walk.origin.0 + down * walk.step.0) * to.width + walk.origin.1;
        // Where all taps are inside, as far as the width goes.
        let inner = inner(taps, walk.stride.1, from.width, walk.grid.1);
        let mut over = 0;
        while over < walk.grid.1 {
            let count = match inner.contains(&over) && inner.end - over >= PIXELS {
                true => PIXELS,
                false => 1,
            };
            let mut seen = [(0, 0); TAPS];
            let mut len = 0;
            for tap in taps {
                let y = inside(down * walk.stride.0, tap.down, from.height);
                let x = inside(over * walk.stride.1, tap.over, from.width);
                if let (Some(y), Some(x)) = (y, x) {
                    let pixel = y * from.width + x;
                    seen[len] = (tap.number * vectors, pixel * vectors);
                    len += 1;
                }
            }
            let at = (row + over * walk.step.1) * vectors;
            let steps = (walk.stride.1 * vectors, walk.step.1 * vectors);
            let seen = &seen[..len];
            if count == PIXELS {
                for channel in 0..vectors {
                    self.pixels::<S, PIXELS, 1>(simd, seen, (at, channel), steps, add);
                }
            } else {
                // As many sums at once: each addition waits for the one before.
                let mut channel = 0;
                while channel + PIXELS <= vectors {
                    self.pixels::<S, 1, PIXELS>(simd, seen, (at, channel), steps, add);
                    channel += PIXELS;
                }
                while channel < vectors {
                    self.pixels::<S, 1, 1>(simd, seen, (at, channel), steps, add);
                    channel += 1;
                }
            }
            over += count;
        }
    }

    /// `N` pixels of a line from `at` on, `C` vectors of channels from `channel` on; `steps` go from one
    /// pixel to the next in source and result.
    #[inline(always)]
    fn pixels<S: Simd, const N: usize, const C: usize>(
        &mut self,
        simd: S,
        seen: &[Seen],
        (at, channel): (usize, usize),
        steps: (usize, usize),
        add: bool,
    ) {
        let (source, _) = S::as_simd_f32s(self.source);
        let (filters, _) = S::as_simd_f32s(self.filters);
        let (result, _) = S::as_mut_simd_f32s(self.result);
        let mut acc = [[simd.splat_f32s(0.0); C]; N];
        for (filter, from) in seen {
            let filter = &filters[filter + channel..][..C];
            let from = &source[from + channel..][..(N - 1) * steps.0 + C];
            for (i, acc) in acc.iter_mut().enumerate() {
                let from = &from[i * steps.0..][..C];
                for (acc, (filter, from)) in acc.iter_mut().zip(filter.iter().zip(from)) {
                    *acc = multiply_add(simd, *filter, *from, *acc);
                }
            }
        }
        let to = &mut result[at + channel..][..(N - 1) * steps.1 + C];
        for (i, acc) in acc.into_iter().enumerate() {
            let to = &mut to[i * steps.1..][..C];
            for (to, acc) in to.iter_mut().zip(acc) {
                *to = if add { simd.add_f32s(*to, acc) } else { acc };
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
    (g, walk): (&Geometry, &Walk),
    (x, dy): (&[f32], &[f32]),
    dw: &mut [f32],
) {
    isa.run(Products { g, walk, x, dy, dw });
}

/// Σ x · dy over some images.
struct Products<'a> {
    g: &'a Geometry,
    walk: &'a Walk,
    x: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

/// Pixels of a line from which on sums go along lines, and not from image to image.
const LINE: usize = 12;

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let g = self.g;
        let (input, output) = (g.input, g.output);
        let vectors = stride(output.channels) / S::F32_LANES;
        let images = self.dy.len() / padded(output);
        let sizes = (input.pixels() * vectors, output.pixels() * vectors);
        for tap in &self.walk.taps {
            let (step_down, step_over) = self.walk.stride;
            let over = reach(tap.over, step_over, input.width, output.width);
            let at = |down: usize, over: usize| {
                let y = (down * step_down).wrapping_add_signed(tap.down);
                let x = (over * step_over).wrapping_add_signed(tap.over);
                let (x, dy) = (y * input.width + x, down * output.width + over);
                (x * vectors, dy * vectors)
            };
            for down in reach(tap.down, step_down, input.height, output.height) {
                if output.width < LINE {
                    for over in over.clone() {
                        let (x, dy) = at(down, over);
                        self.run(simd, tap, (x, dy), sizes, images);
                    }
                    continue;
                }
                for image in 0..images {
                    let (x, dy) = at(down, over.start);
                    let first = (x + image * sizes.0, dy + image * sizes.1);
                    let steps = (step_over * vectors, vectors);
                    self.run(simd, tap, first, steps, over.len());
                }
            }
        }
    }
}

impl Products<'_> {
    /// Adds `count` products of all channels under a tap; places and steps are in vectors.
    #[inline(always)]
    fn run<S: Simd>(
        &mut self,
        simd: S,
        tap: &Tap,
        first: (usize, usize),
        steps: (usize, usize),
        count: usize,
    ) {
        if count == 0 {
            return;
        }
        let vectors = stride(self.g.output.channels) / S::F32_LANES;
        let (x, _) = S::as_simd_f32s(self.x);
        let (dy, _) = S::as_simd_f32s(self.dy);
        let (dw, _) = S::as_mut_simd_f32s(self.dw);
        let dw = &mut dw[tap.number * vectors..][..vectors];
        for (channel, dw) in dw.iter_mut().enumerate() {
            let (x, dy) = (&x[first.0 + channel..], &dy[first.1 + channel..]);
            // Several sums: each addition waits for the one before.
            let mut sums = [simd.splat_f32s(0.0); 4];
            let mut at = (0, 0);
            for _ in 0..count / 4 {
                for sum in &mut sums {
                    *sum = multiply_add(simd, x[at.0], dy[at.1], *sum);
                    at = (at.0 + steps.0, at.1 + steps.1);
                }
            }
            for _ in 0..count % 4 {
                sums[0] = multiply_add(simd, x[at.0], dy[at.1], sums[0]);
                at = (at.0 + steps.0, at.1 + steps.1);
            }
            let [a, b, c, d] = sums;
            let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
            *dw = simd.add_f32s(*dw, sum);
        }
    }
}
