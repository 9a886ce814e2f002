//! The product that sums over pixels: the gradient of the weight.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Geometry, Tap, Walk};
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::layout::{LANES, stride};
use crate::engine::cpu::multiply::{outer, panels};

/// dw += Σ xᵀ · dy over all pixels, as [group][tap][in][out]. `walk` is that of [`Walk::forward`];
/// `parts` holds [`parts`] of dw.
pub(in crate::engine::cpu) fn backward_weight(
    isa: Isa,
    (g, walk): (&Geometry, &Walk),
    (x, dy): (&[f32], &[f32]),
    dw: &mut [f32],
    parts: &mut [f32],
) {
    let count = self::parts(g);
    let parts = &mut parts[..count * dw.len()];
    parts.fill(0.0);
    let (from, to) = g.per_group();
    let rows = g.images * g.output.pixels();
    let share = rows.div_ceil(count);
    // The channels of a tap go to several tasks where the rows are few.
    let channels = match count {
        1 => CHANNELS.min(from),
        _ => from,
    };
    let matrices = parts.par_chunks_mut(from * to).enumerate();
    matrices.for_each(|(number, part)| {
        let (part_number, matrix) = (
            number / (dw.len() / (from * to)),
            number % (dw.len() / (from * to)),
        );
        let (group, tap) = (matrix / g.kernel(), matrix % g.kernel());
        let rows = part_number * share..rows.min((part_number + 1) * share);
        part.par_chunks_mut(channels * to)
            .enumerate()
            .for_each(|(block, part)| {
                isa.run(Products {
                    g,
                    tap: walk.taps[tap],
                    x,
                    dy,
                    rows: rows.clone(),
                    channel: (group * from + block * channels, group * to),
                    to,
                    part,
                });
            });
    });
    let len = dw.len();
    let parts = &*parts;
    dw.par_chunks_mut(SUM).enumerate().for_each(|(chunk, dw)| {
        for part in parts.chunks_exact(len) {
            for (dw, part) in dw.iter_mut().zip(&part[chunk * SUM..]) {
                *dw += *part;
            }
        }
    });
}

/// Channels of a tap that a task takes where rows are few.
const CHANNELS: usize = 32;
/// Weights that a task sums up.
const SUM: usize = 16_384;

/// Into how many parts the rows of a weight's gradient are cut: it follows from sizes alone, so that
/// sums are the same for any number of threads.
pub(in crate::engine::cpu) fn parts(g: &Geometry) -> usize {
    let rows = g.images * g.output.pixels();
    let (from, to) = g.per_group();
    let weights = g.groups * g.kernel() * from * to;
    let room = (1 << 21) / weights.max(1);
    (rows / 2048).min(room).clamp(1, 16)
}

/// Σ xᵀ · dy for some channels under one tap, over some rows.
struct Products<'a> {
    g: &'a Geometry,
    tap: Tap,
    x: &'a [f32],
    dy: &'a [f32],
    rows: std::ops::Range<usize>,
    /// The first channel of x and of dy.
    channel: (usize, usize),
    to: usize,
    /// [in][out].
    part: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut pairs = [(0, 0); ROWS];
        let mut rows = self.rows.clone();
        loop {
            let mut count = 0;
            for row in rows.by_ref() {
                if let Some(from) = self.under(row) {
                    pairs[count] = (from, row * stride(self.g.output.channels));
                    count += 1;
                    if count == ROWS {
                        break;
                    }
                }
            }
            if count == 0 {
                return;
            }
            match S::F32_LANES {
                16 => self.block::<S, 8>(simd, &pairs[..count]),
                _ => self.block::<S, 4>(simd, &pairs[..count]),
            }
        }
    }
}

/// Rows that are gone through while they are near.
const ROWS: usize = 128;

impl Products<'_> {
    /// Where x is under the tap at a row of dy.
    #[inline(always)]
    fn under(&self, row: usize) -> Option<usize> {
        let (input, output, step) = (self.g.input, self.g.output, self.g.window.stride);
        let (image, pixel) = (row / output.pixels(), row % output.pixels());
        let down = (pixel / output.width * step.0) as isize + self.tap.down;
        let over = (pixel % output.width * step.1) as isize + self.tap.over;
        let inside =
            (0..input.height as isize).contains(&down) && (0..input.width as isize).contains(&over);
        inside.then(|| {
            let pixel = image * input.pixels() + down as usize * input.width + over as usize;
            pixel * stride(input.channels)
        })
    }

    #[inline(always)]
    fn block<S: Simd, const MR: usize>(&mut self, simd: S, pairs: &[(usize, usize)]) {
        let to = self.to;
        for (start, vectors) in panels(to.next_multiple_of(LANES), S::F32_LANES) {
            for first in (0..self.part.len() / to).step_by(MR) {
                match vectors {
                    1 => self.tile::<S, MR, 1>(simd, pairs, first, start),
                    2 => self.tile::<S, MR, 2>(simd, pairs, first, start),
                    _ => self.tile::<S, MR, 3>(simd, pairs, first, start),
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        simd: S,
        pairs: &[(usize, usize)],
        first: usize,
        start: usize,
    ) {
        let full = NV * S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
        let (a, b) = (self.channel.0 + first, self.channel.1 + start);
        let rows = (self.part.len() / self.to - first).min(MR);
        // The last channels of a row may have fewer behind them than a tile has.
        for (x, dy) in pairs {
            let mut rest = [0.0; MR];
            let x = match self.x[x + a..].first_chunk::<MR>() {
                Some(x) if rows == MR => x,
                _ => {
                    rest[..rows].copy_from_slice(&self.x[x + a..][..rows]);
                    &rest
                }
            };
            let dy = &self.dy[dy + b..];
            if let Some(dy) = dy.get(..full) {
                let (dy, _) = S::as_simd_f32s(dy);
                if let Some(dy) = dy.first_chunk::<NV>() {
                    outer(simd, &mut acc, x, dy);
                }
            } else {
                let mut copy = [0.0; 48];
                copy[..dy.len()].copy_from_slice(dy);
                let (dy, _) = S::as_simd_f32s(&copy);
                if let Some(dy) = dy.first_chunk::<NV>() {
                    outer(simd, &mut acc, x, dy);
                }
            }
        }
        let width = full.min(self.to - start);
        let part = self.part.chunks_exact_mut(self.to).skip(first);
        for (row, acc) in part.zip(&acc).take(rows) {
            for (to, acc) in row[start..][..width].chunks_mut(S::F32_LANES).zip(acc) {
                let now = simd.partial_load_f32s(to);
                simd.partial_store_f32s(to, simd.add_f32s(now, *acc));
            }
        }
    }
}
