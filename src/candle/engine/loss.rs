//! Cross-entropy with label smoothing, and which class came first, as in the plain engine. Logits are
//! [N, K, H, W], labels [N, H, W]; all is computed in the [`wide`] type, but by kernels in that of the
//! logits.

use candle_core::{D, DType, Result, Tensor};

use super::kernels::{self, loss::NONE};
use super::number::{constant, to_host, wide};
use crate::engine::{Outcome, Task};

/// Loss and hits of the logits of a batch.
#[derive(Debug)]
pub(super) struct CrossEntropy {
    rows: Rows,
    /// How many labels count.
    counted: usize,
    images: usize,
}

/// By what it is computed.
#[derive(Debug)]
enum Rows {
    Kernels(kernels::loss::Loss),
    Composed(Composed),
}

impl CrossEntropy {
    pub(super) fn new(
        task: Task,
        output: &Tensor,
        labels: &[u32],
        smoothing: f64,
    ) -> Result<CrossEntropy> {
        let known: Vec<u32> = labels
            .iter()
            .map(|label| if task.counts(*label) { *label } else { NONE })
            .collect();
        let counted = known.iter().filter(|label| **label != NONE).count();
        let rows = match kernels::loss::Loss::of(output, &known, counted, smoothing) {
            Some(kernels) => Rows::Kernels(kernels?),
            None => Rows::Composed(Composed::new(output, known, counted, smoothing)?),
        };
        Ok(CrossEntropy {
            rows,
            counted,
            images: output.dim(0)?,
        })
    }

    /// The gradient of the logits: softmax − target, divided by the number of labels that count, times
    /// `weight`; in the shape and type of `output`.
    pub(super) fn gradient(&self, output: &Tensor, weight: f64) -> Result<Tensor> {
        match &self.rows {
            Rows::Kernels(kernels) => kernels.gradient(weight),
            Rows::Composed(rows) => rows.gradient(output, weight),
        }
    }

    /// Loss and counts, the only numbers of a batch that come to host memory.
    pub(super) fn outcome(&self) -> Result<Outcome> {
        let [loss, top1, top5] = match &self.rows {
            Rows::Kernels(kernels) => kernels.outcome()?,
            Rows::Composed(rows) => rows.outcome()?,
        };
        Ok(Outcome {
            loss,
            top1: top1 as usize,
            top5: top5 as usize,
            images: self.images,
            labels: self.counted,
        })
    }
}

/// The logits of a batch beside its labels.
#[derive(Debug)]
struct Composed {
    /// [R, K], a row a label.
    logits: Tensor,
    /// [R, 1]; 0 in place of a label that does not count.
    labels: Tensor,
    /// Which labels count, [R] of U8; none where all do.
    mask: Option<Tensor>,
    /// How many labels count, and 1 where none does.
    counted: f64,
    images: usize,
    /// The numbers of the classes, [1, K].
    classes: Tensor,
    /// log softmax(logits), [R, K].
    logs: Tensor,
    smoothing: f64,
}

impl Composed {
    /// With [`NONE`] in place of a label that does not count.
    fn new(
        output: &Tensor,
        mut labels: Vec<u32>,
        counted: usize,
        smoothing: f64,
    ) -> Result<Composed> {
        let device = output.device();
        let logits = rows(output)?;
        let all = counted == labels.len();
        let counts: Vec<u8> = labels
            .iter()
            .map(|label| u8::from(*label != NONE))
            .collect();
        for label in labels.iter_mut().filter(|label| **label == NONE) {
            *label = 0;
        }
        let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?)?;
        let total = shifted.exp()?.sum_keepdim(1)?;
        Ok(Composed {
            labels: Tensor::new(labels, device)?.unsqueeze(1)?,
            mask: (!all).then(|| Tensor::new(counts, device)).transpose()?,
            counted: counted.max(1) as f64,
            images: output.dim(0)?,
            classes: Tensor::arange(0, logits.dim(1)? as u32, device)?.unsqueeze(0)?,
            logs: shifted.broadcast_sub(&total.log()?)?,
            logits,
            smoothing,
        })
    }

    /// With K classes, smoothing s and label l, the target is 1 − s + s / K at l and s / K elsewhere, and
    /// the loss −Σ target · log softmax(logits), averaged over the labels that count.
    fn loss(&self) -> Result<Tensor> {
        let own = (self.logs.gather(&self.labels, 1)?.squeeze(1)? * (1.0 - self.smoothing))?;
        let mean = (self.logs.mean(1)? * self.smoothing)?;
        let sum = self.masked(&(own + mean)?)?.sum_all()?;
        sum.affine(-1.0 / self.counted, 0.0)
    }

    /// `rows` [R] or [R, K], with 0 where the label does not count.
    fn masked(&self, rows: &Tensor) -> Result<Tensor> {
        let Some(mask) = &self.mask else {
            return Ok(rows.clone());
        };
        let mask = match rows.rank() {
            1 => mask.clone(),
            _ => mask.unsqueeze(1)?.broadcast_as(rows.shape())?,
        };
        mask.where_cond(rows, &rows.zeros_like()?)
    }

    /// As of [`CrossEntropy::gradient`].
    fn gradient(&self, output: &Tensor, weight: f64) -> Result<Tensor> {
        let (_, classes) = self.logits.dims2()?;
        let softmax = self.logs.exp()?;
        let one = self.classes.broadcast_eq(&self.labels)?;
        let one = one.to_dtype(softmax.dtype())?;
        let target = one.affine(1.0 - self.smoothing, self.smoothing / classes as f64)?;
        let gradient = ((softmax - target)? * (weight / self.counted))?;
        let gradient = self.masked(&gradient)?.to_dtype(output.dtype())?;
        gradient
            .reshape((self.images, (), classes))?
            .transpose(1, 2)?
            .reshape(output.shape())
    }

    /// The loss, and how many labels' classes came first and among the first five.
    fn outcome(&self) -> Result<[f64; 3]> {
        let (logits, wide) = (&self.logits, self.logits.dtype());
        let own = logits.gather(&self.labels, 1)?;
        // What comes before the label: larger, equal and earlier, or NaN.
        let equal = logits.broadcast_eq(&own)?;
        let earlier = self.classes.broadcast_lt(&self.labels)?;
        let before = ((equal * earlier)? + logits.broadcast_gt(&own)?)? + logits.ne(logits)?;
        let rank = before?.to_dtype(wide)?.sum(1)?;
        let known = own.eq(&own)?.squeeze(1)?;
        let within = |places: f64| {
            let within = (rank.lt(places)? * &known)?;
            self.masked(&within)?.to_dtype(wide)?.sum_all()
        };
        let numbers = Tensor::stack(&[self.loss()?, within(1.0)?, within(5.0)?], 0)?;
        let numbers = to_host(&numbers)?;
        Ok([numbers[0], numbers[1], numbers[2]])
    }
}

/// The class that comes first for each label: the largest number, of equals the first; NaN is larger
/// than everything.
pub(super) fn predictions(output: &Tensor) -> Result<Vec<u32>> {
    let logits = rows(output)?;
    let (images, classes) = logits.dims2()?;
    let nan = logits.ne(&logits)?;
    // Of NaN, what candle takes for the largest number is not known, and does not count.
    let finite = nan.where_cond(&constant(f64::NEG_INFINITY, &logits)?, &logits)?;
    let largest = finite.broadcast_eq(&finite.max_keepdim(D::Minus1)?)?;
    let spoilt = nan.max_keepdim(1)?.broadcast_as((images, classes))?;
    let first = spoilt.where_cond(&nan, &largest)?;
    let number = Tensor::arange(0, classes as u32, logits.device())?;
    let number = number.unsqueeze(0)?.broadcast_as((images, classes))?;
    let beyond = Tensor::full(classes as u32, (images, classes), logits.device())?;
    first
        .where_cond(&number, &beyond)?
        .min(1)?
        .to_dtype(DType::U32)?
        .to_vec1()
}

/// Logits [N, K, H, W], a row for each pixel.
fn rows(output: &Tensor) -> Result<Tensor> {
    let classes = output.dim(1)?;
    let logits = output.flatten_from(2)?.transpose(1, 2)?;
    let logits = logits.reshape(((), classes))?;
    logits.to_dtype(wide(output.device()))
}
