//! Bilinear interpolation.

use crate::net::Shape;
use crate::pixels::corners;
use crate::real::Real;

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
