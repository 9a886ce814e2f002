//! Shapes of values, and shape inference.

use std::fmt;

use super::op::{Op, Window};

/// The shape `[channels, height, width]` of a value for one image. A vector has height and width 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Number of channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// The shape with these sizes.
    pub const fn new(channels: usize, height: usize, width: usize) -> Shape {
        Shape {
            channels,
            height,
            width,
        }
    }

    /// Height · width; saturates at `usize::MAX`.
    pub fn pixels(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Number of elements; saturates at `usize::MAX`.
    pub fn len(self) -> usize {
        self.channels.saturating_mul(self.pixels())
    }

    /// Whether it has no elements.
    pub fn is_empty(self) -> bool {
        self.channels == 0 || self.height == 0 || self.width == 0
    }

    /// Whether its elements, as f64, fit in the address space.
    fn is_addressable(self) -> bool {
        self.len() <= isize::MAX as usize / 8
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// The shape of the value that `op` computes from inputs and tensors of these shapes, or why they do not fit. `tensors` are
/// in the order of [`Op::tensors`].
pub(super) fn infer(op: &Op, inputs: &[Shape], tensors: &[&[usize]]) -> Result<Shape, String> {
    let arity = |wanted: usize| {
        if inputs.len() == wanted {
            Ok(inputs[0])
        } else {
            Err(format!("needs {wanted} inputs, has {}", inputs.len()))
        }
    };
    if let Some(x) = inputs.iter().find(|x| !x.is_addressable()) {
        return Err(format!("an input of {x} is too large"));
    }
    let shape = match op {
        Op::Input => return Err("a network has one input".to_owned()),
        Op::Convolution { window, groups, .. } => {
            let x = arity(1)?;
            let &[out, per_group, kh, kw] = tensors[0] else {
                return Err(format!("weight {:?} is not four-dimensional", tensors[0]));
            };
            if *groups == 0 || !x.channels.is_multiple_of(*groups) || !out.is_multiple_of(*groups) {
                return Err(format!(
                    "{} input and {out} output channels do not fall into {groups} groups",
                    x.channels
                ));
            }
            if per_group != x.channels / groups || (kh, kw) != window.kernel {
                return Err(format!(
                    "weight {:?} does not fit {} channels in {groups} groups and a kernel of {}×{}",
                    tensors[0], x.channels, window.kernel.0, window.kernel.1
                ));
            }
            check_bias(tensors, out)?;
            window_output(window, x, out)?
        }
        Op::BatchNorm { .. } => {
            let x = arity(1)?;
            for tensor in &tensors[..4] {
                if **tensor != [x.channels] {
                    return Err(format!("{} channels, tensor of {tensor:?}", x.channels));
                }
            }
            x
        }
        Op::IterNorm(layer) => {
            let x = arity(1)?;
            layer.whitening.check(x.channels)?;
            check_shapes(tensors, &layer.shapes(x.channels))?;
            x
        }
        Op::ChannelEquilibrium(layer) => {
            let x = arity(1)?;
            layer.whitening.check(x.channels)?;
            if x.pixels() == 1 {
                return Err(format!(
                    "the maps of {x} have one pixel, whose variance is 0: the resolution is too small for it"
                ));
            }
            let hidden = tensors[3].first().copied().unwrap_or(0);
            check_shapes(tensors, &layer.shapes(x.channels, hidden))?;
            x
        }
        Op::Activation(_) => arity(1)?,
        Op::Dropout { p } | Op::ChannelDropout { p } | Op::StochasticDepth { p } => {
            if !(0.0..1.0).contains(p) {
                return Err(format!("a probability of {p} is not in 0 ≤ p < 1"));
            }
            arity(1)?
        }
        Op::Add => {
            let x = arity(2)?;
            if inputs[1] != x {
                return Err(format!("{x} and {} cannot be added", inputs[1]));
            }
            x
        }
        Op::Gate => {
            let x = arity(2)?;
            if inputs[1] != Shape::new(x.channels, 1, 1) {
                return Err(format!("{} cannot gate {x}", inputs[1]));
            }
            x
        }
        Op::Concat => {
            let Some(first) = inputs.first() else {
                return Err("needs an input".to_owned());
            };
            let size = |x: &Shape| (x.height, x.width);
            if let Some(other) = inputs.iter().find(|x| size(x) != size(first)) {
                return Err(format!("{first} and {other} differ in height or width"));
            }
            let channels = inputs
                .iter()
                .try_fold(0_usize, |sum, x| sum.checked_add(x.channels));
            Shape::new(channels.ok_or(TOO_MANY)?, first.height, first.width)
        }
        Op::Slice { start, len } => {
            let x = arity(1)?;
            match start.checked_add(*len) {
                Some(end) if end <= x.channels && *len > 0 => Shape::new(*len, x.height, x.width),
                _ => return Err(format!("no {len} channels from {start} on in {x}")),
            }
        }
        Op::Shuffle { groups } => {
            let x = arity(1)?;
            if *groups == 0 || !x.channels.is_multiple_of(*groups) {
                return Err(format!("{x} does not fall into {groups} groups"));
            }
            x
        }
        Op::PadChannels { before, after } => {
            let x = arity(1)?;
            let channels = before
                .checked_add(x.channels)
                .and_then(|sum| sum.checked_add(*after));
            Shape::new(channels.ok_or(TOO_MANY)?, x.height, x.width)
        }
        Op::MaxPool(window) | Op::AveragePool { window, .. } => {
            let x = arity(1)?;
            let too_much = |axis: fn((usize, usize)) -> usize| {
                axis(window.before).max(axis(window.after)) > axis(window.kernel) / 2
            };
            if too_much(|pair| pair.0) || too_much(|pair| pair.1) {
                return Err("padding is more than half the kernel".to_owned());
            }
            let shape = window_output(window, x, x.channels)?;
            let empty = |axis, size, outputs| has_empty_window(window, axis, size, outputs);
            if empty(|p| p.0, x.height, shape.height) || empty(|p| p.1, x.width, shape.width) {
                return Err(format!("a window sees nothing of {x} but padding"));
            }
            shape
        }
        Op::AdaptiveAveragePool { height, width } => {
            Shape::new(arity(1)?.channels, *height, *width)
        }
        Op::Resize { height, width, .. } => Shape::new(arity(1)?.channels, *height, *width),
        Op::Flatten => Shape::new(arity(1)?.len(), 1, 1),
        Op::Linear { .. } => {
            let x = arity(1)?;
            let &[out, features] = tensors[0] else {
                return Err(format!("weight {:?} is not two-dimensional", tensors[0]));
            };
            if x != Shape::new(features, 1, 1) {
                return Err(format!("takes a vector of {features}, found {x}"));
            }
            check_bias(tensors, out)?;
            Shape::new(out, 1, 1)
        }
    };
    if shape.is_empty() {
        return Err(format!("the result, {shape}, is empty"));
    }
    if !shape.is_addressable() {
        return Err(format!("the result, {shape}, is too large"));
    }
    Ok(shape)
}

const TOO_MANY: &str = "the result has too many channels to count";

/// Checks the shapes of an operation's tensors.
fn check_shapes(tensors: &[&[usize]], wanted: &[Vec<usize>]) -> Result<(), String> {
    match tensors
        .iter()
        .zip(wanted)
        .find(|(has, wanted)| has != wanted)
    {
        Some((has, wanted)) => Err(format!("tensor of {has:?}, expected {wanted:?}")),
        None => Ok(()),
    }
}

/// Checks that the bias, if there is one, has a number for each of `out` outputs.
fn check_bias(tensors: &[&[usize]], out: usize) -> Result<(), String> {
    match tensors.get(1) {
        Some(bias) if **bias != [out] => Err(format!("bias {bias:?} for {out} outputs")),
        _ => Ok(()),
    }
}

/// Whether one of the windows along an axis of `size` pixels covers only padding. The padding is at most half the kernel.
fn has_empty_window(
    window: &Window,
    axis: fn((usize, usize)) -> usize,
    size: usize,
    outputs: usize,
) -> bool {
    let (before, dilation) = (axis(window.before), axis(window.dilation));
    let kernel = axis(window.kernel);
    // A window that starts in the padding has taps on both sides of the first pixel, and taps at a distance of at most
    // the size of the map cannot step over it.
    if dilation <= size {
        return false;
    }
    let starts = (0..outputs).map_while(|at| at.checked_mul(axis(window.stride)));
    starts.take_while(|start| *start < before).any(|start| {
        let first = (before - start).div_ceil(dilation);
        first >= kernel || start + first * dilation - before >= size
    })
}

/// The shape of a sliding window's output (PyTorch's `Conv2d` and `MaxPool2d`, "Shape").
fn window_output(window: &Window, x: Shape, channels: usize) -> Result<Shape, String> {
    let axis = |size: usize, pick: fn((usize, usize)) -> usize| -> Option<usize> {
        let (kernel, stride) = (pick(window.kernel), pick(window.stride));
        let (before, after) = (pick(window.before), pick(window.after));
        let reach = pick(window.dilation).checked_mul(kernel.checked_sub(1)?)?;
        let mut padded = size.checked_add(before)?.checked_add(after)?;
        if stride == 0 || pick(window.dilation) == 0 {
            return None;
        }
        if window.ceil {
            padded = padded.checked_add(stride - 1)?;
        }
        let count = padded.checked_sub(reach.checked_add(1)?)? / stride + 1;
        // The last window must start inside the map or the padding before it.
        let outside = window.ceil && (count - 1).checked_mul(stride)? >= size + before;
        Some(if outside { count - 1 } else { count })
    };
    match (axis(x.height, |p| p.0), axis(x.width, |p| p.1)) {
        (Some(height), Some(width)) => Ok(Shape::new(channels, height, width)),
        _ => Err(format!(
            "a kernel of {}×{} (dilation {}×{}, padding {}×{}) does not fit into {x}: the \
             resolution is too small for this network",
            window.kernel.0,
            window.kernel.1,
            window.dilation.0,
            window.dilation.1,
            window.before.0,
            window.before.1,
        )),
    }
}

#[cfg(test)]
mod tests;
