//! Accuracy on a data set.

use super::data::Loader;
use super::diagnose;
use crate::engine::common::Mode;
use crate::engine::{Batch, Engine};
use crate::error::Result;

/// Loss and hits of a network on a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy over all labels that count.
    pub loss: f64,
    /// Correct top-1 predictions.
    pub top1: usize,
    /// Correct top-5 predictions.
    pub top5: usize,
    /// All images.
    pub images: usize,
    /// All labels that count.
    pub labels: usize,
    /// The confusion matrix: labels by class (rows) and predicted class (columns).
    pub confusion: Vec<Vec<usize>>,
}

/// Runs the network in evaluation mode over every image of the loader's data set; `progress` is told
/// how many images are done.
///
/// # Errors
/// An image that cannot be read, or that the network cannot take; a loss that is not finite: the
/// error names the first layer that is not.
pub fn evaluate(
    engine: &mut dyn Engine,
    loader: &mut Loader,
    progress: &mut dyn FnMut(usize),
) -> Result<Evaluation> {
    let order: Vec<usize> = (0..loader.dataset().len()).collect();
    let classes = engine.graph().output_shape().channels;
    let mut total = Evaluation {
        loss: 0.0,
        top1: 0,
        top5: 0,
        images: 0,
        labels: 0,
        confusion: vec![vec![0; classes]; classes],
    };
    let mut predictions = Vec::new();
    let mut batches = loader.epoch(&order, 0, 0);
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
        let task = engine.task();
        let pairs = prepared.labels.iter().zip(&predictions);
        for (label, class) in pairs.filter(|(label, _)| task.counts(**label)) {
            total.confusion[*label as usize][*class] += 1;
        }
        total.loss += outcome.loss * outcome.labels as f64;
        total.top1 += outcome.top1;
        total.top5 += outcome.top5;
        total.images += outcome.images;
        total.labels += outcome.labels;
        progress(total.images);
    }
    total.loss /= total.labels as f64;
    Ok(total)
}

impl Evaluation {
    /// A count as percent of all labels.
    pub fn percent(&self, count: usize) -> f64 {
        percent(count, self.labels)
    }

    /// Of each class, how many images there are and how many of them were put first.
    pub fn per_class(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.confusion.iter().enumerate();
        rows.map(|(class, row)| (row.iter().sum(), row[class]))
    }
}

pub(super) fn percent(count: usize, of: usize) -> f64 {
    100.0 * count as f64 / of.max(1) as f64
}
