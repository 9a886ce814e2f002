//! Accuracy of classes pixel by pixel, as the reference for ADE20K measures it: the logits of each scale
//! are resized to the label map, and their probabilities averaged.

use rayon::prelude::*;

use super::Evaluation;
use crate::engine::common::{Mode, bilinear_weights};
use crate::engine::{Batch, Engine};
use crate::error::Result;
use crate::net::Shape;
use crate::train::data::Loader;
use crate::train::data::scenes::IGNORED;
use crate::train::diagnose;

/// What a network says of one scene.
#[derive(Debug, Clone, Copy)]
pub struct Predicted<'a> {
    /// The number of the image in its set.
    pub index: usize,
    /// Of the image, in pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// The class of each pixel, row by row.
    pub classes: &'a [u8],
    /// The labels, row by row; 255 where a pixel does not count.
    pub labels: &'a [u32],
}

/// Is told what a network says of each scene.
pub type OnPrediction<'a> = &'a mut dyn FnMut(Predicted<'_>) -> Result<()>;

/// As [`evaluate`](super::evaluate), of a loader of scenes; `predicted` is told what the network says of
/// each.
///
/// # Errors
/// As of [`evaluate`](super::evaluate); what `predicted` returns.
pub fn evaluate_scenes(
    engine: &mut dyn Engine,
    loader: &mut Loader,
    progress: &mut dyn FnMut(usize),
    predicted: OnPrediction<'_>,
) -> Result<Evaluation> {
    let classes = engine.graph().output_shape().channels;
    let scales = loader.scales();
    let sizes: Vec<Option<(usize, usize)>> = (0..loader.dataset().len())
        .map(|index| loader.dataset().size(index))
        .collect();
    let mut total = Evaluation::new(classes, None);
    let mut seen: Vec<Logits> = Vec::with_capacity(scales);
    let (mut ignored, mut logits) = (Vec::new(), Vec::new());
    let mut batches = loader.test();
    while let Some(prepared) = batches.next() {
        let prepared = prepared?;
        engine.reshape(prepared.resolution)?;
        let output = engine.graph().output_shape();
        let images = prepared.indices.len();
        ignored.clear();
        ignored.resize(images * output.pixels(), u32::from(IGNORED));
        let batch = Batch {
            images: prepared.images,
            labels: &ignored,
        };
        engine.evaluate(&batch)?;
        engine.output(&mut logits);
        if logits.iter().any(|logit| !logit.is_finite()) {
            let what = ("a logit is not finite", "in evaluation");
            return Err(diagnose::error(engine, &batch, Mode::Evaluation, what));
        }
        seen.push(Logits::new(output, &logits));
        if seen.len() < scales {
            continue;
        }
        let mut labels = prepared.labels;
        for (place, index) in prepared.indices.iter().enumerate() {
            let (width, height) = sizes[*index].unwrap_or_default();
            let own;
            (own, labels) = labels.split_at(width * height);
            let found = compare(&seen, place, (width, height), own, classes);
            total.add(&found);
            predicted(Predicted {
                index: *index,
                width,
                height,
                classes: &found.predictions,
                labels: own,
            })?;
        }
        seen.clear();
        total.images += images;
        progress(total.images);
    }
    total.loss /= total.labels.max(1) as f64;
    Ok(total)
}

/// The logits of a batch at one scale.
struct Logits {
    shape: Shape,
    /// `[N, H, W, classes]`; in f32, which is half of what is kept of all scales.
    values: Vec<f32>,
}

impl Logits {
    /// From `[N, classes, H, W]`.
    fn new(shape: Shape, logits: &[f64]) -> Logits {
        let (classes, pixels) = (shape.channels, shape.pixels());
        let mut values = Vec::with_capacity(logits.len());
        for image in logits.chunks_exact(shape.len()) {
            for pixel in 0..pixels {
                values.extend((0..classes).map(|class| image[class * pixels + pixel] as f32));
            }
        }
        Logits { shape, values }
    }

    /// log softmax of the logits, interpolated at a pixel of a map of this shape.
    fn log_softmax(&self, image: usize, map: Shape, pixel: usize, into: &mut [f64]) {
        into.fill(0.0);
        let start = image * self.shape.pixels();
        for (at, weight) in bilinear_weights(false, self.shape, map, pixel) {
            let corner = &self.values[(start + at) * into.len()..];
            for (sum, value) in into.iter_mut().zip(corner) {
                *sum += weight * f64::from(*value);
            }
        }
        let largest = into.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = into.iter().map(|value| (value - largest).exp()).sum();
        let all = largest + sum.ln();
        into.iter_mut().for_each(|value| *value -= all);
    }
}

/// What one image adds.
struct Compared {
    loss: f64,
    /// Labels that count, by class (rows) and predicted class (columns).
    confusion: Vec<Vec<usize>>,
    predictions: Vec<u8>,
}

/// Compares what the scales say of an image with its labels.
fn compare(
    scales: &[Logits],
    image: usize,
    (width, height): (usize, usize),
    labels: &[u32],
    classes: usize,
) -> Compared {
    let map = Shape::new(classes, height, width);
    let mut predictions = vec![0; width * height];
    let rows = predictions
        .par_chunks_mut(width.max(1))
        .zip(labels.par_chunks(width.max(1)));
    let rows = rows.enumerate().map_init(
        || {
            (
                vec![0.0; classes],
                vec![0.0; classes],
                vec![0.0; scales.len()],
            )
        },
        |(logs, shares, own), (row, (predictions, labels))| {
            let mut loss = 0.0;
            for (column, (prediction, label)) in predictions.iter_mut().zip(labels).enumerate() {
                shares.fill(0.0);
                let label = (*label != u32::from(IGNORED)).then_some(*label as usize);
                for (scale, own) in scales.iter().zip(&mut *own) {
                    scale.log_softmax(image, map, row * width + column, logs);
                    shares
                        .iter_mut()
                        .zip(&*logs)
                        .for_each(|(sum, log)| *sum += log.exp());
                    *own = label.map_or(0.0, |label| logs[label]);
                }
                *prediction = largest(shares);
                if label.is_some() {
                    loss -= log_mean(own);
                }
            }
            loss
        },
    );
    // Summed in order, whatever the number of threads.
    let loss = rows.collect::<Vec<f64>>().iter().sum();
    let mut confusion = vec![vec![0; classes]; classes];
    for (label, prediction) in labels.iter().zip(&predictions) {
        if *label != u32::from(IGNORED) {
            confusion[*label as usize][usize::from(*prediction)] += 1;
        }
    }
    Compared {
        loss,
        confusion,
        predictions,
    }
}

/// The class of the largest share; of equals the first.
fn largest(shares: &[f64]) -> u8 {
    let mut best = 0;
    for (class, share) in shares.iter().enumerate() {
        if *share > shares[best] {
            best = class;
        }
    }
    best as u8
}

/// The logarithm of the mean of numbers, given theirs.
fn log_mean(logs: &[f64]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
    largest + (sum / logs.len() as f64).ln()
}

impl Evaluation {
    fn add(&mut self, found: &Compared) {
        self.loss += found.loss;
        for (class, (total, own)) in self.confusion.iter_mut().zip(&found.confusion).enumerate() {
            total
                .iter_mut()
                .zip(own)
                .for_each(|(total, own)| *total += own);
            self.labels += own.iter().sum::<usize>();
            self.top1 += own[class];
        }
    }

    /// Of each class, percent: pixels of it that were found, by those that are of it or were taken for it;
    /// 0 where there are none (the reference for ADE20K divides by their number + 1e-10).
    pub fn iou(&self) -> Vec<f64> {
        let of = |class: usize| {
            let found = self.confusion[class][class];
            let labelled: usize = self.confusion[class].iter().sum();
            let predicted: usize = self.confusion.iter().map(|row| row[class]).sum();
            100.0 * found as f64 / (labelled + predicted - found).max(1) as f64
        };
        (0..self.confusion.len()).map(of).collect()
    }

    /// Mean of [`Evaluation::iou`] over all classes.
    pub fn mean_iou(&self) -> f64 {
        let iou = self.iou();
        iou.iter().sum::<f64>() / iou.len().max(1) as f64
    }

    /// Mean of pixel accuracy and mean IoU, percent: the benchmark's score.
    pub fn score(&self) -> f64 {
        f64::midpoint(self.percent(self.top1), self.mean_iou())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_and_score_are_those_of_the_confusion() {
        let evaluation = Evaluation {
            loss: 0.0,
            top1: 7,
            top5: None,
            images: 1,
            labels: 10,
            confusion: vec![vec![4, 1, 0], vec![2, 3, 0], vec![0, 0, 0]],
        };
        let expected = [400.0 / 7.0, 50.0, 0.0];
        for (found, expected) in evaluation.iou().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12);
        }
        let mean = (400.0 / 7.0 + 50.0) / 3.0;
        assert!((evaluation.mean_iou() - mean).abs() < 1e-12);
        assert!((evaluation.score() - f64::midpoint(70.0, mean)).abs() < 1e-12);
    }

    #[test]
    fn scales_are_averaged_by_probability_and_the_loss_stays_finite() {
        let shape = Shape::new(2, 1, 1);
        // By 0.9 : 0.1 and 0.4 : 0.6 the first is more likely, and by 0 : 1 the loss is no infinity.
        let scale = |first: f64| Logits::new(shape, &[first, 0.0]);
        let (one, two) = (scale(9.0_f64.ln()), scale((2.0 / 3.0_f64).ln()));
        let found = compare(&[one, two], 0, (2, 1), &[0, 255], 2);
        assert_eq!(found.predictions, [0, 0]);
        assert!((found.loss + 0.65_f64.ln()).abs() < 1e-7, "{}", found.loss);
        assert_eq!(found.confusion, [[1, 0], [0, 0]]);
        let found = compare(&[scale(-2000.0)], 0, (1, 1), &[0], 2);
        assert_eq!((found.loss, &found.predictions[..]), (2000.0, &[1][..]));
    }
}
