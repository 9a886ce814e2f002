//! What only moves channels, run by run.

use std::ops::Range;

use crate::channels::Run;
use crate::net::Shape;
use crate::real::{Real, add_scaled};

/// Copies runs of `x` into `y`.
pub(super) fn forward<T: Real>(
    images: usize,
    (input, output): (Shape, Shape),
    runs: impl IntoIterator<Item = Run>,
    x: &[T],
    y: &mut [T],
) {
    for run in runs {
        for image in 0..images {
            let (from, to) = places(run, image, input, output);
            y[to].copy_from_slice(&x[from]);
        }
    }
}

/// dx += dy along the same runs.
pub(super) fn backward<T: Real>(
    images: usize,
    (input, output): (Shape, Shape),
    runs: impl IntoIterator<Item = Run>,
    dy: &[T],
    dx: &mut [T],
) {
    for run in runs {
        for image in 0..images {
            let (from, to) = places(run, image, input, output);
            add_scaled(&mut dx[from], T::one(), &dy[to]);
        }
    }
}

/// Where a run lies in both values of one image.
fn places(run: Run, image: usize, input: Shape, output: Shape) -> (Range<usize>, Range<usize>) {
    let pixels = input.pixels();
    let from = image * input.len() + run.from * pixels;
    let to = image * output.len() + run.to * pixels;
    let len = run.len * pixels;
    (from..from + len, to..to + len)
}
