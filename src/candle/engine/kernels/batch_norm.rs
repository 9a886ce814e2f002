//! Batch normalisation.

use candle_core::{Result, Tensor};

use super::super::batch_norm::{Gradients, Running, Statistics};
use super::launch::{File, Launch, THREADS};
use super::{int, output, run_on};

/// The kernels of a batch normalisation.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct BatchNorm<'a> {
    /// The values that are normalised, [N, C, H, W].
    x: &'a Tensor,
    sizes: Sizes,
}

/// `BatchNorm` in `batch_norm.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Sizes {
    images: i32,
    channels: i32,
    pixels: i32,
    epsilon: f64,
    momentum: f64,
}

impl<'a> BatchNorm<'a> {
    /// For contiguous values, where it goes by kernels.
    pub(in super::super) fn of(x: &'a Tensor) -> Option<BatchNorm<'a>> {
        let (images, channels, height, width) = x.dims4().ok()?;
        let sizes = Sizes {
            images: int(images),
            channels: int(channels),
            pixels: int(height * width),
            epsilon: 0.0,
            momentum: 0.0,
        };
        (run_on(x) && x.is_contiguous()).then_some(BatchNorm { x, sizes })
    }

    /// The statistics of the batch; the running ones move by `momentum` towards its mean and its unbiased
    /// variance.
    pub(in super::super) fn measure(
        self,
        epsilon: f64,
        momentum: f64,
        running: Running<'_>,
    ) -> Result<Statistics> {
        let [mean, scale] = self.numbers()?;
        let sizes = Sizes {
            epsilon,
            momentum,
            ..self.sizes
        };
        let writes = [
            &mean,
            &scale,
            running.mean.as_tensor(),
            running.variance.as_tensor(),
        ];
        self.run(
            "batch_norm_measure",
            self.channels(),
            &writes,
            &[self.x],
            sizes,
        )?;
        Ok(Statistics { mean, scale })
    }

    /// y = (x − mean) · scale · γ + β.
    pub(in super::super) fn forward(
        self,
        statistics: &Statistics,
        gamma: &Tensor,
        beta: &Tensor,
    ) -> Result<Tensor> {
        let y = output(self.x.shape(), self.x.dtype(), self.x.device())?;
        let [mean, scale] = self.own(statistics)?;
        let reads = [self.x, &mean, &scale, gamma, beta];
        self.run(
            "batch_norm_forward",
            self.blocks(),
            &[&y],
            &reads,
            self.sizes,
        )?;
        Ok(y)
    }

    /// The gradients, where the statistics are the batch's.
    pub(in super::super) fn backward(
        self,
        statistics: &Statistics,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let dy = &dy.contiguous()?;
        let [mean, scale] = self.own(statistics)?;
        let [gamma, beta] = self.numbers()?;
        let reads = [self.x, dy, &mean, &scale];
        self.run(
            "batch_norm_sums",
            self.channels(),
            &[&gamma, &beta],
            &reads,
            self.sizes,
        )?;
        let dx = output(self.x.shape(), self.x.dtype(), self.x.device())?;
        let reads = [self.x, dy, &mean, &scale, weight, &gamma, &beta];
        self.run(
            "batch_norm_backward",
            self.blocks(),
            &[&dx],
            &reads,
            self.sizes,
        )?;
        Ok(Gradients { x: dx, gamma, beta })
    }

    fn channels(self) -> usize {
        self.sizes.channels as usize
    }

    fn blocks(self) -> usize {
        self.x.elem_count().div_ceil(THREADS)
    }

    /// Two numbers a channel, to be written.
    fn numbers(self) -> Result<[Tensor; 2]> {
        let new = || output(self.channels(), self.x.dtype(), self.x.device());
        Ok([new()?, new()?])
    }

    /// Mean and scale, in the type of the values: those of evaluation come in a wider one.
    fn own(self, statistics: &Statistics) -> Result<[Tensor; 2]> {
        let own = |numbers: &Tensor| numbers.to_dtype(self.x.dtype());
        Ok([own(&statistics.mean)?, own(&statistics.scale)?])
    }

    #[expect(unsafe_code, reason = "a launch")]
    fn run(
        self,
        kernel: &'static str,
        blocks: usize,
        writes: &[&Tensor],
        reads: &[&Tensor],
        sizes: Sizes,
    ) -> Result<()> {
        let launch = Launch {
            file: File::BatchNorm,
            kernel,
            dtype: self.x.dtype(),
            blocks,
        };
        // SAFETY: the tensors are those of the kernels' parameters, in their order: values of the shape
        // of `x`, of which each kernel takes the sizes, and one number for each of its channels, which
        // the graph has checked of γ, β and the running statistics.
        unsafe { launch.run(writes, reads, sizes) }
    }
}
