//! Convolutions as products of matrices, without a buffer for their windows: a row of the left
//! matrix is where a tap falls, read in place.
//!
//! Forward and the gradient of the input are the same walk: every pixel of the result gathers from
//! the pixels of a source, tap by tap. With a stride the pixels of the gradient fall into classes
//! that see different taps, and each class is a [`Walk`] of its own.

mod even;
mod filters;
mod gather;
mod weight;
pub(in crate::cpu) mod winograd;

pub(in crate::cpu) use filters::Filters;
pub(in crate::cpu) use gather::Gather;
pub(in crate::cpu) use weight::WeightGradient;

use crate::cpu::kernels::layout::Plane;
use crate::net::{Shape, Window};

/// The sizes of a convolution; values are channels last and padded, see [`super::layout`].
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Geometry {
    pub(in crate::cpu) input: Plane,
    pub(in crate::cpu) output: Shape,
    pub(in crate::cpu) window: Window,
    pub(in crate::cpu) groups: usize,
}

/// Pixels of a result that see the same taps: those at `origin` + i · `step`.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct Walk {
    /// How many pixels, down and across.
    pub(in crate::cpu) grid: (usize, usize),
    pub(in crate::cpu) origin: (usize, usize),
    pub(in crate::cpu) step: (usize, usize),
    /// How far the source moves from one pixel of the grid to the next.
    pub(in crate::cpu) stride: (usize, usize),
    /// Row by row, each from the left.
    pub(in crate::cpu) taps: Vec<Tap>,
    /// How many taps the kernel has.
    pub(in crate::cpu) kernel: usize,
}

/// Where a tap falls for the first pixel of a walk, and which of the kernel's it is.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Tap {
    pub(in crate::cpu) down: isize,
    pub(in crate::cpu) over: isize,
    pub(in crate::cpu) number: usize,
}

impl Walk {
    /// The walk over the output.
    pub(in crate::cpu) fn forward(g: &Geometry) -> Vec<Walk> {
        let taps = g.taps().map(|(number, shift)| Tap {
            down: shift.0 as isize - g.window.before.0 as isize,
            over: shift.1 as isize - g.window.before.1 as isize,
            number,
        });
        let walk = Walk {
            grid: (g.output.height, g.output.width),
            origin: (0, 0),
            step: (1, 1),
            stride: g.window.stride,
            taps: taps.collect(),
            kernel: g.kernel(),
        };
        vec![walk.within(g.input)]
    }

    /// Without the taps that fall outside of the source everywhere.
    fn within(mut self, source: Plane) -> Walk {
        let reaches = |count: usize, stride: usize, shift: isize, size: usize| {
            (0..count).any(|at| (((at * stride) as isize + shift) as usize) < size)
        };
        self.taps.retain(|tap| {
            reaches(self.grid.0, self.stride.0, tap.down, source.height)
                && reaches(self.grid.1, self.stride.1, tap.over, source.width)
        });
        self
    }

    /// The walks over the input that gather its gradient from that of the output.
    pub(in crate::cpu) fn backward(g: &Geometry) -> Vec<Walk> {
        let stride = g.window.stride;
        let classes = (0..stride.0).flat_map(|down| (0..stride.1).map(move |over| (down, over)));
        let walk = |origin: (usize, usize)| {
            let along = |origin: usize, before: usize, shift: usize, stride: usize| {
                let from = (origin + before) as isize - shift as isize;
                (from.rem_euclid(stride as isize) == 0).then(|| from.div_euclid(stride as isize))
            };
            // From the last, which falls above and to the left of the others.
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
            let walk = Walk {
                grid: (
                    count(g.input.height, origin.0, stride.0),
                    count(g.input.width, origin.1, stride.1),
                ),
                origin,
                step: stride,
                stride: (1, 1),
                taps: taps.collect(),
                kernel: g.kernel(),
            };
            walk.within(g.output.into())
        };
        classes.map(walk).collect()
    }
}

impl Geometry {
    /// Number and shift of every tap of the kernel.
    fn taps(&self) -> impl DoubleEndedIterator<Item = (usize, (usize, usize))> {
        let (rows, columns) = self.window.kernel;
        let dilation = self.window.dilation;
        (0..rows * columns).map(move |number| {
            let shift = (number / columns * dilation.0, number % columns * dilation.1);
            (number, shift)
        })
    }

    /// Taps of the kernel.
    pub(in crate::cpu) fn kernel(&self) -> usize {
        self.window.kernel.0 * self.window.kernel.1
    }

    /// The sizes of its filters.
    pub(in crate::cpu) fn filters(&self) -> Filters {
        Filters {
            groups: self.groups,
            kernel: self.kernel(),
            from: self.input.channels / self.groups,
            to: self.output.channels / self.groups,
        }
    }
}
