//! Cross-correlation with groups, stride, dilation and padding.

use std::ops::Range;

use super::real::{Real, add_scaled, dot};
use crate::net::{Shape, Window};

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) images: usize,
    pub(super) input: Shape,
    pub(super) output: Shape,
    pub(super) window: Window,
    pub(super) groups: usize,
}

/// y = w ∗ x + b. `w` is [out, in / groups, kernel height, kernel width].
pub(super) fn forward<T: Real>(g: &Geometry, w: &[T], b: Option<&[T]>, x: &[T], y: &mut [T]) {
    let pixels = g.output.pixels();
    for (plane, y) in y.chunks_exact_mut(pixels).enumerate() {
        let out = plane % g.output.channels;
        y.fill(b.map_or(T::zero(), |b| b[out]));
    }
    g.for_each_row(|at| {
        let (y, x) = (&mut y[at.y], &x[at.x]);
        match at.stride {
            1 => add_scaled(y, w[at.w], x),
            stride => {
                for (y, x) in y.iter_mut().zip(x.iter().step_by(stride)) {
                    *y += w[at.w] * *x;
                }
            }
        }
    });
}

/// dx += the gradient of the input.
pub(super) fn backward_input<T: Real>(g: &Geometry, w: &[T], dy: &[T], dx: &mut [T]) {
    g.for_each_row(|at| {
        let (dy, dx) = (&dy[at.y], &mut dx[at.x]);
        match at.stride {
            1 => add_scaled(dx, w[at.w], dy),
            stride => {
                for (dx, dy) in dx.iter_mut().step_by(stride).zip(dy) {
                    *dx += w[at.w] * *dy;
                }
            }
        }
    });
}

/// dw += the gradient of the weight.
pub(super) fn backward_weight<T: Real>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [f64]) {
    g.for_each_row(|at| {
        let (dy, x) = (&dy[at.y], &x[at.x]);
        dw[at.w] += match at.stride {
            1 => dot(dy, x),
            stride => dy
                .iter()
                .zip(x.iter().step_by(stride))
                .map(|(dy, x)| dy.wide() * x.wide())
                .sum(),
        };
    });
}

/// One tap of one filter along one row: y[i] and x[i · stride] belong together.
struct Row {
    w: usize,
    y: Range<usize>,
    x: Range<usize>,
    stride: usize,
}

impl Geometry {
    /// Calls `each` for every image, output channel, tap and output row that has a pixel under it.
    fn for_each_row(&self, mut each: impl FnMut(Row)) {
        let (input, output, window) = (self.input, self.output, self.window);
        let per_group = (input.channels / self.groups, output.channels / self.groups);
        let (kh, kw) = window.kernel;
        for image in 0..self.images {
            for out in 0..output.channels {
                let first = out / per_group.1 * per_group.0;
                for tap in 0..per_group.0 * kh * kw {
                    let (within, row, column) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                    let columns = under(
                        column * window.dilation.1,
                        window.before.1,
                        window.stride.1,
                        input.width,
                        output.width,
                    );
                    if columns.is_empty() {
                        continue;
                    }
                    let y_plane = image * output.channels + out;
                    let x_plane = image * input.channels + first + within;
                    let left = columns.start * window.stride.1 + column * window.dilation.1
                        - window.before.1;
                    let len = (columns.len() - 1) * window.stride.1 + 1;
                    let shift = row * window.dilation.0;
                    let (before, stride) = (window.before.0, window.stride.0);
                    for y in under(shift, before, stride, input.height, output.height) {
                        let from = (y * stride + shift - before) * input.width + left;
                        let x = x_plane * input.pixels() + from;
                        let to = y_plane * output.pixels() + y * output.width;
                        each(Row {
                            w: out * per_group.0 * kh * kw + tap,
                            y: to + columns.start..to + columns.end,
                            x: x..x + len,
                            stride: window.stride.1,
                        });
                    }
                }
            }
        }
    }
}

/// The outputs o for which the tap at o · stride + shift − before lies inside `size` pixels.
pub(super) fn under(
    shift: usize,
    before: usize,
    stride: usize,
    size: usize,
    outputs: usize,
) -> Range<usize> {
    let start = before.saturating_sub(shift).div_ceil(stride);
    let end = (size + before).saturating_sub(shift).div_ceil(stride);
    start..end.clamp(start, outputs.max(start))
}
