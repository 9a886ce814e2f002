//! The product that sums over pixels: the gradient of the weight.

use pulp::{Simd, WithSimd};

use super::{Filters, Geometry, Tap, Walk};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, stride};
use crate::cpu::kernels::multiply::{Acc, outer, vectors};

/// What a weight's gradient is made of: dw += Σ xᵀ · dy over all pixels of some images, in the layout
/// of [`Filters`].
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct WeightGradient<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) geometry: &'a Geometry,
    /// That of [`Walk::forward`].
    pub(in crate::cpu) walk: &'a Walk,
}

impl WeightGradient<'_> {
    /// Adds what some images give.
    pub(in crate::cpu) fn add(&self, (x, dy): (&[f32], &[f32]), dw: &mut [f32]) {
        let parts = dw.chunks_mut(self.part()).enumerate();
        parts.for_each(|(number, dw)| self.add_to_part(number, (x, dy), dw));
    }

    /// Numbers of a part of dw that is computed on its own.
    pub(in crate::cpu) fn part(&self) -> usize {
        let filters = self.geometry.filters();
        width(&filters) * filters.strip()
    }

    /// Adds what some images give to one part.
    pub(in crate::cpu) fn add_to_part(
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
        strips if filters.groups == 1 => strips.min(4),
        strips => [4, 2, 1]
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
        let mut runs = [Run::default(); ROWS];
        let lines = (ROWS / self.g.output.width).max(1);
        let steps = self.steps();
        for first in (0..self.lines).step_by(lines) {
            let block = first..self.lines.min(first + lines);
            for tap in &self.walk.taps {
                let (mut count, mut rows) = (0, 0);
                for line in block.clone() {
                    let ((mut x, mut dy), mut len) = self.under(tap, line);
                    while len > 0 {
                        let taken = len.min(ROWS - rows);
                        let next = |run: &Run| {
                            (run.x + run.len * steps.0, run.dy + run.len * steps.1) == (x, dy)
                        };
                        match runs[..count].last_mut() {
                            Some(last) if next(last) => last.len += taken,
                            _ => {
                                runs[count] = Run { x, dy, len: taken };
                                count += 1;
                            }
                        }
                        (x, dy) = (x + taken * steps.0, dy + taken * steps.1);
                        (rows, len) = (rows + taken, len - taken);
                        if rows == ROWS {
                            self.block::<S>(simd, tap, &runs[..count]);
                            (count, rows) = (0, 0);
                        }
                    }
                }
                self.block::<S>(simd, tap, &runs[..count]);
            }
        }
    }
}

/// Rows that are gone through while they are near.
const ROWS: usize = 64;

/// Pixels that lie at equal distances from each other, in x and in dy.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    x: usize,
    dy: usize,
    len: usize,
}

impl Products<'_> {
    /// From one pixel of a line to the next, in x and in dy.
    #[inline(always)]
    fn steps(&self) -> (usize, usize) {
        let (input, output) = (self.g.input, self.g.output);
        (self.walk.stride.1 * input.stride, stride(output.channels))
    }

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
    fn block<S: Simd>(&mut self, simd: S, tap: &Tap, runs: &[Run]) {
        if runs.is_empty() {
            return;
        }
        let strips = self.dw.len() / self.filters.strip();
        let mut strip = 0;
        while strip < strips {
            // As many sums as there are registers for.
            strip += match (S::F32_LANES, strips - strip) {
                (16, 4..) => self.channels::<S, 6, 4, 1>(simd, tap, runs, strip),
                (16, 2..) => self.channels::<S, 12, 2, 1>(simd, tap, runs, strip),
                (16, _) => self.channels::<S, 12, 1, 1>(simd, tap, runs, strip),
                _ => self.channels::<S, 4, 1, 2>(simd, tap, runs, strip),
            };
        }
    }

    /// All channels of x by `NS` strips of dy, `MR` channels at a time.
    #[inline(always)]
    fn channels<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        tap: &Tap,
        runs: &[Run],
        strip: usize,
    ) -> usize {
        for first in (0..self.filters.from).step_by(MR) {
            match self.filters.from - first {
                ..=4 if MR > 4 => self.tile::<S, 4, NS, V>(simd, tap, runs, first, strip),
                ..=8 if MR > 8 => self.tile::<S, 8, NS, V>(simd, tap, runs, first, strip),
                _ => self.tile::<S, MR, NS, V>(simd, tap, runs, first, strip),
            }
        }
        NS
    }

    /// Some channels of x by some strips of dy.
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        tap: &Tap,
        runs: &[Run],
        first: usize,
        strip: usize,
    ) {
        let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
        let (a, b) = (self.channels.0 + first, self.channels.1 + strip * LANES);
        let steps = self.steps();
        for run in runs {
            let (x, dy) = (&self.x[run.x + a..], &self.dy[run.dy + b..]);
            let left = x.windows(MR).step_by(steps.0);
            let right = dy.windows(NS * LANES).step_by(steps.1);
            let mut whole = 0;
            for (x, dy) in left.zip(right).take(run.len) {
                if let (Some(x), Some(dy)) = (x.first_chunk(), vectors::<S, V>(dy).first_chunk()) {
                    outer::<S, MR, NS, V>(simd, &mut acc, x, dy);
                    whole += 1;
                }
            }
            // Behind the last channels of the last pixel there may be fewer numbers than a tile has.
            for row in whole..run.len {
                let (x, dy) = (&x[row * steps.0..], &dy[row * steps.1..]);
                let (mut left, mut right) = ([0.0; MR], [[0.0; LANES]; NS]);
                let (count, columns) = (x.len().min(MR), dy.len().min(NS * LANES));
                left[..count].copy_from_slice(&x[..count]);
                right.as_flattened_mut()[..columns].copy_from_slice(&dy[..columns]);
                if let Some(dy) = vectors::<S, V>(right.as_flattened()).first_chunk() {
                    outer::<S, MR, NS, V>(simd, &mut acc, &left, dy);
                }
            }
        }
        // Past the last channel of a group lies another group, or padding.
        let columns = self.filters.to - (self.strip + strip) * LANES;
        if columns < NS * LANES {
            let mut counted = [[0.0; LANES]; NS];
            counted.as_flattened_mut()[..columns].fill(1.0);
            let counted = vectors::<S, V>(counted.as_flattened());
            let zero = simd.splat_f32s(0.0);
            for acc in &mut acc {
                let counted = counted.as_flattened().iter();
                for (acc, counted) in acc.as_flattened_mut().iter_mut().zip(counted) {
                    let counts = simd.less_than_f32s(zero, *counted);
                    *acc = simd.select_f32s(counts, *acc, zero);
                }
            }
        }
        let channels = self.filters.from - first;
        let at = strip * self.filters.strip() + (tap.number * self.filters.from + first) * LANES;
        for column in 0..NS {
            let dw = &mut self.dw[at + column * self.filters.strip()..];
            let (dw, _) = S::as_mut_simd_f32s(&mut dw[..channels.min(MR) * LANES]);
            let (dw, _) = dw.as_chunks_mut::<V>();
            for i in 0..MR {
                if i < channels {
                    for (dw, acc) in dw[i].iter_mut().zip(&acc[i][column]) {
                        *dw = simd.add_f32s(*dw, *acc);
                    }
                }
            }
        }
    }
}
