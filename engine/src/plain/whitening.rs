//! The groups of channels of a normalisation that decorrelates them: their statistics in a batch.

use super::batch_norm::BatchShape;
use super::newton::{InverseRoot, multiply, multiply_transposed, transposed};
use crate::net::Whitening;
use crate::real::Real;

/// What training keeps of a batch for backward; empty in evaluation.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The groups of channels, in order.
    pub(super) groups: Vec<Group>,
    /// √ of the mean variance, of Channel Equilibrium.
    pub(super) scale: f64,
}

/// Mean and covariance of the channels of a group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) mean: Vec<f64>,
    pub(super) root: InverseRoot,
}

/// Numbers per channel of a batch.
pub(super) fn numbers(batch: BatchShape) -> usize {
    batch.images * batch.shape.pixels()
}

/// The channels of group number `at` of `d` channels, as rows `[d, numbers]`.
pub(super) fn rows<T: Real>(batch: BatchShape, d: usize, at: usize, x: &[T]) -> Vec<f64> {
    let (shape, pixels) = (batch.shape, batch.shape.pixels());
    let mut rows = Vec::with_capacity(d * numbers(batch));
    for channel in at * d..(at + 1) * d {
        for image in 0..batch.images {
            let plane = (image * shape.channels + channel) * pixels;
            rows.extend(x[plane..plane + pixels].iter().map(|x| x.wide()));
        }
    }
    rows
}

/// Adds rows to the channels of a group, or with `set` puts them there.
pub(super) fn put<T: Real>(batch: BatchShape, at: usize, rows: &[f64], set: bool, x: &mut [T]) {
    let (shape, pixels) = (batch.shape, batch.shape.pixels());
    let d = rows.len() / numbers(batch);
    for (number, row) in rows.chunks_exact(numbers(batch)).enumerate() {
        for (image, row) in row.chunks_exact(pixels).enumerate() {
            let plane = (image * shape.channels + at * d + number) * pixels;
            for (x, row) in x[plane..plane + pixels].iter_mut().zip(row) {
                *x = if set { T::of(*row) } else { *x + T::of(*row) };
            }
        }
    }
}

/// Takes the mean of each row away, and returns the means.
pub(super) fn centre(rows: &mut [f64], numbers: usize) -> Vec<f64> {
    let rows = rows.chunks_exact_mut(numbers);
    let means = rows.map(|row| {
        let mean = row.iter().sum::<f64>() / numbers as f64;
        row.iter_mut().for_each(|x| *x -= mean);
        mean
    });
    means.collect()
}

impl Group {
    /// Centres the rows of a group, and measures them: Σ = rows · rowsᵀ / numbers + ε I.
    pub(super) fn measure(rows: &mut [f64], numbers: usize, whitening: Whitening) -> Group {
        let d = whitening.group;
        let mean = centre(rows, numbers);
        let mut sigma = multiply_transposed(rows, numbers, rows);
        sigma.iter_mut().for_each(|x| *x /= numbers as f64);
        (0..d).for_each(|i| sigma[i * d + i] += whitening.epsilon);
        Group {
            mean,
            root: InverseRoot::of(d, &sigma, whitening.iterations),
        }
    }

    /// (dΣ + dΣᵀ) · rows / numbers: the gradient of the centred rows by way of Σ.
    pub(super) fn through_covariance(dsigma: &[f64], rows: &[f64], numbers: usize) -> Vec<f64> {
        let d = rows.len() / numbers;
        let both = dsigma.iter().zip(transposed(d, dsigma));
        let both: Vec<f64> = both.map(|(a, b)| (a + b) / numbers as f64).collect();
        multiply(&both, d, rows, numbers)
    }
}

/// running ← running + momentum · (now − running).
pub(super) fn follow<T: Real>(running: &mut [T], now: &[f64], momentum: f64) {
    for (running, now) in running.iter_mut().zip(now) {
        let before = running.wide();
        *running = T::of(before + momentum * (now - before));
    }
}
