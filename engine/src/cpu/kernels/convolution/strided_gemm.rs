//! The fast path of a convolution for pixels that form a plain strided matrix: a single tap, no padding, and one distance
//! between neighbouring rows, as in a 1 × 1 convolution. Without an offset per row, registers are left for a wider tile.

use std::ops::Range;

use pulp::Simd;

use super::forward::{ForwardConvolution, L1_FILTER_BYTES, PixelRow, clamp_tile, write_row};
use super::{Phase, Tap};
use crate::cpu::kernels::isa::prefetch_write;
use crate::cpu::kernels::layout::LANES;
use crate::cpu::kernels::matmul::{Acc, multiply_tile};

/// A block of result pixels whose source is a strided matrix. Distances and offsets are in elements.
pub(super) struct StridedGemm<'a> {
    conv: &'a ForwardConvolution<'a>,
    /// The filters of the tap.
    filters: &'a [f32],
    /// Distance from one strip of filters to the next.
    filter_stride: usize,
    /// Offset of the first row in the source.
    source_start: usize,
    /// Offset of the first row in the result.
    result_start: usize,
    /// Distance from one row to the next in the source.
    source_stride: usize,
    /// Distance from one row to the next in the result.
    result_stride: usize,
    /// Number of rows.
    count: usize,
}

/// Input channels up to which four strips are computed at once: their filters take 32 KiB.
const MAX_DEPTH_OF_FOUR_STRIPS: usize = 128;
/// Rows for which all strips are computed before the next rows: a multiple of the rows of every tile.
const ROWS_IN_L1: usize = 24;

impl<'a> StridedGemm<'a> {
    /// The strided matrix of a block of pixels; `None` if they do not form one.
    #[inline(always)]
    pub(super) fn of(
        conv: &'a ForwardConvolution<'a>,
        phase: &Phase,
        block: &[PixelRow],
    ) -> Option<StridedGemm<'a>> {
        let ([tap], [first, rest @ ..]) = (&phase.taps[..], block) else {
            return None;
        };
        let Tap { down, over, number } = *tap;
        // With a single tap, pixels are visited in the order of memory: no distance is negative.
        let distance = |one: &PixelRow, next: &PixelRow| (next.from - one.from, next.to - one.to);
        let strides = distance(first, rest.first().unwrap_or(first));
        let source = conv.input;
        let inside = |row: &PixelRow| {
            ((row.down + down) as usize) < source.height
                && ((row.over + over) as usize) < source.width
        };
        let even = block
            .windows(2)
            .all(|pair| distance(&pair[0], &pair[1]) == strides);
        let shift = (down * source.width as isize + over) * source.stride as isize;
        let tap = source.channels * LANES;
        (conv.groups == 1 && even && block.iter().all(inside)).then(|| StridedGemm {
            conv,
            filters: &conv.filters[number * tap..],
            filter_stride: phase.kernel_len * tap,
            source_start: (first.from + shift) as usize,
            result_start: first.to,
            source_stride: strides.0 as usize,
            result_stride: strides.1,
            count: block.len(),
        })
    }

    /// Computes the rows; tiles of one or two strips have `MR` rows.
    #[inline(always)]
    pub(super) fn run<S: Simd, const MR: usize, const V: usize>(
        &self,
        simd: S,
        result: &mut [f32],
    ) {
        let depth = self.conv.input.channels;
        let strips = self.conv.output.channels.div_ceil(LANES);
        // If the filters fit in L1, all strips of some rows are computed in turn, so that these rows stay there too.
        let several_tiles = match S::F32_LANES {
            16 => !matches!(strips, 1 | 2 | 4),
            _ => strips > 1,
        };
        let fits = strips * self.filter_stride * size_of::<f32>() <= L1_FILTER_BYTES;
        let block = if several_tiles && fits {
            ROWS_IN_L1
        } else {
            self.count
        };
        for first in (0..self.count).step_by(block) {
            let rows = first..self.count.min(first + block);
            let mut strip = 0;
            while strip < strips {
                let rows = rows.clone();
                strip += match (S::F32_LANES, strips - strip) {
                    (16, 4..) if depth <= MAX_DEPTH_OF_FOUR_STRIPS => {
                        self.strips::<S, 6, 4, V>(simd, rows, strip, result)
                    }
                    (16, 2..) => self.strips::<S, MR, 2, V>(simd, rows, strip, result),
                    _ => self.strips::<S, MR, 1, V>(simd, rows, strip, result),
                };
            }
        }
    }

    /// Computes `NS` strips of some rows, `MR` rows at a time; returns `NS`.
    #[inline(always)]
    fn strips<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        strip: usize,
        result: &mut [f32],
    ) -> usize {
        let conv = self.conv;
        let depth = conv.input.channels;
        let initial = conv.initial_sums::<S, NS, V>(simd, strip * LANES, false);
        let b: [&[f32]; NS] = std::array::from_fn(|i| {
            &self.filters[(strip + i) * self.filter_stride..][..depth * LANES]
        });
        for row in rows.clone().step_by(MR) {
            let count = (rows.end - row).min(MR);
            let to = self.result_start + row * self.result_stride;
            // Prefetches what the next tile writes.
            for i in MR..2 * MR {
                for strip in strip..strip + NS {
                    prefetch_write(simd, result, to + i * self.result_stride + strip * LANES);
                }
            }
            let source = &conv.source[self.source_start + row * self.source_stride..];
            // Rows past the end repeat the last, and are not written.
            let a: [&[f32]; MR] =
                std::array::from_fn(|i| &source[i.min(count - 1) * self.source_stride..][..depth]);
            let mut acc: Acc<S, MR, NS, V> = [initial; MR];
            multiply_tile(simd, &mut acc, a, b);
            if let Some(limit) = conv.limit {
                clamp_tile(simd, &mut acc, limit);
            }
            let result = &mut result[to..];
            for i in 0..MR {
                if i < count {
                    let to = &mut result[i * self.result_stride + strip * LANES..];
                    write_row(simd, &acc[i], to, conv.add);
                }
            }
            if let Some(epilogue) = conv.epilogue {
                let rows = (0..count).map(|i| i * self.result_stride);
                epilogue.run(simd, result, rows, strip..strip + NS);
            }
        }
        NS
    }
}
