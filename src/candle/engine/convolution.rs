//! Cross-correlation with groups, stride, dilation and padding, as products of matrices: what the taps of
//! a filter see is laid out in columns, one for each pixel of the result. Depthwise ones are [`kernels`]
//! where these run. Weights are [out, in / groups, kernel height, kernel width], values [N, C, H, W].
//!
//! [`kernels`]: super::kernels

use candle_core::{Result, Tensor};

use super::kernels::Depthwise;
use super::number::per_channel;
use crate::net::{Graph, Node, Op, Shape, Window};

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) input: Shape,
    pub(super) output: Shape,
    pub(super) window: Window,
    pub(super) groups: usize,
    /// How many numbers the columns of one product may have: of a larger batch, a few images at a time.
    pub(super) columns: usize,
}

impl Geometry {
    /// Those of a convolution node.
    pub(super) fn of(graph: &Graph, node: &Node) -> Result<Geometry> {
        let Op::Convolution { window, groups, .. } = node.op else {
            candle_core::bail!("{} is no convolution", node.op.name());
        };
        Ok(Geometry {
            input: graph.shape(node.inputs[0]),
            output: node.shape,
            window,
            groups,
            columns: 1 << 24,
        })
    }
}

/// Which pixels the taps see. `before` is the padding at the top and at the left; less than 0, so many
/// pixels are not looked at.
#[derive(Debug, Clone, Copy)]
struct Taps {
    kernel: (usize, usize),
    stride: (usize, usize),
    dilation: (usize, usize),
    before: (isize, isize),
    output: (usize, usize),
    /// As of [`Geometry`].
    columns: usize,
}

/// y = w ∗ x + b.
pub(super) fn forward(g: &Geometry, w: &Tensor, b: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    let y = match Depthwise::of(g, x) {
        Some(kernels) => kernels.forward(w, x)?,
        None => correlate(&g.filters(w)?, x, &g.taps())?,
    };
    match b {
        Some(b) => y.broadcast_add(&per_channel(b, &y)?),
        None => Ok(y),
    }
}

/// dx: zeros are put between the pixels of dy as the stride was, and the filters, turned around, are
/// correlated with that.
pub(super) fn backward_input(g: &Geometry, w: &Tensor, dy: &Tensor) -> Result<Tensor> {
    if let Some(kernels) = Depthwise::of(g, dy) {
        return kernels.backward_input(w, dy);
    }
    let window = &g.window;
    let (kh, kw) = window.kernel;
    let w = g.filters(w)?;
    let (groups, out, len) = w.dims3()?;
    // [groups, in / groups, out / groups, taps], the last tap first.
    let w = w.reshape((groups, out, len / (kh * kw), kh * kw))?;
    let w = w.transpose(1, 2)?.contiguous()?;
    let w = if kh * kw > 1 { w.flip(&[3])? } else { w };
    let w = w.reshape((groups, len / (kh * kw), out * kh * kw))?;
    let signed = |size: usize| size as isize;
    let before = (
        signed(reach(kh, window.dilation.0) - 1) - signed(window.before.0),
        signed(reach(kw, window.dilation.1) - 1) - signed(window.before.1),
    );
    let mut taps = Taps {
        kernel: window.kernel,
        stride: (1, 1),
        dilation: window.dilation,
        before,
        output: (g.input.height, g.input.width),
        columns: g.columns,
    };
    if window.kernel == (1, 1) {
        // The zeros need no product.
        taps.output = (g.output.height, g.output.width);
        taps.before = (0, 0);
        let dx = spread(&correlate(&w, dy, &taps)?, window.stride)?;
        let dx = frame(&dx, 2, before.0, g.input.height)?;
        return frame(&dx, 3, before.1, g.input.width);
    }
    correlate(&w, &spread(dy, window.stride)?, &taps)
}

/// dw.
pub(super) fn backward_weight(g: &Geometry, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    if let Some(kernels) = Depthwise::of(g, x) {
        return kernels.backward_weight(x, dy);
    }
    let taps = g.taps();
    let mut sum: Option<Tensor> = None;
    for (start, count) in pieces(x, &taps)? {
        let columns = columns(&x.narrow(0, start, count)?, &taps, g.groups)?;
        let dy = dy.narrow(0, start, count)?.transpose(0, 1)?.contiguous()?;
        let dy = dy.reshape((g.groups, g.output.channels / g.groups, columns.dim(2)?))?;
        let dw = dy.matmul(&columns.transpose(1, 2)?)?;
        sum = Some(match sum {
            Some(sum) => (sum + dw)?,
            None => dw,
        });
    }
    let (kh, kw) = g.window.kernel;
    let channels = g.input.channels / g.groups;
    // A batch has an image.
    sum.expect("one piece at least")
        .reshape((g.output.channels, channels, kh, kw))
}

impl Geometry {
    /// The weight as matrices: [groups, out / groups, in / groups · taps].
    fn filters(&self, w: &Tensor) -> Result<Tensor> {
        let out = self.output.channels / self.groups;
        let len = w.elem_count() / self.output.channels;
        w.reshape((self.groups, out, len))
    }

    fn taps(&self) -> Taps {
        let window = &self.window;
        Taps {
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            before: (window.before.0 as isize, window.before.1 as isize),
            output: (self.output.height, self.output.width),
            columns: self.columns,
        }
    }
}

/// The filters [groups, out / groups, in / groups · taps] over all images of `x`.
fn correlate(w: &Tensor, x: &Tensor, taps: &Taps) -> Result<Tensor> {
    let (groups, out, _) = w.dims3()?;
    let (height, width) = taps.output;
    let mut all = Vec::new();
    for (start, count) in pieces(x, taps)? {
        let columns = columns(&x.narrow(0, start, count)?, taps, groups)?;
        let y = w
            .matmul(&columns)?
            .reshape((groups * out, count, height, width))?;
        all.push(y.transpose(0, 1)?.contiguous()?);
    }
    Tensor::cat(&all, 0)
}

/// What the taps see in the images `x`: [groups, in / groups · taps, N · pixels].
fn columns(x: &Tensor, taps: &Taps, groups: usize) -> Result<Tensor> {
    let (images, channels, ..) = x.dims4()?;
    let (kernel, stride, dilation) = (taps.kernel, taps.stride, taps.dilation);
    let reach = (reach(kernel.0, dilation.0), reach(kernel.1, dilation.1));
    let (height, width) = taps.output;
    let x = frame(x, 2, taps.before.0, (height - 1) * stride.0 + reach.0)?;
    let x = frame(&x, 3, taps.before.1, (width - 1) * stride.1 + reach.1)?;
    // [N, C, height, width, rows in reach, columns in reach], of which every so manieth is a tap.
    let seen = x
        .unfold(2, reach.0, stride.0)?
        .unfold(3, reach.1, stride.1)?;
    let seen = seen.unfold(4, 1, dilation.0)?.unfold(5, 1, dilation.1)?;
    let seen = seen.squeeze(7)?.squeeze(6)?;
    let seen = seen.permute([1, 4, 5, 0, 2, 3])?.contiguous()?;
    let (len, pixels) = (kernel.0 * kernel.1, height * width);
    seen.reshape((groups, channels / groups * len, images * pixels))
}

/// First image and number of images of each piece of a batch.
fn pieces(x: &Tensor, taps: &Taps) -> Result<impl Iterator<Item = (usize, usize)> + use<>> {
    let (images, channels, ..) = x.dims4()?;
    let (kernel, output) = (taps.kernel, taps.output);
    let one = channels * kernel.0 * kernel.1 * output.0 * output.1;
    let count = (taps.columns / one).clamp(1, images);
    let starts = (0..images).step_by(count);
    Ok(starts.map(move |start| (start, count.min(images - start))))
}

/// How many pixels lie under the taps along an axis.
fn reach(kernel: usize, dilation: usize) -> usize {
    (kernel - 1) * dilation + 1
}

/// `len` pixels along an axis, of which the first is `before` the map's first; 0 outside the map.
fn frame(x: &Tensor, axis: usize, before: isize, len: usize) -> Result<Tensor> {
    let (left, skip) = (before.max(0) as usize, (-before).max(0) as usize);
    let kept = x
        .dim(axis)?
        .saturating_sub(skip)
        .min(len.saturating_sub(left));
    if kept == 0 {
        let mut shape = x.dims().to_vec();
        shape[axis] = len;
        return Tensor::zeros(shape, x.dtype(), x.device());
    }
    let x = x.narrow(axis, skip, kept)?;
    x.pad_with_zeros(axis, left, len - left - kept)
}

/// The pixels at distances of `stride`, and zeros between them and after the last.
fn spread(x: &Tensor, stride: (usize, usize)) -> Result<Tensor> {
    if stride == (1, 1) {
        return Ok(x.clone());
    }
    let (images, channels, height, width) = x.dims4()?;
    x.reshape((images, channels, height, 1, width, 1))?
        .pad_with_zeros(5, 0, stride.1 - 1)?
        .pad_with_zeros(3, 0, stride.0 - 1)?
        .reshape((images, channels, height * stride.0, width * stride.1))
}
