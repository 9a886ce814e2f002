//! Max pooling.

use candle_core::{DType, Result, Tensor};

use super::launch::{File, Launch, THREADS};
use super::window::Window;
use super::{int, output, run_on};
use crate::net::{self, Shape};

/// The kernels of max pooling.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct MaxPool {
    images: usize,
    input: Shape,
    output: Shape,
    sizes: Sizes,
}

/// `MaxPool` in `max_pool.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Sizes {
    planes: i32,
    window: Window,
}

impl MaxPool {
    /// Of values `x`, or the gradient of the result, where it goes by kernels.
    pub(in super::super) fn of(
        window: &net::Window,
        input: Shape,
        output: Shape,
        x: &Tensor,
    ) -> Option<MaxPool> {
        let images = x.dim(0).ok()?;
        let window = Window::of(window, images, input, output)?;
        let sizes = Sizes {
            planes: int(images * input.channels),
            window,
        };
        run_on(x).then_some(MaxPool {
            images,
            input,
            output,
            sizes,
        })
    }

    /// The largest number under each window, and where in its plane each was.
    pub(in super::super) fn forward(self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let y = output(self.shape(self.output), x.dtype(), x.device())?;
        let places = output(y.shape(), DType::U32, x.device())?;
        self.run("max_pool_forward", &y, &[&y, &places], &[&x.contiguous()?])?;
        Ok((y, places))
    }

    /// dx.
    pub(in super::super) fn backward(self, places: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let dx = output(self.shape(self.input), dy.dtype(), dy.device())?;
        self.run(
            "max_pool_backward",
            &dx,
            &[&dx],
            &[&dy.contiguous()?, places],
        )?;
        Ok(dx)
    }

    fn shape(self, of: Shape) -> (usize, usize, usize, usize) {
        (self.images, of.channels, of.height, of.width)
    }

    /// Runs a kernel with a thread for each element of `each`.
    #[expect(unsafe_code, reason = "a launch")]
    fn run(
        self,
        kernel: &'static str,
        each: &Tensor,
        writes: &[&Tensor],
        reads: &[&Tensor],
    ) -> Result<()> {
        let launch = Launch {
            file: File::MaxPool,
            kernel,
            dtype: each.dtype(),
            blocks: each.elem_count().div_ceil(THREADS),
        };
        // SAFETY: the tensors are those of the kernels' parameters, in their order; the graph has checked
        // that values have these sizes, and each window a pixel.
        unsafe { launch.run(writes, reads, self.sizes) }
    }
}
