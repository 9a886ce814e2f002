//! Bilinear interpolation.

use super::real::Real;
use crate::net::Shape;

/// y = x, interpolated.
pub(super) fn forward<T: Real>(
    align_corners: bool,
    input: Shape,
    output: Shape,
    x: &[T],
    y: &mut [T],
) {
    let planes = x.chunks_exact(input.pixels());
    for (x, y) in planes.zip(y.chunks_exact_mut(output.pixels())) {
        for (pixel, y) in y.iter_mut().enumerate() {
            let corners = corners(align_corners, input, output, pixel);
            let sum: f64 = corners
                .iter()
                .map(|(at, share)| x[*at].wide() * share)
                .sum();
            *y = T::of(sum);
        }
    }
}

/// The gradient goes to the four corners by their shares.
pub(super) fn backward<T: Real>(
    align_corners: bool,
    input: Shape,
    output: Shape,
    dy: &[T],
    dx: &mut [T],
) {
    let planes = dy.chunks_exact(output.pixels());
    for (dy, dx) in planes.zip(dx.chunks_exact_mut(input.pixels())) {
        for (pixel, dy) in dy.iter().enumerate() {
            for (at, share) in corners(align_corners, input, output, pixel) {
                dx[at] += T::of(dy.wide() * share);
            }
        }
    }
}

/// The four pixels around an output pixel, and their shares in it.
fn corners(align_corners: bool, input: Shape, output: Shape, pixel: usize) -> [(usize, f64); 4] {
    let along = |at: usize, size: usize, outputs: usize| {
        let source = if align_corners {
            at as f64 * (size - 1) as f64 / (outputs.max(2) - 1) as f64
        } else {
            ((at as f64 + 0.5) * size as f64 / outputs as f64 - 0.5).max(0.0)
        };
        let low = (source as usize).min(size - 1);
        (low, (low + 1).min(size - 1), source - low as f64)
    };
    let (top, bottom, down) = along(pixel / output.width, input.height, output.height);
    let (left, right, over) = along(pixel % output.width, input.width, output.width);
    let at = |row: usize, column: usize| row * input.width + column;
    [
        (at(top, left), (1.0 - down) * (1.0 - over)),
        (at(top, right), (1.0 - down) * over),
        (at(bottom, left), down * (1.0 - over)),
        (at(bottom, right), down * over),
    ]
}
