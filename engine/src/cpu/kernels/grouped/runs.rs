//! Pixels that see the same taps.

use super::rows::Rows;
use crate::cpu::kernels::convolution::{Tap, Walk};
use crate::net::Shape;

/// Taps that are gone through at once.
pub(super) const TAPS: usize = 64;

/// A tap as a pixel sees it: where its filters are, and where the pixel of the source, in vectors.
pub(super) type Seen = (usize, usize);

/// Pixels that see the same taps, side by side or in one place of one image after the other.
pub(super) struct Run<'a> {
    /// As the first pixel sees them.
    pub(super) seen: &'a [Seen],
    /// Where the first pixel is, in vectors.
    pub(super) at: usize,
    /// Vectors from one pixel to the next, in source and result.
    pub(super) steps: (usize, usize),
    pub(super) count: usize,
    /// Set where they are side by side, and see the taps in such rows: all of a row, or none.
    pub(super) rows: Option<Rows>,
}

/// Pixels of a line that see all its taps, from how many on they are taken side by side rather than from image to image,
/// where taps are in rows.
const SIDE_BY_SIDE: usize = 4;

/// Goes through the pixels that a walk computes in all images, in runs as long as can be, or by `rows`, if those are
/// of all its taps.
#[inline(always)]
pub(super) fn runs(
    walk: &Walk,
    taps: &[Tap],
    (from, to): (Shape, Shape),
    (vectors, width): (usize, usize),
    images: usize,
    rows: Option<Rows>,
    mut each: impl FnMut(Run<'_>),
) {
    let sizes = (from.pixels() * vectors, to.pixels() * vectors);
    let along = (walk.stride.1 * vectors, walk.step.1 * vectors);
    // Where all taps are inside, as far as the width goes.
    let inner = inner(taps, walk.stride.1, from.width, walk.grid.1);
    // Runs along a line: one where all taps are inside, and one for each other pixel.
    let along_line = walk.grid.1 - inner.len() + usize::from(!inner.is_empty());
    let rows = rows.filter(|_| inner.len() >= SIDE_BY_SIDE);
    let by_image = images * along_line > walk.grid.1 && rows.is_none();
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
                    rows: rows.filter(|_| inner.contains(&over)),
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
