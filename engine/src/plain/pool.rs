//! Max, average and adaptive average pooling, plane by plane: a plane is one channel of one image.

use crate::net::{Shape, Window};
use crate::pixels::{adaptive_region, divisor, taps};
use crate::real::Real;

/// y = the maximum of each window; NaN wins over numbers.
pub(super) fn max_forward<T: Real>(
    window: &Window,
    input: Shape,
    output: Shape,
    x: &[T],
    y: &mut [T],
) {
    each_plane(input, output, x, y, |x, y| {
        for (pixel, y) in y.iter_mut().enumerate() {
            *y = x[argmax(window, input, output, x, pixel)];
        }
    });
}

/// dx += dy at the argmax of each window.
pub(super) fn max_backward<T: Real>(
    window: &Window,
    input: Shape,
    output: Shape,
    x: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    let planes = x.chunks_exact(input.pixels());
    let gradients = dx
        .chunks_exact_mut(input.pixels())
        .zip(dy.chunks_exact(output.pixels()));
    for (x, (dx, dy)) in planes.zip(gradients) {
        for (pixel, dy) in dy.iter().enumerate() {
            dx[argmax(window, input, output, x, pixel)] += *dy;
        }
    }
}

/// The input pixel with the maximum of a window: of equal values the first, of several NaN the last.
fn argmax<T: Real>(window: &Window, input: Shape, output: Shape, x: &[T], pixel: usize) -> usize {
    let larger = |best: usize, from: usize| {
        if x[from] > x[best] || x[from].is_nan() {
            from
        } else {
            best
        }
    };
    // Every window contains a pixel: the padding is at most half the kernel.
    taps(window, input, output, pixel)
        .reduce(larger)
        .unwrap_or(0)
}

/// y = the mean of each window.
pub(super) fn average_forward<T: Real>(
    window: &Window,
    count_padding: bool,
    input: Shape,
    output: Shape,
    x: &[T],
    y: &mut [T],
) {
    each_plane(input, output, x, y, |x, y| {
        for (pixel, y) in y.iter_mut().enumerate() {
            let sum: f64 = taps(window, input, output, pixel)
                .map(|from| x[from].wide())
                .sum();
            *y = T::of(sum / divisor(window, count_padding, input, output, pixel));
        }
    });
}

/// dx += the gradient: each dy is spread equally over its window.
pub(super) fn average_backward<T: Real>(
    window: &Window,
    count_padding: bool,
    input: Shape,
    output: Shape,
    dy: &[T],
    dx: &mut [T],
) {
    each_plane(output, input, dy, dx, |dy, dx| {
        for (pixel, dy) in dy.iter().enumerate() {
            let share = dy.wide() / divisor(window, count_padding, input, output, pixel);
            for to in taps(window, input, output, pixel) {
                dx[to] += T::of(share);
            }
        }
    });
}

/// y = the mean of each region.
pub(super) fn adaptive_forward<T: Real>(input: Shape, output: Shape, x: &[T], y: &mut [T]) {
    each_plane(input, output, x, y, |x, y| {
        for (pixel, y) in y.iter_mut().enumerate() {
            let (rows, columns) = adaptive_region(input, output, pixel);
            let sum: f64 = rows
                .clone()
                .flat_map(|row| &x[row * input.width..][columns.clone()])
                .map(|x| x.wide())
                .sum();
            *y = T::of(sum / (rows.len() * columns.len()) as f64);
        }
    });
}

/// dx += the gradient: each dy is spread equally over its region.
pub(super) fn adaptive_backward<T: Real>(input: Shape, output: Shape, dy: &[T], dx: &mut [T]) {
    each_plane(output, input, dy, dx, |dy, dx| {
        for (pixel, dy) in dy.iter().enumerate() {
            let (rows, columns) = adaptive_region(input, output, pixel);
            let share = T::of(dy.wide() / (rows.len() * columns.len()) as f64);
            for row in rows {
                for dx in &mut dx[row * input.width..][columns.clone()] {
                    *dx += share;
                }
            }
        }
    });
}

/// Calls `each` with each plane of `x` and the plane of `y` for the same channel and image.
fn each_plane<T: Real>(
    input: Shape,
    output: Shape,
    x: &[T],
    y: &mut [T],
    mut each: impl FnMut(&[T], &mut [T]),
) {
    let planes = x.chunks_exact(input.pixels());
    for (x, y) in planes.zip(y.chunks_exact_mut(output.pixels())) {
        each(x, y);
    }
}
