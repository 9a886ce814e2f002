//! The input pixels, and their weights, of each output pixel of pooling and resizing. Pixels are numbered
//! row · width + column.

use std::ops::Range;

use crate::net::{Shape, Window};

/// The region (rows, columns) of the input that an output pixel of adaptive pooling averages, as in PyTorch.
pub fn adaptive_region(input: Shape, output: Shape, pixel: usize) -> (Range<usize>, Range<usize>) {
    let cut =
        |at: usize, parts: usize, size: usize| at * size / parts..((at + 1) * size).div_ceil(parts);
    (
        cut(pixel / output.width, output.height, input.height),
        cut(pixel % output.width, output.width, input.width),
    )
}

/// The input pixels under the window of an output pixel, without padding.
pub fn taps(
    window: &Window,
    input: Shape,
    output: Shape,
    pixel: usize,
) -> impl Iterator<Item = usize> {
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

/// The divisor of an average: the number of pixels in the window, or with `count_padding` of pixels and padding.
pub fn divisor(
    window: &Window,
    count_padding: bool,
    input: Shape,
    output: Shape,
    pixel: usize,
) -> f64 {
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

/// The four input pixels around an output pixel of a bilinear resize, and their weights.
pub fn bilinear_weights(
    align_corners: bool,
    input: Shape,
    output: Shape,
    pixel: usize,
) -> [(usize, f64); 4] {
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
