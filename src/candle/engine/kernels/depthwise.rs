//! Depthwise convolution.

use candle_core::{Result, Tensor};

use super::super::convolution::Geometry;
use super::launch::{File, Launch, THREADS};
use super::window::Window;
use super::{int, output, run_on};

/// Taps of which one block gathers the gradient; `TAPS` in `depthwise.cu`.
const TAPS: usize = 9;

/// The kernels of a convolution with one filter a channel, w [C, 1, kernel height, kernel width].
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Depthwise<'a> {
    geometry: &'a Geometry,
    images: usize,
    window: Window,
}

/// `Depthwise` in `depthwise.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Sizes {
    images: i32,
    channels: i32,
    window: Window,
}

impl<'a> Depthwise<'a> {
    /// For such a convolution, of `x` or of the gradient of its result, where it goes by kernels.
    pub(in super::super) fn of(geometry: &'a Geometry, x: &Tensor) -> Option<Depthwise<'a>> {
        let channels = geometry.input.channels;
        let images = x.dim(0).ok()?;
        let depthwise = geometry.groups == channels && geometry.output.channels == channels;
        let window = Window::of(&geometry.window, images, geometry.input, geometry.output)?;
        (depthwise && channels > 1 && run_on(x)).then_some(Depthwise {
            geometry,
            images,
            window,
        })
    }

    /// y = w ∗ x.
    pub(in super::super) fn forward(&self, w: &Tensor, x: &Tensor) -> Result<Tensor> {
        let shape = self.geometry.output;
        let y = output(
            (self.images, shape.channels, shape.height, shape.width),
            x.dtype(),
            x.device(),
        )?;
        let blocks = y.elem_count().div_ceil(THREADS);
        self.run("depthwise_forward", blocks, &y, [&x.contiguous()?, w])?;
        Ok(y)
    }

    /// dx.
    pub(in super::super) fn backward_input(&self, w: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let shape = self.geometry.input;
        let dx = output(
            (self.images, shape.channels, shape.height, shape.width),
            dy.dtype(),
            dy.device(),
        )?;
        let blocks = dx.elem_count().div_ceil(THREADS);
        self.run(
            "depthwise_backward_input",
            blocks,
            &dx,
            [&dy.contiguous()?, w],
        )?;
        Ok(dx)
    }

    /// dw.
    pub(in super::super) fn backward_weight(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let (channels, kernel) = (self.geometry.input.channels, self.geometry.window.kernel);
        let dw = output((channels, 1, kernel.0, kernel.1), x.dtype(), x.device())?;
        let blocks = channels * (kernel.0 * kernel.1).div_ceil(TAPS);
        let reads = [&x.contiguous()?, &dy.contiguous()?];
        self.run("depthwise_backward_filter", blocks, &dw, reads)?;
        Ok(dw)
    }

    #[expect(unsafe_code, reason = "a launch")]
    fn run(
        &self,
        kernel: &'static str,
        blocks: usize,
        to: &Tensor,
        from: [&Tensor; 2],
    ) -> Result<()> {
        let sizes = Sizes {
            images: int(self.images),
            channels: int(self.geometry.input.channels),
            window: self.window,
        };
        let launch = Launch {
            file: File::Depthwise,
            kernel,
            dtype: to.dtype(),
            blocks,
        };
        // SAFETY: each of the three kernels writes one tensor of this type, and reads two; the graph has
        // checked that values and filters have these sizes.
        unsafe { launch.run(&[to], &from, sizes) }
    }
}
