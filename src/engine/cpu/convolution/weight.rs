//! The product that sums over pixels: the gradient of the weight.

use pulp::{Simd, WithSimd};

use super::{Filters, Geometry, Tap, Walk};
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::layout::{LANES, stride};
use crate::engine::cpu::multiply::{Acc, outer, vectors};

/// What a weight's gradient is made of: dw += Σ xᵀ · dy over all pixels of some images, in the layout
/// of [`Filters`].
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::cpu) struct WeightGradient<'a> {
    pub(in crate::engine::cpu) isa: Isa,
    pub(in crate::engine::cpu) geometry: &'a Geometry,
    /// That of [`Walk::forward`].
    pub(in crate::engine::cpu) walk: &'a Walk,
}

impl WeightGradient<'_> {
    /// Adds what some images give.
    pub(in crate::engine::cpu) fn add(&self, (x, dy): (&[f32], &[f32]), dw: &mut [f32]) {
        let parts = dw.chunks_mut(self.part()).enumerate();
        parts.for_each(|(number, dw)| self.add_to_part(number, (x, dy), dw));
    }

    /// Numbers of a part of dw that is computed on its own.
    pub(in crate::engine::cpu) fn part(&self) -> usize {
        let filters = self.geometry.filters();
        width(&filters) * filters.strip()
    }

    /// Adds what some images give to one part.
    pub(in crate::engine::cpu) fn add_to_part(
        &self,
        number: usize,
        (x, dy): (&[f32], &[f32]),
        dw: &mut [f32],
    ) {
        let g = self.geometry;
        let filters = g.filters();
        let first = number * width(&filters);
        let (group, strip) = (first / filters.strips(), first % filters.strips());
        self.isa.run(Products {
            g,
            walk: self.walk,
            x,
            dy,
            lines: dy.len() / (g.output.width * stride(g.output.channels)),
            channels: (group * filters.from, group * filters.to + strip * LANES),
            filters,
            strip,
            dw,
        });
    }
}

/// Strips that are computed at once: none of another group.
fn width(filters: &Filters) -> usize {
    match filters.strips() {
        strips if filters.groups == 1 => strips.div_ceil(strips.div_ceil(2).max(2)),
        strips => [2, 1]
            .into_iter()
            .find(|width| strips % width == 0)
            .unwrap_or(1),
    }
}

/// Σ xᵀ · dy for some strips of a group, over some lines of pixels.
struct Products<'a> {
    g: &'a Geometry,
    walk: &'a Walk,
    x: &'a [f32],
    dy: &'a [f32],
    /// Of all images, one after the other.
    lines: usize,
    /// The first channel of x and of dy.
    channels: (usize, usize),
    filters: Filters,
    /// The first, in its group.
    strip: usize,
    dw: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut pairs = [(0, 0); ROWS];
        let lines = (ROWS / self.g.output.width).max(1);
        let (x, dy) = (self.g.input.stride, stride(self.g.output.channels));
        let steps = (self.walk.stride.1 * x, dy);
        for first in (0..self.lines).step_by(lines) {
            let block = first..self.lines.min(first + lines);
            for tap in &self.walk.taps {
                let mut count = 0;
                for line in block.clone() {
                    let (mut pair, mut len) = self.under(tap, line);
                    while len > 0 {
                        let next = &mut pairs[count..ROWS.min(count + len)];
                        for (number, next) in next.iter_mut().enumerate() {
                            *next = (pair.0 + number * steps.0, pair.1 + number * steps.1);
                        }
                        let taken = next.len();
                        pair = (pair.0 + taken * steps.0, pair.1 + taken * steps.1);
                        (count, len) = (count + taken, len - taken);
                        if count == ROWS {
                            self.block::<S>(simd, tap, &pairs);
                            count = 0;
                        }
                    }
                }
                self.block::<S>(simd, tap, &pairs[..count]);
            }
        }
    }
}

/// Rows that are gone through while they are near.
const ROWS: usize = 64;

impl Products<'_> {
    /// Where x and dy begin at the first pixel of a line whose tap is inside, and how many are.
    #[inline(always)]
    fn under(&self, tap: &Tap, line: usize) -> ((usize, usize), usize) {
        let (input, output, step) = (self.g.input, self.g.output, self.walk.stride);
        let (image, down) = (line / output.height, line % output.height);
        let y = (down * step.0) as isize + tap.down;
        if y < 0 || y >= input.height as isize {
            return ((0, 0), 0);
        }
        // 0 ≤ over · step + tap < width.
        let first = tap.over.min(0).unsigned_abs().div_ceil(step.1);
        let end = (input.width as isize - tap.over).max(0) as usize;
        let end = end.div_ceil(step.1).min(output.width);
        if first >= end {
            return ((0, 0), 0);
        }
        let x = (image * input.height + y as usize) * input.width;
        let x = (x + first * step.1).wrapping_add_signed(tap.over);
        let dy = line * output.width + first;
        let strides = (input.stride, stride(output.channels));
        ((x * strides.0, dy * strides.1), end - first)
    }

    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, tap: &Tap, pairs: &[(usize, usize)]) {
        if pairs.is_empty() {
            return;
        }
        let strips = self.dw.len() / self.filters.strip();
        let mut first = 0;
        while first < self.filters.from {
            let few = self.filters.from - first <= 4;
            match (S::F32_LANES, strips, few) {
                (16, 1, true) => self.tile::<S, 4, 1, 1>(simd, tap, pairs, first, 0),
                (16, 2, true) => self.tile::<S, 4, 2, 1>(simd, tap, pairs, first, 0),
                (16, 1, false) => self.tile::<S, 8, 1, 1>(simd, tap, pairs, first, 0),
                (16, 2, false) => self.tile::<S, 8, 2, 1>(simd, tap, pairs, first, 0),
                _ => {
                    for strip in 0..strips {
                        self.tile::<S, 4, 1, 2>(simd, tap, pairs, first, strip);
                    }
                }
            }
            first += if S::F32_LANES == 16 && !few { 8 } else { 4 };
        }
    }

    /// Some channels of x by some strips of dy.
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        tap: &Tap,
        pairs: &[(usize, usize)],
        first: usize,
        strip: usize,
    ) {
        let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
        let (a, b) = (self.channels.0 + first, self.channels.1 + strip * LANES);
        // Behind the last channels of the last pixel there may be fewer numbers than a tile has.
        let whole = pairs.partition_point(|(x, dy)| {
            x + a + MR <= self.x.len() && dy + b + NS * LANES <= self.dy.len()
        });
        let (pairs, rest) = pairs.split_at(whole);
        let (left, right) = (&self.x[a..], &self.dy[b..]);
        for (x, dy) in pairs {
            let (x, dy) = (&left[*x..][..MR], &right[*dy..][..NS * LANES]);
            if let (Some(x), Some(dy)) = (x.first_chunk(), vectors::<S, V>(dy).first_chunk()) {
                outer::<S, MR, NS, V>(simd, &mut acc, x, dy);
            }
        }
        for (x, dy) in rest {
            let (x, dy) = (&self.x[x + a..], &self.dy[dy + b..]);
            let (mut left, mut right) = ([0.0; MR], [[0.0; LANES]; NS]);
            let (count, columns) = (x.len().min(MR), dy.len().min(NS * LANES));
            left[..count].copy_from_slice(&x[..count]);
            right.as_flattened_mut()[..columns].copy_from_slice(&dy[..columns]);
            if let Some(dy) = vectors::<S, V>(right.as_flattened()).first_chunk() {
                outer::<S, MR, NS, V>(simd, &mut acc, &left, dy);
            }
        }
        let rows = MR.min(self.filters.from - first);
        let at = strip * self.filters.strip() + (tap.number * self.filters.from + first) * LANES;
        let columns = self.filters.to - (self.strip + strip) * LANES;
        if rows == MR && columns >= NS * LANES {
            for column in 0..NS {
                let dw = &mut self.dw[at + column * self.filters.strip()..][..MR * LANES];
                let (dw, _) = S::as_mut_simd_f32s(dw);
                for (dw, acc) in dw.as_chunks_mut::<V>().0.iter_mut().zip(&acc) {
                    for (dw, acc) in dw.iter_mut().zip(&acc[column]) {
                        *dw = simd.add_f32s(*dw, *acc);
                    }
                }
            }
            return;
        }
        // Through memory: indexed by what is not known here, the sums would not stay in registers.
        let mut sums = [[[0.0; LANES]; NS]; MR];
        let (to, _) = S::as_mut_simd_f32s(sums.as_flattened_mut().as_flattened_mut());
        let flat = acc.as_flattened().as_flattened();
        to.iter_mut().zip(flat).for_each(|(to, acc)| *to = *acc);
        for column in 0..NS {
            // Past the last channel lies another group, or padding.
            let channel = (self.strip + strip + column) * LANES;
            let width = self.filters.to.saturating_sub(channel).min(LANES);
            let dw = &mut self.dw[at + column * self.filters.strip()..][..rows * LANES];
            for (dw, sums) in dw.as_chunks_mut::<LANES>().0.iter_mut().zip(&sums) {
                for (dw, sum) in dw[..width].iter_mut().zip(&sums[column]) {
                    *dw += sum;
                }
            }
        }
    }
}
