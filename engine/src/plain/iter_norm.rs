//! Iterative normalisation (Huang et al. 2019): y = γ · W · (x − mean) + β per group of channels.

use super::Tensor;
use super::batch_norm::BatchShape;
use super::newton::{dot, multiply, multiply_transposed, transposed};
use super::whitening::{Batch, Group, centre, follow, numbers, put, rows};
use crate::net::IterNorm;
use crate::real::Real;

impl IterNorm {
    /// Training where `momentum` is the weight of the batch in the running statistics, else evaluation.
    pub(super) fn forward<T: Real>(
        &self,
        shape: BatchShape,
        momentum: Option<f64>,
        tensors: &mut [Tensor<T>],
        batch: &mut Batch,
        (x, y): (&[T], &mut [T]),
    ) {
        let (d, n) = (self.whitening.group, numbers(shape));
        batch.groups.clear();
        for at in 0..shape.shape.channels / d {
            let mut values = rows(shape, d, at, x);
            let (means, matrices) = (at * d..(at + 1) * d, at * d * d..(at + 1) * d * d);
            let matrix = match momentum {
                None => {
                    let mean = &tensors[self.mean.index()].value[means.clone()];
                    for (row, mean) in values.chunks_exact_mut(n).zip(mean) {
                        row.iter_mut().for_each(|x| *x -= mean.wide());
                    }
                    let matrix = &tensors[self.matrix.index()].value[matrices];
                    matrix.iter().map(|x| x.wide()).collect()
                }
                Some(momentum) => {
                    let group = Group::measure(&mut values, n, self.whitening);
                    let matrix = whitener(&group);
                    let mean = &mut tensors[self.mean.index()].value[means.clone()];
                    follow(mean, &group.mean, momentum);
                    let running = &mut tensors[self.matrix.index()].value[matrices];
                    follow(running, &matrix, momentum);
                    batch.groups.push(group);
                    matrix
                }
            };
            let mut white = multiply(&matrix, d, &values, n);
            for (row, channel) in white.chunks_exact_mut(n).zip(means) {
                let gamma = tensors[self.gamma.index()].value[channel].wide();
                let beta = tensors[self.beta.index()].value[channel].wide();
                row.iter_mut().for_each(|x| *x = *x * gamma + beta);
            }
            put(shape, at, &white, true, y);
        }
    }

    /// Adds to the gradients of x, γ and β, given what training kept of the batch.
    ///
    /// With Xc = X − mean, X̂ = W · Xc and W = P_T / √tr: dγ = Σ dy · x̂, dβ = Σ dy, dW = dX̂ · Xcᵀ, dP_T = dW / √tr,
    /// dtr = −⟨dW, W⟩ / (2 tr), dXc = Wᵀ · dX̂ + (dΣ + dΣᵀ) · Xc / m, and dX = dXc − its mean.
    pub(super) fn backward<T: Real>(
        &self,
        shape: BatchShape,
        batch: &Batch,
        tensors: &mut [Tensor<T>],
        (x, dy, dx): (&[T], &[T], &mut [T]),
    ) {
        let (d, n) = (self.whitening.group, numbers(shape));
        for (at, group) in batch.groups.iter().enumerate() {
            let mut centred = rows(shape, d, at, x);
            centre(&mut centred, n);
            let matrix = whitener(group);
            let white = multiply(&matrix, d, &centred, n);
            let mut gradient = rows(shape, d, at, dy);
            let each = gradient.chunks_exact_mut(n).zip(white.chunks_exact(n));
            for (number, (dy, white)) in each.enumerate() {
                let channel = at * d + number;
                tensors[self.beta.index()].gradient[channel] += T::of(dy.iter().sum());
                let gamma = &mut tensors[self.gamma.index()];
                gamma.gradient[channel] += T::of(dot(dy, white));
                dy.iter_mut()
                    .for_each(|dy| *dy *= gamma.value[channel].wide());
            }
            let trace = group.root.trace;
            let dmatrix = multiply_transposed(&gradient, n, &centred);
            let dtrace = -dot(&dmatrix, &matrix) / (2.0 * trace);
            let dp: Vec<f64> = dmatrix.iter().map(|x| x / trace.sqrt()).collect();
            let dsigma = group.root.backward(&dp, dtrace);
            let mut dcentred = multiply(&transposed(d, &matrix), d, &gradient, n);
            let through = Group::through_covariance(&dsigma, &centred, n);
            dcentred
                .iter_mut()
                .zip(through)
                .for_each(|(dx, more)| *dx += more);
            centre(&mut dcentred, n);
            put(shape, at, &dcentred, false, dx);
        }
    }
}

/// W = P_T / √tr.
fn whitener(group: &Group) -> Vec<f64> {
    let scale = group.root.trace.sqrt();
    group.root.last().iter().map(|p| p / scale).collect()
}
