//! Convolution (cross-correlation) with groups, stride, dilation and padding: forward, input gradient, weight gradient.
//! Values are `[N, C, H, W]`; sums are computed in f64.

use std::ops::Range;

use crate::net::{Graph, Node, Op, Shape, Window};
use crate::real::{Real, dot};

/// The shapes of a convolution, for one image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) input: Shape,
    pub(super) output: Shape,
    pub(super) window: Window,
    pub(super) groups: usize,
}

impl Geometry {
    /// The shapes of a convolution node.
    pub(super) fn of(graph: &Graph, node: &Node) -> Geometry {
        let Op::Convolution { window, groups, .. } = node.op else {
            unreachable!("asked of convolutions only");
        };
        Geometry {
            input: graph.shape(node.inputs[0]),
            output: node.shape,
            window,
            groups,
        }
    }
}

/// y = w ∗ x + b, where `w` is `[out, in / groups, kernel height, kernel width]`. `sums` is scratch memory of
/// [`Geometry::sums_len`] elements.
pub(super) fn forward<T: Real>(
    g: &Geometry,
    w: &[T],
    b: Option<&[T]>,
    x: &[T],
    y: &mut [T],
    sums: &mut [f64],
) {
    let pixels = g.output.pixels();
    let sums = &mut sums[..pixels];
    for (plane, y) in y.chunks_exact_mut(pixels).enumerate() {
        let (image, out) = (plane / g.output.channels, plane % g.output.channels);
        let x = &x[image * g.input.len()..][..g.input.len()];
        sums.fill(b.map_or(0.0, |b| b[out].wide()));
        g.for_each_row(out, |at| {
            let w = w[at.w].wide();
            let x = &x[at.x];
            match at.stride {
                1 => add_scaled(&mut sums[at.y], w, x.iter()),
                stride => add_scaled(&mut sums[at.y], w, x.iter().step_by(stride)),
            }
        });
        for (y, sum) in y.iter_mut().zip(&*sums) {
            *y = T::of(*sum);
        }
    }
}

/// dx += the gradient of the input. `sums` is scratch memory of [`Geometry::sums_len`] elements.
pub(super) fn backward_input<T: Real>(
    g: &Geometry,
    w: &[T],
    dy: &[T],
    dx: &mut [T],
    sums: &mut [f64],
) {
    let sums = &mut sums[..g.input.len()];
    let images = dy.chunks_exact(g.output.len());
    for (dy, dx) in images.zip(dx.chunks_exact_mut(g.input.len())) {
        sums.fill(0.0);
        for (out, dy) in dy.chunks_exact(g.output.pixels()).enumerate() {
            g.for_each_row(out, |at| {
                let w = w[at.w].wide();
                let (dy, sums) = (&dy[at.y], &mut sums[at.x]);
                match at.stride {
                    1 => add_scaled(sums, w, dy.iter()),
                    stride => {
                        for (sum, dy) in sums.iter_mut().step_by(stride).zip(dy) {
                            *sum += w * dy.wide();
                        }
                    }
                }
            });
        }
        for (dx, sum) in dx.iter_mut().zip(&*sums) {
            *dx += T::of(*sum);
        }
    }
}

/// dw += the gradient of the weight. `sums` is scratch memory of [`Geometry::sums_len`] elements.
pub(super) fn backward_weight<T: Real>(
    g: &Geometry,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    sums: &mut [f64],
) {
    let len = dw.len() / g.output.channels;
    let sums = &mut sums[..len];
    for (out, dw) in dw.chunks_exact_mut(len).enumerate() {
        sums.fill(0.0);
        let images = dy.chunks_exact(g.output.len());
        for (x, dy) in x.chunks_exact(g.input.len()).zip(images) {
            let dy = &dy[out * g.output.pixels()..];
            g.for_each_row(out, |at| {
                let (dy, x) = (&dy[at.y], &x[at.x]);
                sums[at.w - out * len] += match at.stride {
                    1 => dot(dy, x),
                    stride => dy
                        .iter()
                        .zip(x.iter().step_by(stride))
                        .map(|(dy, x)| dy.wide() * x.wide())
                        .sum(),
                };
            });
        }
        for (dw, sum) in dw.iter_mut().zip(&*sums) {
            *dw += T::of(*sum);
        }
    }
}

/// One tap of one filter, and one row of output pixels for which it lies inside the input: w · x\[i · stride\] contributes
/// to y\[i\].
struct TapRow {
    /// Index of the tap in the weight.
    w: usize,
    /// The output pixels, in their plane.
    y: Range<usize>,
    /// From the first to the last input pixel under the tap, in their image.
    x: Range<usize>,
    /// Distance from one of these input pixels to the next.
    stride: usize,
}

impl Geometry {
    /// Elements of scratch memory that the functions here need.
    pub(super) fn sums_len(&self) -> usize {
        let (height, width) = self.window.kernel;
        let filter = self.input.channels / self.groups * height * width;
        self.output.pixels().max(self.input.len()).max(filter)
    }

    /// Calls `each` for every tap of the filter of output channel `out`, and every output row for which the tap lies inside
    /// the input.
    fn for_each_row(&self, out: usize, mut each: impl FnMut(TapRow)) {
        let (input, output, window) = (self.input, self.output, self.window);
        let (kh, kw) = window.kernel;
        let channels = input.channels / self.groups;
        let first = out / (output.channels / self.groups) * channels;
        let len = channels * kh * kw;
        for tap in 0..len {
            let (channel, row, column) = (first + tap / (kh * kw), tap / kw % kh, tap % kw);
            let (shift, before, stride) = (
                (row * window.dilation.0, column * window.dilation.1),
                window.before,
                window.stride,
            );
            let columns = positions_inside(shift.1, before.1, stride.1, input.width, output.width);
            if columns.is_empty() {
                continue;
            }
            let left = columns.start * stride.1 + shift.1 - before.1;
            let reach = (columns.len() - 1) * stride.1 + 1;
            for y in positions_inside(shift.0, before.0, stride.0, input.height, output.height) {
                let from = y * stride.0 + shift.0 - before.0;
                let x = channel * input.pixels() + from * input.width + left;
                let to = y * output.width;
                each(TapRow {
                    w: out * len + tap,
                    y: to + columns.start..to + columns.end,
                    x: x..x + reach,
                    stride: stride.1,
                });
            }
        }
    }
}

/// sums += w · x.
fn add_scaled<'a, T: Real>(sums: &mut [f64], w: f64, x: impl Iterator<Item = &'a T>) {
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum += w * x.wide();
    }
}

/// The output positions o for which the input position o · stride + shift − before lies inside `size` pixels.
fn positions_inside(
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
