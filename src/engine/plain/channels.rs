//! What only moves channels: concat, slice, shuffle and padding. Each is a list of runs of channels
//! that go from one value to another.

use std::ops::Range;

use super::real::{Real, add_scaled};
use crate::net::Shape;

/// `len` channels from `from` of one value are those from `to` on of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) len: usize,
}

/// The runs of a channel shuffle: channel g · (C / groups) + i goes to i · groups + g.
pub(super) fn shuffle(channels: usize, groups: usize) -> impl Iterator<Item = Run> {
    let each = channels / groups;
    (0..channels).map(move |from| Run {
        from,
        to: from % each * groups + from / each,
        len: 1,
    })
}

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
            let (from, to) = run.places(image, input, output);
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
            let (from, to) = run.places(image, input, output);
            add_scaled(&mut dx[from], T::one(), &dy[to]);
        }
    }
}

impl Run {
    fn places(self, image: usize, input: Shape, output: Shape) -> (Range<usize>, Range<usize>) {
        let pixels = input.pixels();
        let from = image * input.len() + self.from * pixels;
        let to = image * output.len() + self.to * pixels;
        let len = self.len * pixels;
        (from..from + len, to..to + len)
    }
}
