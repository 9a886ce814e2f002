//! The filter gradient of a convolution: a matrix product that sums over pixels.

use pulp::{Simd, WithSimd};

use super::{FilterLayout, Geometry, Phase, Tap};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, pixel_stride};
use crate::cpu::kernels::matmul::{Acc, outer_product, vectors};

/// dw += Σ xᵀ · dy over all pixels of some images, for each tap; dw is in [`FilterLayout`].
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct WeightGradient<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) geometry: &'a Geometry,
    /// The phase of [`Phase::forward`].
    pub(in crate::cpu) phase: &'a Phase,
}

impl WeightGradient<'_> {
    /// Adds the gradient of some images, of which `x` are inputs and `dy` output gradients.
    pub(in crate::cpu) fn add(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let parts = dw.chunks_mut(self.part_len()).enumerate();
        parts.for_each(|(number, dw)| self.add_to_part(number, x, dy, dw));
    }

    /// Elements of a part of dw, which is computed on its own.
    pub(in crate::cpu) fn part_len(&self) -> usize {
        let filters = self.geometry.filters();
        strips_per_part(&filters) * filters.strip_len()
    }

    /// Adds the gradient of some images to part `number` of dw.
    pub(in crate::cpu) fn add_to_part(&self, number: usize, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let g = self.geometry;
        let filters = g.filters();
        let first = number * strips_per_part(&filters);
        let (group, strip) = (first / filters.strips(), first % filters.strips());
        self.isa.run(Kernel {
            g,
            phase: self.phase,
            x,
            dy,
            lines: dy.len() / (g.output.width * pixel_stride(g.output.channels)),
            x_channel: group * filters.in_channels,
            dy_channel: group * filters.out_channels + strip * LANES,
            filters,
            strip,
            dw,
        });
    }
}

/// Strips of a part: up to 4, all of one group.
fn strips_per_part(filters: &FilterLayout) -> usize {
    match filters.strips() {
        strips if filters.groups == 1 => strips.min(4),
        strips => [4, 2, 1]
            .into_iter()
            .find(|width| strips % width == 0)
            .unwrap_or(1),
    }
}

/// The vector kernel: Σ xᵀ · dy for some strips of a group.
struct Kernel<'a> {
    g: &'a Geometry,
    phase: &'a Phase,
    x: &'a [f32],
    dy: &'a [f32],
    /// Output rows of all images.
    lines: usize,
    /// First channel of x.
    x_channel: usize,
    /// First channel of dy.
    dy_channel: usize,
    filters: FilterLayout,
    /// Number of the first strip in its group.
    strip: usize,
    dw: &'a mut [f32],
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut runs = [PixelRun::default(); ROWS];
        let lines = (ROWS / self.g.output.width).max(1);
        let steps = self.steps();
        for first in (0..self.lines).step_by(lines) {
            let block = first..self.lines.min(first + lines);
            for tap in &self.phase.taps {
                let (mut count, mut rows) = (0, 0);
                for line in block.clone() {
                    let PixelRun {
                        mut x,
                        mut dy,
                        mut len,
                    } = self.under(tap, line);
                    while len > 0 {
                        let taken = len.min(ROWS - rows);
                        let next = |run: &PixelRun| {
                            (run.x + run.len * steps.0, run.dy + run.len * steps.1) == (x, dy)
                        };
                        match runs[..count].last_mut() {
                            Some(last) if next(last) => last.len += taken,
                            _ => {
                                runs[count] = PixelRun { x, dy, len: taken };
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

/// Pixels per block, whose x and dy stay in L1 for all tiles.
const ROWS: usize = 64;

/// `len` pixels at equal distances; `x` and `dy` are the offsets of the first in elements.
#[derive(Debug, Clone, Copy, Default)]
struct PixelRun {
    x: usize,
    dy: usize,
    len: usize,
}

impl Kernel<'_> {
    /// Distance in elements from one output pixel of a row to the next, in (x, dy).
    #[inline(always)]
    fn steps(&self) -> (usize, usize) {
        let (input, output) = (self.g.input, self.g.output);
        (
            self.phase.stride.1 * input.stride,
            pixel_stride(output.channels),
        )
    }

    /// The pixels of output row `line` for which a tap lies inside the input.
    #[inline(always)]
    fn under(&self, tap: &Tap, line: usize) -> PixelRun {
        let (input, output, step) = (self.g.input, self.g.output, self.phase.stride);
        let (image, down) = (line / output.height, line % output.height);
        let y = (down * step.0) as isize + tap.down;
        if y < 0 || y >= input.height as isize {
            return PixelRun::default();
        }
        // 0 ≤ over · step + tap < width.
        let first = tap.over.min(0).unsigned_abs().div_ceil(step.1);
        let end = (input.width as isize - tap.over).max(0) as usize;
        let end = end.div_ceil(step.1).min(output.width);
        if first >= end {
            return PixelRun::default();
        }
        let x = (image * input.height + y as usize) * input.width;
        let x = (x + first * step.1).wrapping_add_signed(tap.over);
        let dy = line * output.width + first;
        PixelRun {
            x: x * input.stride,
            dy: dy * pixel_stride(output.channels),
            len: end - first,
        }
    }

    /// Adds the products of some pixels for one tap.
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, tap: &Tap, runs: &[PixelRun]) {
        if runs.is_empty() {
            return;
        }
        let strips = self.dw.len() / self.filters.strip_len();
        let mut strip = 0;
        while strip < strips {
            // The tile size follows from the number of registers.
            strip += match (S::F32_LANES, strips - strip) {
                (16, 4..) => self.channels::<S, 6, 4, 1>(simd, tap, runs, strip),
                (16, 2..) => self.channels::<S, 12, 2, 1>(simd, tap, runs, strip),
                (16, _) => self.channels::<S, 12, 1, 1>(simd, tap, runs, strip),
                _ => self.channels::<S, 4, 1, 2>(simd, tap, runs, strip),
            };
        }
    }

    /// All channels of x by `NS` strips of dy, `MR` channels at a time; returns `NS`.
    #[inline(always)]
    fn channels<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        tap: &Tap,
        runs: &[PixelRun],
        strip: usize,
    ) -> usize {
        for first in (0..self.filters.in_channels).step_by(MR) {
            match self.filters.in_channels - first {
                ..=4 if MR > 4 => self.tile::<S, 4, NS, V>(simd, tap, runs, first, strip),
                ..=8 if MR > 8 => self.tile::<S, 8, NS, V>(simd, tap, runs, first, strip),
                _ => self.tile::<S, MR, NS, V>(simd, tap, runs, first, strip),
            }
        }
        NS
    }

    /// `MR` channels of x from `first` on, by `NS` strips of dy from `strip` on.
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        tap: &Tap,
        runs: &[PixelRun],
        first: usize,
        strip: usize,
    ) {
        let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
        let (a, b) = (self.x_channel + first, self.dy_channel + strip * LANES);
        let steps = self.steps();
        for run in runs {
            let (x, dy) = (&self.x[run.x + a..], &self.dy[run.dy + b..]);
            let left = x.windows(MR).step_by(steps.0);
            let right = dy.windows(NS * LANES).step_by(steps.1);
            let mut whole = 0;
            for (x, dy) in left.zip(right).take(run.len) {
                if let (Some(x), Some(dy)) = (x.first_chunk(), vectors::<S, V>(dy).first_chunk()) {
                    outer_product::<S, MR, NS, V>(simd, &mut acc, x, dy);
                    whole += 1;
                }
            }
            // The last pixel may have fewer elements left than a tile is wide.
            for row in whole..run.len {
                let (x, dy) = (&x[row * steps.0..], &dy[row * steps.1..]);
                let (mut left, mut right) = ([0.0; MR], [[0.0; LANES]; NS]);
                let (count, columns) = (x.len().min(MR), dy.len().min(NS * LANES));
                left[..count].copy_from_slice(&x[..count]);
                right.as_flattened_mut()[..columns].copy_from_slice(&dy[..columns]);
                if let Some(dy) = vectors::<S, V>(right.as_flattened()).first_chunk() {
                    outer_product::<S, MR, NS, V>(simd, &mut acc, &left, dy);
                }
            }
        }
        // Columns past the last channel of the group belong to another group or to padding: they are masked.
        let columns = self.filters.out_channels - (self.strip + strip) * LANES;
        if columns < NS * LANES {
            let mut mask = [[0.0; LANES]; NS];
            mask.as_flattened_mut()[..columns].fill(1.0);
            let mask = vectors::<S, V>(mask.as_flattened());
            let zero = simd.splat_f32s(0.0);
            for acc in &mut acc {
                let mask = mask.as_flattened().iter();
                for (acc, mask) in acc.as_flattened_mut().iter_mut().zip(mask) {
                    let inside = simd.less_than_f32s(zero, *mask);
                    *acc = simd.select_f32s(inside, *acc, zero);
                }
            }
        }
        let channels = self.filters.in_channels - first;
        let at = strip * self.filters.strip_len()
            + (tap.number * self.filters.in_channels + first) * LANES;
        for column in 0..NS {
            let dw = &mut self.dw[at + column * self.filters.strip_len()..];
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
