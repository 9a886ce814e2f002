//! Bilinear resizing, plane by plane: a plane is one channel of one image.

use crate::net::Shape;
use crate::pixels::bilinear_weights;
use crate::real::Real;

/// y = x, resized by bilinear interpolation.
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
            let corners = bilinear_weights(align_corners, input, output, pixel);
            let sum: f64 = corners
                .iter()
                .map(|(at, weight)| x[*at].wide() * weight)
                .sum();
            *y = T::of(sum);
        }
    }
}

/// dx += the gradient: each dy is added to the four input pixels around it, by their weights.
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
            for (at, weight) in bilinear_weights(align_corners, input, output, pixel) {
                dx[at] += T::of(dy.wide() * weight);
            }
        }
    }
}
