//! Rows at equal distances that are all under one tap, as those of a 1 × 1 convolution without stride are: a tile of them
//! needs no look at each row, and there are registers for a wider one.

use std::ops::Range;

use pulp::Simd;

use super::gather::{FEW, Gather, Row, bound, write};
use super::{Tap, Walk};
use crate::cpu::kernels::isa::fetch_place;
use crate::cpu::kernels::layout::LANES;
use crate::cpu::kernels::multiply::{Acc, rows_by_strips};

/// Such rows.
pub(super) struct Even<'a> {
    gather: &'a Gather<'a>,
    /// Filters of the tap, and how many numbers from one strip to the next.
    filters: (&'a [f32], usize),
    /// Where the first row begins, in source and result.
    from: usize,
    to: usize,
    /// From one row to the next.
    steps: (usize, usize),
    count: usize,
}

/// Channels that are gathered up to which four strips are computed at once: their filters take 32 KiB.
const WIDE: usize = 128;
/// Rows of which all strips are computed before the next: a multiple of those of every tile.
const NEAR: usize = 24;

impl<'a> Even<'a> {
    /// The rows of a block, if they are such.
    #[inline(always)]
    pub(super) fn of(gather: &'a Gather<'a>, walk: &Walk, block: &[Row]) -> Option<Even<'a>> {
        let ([tap], [first, rest @ ..]) = (&walk.taps[..], block) else {
            return None;
        };
        let Tap { down, over, number } = *tap;
        // Under one tap, rows go through images in the order of memory: none is negative.
        let distance = |one: &Row, next: &Row| (next.from - one.from, next.to - one.to);
        let steps = distance(first, rest.first().unwrap_or(first));
        let source = gather.shapes.0;
        let inside = |row: &Row| {
            ((row.down + down) as usize) < source.height
                && ((row.over + over) as usize) < source.width
        };
        let even = block
            .windows(2)
            .all(|pair| distance(&pair[0], &pair[1]) == steps);
        let shift = (down * source.width as isize + over) * source.stride as isize;
        let tap = source.channels * LANES;
        (gather.groups == 1 && even && block.iter().all(inside)).then(|| Even {
            gather,
            filters: (&gather.filters[number * tap..], walk.kernel * tap),
            from: (first.from + shift) as usize,
            to: first.to,
            steps: (steps.0 as usize, steps.1),
            count: block.len(),
        })
    }

    /// Computes them; tiles of one strip or two have `MR` rows.
    #[inline(always)]
    pub(super) fn run<S: Simd, const MR: usize, const V: usize>(
        &self,
        simd: S,
        result: &mut [f32],
    ) {
        let depth = self.gather.shapes.0.channels;
        let strips = self.gather.shapes.1.channels.div_ceil(LANES);
        // Where filters stay in the first cache, rows are read, and written, once, though in several tiles.
        let several = match S::F32_LANES {
            16 => !matches!(strips, 1 | 2 | 4),
            _ => strips > 1,
        };
        let few = strips * self.filters.1 * size_of::<f32>() <= FEW;
        let near = if several && few { NEAR } else { self.count };
        for first in (0..self.count).step_by(near) {
            let rows = first..self.count.min(first + near);
            let mut strip = 0;
            while strip < strips {
                let rows = rows.clone();
                strip += match (S::F32_LANES, strips - strip) {
                    (16, 4..) if depth <= WIDE => {
                        self.strips::<S, 6, 4, V>(simd, rows, strip, result)
                    }
                    (16, 2..) => self.strips::<S, MR, 2, V>(simd, rows, strip, result),
                    _ => self.strips::<S, MR, 1, V>(simd, rows, strip, result),
                };
            }
        }
    }

    /// Computes `NS` strips of some rows, `MR` rows at a time; returns how many strips.
    #[inline(always)]
    fn strips<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        strip: usize,
        result: &mut [f32],
    ) -> usize {
        let gather = self.gather;
        let depth = gather.shapes.0.channels;
        let first = gather.first::<S, NS, V>(simd, strip * LANES, false);
        let b: [&[f32]; NS] = std::array::from_fn(|i| {
            &self.filters.0[(strip + i) * self.filters.1..][..depth * LANES]
        });
        for row in rows.clone().step_by(MR) {
            let count = (rows.end - row).min(MR);
            let to = self.to + row * self.steps.1;
            // What the next tile writes.
            for i in MR..2 * MR {
                for strip in strip..strip + NS {
                    fetch_place(simd, result, to + i * self.steps.1 + strip * LANES);
                }
            }
            let source = &gather.source[self.from + row * self.steps.0..];
            // Rows past the end repeat the last, and are not written.
            let a: [&[f32]; MR] =
                std::array::from_fn(|i| &source[i.min(count - 1) * self.steps.0..][..depth]);
            let mut acc: Acc<S, MR, NS, V> = [first; MR];
            rows_by_strips(simd, &mut acc, a, b);
            if let Some(limit) = gather.limit {
                bound(simd, &mut acc, limit);
            }
            let result = &mut result[to..];
            for i in 0..MR {
                if i < count {
                    let to = &mut result[i * self.steps.1 + strip * LANES..];
                    write(simd, &acc[i], (to, gather.add));
                }
            }
            if let Some(finish) = gather.finish {
                let rows = (0..count).map(|i| i * self.steps.1);
                finish.run(simd, result, rows, strip..strip + NS);
            }
        }
        NS
    }
}
