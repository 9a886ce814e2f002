//! Convolutions that give every channel one filter of its own.

use rayon::prelude::*;

use super::convolution::{Geometry, Tap, Walk};
use super::isa::Isa;
use super::layout::{LANES, padded, stride};
use super::norm::lanes;
use crate::net::Shape;

/// Computes all of `result` from `source` by the walks; filters are [tap][padded channel].
pub(super) fn gather(
    isa: Isa,
    walks: &[Walk],
    (from, to): (Shape, Shape),
    filters: &[f32],
    source: &[f32],
    (result, add): (&mut [f32], bool),
) {
    let images = source.par_chunks_exact(padded(from));
    let results = result.par_chunks_exact_mut(padded(to));
    results.zip(images).for_each(|(result, source)| {
        isa.run_loops(
            #[inline(always)]
            || {
                for walk in walks {
                    image(walk, (from, to), filters, source, (&mut *result, add));
                }
            },
        );
    });
}

/// Pixels side by side that are computed at once.
const PIXELS: usize = 4;

#[inline(always)]
fn image(
    walk: &Walk,
    (from, to): (Shape, Shape),
    filters: &[f32],
    source: &[f32],
    (result, add): (&mut [f32], bool),
) {
    let stride = stride(to.channels);
    for down in 0..walk.grid.0 {
        let row = (walk.origin.0 + down * walk.step.0) * to.width + walk.origin.1;
        for first in (0..walk.grid.1).step_by(PIXELS) {
            let count = PIXELS.min(walk.grid.1 - first);
            for channel in (0..stride).step_by(LANES) {
                let mut acc = [[0.0; LANES]; PIXELS];
                for tap in &walk.taps {
                    let Some(y) = inside(down * walk.stride.0, tap.down, from.height) else {
                        continue;
                    };
                    let filter = lanes(&filters[tap.number * stride + channel..]);
                    for (i, acc) in acc.iter_mut().enumerate().take(count) {
                        let over = (first + i) * walk.stride.1;
                        let Some(x) = inside(over, tap.over, from.width) else {
                            continue;
                        };
                        let x = lanes(&source[(y * from.width + x) * stride + channel..]);
                        for lane in 0..LANES {
                            acc[lane] += filter[lane] * x[lane];
                        }
                    }
                }
                for (i, acc) in acc.iter().enumerate().take(count) {
                    let pixel = row + (first + i) * walk.step.1;
                    let to = &mut result[pixel * stride + channel..][..LANES];
                    for (to, acc) in to.iter_mut().zip(acc) {
                        *to = if add { *to + acc } else { *acc };
                    }
                }
            }
        }
    }
}

/// Where a tap falls along one axis.
#[inline(always)]
fn inside(at: usize, shift: isize, size: usize) -> Option<usize> {
    at.checked_add_signed(shift).filter(|at| *at < size)
}

/// dw += Σ x · dy, as [tap][padded channel]. `walk` is that of [`Walk::forward`]; `parts` holds
/// [`PARTS`] of dw.
pub(super) fn backward_weight(
    isa: Isa,
    (g, walk): (&Geometry, &Walk),
    (x, dy): (&[f32], &[f32]),
    dw: &mut [f32],
    parts: &mut [f32],
) {
    let (len, share) = (dw.len(), g.images.div_ceil(PARTS));
    let parts = &mut parts[..PARTS * len];
    parts
        .par_chunks_exact_mut(len)
        .enumerate()
        .for_each(|(part, dw)| {
            dw.fill(0.0);
            isa.run_loops(
                #[inline(always)]
                || {
                    for image in part * share..g.images.min((part + 1) * share) {
                        let x = &x[image * padded(g.input)..][..padded(g.input)];
                        let dy = &dy[image * padded(g.output)..][..padded(g.output)];
                        for channel in (0..stride(g.output.channels)).step_by(LANES) {
                            for tap in &walk.taps {
                                products(g, walk, *tap, channel, x, dy, dw);
                            }
                        }
                    }
                },
            );
        });
    for part in parts.chunks_exact(len) {
        for (dw, part) in dw.iter_mut().zip(part) {
            *dw += part;
        }
    }
}

/// Parts that the images of a weight's gradient are cut into.
pub(super) const PARTS: usize = 16;

#[inline(always)]
fn products(
    g: &Geometry,
    walk: &Walk,
    tap: Tap,
    channel: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let stride = stride(g.output.channels);
    // Two sums: each addition waits for the one before.
    let mut sums = [[0.0; LANES]; 2];
    for down in 0..g.output.height {
        let Some(y) = inside(down * walk.stride.0, tap.down, g.input.height) else {
            continue;
        };
        for over in 0..g.output.width {
            let Some(at) = inside(over * walk.stride.1, tap.over, g.input.width) else {
                continue;
            };
            let x = lanes(&x[(y * g.input.width + at) * stride + channel..]);
            let dy = lanes(&dy[(down * g.output.width + over) * stride + channel..]);
            let sum = &mut sums[over % 2];
            for lane in 0..LANES {
                sum[lane] += x[lane] * dy[lane];
            }
        }
    }
    let dw = &mut dw[tap.number * stride + channel..][..LANES];
    for (lane, dw) in dw.iter_mut().enumerate() {
        *dw += sums[0][lane] + sums[1][lane];
    }
}
