//! A window that moves over maps, as the kernels have it.

use super::{MOST, int};
use crate::net::{self, Shape};

/// `Window` in `kernel.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    input: [i32; 2],
    output: [i32; 2],
    kernel: [i32; 2],
    stride: [i32; 2],
    dilation: [i32; 2],
    before: [i32; 2],
}

impl Window {
    /// `None` where positions in the maps of so many images cannot be counted in 32 bits.
    pub(super) fn of(
        window: &net::Window,
        images: usize,
        input: Shape,
        output: Shape,
    ) -> Option<Window> {
        let most = |pair: (usize, usize)| pair.0.max(pair.1);
        let reach = most(window.kernel).saturating_mul(most(window.dilation));
        let fits = images * input.len().max(output.len()) <= MOST
            && reach <= MOST / 4
            && most(window.before) <= MOST / 4
            && most(window.stride) <= MOST;
        let pair = |pair: (usize, usize)| [int(pair.0), int(pair.1)];
        fits.then(|| Window {
            input: [int(input.height), int(input.width)],
            output: [int(output.height), int(output.width)],
            kernel: pair(window.kernel),
            stride: pair(window.stride),
            dilation: pair(window.dilation),
            before: pair(window.before),
        })
    }
}
