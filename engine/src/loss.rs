//! Cross-entropy with label smoothing, and which class came first.

use super::real::Real;
use crate::net::{Auxiliary, Graph, Shape, Value};
use crate::{Outcome, Task};

/// Loss and hits of a network: `of` gives those of an output, and takes the factor of its loss. The losses are added, by
/// their factors; hits are those of the main output.
pub(super) fn over_outputs(graph: &Graph, mut of: impl FnMut(Value, f64) -> Outcome) -> Outcome {
    let mut outcome = of(graph.output(), 1.0);
    if let Some(Auxiliary { value, weight }) = graph.auxiliary() {
        outcome.loss += weight * of(value, weight).loss;
    }
    outcome
}

/// Loss and hits of one batch. With K classes, smoothing s and label l, the target is 1 − s + s / K at
/// l and s / K elsewhere, and the loss −Σ target · log softmax(logits), averaged over the labels that
/// count; 0 where none does.
///
/// `logits` are `[N, K, H, W]` for an `output` of `[K, H, W]`, `labels` `[N, H, W]`. `gradient`, laid
/// out as the logits, is overwritten with softmax − target, divided by the number of labels that
/// count, times `weight`; with 0 where a label does not count.
pub(super) fn cross_entropy<T: Real>(
    task: Task,
    output: Shape,
    labels: &[u32],
    logits: &[T],
    smoothing: f64,
    mut gradient: Option<(&mut [T], f64)>,
) -> Outcome {
    let (classes, pixels) = (output.channels, output.pixels());
    let counted = labels.iter().filter(|label| task.counts(**label)).count();
    let mut outcome = Outcome {
        loss: 0.0,
        top1: 0,
        top5: 0,
        images: labels.len() / pixels,
        labels: counted,
    };
    for (at, label) in labels.iter().enumerate() {
        let row = Row::new(output, logits, at);
        let counts = task.counts(*label);
        if counts {
            let label = *label as usize;
            let (largest, total) = row.softmax();
            let log = |x: T| x.wide() - largest - total.ln();
            let mean = row.values().map(log).sum::<f64>() / classes as f64;
            let own = log(row.value(label));
            outcome.loss -= ((1.0 - smoothing) * own + smoothing * mean) / counted as f64;
            let rank = row.rank(label);
            outcome.top1 += usize::from(rank == Some(0));
            outcome.top5 += usize::from(rank.is_some_and(|rank| rank < 5));
        }
        if let Some((gradient, weight)) = &mut gradient {
            let gradient = gradient[row.start..].iter_mut().step_by(pixels);
            if !counts {
                gradient.take(classes).for_each(|g| *g = T::zero());
                continue;
            }
            let (largest, total) = row.softmax();
            for (class, (gradient, x)) in gradient.zip(row.values()).enumerate() {
                let hit = class == *label as usize;
                let target = if hit { 1.0 - smoothing } else { 0.0 } + smoothing / classes as f64;
                let share = (x.wide() - largest).exp() / total;
                *gradient = T::of((share - target) / counted as f64 * *weight);
            }
        }
    }
    outcome
}

/// The class that comes first for each label, as [`Row::rank`] counts.
pub(super) fn predictions<T: Real>(output: Shape, logits: &[T], into: &mut Vec<usize>) {
    into.clear();
    let labels = logits.len() / output.channels.max(1);
    into.extend((0..labels).map(|at| Row::new(output, logits, at).first()));
}

/// The logits of one label.
#[derive(Clone, Copy)]
struct Row<'a, T> {
    logits: &'a [T],
    classes: usize,
    /// Distance from one class to the next.
    pixels: usize,
    /// Where the first class is.
    start: usize,
}

impl<'a, T: Real> Row<'a, T> {
    fn new(output: Shape, logits: &'a [T], at: usize) -> Row<'a, T> {
        let pixels = output.pixels();
        Row {
            logits,
            classes: output.channels,
            pixels,
            start: at / pixels * output.len() + at % pixels,
        }
    }

    fn values(self) -> impl Iterator<Item = T> {
        let from = self.logits[self.start..].iter().step_by(self.pixels);
        from.take(self.classes).copied()
    }

    fn value(self, class: usize) -> T {
        self.logits[self.start + class * self.pixels]
    }

    /// The largest logit, and the sum of exp(logit − largest).
    fn softmax(self) -> (f64, f64) {
        let largest = self
            .values()
            .fold(f64::NEG_INFINITY, |largest, x| largest.max(x.wide()));
        (
            largest,
            self.values().map(|x| (x.wide() - largest).exp()).sum(),
        )
    }

    /// The class of the largest logit; of equals the first; NaN is larger than everything.
    fn first(self) -> usize {
        let mut first = 0;
        for (class, x) in self.values().enumerate() {
            let best = self.value(first);
            if !best.is_nan() && (x.is_nan() || x > best) {
                first = class;
            }
        }
        first
    }

    /// How many classes come before `label`: those that are larger, equal and earlier, or NaN.
    /// `None`: it is NaN itself.
    fn rank(self, label: usize) -> Option<usize> {
        let own = self.value(label);
        let before = |(class, x): (usize, T)| x.is_nan() || x > own || (x == own && class < label);
        let count = || {
            self.values()
                .enumerate()
                .filter(|pair| before(*pair))
                .count()
        };
        (!own.is_nan()).then(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[2, 3, 2, 2]`.
    const LOGITS: [f64; 24] = [
        0.5, -1.0, 2.0, 0.25, 1.5, 0.0, -0.5, 0.75, -2.0, 1.0, 0.125, 3.0, 1.0, 2.0, 3.0, -4.0,
        0.0, -1.0, 0.5, 0.5, 0.25, 0.5, -0.75, 1.25,
    ];
    /// `[2, 2, 2]`; 9 does not count.
    const LABELS: [u32; 8] = [0, 2, 9, 1, 2, 9, 0, 1];
    const DENSE: Task = Task::DenseLabels { ignored: 9 };
    const OUTPUT: Shape = Shape::new(3, 2, 2);

    #[test]
    fn a_map_of_labels_has_the_loss_and_the_gradient_of_pytorch() {
        // F.cross_entropy(logits, labels, ignore_index=9, label_smoothing=…); its gradient by half.
        let plain = [
            -0.061405625529,
            0.007502547764,
            0.0,
            0.004555886742,
            0.059605689664,
            0.020394039255,
            0.0,
            -0.075821945955,
            0.001799935865,
            -0.027896587019,
            0.0,
            0.071266059213,
            0.045283800975,
            0.0,
            -0.007959666119,
            0.000295945476,
            0.016658979397,
            0.0,
            0.00618704737,
            -0.056693170544,
            -0.061942780372,
            0.0,
            0.00177261875,
            0.056397225068,
        ];
        let smoothed = [
            -0.055850069974,
            0.004724769986,
            0.0,
            0.001778108964,
            0.056827911886,
            0.017616261477,
            0.0,
            -0.070266390399,
            -0.000977841913,
            -0.022341031463,
            0.0,
            0.068488281435,
            0.042506023197,
            0.0,
            -0.002404110564,
            -0.002481832302,
            0.013881201619,
            0.0,
            0.003409269592,
            -0.051137614988,
            -0.056387224816,
            0.0,
            -0.001005159028,
            0.05361944729,
        ];
        for (smoothing, loss, expected) in [
            (0.0, 1.1249750978622162, plain),
            (0.1, 1.1930306534177717, smoothed),
        ] {
            let mut gradient = [f64::NAN; 24];
            let into = Some((&mut gradient[..], 0.5));
            let outcome = cross_entropy(DENSE, OUTPUT, &LABELS, &LOGITS, smoothing, into);
            assert!((outcome.loss - loss).abs() < 1e-14, "{}", outcome.loss);
            assert_eq!((outcome.images, outcome.labels), (2, 6));
            assert_eq!((outcome.top1, outcome.top5), (2, 6));
            for (found, expected) in gradient.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
        }
        let mut first = Vec::new();
        predictions(OUTPUT, &LOGITS, &mut first);
        assert_eq!(first, [1, 2, 0, 2, 0, 0, 0, 2]);
    }

    #[test]
    fn labels_of_which_none_counts_have_no_loss_and_no_gradient() {
        let mut gradient = [f64::NAN; 24];
        let into = Some((&mut gradient[..], 1.0));
        let outcome = cross_entropy(DENSE, OUTPUT, &[9; 8], &LOGITS, 0.0, into);
        assert_eq!((outcome.loss, outcome.labels), (0.0, 0));
        assert_eq!(gradient, [0.0; 24]);
    }
}
