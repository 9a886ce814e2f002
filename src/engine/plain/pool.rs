//! Max, average and adaptive average pooling, plane by plane: a plane is one channel of one image.

use std::ops::Range;

use super::real::Real;
use crate::net::{Shape, Window};

/// y = the largest number under each window; the first of equals, the last of NaNs.
pub(super) fn max_forward<T: Real>(
    window: &Window,
    input: Shape,
    output: Shape,
    x: &[T],
    y: &mut [T],
) {
    each_plane(input, output, x, y, |x, y| {
        for (pixel, y) in y.iter_mut().enumerate() {
            *y = x[largest(window, input, output, x, pixel)];
        }
    });
}

/// The gradient goes to the number that was the largest.
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
            dx[largest(window, input, output, x, pixel)] += *dy;
        }
    }
}

fn largest<T: Real>(window: &Window, input: Shape, output: Shape, x: &[T], pixel: usize) -> usize {
    let larger = |best: usize, from: usize| match x[from] > x[best] || x[from].is_nan() {
        true => from,
        false => best,
    };
    // Padding is at most half the kernel, so that a window holds a pixel.
    taps(window, input, output, pixel)
        .reduce(larger)
        .unwrap_or(0)
}

/// y = the mean under each window.
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

/// The gradient goes to all under the window alike.
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

/// y = the mean of each part.
pub(super) fn adaptive_forward<T: Real>(input: Shape, output: Shape, x: &[T], y: &mut [T]) {
    each_plane(input, output, x, y, |x, y| {
        for (pixel, y) in y.iter_mut().enumerate() {
            let (rows, columns) = part(input, output, pixel);
            let sum: f64 = rows
                .clone()
                .flat_map(|row| &x[row * input.width..][columns.clone()])
                .map(|x| x.wide())
                .sum();
            *y = T::of(sum / (rows.len() * columns.len()) as f64);
        }
    });
}

/// The gradient goes to all of a part alike.
pub(super) fn adaptive_backward<T: Real>(input: Shape, output: Shape, dy: &[T], dx: &mut [T]) {
    each_plane(output, input, dy, dx, |dy, dx| {
        for (pixel, dy) in dy.iter().enumerate() {
            let (rows, columns) = part(input, output, pixel);
            let share = T::of(dy.wide() / (rows.len() * columns.len()) as f64);
            for row in rows {
                for dx in &mut dx[row * input.width..][columns.clone()] {
                    *dx += share;
                }
            }
        }
    });
}

/// The part of the map that an output pixel of adaptive pooling stands for.
fn part(input: Shape, output: Shape, pixel: usize) -> (Range<usize>, Range<usize>) {
    let cut =
        |at: usize, parts: usize, size: usize| at * size / parts..((at + 1) * size).div_ceil(parts);
    (
        cut(pixel / output.width, output.height, input.height),
        cut(pixel % output.width, output.width, input.width),
    )
}

/// The pixels of a plane under the window of an output pixel.
fn taps(window: &Window, input: Shape, output: Shape, pixel: usize) -> impl Iterator<Item = usize> {
    let (dilation, before) = (window.dilation, window.before);
    let top = pixel / output.width * window.stride.0;
    let left = pixel % output.width * window.stride.1;
    let inside =
        |at: usize, before: usize, size: usize| at.checked_sub(before).filter(move |at| *at < size);
    let columns = window.kernel.1;
    (0..window.kernel.0)
        .filter_map(move |tap| inside(top + tap * dilation.0, before.0, input.height))
        .flat_map(move |row| {
            (0..columns)
                .filter_map(move |tap| inside(left + tap * dilation.1, before.1, input.width))
                .map(move |column| row * input.width + column)
        })
}

/// How many an average is over: with padding, all taps that fall on the map or its padding.
fn divisor(window: &Window, count_padding: bool, input: Shape, output: Shape, pixel: usize) -> f64 {
    if !count_padding {
        return taps(window, input, output, pixel).count() as f64;
    }
    let along = |at: usize, kernel: usize, dilation: usize, size: usize| {
        (0..kernel).filter(|tap| at + tap * dilation < size).count()
    };
    let height = input.height + window.before.0 + window.after.0;
    let width = input.width + window.before.1 + window.after.1;
    let top = pixel / output.width * window.stride.0;
    let left = pixel % output.width * window.stride.1;
    let rows = along(top, window.kernel.0, window.dilation.0, height);
    let columns = along(left, window.kernel.1, window.dilation.1, width);
    (rows * columns) as f64
}

/// Calls `each` with the planes of two values that belong together.
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
