//! Channel copies (concatenation, slice, shuffle, channel padding), run by run.

use std::ops::Range;

use crate::channels::Run;
use crate::net::Shape;
use crate::real::{Real, add_scaled};

/// Copies runs of channels from `x` to `y`.
pub(super) fn forward<T: Real>(
    images: usize,
    input: Shape,
    output: Shape,
    runs: impl IntoIterator<Item = Run>,
    x: &[T],
    y: &mut [T],
) {
    for run in runs {
        for image in 0..images {
            let (from, to) = ranges(run, image, input, output);
            y[to].copy_from_slice(&x[from]);
        }
    }
}

/// dx += dy, over the same runs.
pub(super) fn backward<T: Real>(
    images: usize,
    input: Shape,
    output: Shape,
    runs: impl IntoIterator<Item = Run>,
    dy: &[T],
    dx: &mut [T],
) {
    for run in runs {
        for image in 0..images {
            let (from, to) = ranges(run, image, input, output);
            add_scaled(&mut dx[from], T::one(), &dy[to]);
        }
    }
}

/// The ranges of a run's numbers in the input and output of one image.
fn ranges(run: Run, image: usize, input: Shape, output: Shape) -> (Range<usize>, Range<usize>) {
    let pixels = input.pixels();
    let from = image * input.len() + run.from * pixels;
    let to = image * output.len() + run.to * pixels;
    let len = run.len * pixels;
    (from..from + len, to..to + len)
}
