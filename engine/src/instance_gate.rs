//! The instance branch of Channel Equilibrium (Tang et al. 2020), of one image: from the variance of each channel to a
//! factor of each. Computed in f64.

use crate::real::Real;

/// The branch's weights, row-major: y = sigmoid(`expand` · ReLU(LayerNorm(`reduce` · v))).
#[derive(Debug, Clone, Copy)]
pub(super) struct InstanceGate<'a, T> {
    /// `[hidden, C]`.
    pub(super) reduce: &'a [T],
    /// LayerNorm's, `[hidden]`.
    pub(super) weight: &'a [T],
    /// LayerNorm's, `[hidden]`.
    pub(super) bias: &'a [T],
    /// `[C, hidden]`.
    pub(super) expand: &'a [T],
}

/// What an image's factors were computed by.
#[derive(Debug, Default)]
pub(super) struct GateValues {
    /// After LayerNorm's normalisation.
    normal: Vec<f64>,
    /// 1 / √(variance + ε) of LayerNorm.
    inverse_deviation: f64,
    /// After ReLU.
    hidden: Vec<f64>,
    /// The factors y.
    pub(super) factors: Vec<f64>,
    /// Gradient of `hidden`, in backward.
    dhidden: Vec<f64>,
}

/// The gradients of the weights, to be added to.
#[derive(Debug)]
pub(super) struct GateGradients<'a> {
    pub(super) reduce: &'a mut [f64],
    pub(super) weight: &'a mut [f64],
    pub(super) bias: &'a mut [f64],
    pub(super) expand: &'a mut [f64],
}

/// LayerNorm's ε, PyTorch's default.
const EPSILON: f64 = 1e-5;

/// 1 / (1 + e^−x).
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl<T: Real> InstanceGate<'_, T> {
    /// The factors of an image with these variances, one of each channel.
    pub(super) fn forward(&self, variances: &[f64], values: &mut GateValues) {
        let GateValues {
            normal,
            inverse_deviation,
            hidden,
            factors,
            ..
        } = values;
        let dot = |row: &[T], x: &[f64]| -> f64 {
            let products = row.iter().zip(x).map(|(w, x)| w.wide() * x);
            products.sum()
        };
        normal.clear();
        normal.extend(
            self.reduce
                .chunks_exact(variances.len())
                .map(|row| dot(row, variances)),
        );
        let n = normal.len() as f64;
        let mean = normal.iter().sum::<f64>() / n;
        normal.iter_mut().for_each(|x| *x -= mean);
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / n;
        *inverse_deviation = 1.0 / (variance + EPSILON).sqrt();
        normal.iter_mut().for_each(|x| *x *= *inverse_deviation);
        hidden.clear();
        let affine = self.weight.iter().zip(self.bias);
        let after = normal
            .iter()
            .zip(affine)
            .map(|(x, (w, b))| (x * w.wide() + b.wide()).max(0.0));
        hidden.extend(after);
        factors.clear();
        factors.extend(
            self.expand
                .chunks_exact(hidden.len())
                .map(|row| sigmoid(dot(row, hidden))),
        );
    }

    /// Given the gradient of the factors: adds to those of the weights, if they are asked for, and sets that of the
    /// variances.
    pub(super) fn backward(
        &self,
        variances: &[f64],
        values: &mut GateValues,
        dfactors: &[f64],
        dvariances: &mut [f64],
        mut gradients: Option<GateGradients<'_>>,
    ) {
        let GateValues {
            normal,
            inverse_deviation,
            hidden,
            factors,
            dhidden,
        } = values;
        let n = hidden.len();
        dhidden.clear();
        dhidden.resize(n, 0.0);
        for (channel, (y, dy)) in factors.iter().zip(dfactors).enumerate() {
            let logit = dy * y * (1.0 - y);
            let row = channel * n..(channel + 1) * n;
            add(
                dhidden,
                logit,
                self.expand[row.clone()].iter().map(|w| w.wide()),
            );
            if let Some(gradients) = &mut gradients {
                add(&mut gradients.expand[row], logit, hidden.iter().copied());
            }
        }
        // From here on the gradient of LayerNorm's result, then of what it normalises.
        for (at, dx) in dhidden.iter_mut().enumerate() {
            if hidden[at] <= 0.0 {
                *dx = 0.0;
            }
            if let Some(gradients) = &mut gradients {
                gradients.weight[at] += *dx * normal[at];
                gradients.bias[at] += *dx;
            }
            *dx *= self.weight[at].wide();
        }
        let sum = dhidden.iter().sum::<f64>() / n as f64;
        let along: f64 = dhidden.iter().zip(&*normal).map(|(dx, x)| dx * x).sum();
        dvariances.fill(0.0);
        for (at, (dx, x)) in dhidden.iter().zip(&*normal).enumerate() {
            let dx = *inverse_deviation * (dx - sum - x * along / n as f64);
            let row = at * variances.len()..(at + 1) * variances.len();
            add(
                dvariances,
                dx,
                self.reduce[row.clone()].iter().map(|w| w.wide()),
            );
            if let Some(gradients) = &mut gradients {
                add(&mut gradients.reduce[row], dx, variances.iter().copied());
            }
        }
    }
}

/// y += a · x.
fn add(y: &mut [f64], a: f64, x: impl Iterator<Item = f64>) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}
