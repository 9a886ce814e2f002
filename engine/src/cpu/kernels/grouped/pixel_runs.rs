//! Runs of output pixels that read the same taps, at constant distances in memory.

use std::ops::Range;

use super::tap_rows::TapRows;
use crate::cpu::kernels::convolution::{Phase, Tap};
use crate::net::Shape;

/// Taps that are summed at once, at most.
pub(super) const TAPS: usize = 64;

/// A tap of an output pixel; offsets are in vectors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TapOffset {
    /// Offset of the tap's filters.
    pub(super) filter: usize,
    /// Offset of the source pixel under the tap.
    pub(super) source: usize,
}

/// Output pixels that read the same taps: adjacent in a row, or the same pixel of consecutive images. Offsets and
/// distances are in vectors.
pub(super) struct PixelRun<'a> {
    /// The taps of the first pixel that lie inside the source.
    pub(super) taps: &'a [TapOffset],
    /// Offset of the first pixel in the result.
    pub(super) at: usize,
    /// Distance from one pixel to the next in the source.
    pub(super) source_stride: usize,
    /// Distance from one pixel to the next in the result.
    pub(super) result_stride: usize,
    /// Number of pixels.
    pub(super) count: usize,
    /// Set for adjacent pixels whose taps form such kernel rows, each of which is complete or missing.
    pub(super) rows: Option<TapRows>,
}

/// Output pixels of a row with all taps inside, from which on runs go along rows rather than from image to image, where
/// there are loops for kernel rows.
const MIN_ADJACENT: usize = 4;

/// The pixels of a phase in all images, to be visited in runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct PixelRuns<'a> {
    pub(super) phase: &'a Phase,
    /// The taps, some of the phase's.
    pub(super) taps: &'a [Tap],
    /// Shape of one image of the source.
    pub(super) source: Shape,
    /// Shape of one image of the result.
    pub(super) result: Shape,
    /// Vectors per pixel.
    pub(super) vectors: usize,
    /// Channels per group.
    pub(super) width: usize,
    pub(super) images: usize,
    /// The kernel rows that the taps form.
    pub(super) rows: Option<TapRows>,
}

impl PixelRuns<'_> {
    /// Calls `each` with all pixels of the phase in all images, in runs that are as long as possible.
    #[inline(always)]
    pub(super) fn for_each(self, mut each: impl FnMut(PixelRun<'_>)) {
        let PixelRuns {
            phase,
            taps,
            source: from,
            result: to,
            vectors,
            width,
            images,
            rows,
        } = self;
        let sizes = (from.pixels() * vectors, to.pixels() * vectors);
        let along = (phase.stride.1 * vectors, phase.step.1 * vectors);
        // The columns for which all taps lie inside the width of the source.
        let inner = columns_inside(taps, phase.stride.1, from.width, phase.grid.1);
        // Runs of a row of pixels: one where all taps are inside, and one for each other pixel.
        let runs_per_row = phase.grid.1 - inner.len() + usize::from(!inner.is_empty());
        let rows = rows.filter(|_| inner.len() >= MIN_ADJACENT);
        let by_image = images * runs_per_row > phase.grid.1 && rows.is_none();
        let mut inside_taps = [TapOffset::default(); TAPS];
        let first_images = if by_image { 1 } else { images };
        for image in 0..first_images {
            for down in 0..phase.grid.0 {
                let row = (phase.origin.0 + down * phase.step.0) * to.width + phase.origin.1;
                let mut over = 0;
                while over < phase.grid.1 {
                    let mut len = 0;
                    for tap in taps {
                        let y = inside(down * phase.stride.0, tap.down, from.height);
                        let x = inside(over * phase.stride.1, tap.over, from.width);
                        if let (Some(y), Some(x)) = (y, x) {
                            inside_taps[len] = TapOffset {
                                filter: tap.number * width * vectors,
                                source: image * sizes.0 + (y * from.width + x) * vectors,
                            };
                            len += 1;
                        }
                    }
                    let ((source_stride, result_stride), count) =
                        match (by_image, inner.contains(&over)) {
                            (true, _) => (sizes, images),
                            (false, true) => (along, inner.end - over),
                            (false, false) => (along, 1),
                        };
                    each(PixelRun {
                        taps: &inside_taps[..len],
                        at: image * sizes.1 + (row + over * phase.step.1) * vectors,
                        source_stride,
                        result_stride,
                        count,
                        rows: rows.filter(|_| inner.contains(&over)),
                    });
                    over += if by_image { 1 } else { count };
                }
            }
        }
    }
}

/// The positions along an axis for which all taps lie inside the source.
#[inline(always)]
fn columns_inside(taps: &[Tap], step: usize, width: usize, count: usize) -> Range<usize> {
    taps.iter().fold(0..count, |all, tap| {
        let own = positions_inside(tap.over, step, width, count);
        all.start.max(own.start)..all.end.min(own.end)
    })
}

/// The positions i below `count` with 0 ≤ i · step + shift < size.
#[inline(always)]
fn positions_inside(shift: isize, step: usize, size: usize, count: usize) -> Range<usize> {
    let first = shift.min(0).unsigned_abs().div_ceil(step);
    let end = (size as isize - shift).max(0) as usize;
    first..end.div_ceil(step).min(count)
}

/// at + shift, if it is below `size`; `None` in the padding.
#[inline(always)]
fn inside(at: usize, shift: isize, size: usize) -> Option<usize> {
    at.checked_add_signed(shift).filter(|at| *at < size)
}
