//! Cross-entropy with label smoothing, and which class came first.

use super::real::Real;
use crate::Outcome;

/// The loss of one batch. With K classes, smoothing s and label l, the target is 1 − s + s / K at l
/// and s / K elsewhere, and the loss −Σ target · log softmax(logits), averaged over images.
/// `gradient` is given softmax − target, divided by the number of images, times `weight`.
pub(super) fn cross_entropy<T: Real>(
    classes: usize,
    labels: &[u32],
    logits: &[T],
    smoothing: f64,
    mut gradient: Option<(&mut [T], f64)>,
) -> Outcome {
    let mut outcome = Outcome {
        loss: 0.0,
        top1: 0,
        top5: 0,
        images: labels.len(),
    };
    let images = labels.len() as f64;
    for (image, (row, label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
        let label = *label as usize;
        let largest = row
            .iter()
            .fold(f64::NEG_INFINITY, |largest, x| largest.max(x.wide()));
        let exponentials = || row.iter().map(|x| (x.wide() - largest).exp());
        let total: f64 = exponentials().sum();
        let log = |x: T| x.wide() - largest - total.ln();
        let mean = row.iter().map(|x| log(*x)).sum::<f64>() / classes as f64;
        outcome.loss -= ((1.0 - smoothing) * log(row[label]) + smoothing * mean) / images;
        if let Some((gradient, weight)) = &mut gradient {
            let gradient = &mut gradient[image * classes..][..classes];
            for (class, (gradient, e)) in gradient.iter_mut().zip(exponentials()).enumerate() {
                let one = if class == label { 1.0 - smoothing } else { 0.0 };
                let target = one + smoothing / classes as f64;
                *gradient = T::of((e / total - target) / images * *weight);
            }
        }
        let rank = rank(row, label);
        outcome.top1 += usize::from(rank == Some(0));
        outcome.top5 += usize::from(rank.is_some_and(|rank| rank < 5));
    }
    outcome
}

/// The class that comes first in each row, as [`rank`] counts.
pub(super) fn predictions<T: Real>(classes: usize, logits: &[T], into: &mut Vec<usize>) {
    into.clear();
    into.extend(logits.chunks_exact(classes).map(|row| {
        let mut first = 0;
        for (class, x) in row.iter().enumerate() {
            if !row[first].is_nan() && (x.is_nan() || *x > row[first]) {
                first = class;
            }
        }
        first
    }));
}

/// How many classes come before `label`: those that are larger, equal and earlier, or NaN. `None`: it
/// is NaN itself.
fn rank<T: Real>(row: &[T], label: usize) -> Option<usize> {
    let own = row[label];
    let before = |(class, x): (usize, &T)| x.is_nan() || *x > own || (*x == own && class < label);
    (!own.is_nan()).then(|| row.iter().enumerate().filter(|pair| before(*pair)).count())
}
