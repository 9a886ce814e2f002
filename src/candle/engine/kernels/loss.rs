//! Cross-entropy and hits.

use candle_core::{DType, Result, Tensor};

use super::launch::{File, Launch, THREADS};
use super::{int, output, run_on};

/// A label that does not count; `NONE` in `loss.cu`.
pub(in super::super) const NONE: u32 = u32::MAX;

/// The kernels of the loss of a batch.
#[derive(Debug)]
pub(in super::super) struct Loss {
    /// [N, K, H, W], contiguous.
    logits: Tensor,
    /// [N · H · W].
    labels: Tensor,
    sizes: Sizes,
}

/// `Loss` in `loss.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Sizes {
    labels: i32,
    classes: i32,
    pixels: i32,
    smoothing: f64,
    counted: f64,
    weight: f64,
}

impl Loss {
    /// Of logits and their labels, which are classes or [`NONE`], where it goes by kernels; `counted` of
    /// the labels count.
    pub(in super::super) fn of(
        logits: &Tensor,
        labels: &[u32],
        counted: usize,
        smoothing: f64,
    ) -> Option<Result<Loss>> {
        // A warp a label.
        let fits = labels.len() < (1 << 30) / 32;
        (fits && run_on(logits)).then(|| {
            let (_, classes, height, width) = logits.dims4()?;
            Ok(Loss {
                logits: logits.contiguous()?,
                labels: Tensor::new(labels, logits.device())?,
                sizes: Sizes {
                    labels: int(labels.len()),
                    classes: int(classes),
                    pixels: int(height * width),
                    smoothing,
                    counted: counted.max(1) as f64,
                    weight: 1.0,
                },
            })
        })
    }

    /// The loss, and how many labels' classes came first and among the first five.
    pub(in super::super) fn outcome(&self) -> Result<[f64; 3]> {
        let rows = (self.sizes.labels as usize, 3);
        let rows = output(rows, self.logits.dtype(), self.logits.device())?;
        self.run("loss_outcome", &rows, self.sizes)?;
        let sums = rows.to_dtype(DType::F64)?.sum(0)?.to_vec1()?;
        Ok([sums[0], sums[1], sums[2]])
    }

    /// The gradient of the logits, times `weight`.
    pub(in super::super) fn gradient(&self, weight: f64) -> Result<Tensor> {
        let dx = output(
            self.logits.shape(),
            self.logits.dtype(),
            self.logits.device(),
        )?;
        let sizes = Sizes {
            weight,
            ..self.sizes
        };
        self.run("loss_gradient", &dx, sizes)?;
        Ok(dx)
    }

    #[expect(unsafe_code, reason = "a launch")]
    fn run(&self, kernel: &'static str, to: &Tensor, sizes: Sizes) -> Result<()> {
        let launch = Launch {
            file: File::Loss,
            kernel,
            dtype: self.logits.dtype(),
            blocks: (sizes.labels as usize * 32).div_ceil(THREADS),
        };
        // SAFETY: both kernels write one tensor, and read logits of these sizes and as many labels. Each
        // label is a class or `NONE`: a batch with another one is refused before it is run.
        unsafe { launch.run(&[to], &[&self.logits, &self.labels], sizes) }
    }
}
