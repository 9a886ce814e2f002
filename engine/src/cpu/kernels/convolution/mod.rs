//! Convolutions as matrix products without an im2col buffer (implicit GEMM): for each tap of the kernel, the pixels under
//! it are rows of the left matrix, read in place.
//!
//! The gradient of the input is computed by the same code as forward, from the output gradient with transposed filters.
//! With a stride, the pixels of the input see different taps, depending on their position modulo the stride; each such
//! set of pixels is one [`Phase`].

mod filter_layout;
mod forward;
mod strided_gemm;
mod weight_gradient;
pub(in crate::cpu) mod winograd;

pub(in crate::cpu) use filter_layout::FilterLayout;
pub(in crate::cpu) use forward::ForwardConvolution;
pub(in crate::cpu) use weight_gradient::WeightGradient;

use crate::cpu::kernels::layout::ImageLayout;
use crate::net::{Shape, Window};

/// The shapes of a convolution. Values are channels last and padded, see [`super::layout`].
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Geometry {
    pub(in crate::cpu) input: ImageLayout,
    pub(in crate::cpu) output: Shape,
    pub(in crate::cpu) window: Window,
    pub(in crate::cpu) groups: usize,
}

/// The pixels of a convolution's result that see the same taps: a grid of pixels at `origin` + i · `step`. Forward has one
/// phase; the gradient of the input has one for each remainder modulo the stride. Pairs are (down, across).
#[derive(Debug, Clone)]
pub(in crate::cpu) struct Phase {
    /// Number of pixels.
    pub(in crate::cpu) grid: (usize, usize),
    pub(in crate::cpu) origin: (usize, usize),
    pub(in crate::cpu) step: (usize, usize),
    /// Distance in source pixels from one pixel of the grid to the next.
    pub(in crate::cpu) stride: (usize, usize),
    /// The taps, row by row, each row from the left.
    pub(in crate::cpu) taps: Vec<Tap>,
    /// Number of taps of the whole kernel.
    pub(in crate::cpu) kernel_len: usize,
}

/// One tap of a phase.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Tap {
    /// Row of the source under the tap, for the first pixel of the phase.
    pub(in crate::cpu) down: isize,
    /// Column of the source under the tap, for the first pixel of the phase.
    pub(in crate::cpu) over: isize,
    /// Index of the tap in the kernel: row · kernel width + column.
    pub(in crate::cpu) number: usize,
}

impl Phase {
    /// The single phase of forward: the pixels of the output, which read the input.
    pub(in crate::cpu) fn forward(g: &Geometry) -> Vec<Phase> {
        let taps = g.taps().map(|(number, shift)| Tap {
            down: shift.0 as isize - g.window.before.0 as isize,
            over: shift.1 as isize - g.window.before.1 as isize,
            number,
        });
        let phase = Phase {
            grid: (g.output.height, g.output.width),
            origin: (0, 0),
            step: (1, 1),
            stride: g.window.stride,
            taps: taps.collect(),
            kernel_len: g.kernel_len(),
        };
        vec![phase.without_unused_taps(g.input)]
    }

    /// Drops the taps that fall into the padding for all pixels.
    fn without_unused_taps(mut self, source: ImageLayout) -> Phase {
        let reaches = |count: usize, stride: usize, shift: isize, size: usize| {
            (0..count).any(|at| (((at * stride) as isize + shift) as usize) < size)
        };
        self.taps.retain(|tap| {
            reaches(self.grid.0, self.stride.0, tap.down, source.height)
                && reaches(self.grid.1, self.stride.1, tap.over, source.width)
        });
        self
    }

    /// The phases of the input gradient: the pixels of the input, which read the gradient of the output. One for each
    /// remainder modulo the stride.
    pub(in crate::cpu) fn backward(g: &Geometry) -> Vec<Phase> {
        let stride = g.window.stride;
        let origins = (0..stride.0).flat_map(|down| (0..stride.1).map(move |over| (down, over)));
        let phase = |origin: (usize, usize)| {
            let along = |origin: usize, before: usize, shift: usize, stride: usize| {
                let from = (origin + before) as isize - shift as isize;
                (from.rem_euclid(stride as isize) == 0).then(|| from.div_euclid(stride as isize))
            };
            // In reverse, since the last tap falls above and to the left of the others.
            let taps = g.taps().rev().filter_map(|(number, shift)| {
                Some(Tap {
                    down: along(origin.0, g.window.before.0, shift.0, stride.0)?,
                    over: along(origin.1, g.window.before.1, shift.1, stride.1)?,
                    number,
                })
            });
            let count = |size: usize, origin: usize, stride: usize| {
                size.saturating_sub(origin).div_ceil(stride)
            };
            let phase = Phase {
                grid: (
                    count(g.input.height, origin.0, stride.0),
                    count(g.input.width, origin.1, stride.1),
                ),
                origin,
                step: stride,
                stride: (1, 1),
                taps: taps.collect(),
                kernel_len: g.kernel_len(),
            };
            phase.without_unused_taps(g.output.into())
        };
        origins.map(phase).collect()
    }
}

impl Geometry {
    /// Index and (row, column) offset of every tap of the kernel.
    fn taps(&self) -> impl DoubleEndedIterator<Item = (usize, (usize, usize))> {
        let (rows, columns) = self.window.kernel;
        let dilation = self.window.dilation;
        (0..rows * columns).map(move |number| {
            let shift = (number / columns * dilation.0, number % columns * dilation.1);
            (number, shift)
        })
    }

    /// Number of taps of the kernel.
    pub(in crate::cpu) fn kernel_len(&self) -> usize {
        self.window.kernel.0 * self.window.kernel.1
    }

    /// The layout of the filters.
    pub(in crate::cpu) fn filters(&self) -> FilterLayout {
        FilterLayout {
            groups: self.groups,
            taps: self.kernel_len(),
            in_channels: self.input.channels / self.groups,
            out_channels: self.output.channels / self.groups,
        }
    }
}
