//! Convolutions of narrow groups, each of 1, 2, 4 or 8 channels to as many; of one channel they are depthwise.
//!
//! A vector holds whole groups. Of each product the sum over taps is kept for the channel that is read, once for
//! every channel k places from it within its group, where places are told apart by exclusive or: then only the sums
//! have to change lanes, not what is read.

use pulp::{Simd, WithSimd};

use super::convolution::{Filters, Tap, Walk};
use super::isa::{Isa, fetch_place, swap};
use super::layout::{LANES, padded, stride};
use super::multiply::multiply_add;
use crate::net::Shape;

/// Sizes of narrow groups' filters, which are kept as [tap][strip][k][lane]: for each channel that is read, in strips of
/// [`LANES`], those for the channel that is computed k places away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Narrow {
    /// Channels of a group.
    pub(super) width: usize,
    pub(super) kernel: usize,
    pub(super) channels: usize,
}

impl Narrow {
    /// Those of some filters; `None` where groups are of another width, or not as wide in the result, or there is but one.
    pub(super) fn of(filters: &Filters) -> Option<Narrow> {
        let width = filters.from;
        let fits = filters.groups > 1 && filters.to == width && [1, 2, 4, 8].contains(&width);
        fits.then_some(Narrow {
            width,
            kernel: filters.kernel,
            channels: filters.groups * width,
        })
    }

    /// Numbers, padding included.
    pub(super) fn len(&self) -> usize {
        self.kernel * self.width * stride(self.channels)
    }

    /// Where the number at [out][in][tap] of a state dict is.
    pub(super) fn place(&self, at: usize) -> usize {
        let (out, tap) = (at / (self.width * self.kernel), at % self.kernel);
        let from = at / self.kernel % self.width;
        let read = out / self.width * self.width + from;
        let strip = tap * (stride(self.channels) / LANES) + read / LANES;
        let k = (out % self.width) ^ from;
        (strip * self.width + k) * LANES + read % LANES
    }

    /// Numbers of the filters that give the gradient of what these gather; 0 where they are the same.
    pub(super) fn turned(&self) -> usize {
        if self.width > 1 { self.len() } else { 0 }
    }

    /// Writes them: what was computed is read.
    pub(super) fn turn(&self, filters: &[f32], into: &mut [f32]) {
        if self.width > 1 {
            let rows = into
                .chunks_exact_mut(LANES)
                .zip(filters.chunks_exact(LANES));
            for (number, (into, filters)) in rows.enumerate() {
                for (lane, into) in into.iter_mut().enumerate() {
                    *into = filters[lane ^ (number % self.width)];
                }
            }
        }
    }

    /// Makes 0 of what is kept for channels that are only padding.
    pub(super) fn clear_padding(&self, filters: &mut [f32]) {
        let strips = stride(self.channels) / LANES;
        for (number, row) in filters.chunks_exact_mut(LANES).enumerate() {
            let first = number / self.width % strips * LANES;
            row[LANES.min(self.channels - first)..].fill(0.0);
        }
    }
}

/// Computes all of `result` from `source` by the walks.
pub(super) fn gather(
    isa: Isa,
    walks: &[Walk],
    shapes: (Shape, Shape),
    (width, filters): (usize, &[f32]),
    source: &[f32],
    (result, add): (&mut [f32], bool),
) {
    isa.run(Gather {
        walks,
        shapes,
        width,
        filters,
        source,
        result,
        add,
    });
}

/// Taps that are gone through at once.
const TAPS: usize = 64;

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
            // A walk without taps writes zeros.
            for first in (0..walk.taps.len().max(1)).step_by(TAPS) {
                let taps = &walk.taps[first..walk.taps.len().min(first + TAPS)];
                let add = self.add || first > 0;
                runs(
                    walk,
                    taps,
                    self.shapes,
                    (vectors, K),
                    images,
                    #[inline(always)]
                    |run| self.run::<S, N, K>(simd, &run, vectors, add),
                );
            }
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

/// Where the filters of a vector of channels begin among those of a tap, in vectors.
#[inline(always)]
fn place<S: Simd>(channel: usize, width: usize) -> usize {
    channel / step::<S>() * step::<S>() * width + channel % step::<S>()
}

/// Vectors of a strip: from one k to the next.
#[inline(always)]
fn step<S: Simd>() -> usize {
    LANES / S::F32_LANES
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

/// Goes through the pixels that a walk computes in all images, in runs as long as can be.
#[inline(always)]
fn runs(
    walk: &Walk,
    taps: &[Tap],
    (from, to): (Shape, Shape),
    (vectors, width): (usize, usize),
    images: usize,
    mut each: impl FnMut(Run<'_>),
) {
    let sizes = (from.pixels() * vectors, to.pixels() * vectors);
    let along = (walk.stride.1 * vectors, walk.step.1 * vectors);
    // Where all taps are inside, as far as the width goes.
    let inner = inner(taps, walk.stride.1, from.width, walk.grid.1);
    // Runs along a line: one where all taps are inside, and one for each other pixel.
    let along_line = walk.grid.1 - inner.len() + usize::from(!inner.is_empty());
    let by_image = images * along_line > walk.grid.1;
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
                        seen[len] = (tap.number * width * vectors, at);
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

/// dw += Σ x · dy over some images, for groups of `width` channels. `walk` is that of [`Walk::forward`].
pub(super) fn weight_gradient(
    isa: Isa,
    walk: &Walk,
    shapes: (Shape, Shape),
    width: usize,
    (x, dy): (&[f32], &[f32]),
    dw: &mut [f32],
) {
    isa.run(Products {
        walk,
        shapes,
        width,
        x,
        dy,
        dw,
    });
}

/// Σ x · dy over some images.
struct Products<'a> {
    walk: &'a Walk,
    shapes: (Shape, Shape),
    /// Of a group.
    width: usize,
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
            runs(
                self.walk,
                taps,
                self.shapes,
                (vectors, self.width),
                images,
                #[inline(always)]
                |run| {
                    for channel in 0..vectors {
                        let seen = run.seen;
                        // As many sums as there are registers for.
                        match (self.width, S::F32_LANES) {
                            (1, _) => {
                                let seen = self.taps::<S, 6, 2, 1>(simd, &run, seen, channel);
                                let seen = self.taps::<S, 4, 2, 1>(simd, &run, seen, channel);
                                let seen = self.taps::<S, 3, 2, 1>(simd, &run, seen, channel);
                                let seen = self.taps::<S, 2, 2, 1>(simd, &run, seen, channel);
                                self.taps::<S, 1, 2, 1>(simd, &run, seen, channel);
                            }
                            (2, _) => {
                                let seen = self.taps::<S, 6, 1, 2>(simd, &run, seen, channel);
                                let seen = self.taps::<S, 3, 1, 2>(simd, &run, seen, channel);
                                self.taps::<S, 1, 2, 2>(simd, &run, seen, channel);
                            }
                            (4, _) => {
                                let seen = self.taps::<S, 3, 1, 4>(simd, &run, seen, channel);
                                self.taps::<S, 1, 2, 4>(simd, &run, seen, channel);
                            }
                            (_, 16) => {
                                let seen = self.taps::<S, 3, 1, 8>(simd, &run, seen, channel);
                                self.taps::<S, 1, 1, 8>(simd, &run, seen, channel);
                            }
                            _ => {
                                self.taps::<S, 1, 1, 8>(simd, &run, seen, channel);
                            }
                        }
                    }
                },
            );
        }
    }
}

impl Products<'_> {
    /// Adds a run's products of one vector of channels under each tap, `N` taps at a time, for groups of `K`
    /// channels; returns the taps that are left. There are `P` sums for each product, since each addition waits for
    /// the one before.
    #[inline(always)]
    fn taps<'s, S: Simd, const N: usize, const P: usize, const K: usize>(
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
            let mut sums = [[[simd.splat_f32s(0.0); N]; K]; P];
            let mut at = (0, 0);
            for _ in 0..run.count / P {
                for sums in &mut sums {
                    add(simd, sums, x.map(|x| x[at.0]), dy[at.1]);
                    at = (at.0 + run.steps.0, at.1 + run.steps.1);
                }
            }
            for _ in 0..run.count % P {
                add(simd, &mut sums[0], x.map(|x| x[at.0]), dy[at.1]);
                at = (at.0 + run.steps.0, at.1 + run.steps.1);
            }
            for (number, (filter, _)) in seen.iter().enumerate() {
                let dw = &mut dw[filter + place::<S>(channel, K)..][..(K - 1) * step::<S>() + 1];
                for k in 0..K {
                    let dw = &mut dw[k * step::<S>()];
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

/// sums[k] += x · dy, the lanes of dy swapped by k.
#[inline(always)]
fn add<S: Simd, const N: usize, const K: usize>(
    simd: S,
    sums: &mut [[S::f32s; N]; K],
    x: [S::f32s; N],
    mut dy: S::f32s,
) {
    // In an order in which one swap leads from each to the next.
    for number in 0..K {
        dy = match number.trailing_zeros() {
            _ if number == 0 => dy,
            0 => swap::<S, 1>(simd, dy),
            1 => swap::<S, 2>(simd, dy),
            _ => swap::<S, 4>(simd, dy),
        };
        let k = number ^ (number >> 1);
        for (sum, x) in sums[k].iter_mut().zip(x) {
            *sum = multiply_add(simd, x, dy, *sum);
        }
    }
}
