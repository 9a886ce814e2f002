//! Accuracy on a data set.

mod scenes;

use super::data::Loader;
use super::diagnose;
use crate::engine::common::Mode;
use crate::engine::{Batch, Engine, Task};
use crate::error::Result;
pub use scenes::{OnPrediction, Predicted, evaluate_scenes};

/// Loss and hits of a network on a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy over all labels that count.
    pub loss: f64,
    /// Correct top-1 predictions.
    pub top1: usize,
    /// Correct top-5 predictions; none of scenes.
    pub top5: Option<usize>,
    /// All images.
    pub images: usize,
    /// All labels that count.
    pub labels: usize,
    /// The confusion matrix: labels by class (rows) and predicted class (columns).
    pub confusion: Vec<Vec<usize>>,
}

/// Runs the network in evaluation mode over every image of the loader's data set, of scenes at every
/// scale; `progress` is told how many images are done.
///
/// # Errors
/// An image that cannot be read, or that the network cannot take; a loss that is not finite: the
/// error names the first layer that is not.
pub fn evaluate(
    engine: &mut dyn Engine,
    loader: &mut Loader,
    progress: &mut dyn FnMut(usize),
) -> Result<Evaluation> {
    if engine.task() != Task::Classification {
        return evaluate_scenes(engine, loader, progress, &mut |_| Ok(()));
    }
    let mut total = Evaluation::new(engine.graph().output_shape().channels, Some(0));
    let mut predictions = Vec::new();
    let mut batches = loader.test();
    while let Some(prepared) = batches.next() {
        let prepared = prepared?;
        let batch = Batch {
            images: prepared.images,
            labels: prepared.labels,
        };
        let outcome = engine.evaluate(&batch)?;
        if !outcome.loss.is_finite() {
            let what = format!("the loss became {}", outcome.loss);
            let when = "in evaluation";
            return Err(diagnose::error(
                engine,
                &batch,
                Mode::Evaluation,
                (&what, when),
            ));
        }
        engine.predictions(&mut predictions);
        for (label, class) in prepared.labels.iter().zip(&predictions) {
            total.confusion[*label as usize][*class] += 1;
        }
        total.loss += outcome.loss * outcome.labels as f64;
        total.top1 += outcome.top1;
        total.top5 = total.top5.map(|top5| top5 + outcome.top5);
        total.images += outcome.images;
        total.labels += outcome.labels;
        progress(total.images);
    }
    total.loss /= total.labels as f64;
    Ok(total)
}

impl Evaluation {
    fn new(classes: usize, top5: Option<usize>) -> Evaluation {
        Evaluation {
            loss: 0.0,
            top1: 0,
            top5,
            images: 0,
            labels: 0,
            confusion: vec![vec![0; classes]; classes],
        }
    }

    /// Whether it is of classes pixel by pixel, so that IoU and score mean something.
    pub fn is_of_scenes(&self) -> bool {
        self.top5.is_none()
    }

    /// A count as percent of all labels.
    pub fn percent(&self, count: usize) -> f64 {
        percent(count, self.labels)
    }

    /// Of each class, how many images (of scenes: pixels) there are and how many of them were put first.
    pub fn per_class(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.confusion.iter().enumerate();
        rows.map(|(class, row)| (row.iter().sum(), row[class]))
    }
}

pub(super) fn percent(count: usize, of: usize) -> f64 {
    100.0 * count as f64 / of.max(1) as f64
}
