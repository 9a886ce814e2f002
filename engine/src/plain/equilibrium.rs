//! Channel Equilibrium (Tang et al. 2020): y = λ · P · x + (1 − λ) · x · f / s, see [`ChannelEquilibrium`].

use super::Tensor;
use super::batch_norm::BatchShape;
use super::newton::{dot, multiply, multiply_transposed, transposed};
use super::whitening::{Batch, Group, centre, follow, numbers, put, rows};
use crate::instance_gate::{GateGradients, GateValues, InstanceGate, sigmoid};
use crate::net::{ChannelEquilibrium, TensorId};
use crate::real::Real;

impl ChannelEquilibrium {
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
        let (_, variances) = moments(shape, x);
        batch.groups.clear();
        batch.scale = match momentum {
            None => tensors[self.scale.index()].value[0].wide(),
            Some(momentum) => {
                let mean = variances.iter().sum::<f64>() / variances.len() as f64;
                let running = &mut tensors[self.scale.index()].value;
                follow(running, &[mean.sqrt()], momentum);
                mean.sqrt()
            }
        };
        let mix = sigmoid(tensors[self.mix.index()].value[0].wide());
        let factors = self.factors(tensors, &variances, shape.shape.channels);
        for at in 0..shape.shape.channels / d {
            let mut values = rows(shape, d, at, x);
            let matrices = at * d * d..(at + 1) * d * d;
            let matrix: Vec<f64> = match momentum {
                None => {
                    let matrix = &tensors[self.matrix.index()].value[matrices];
                    matrix.iter().map(|x| x.wide()).collect()
                }
                Some(momentum) => {
                    let group = Group::measure(&mut values.clone(), n, self.whitening);
                    let matrix = group.root.last().to_vec();
                    let running = &mut tensors[self.matrix.index()].value[matrices];
                    follow(running, &matrix, momentum);
                    batch.groups.push(group);
                    matrix
                }
            };
            let decorrelated = multiply(&matrix, d, &values, n);
            self.each(shape, at, |channel, image, pixels| {
                let factor = (1.0 - mix) * factors[image].factors[channel] / batch.scale;
                for (x, decorrelated) in
                    values[pixels.clone()].iter_mut().zip(&decorrelated[pixels])
                {
                    *x = mix * decorrelated + factor * *x;
                }
            });
            put(shape, at, &values, true, y);
        }
    }

    /// Adds to the gradients of x and of the tensors, given what training kept of the batch.
    pub(super) fn backward<T: Real>(
        &self,
        shape: BatchShape,
        batch: &Batch,
        tensors: &mut [Tensor<T>],
        (x, dy, dx): (&[T], &[T], &mut [T]),
    ) {
        let (d, n, s) = (self.whitening.group, numbers(shape), batch.scale);
        let (channels, pixels) = (shape.shape.channels, shape.shape.pixels());
        let (means, variances) = moments(shape, x);
        let mix = sigmoid(tensors[self.mix.index()].value[0].wide());
        let mut factors = self.factors(tensors, &variances, channels);
        // Of each image and channel, Σ dy · x.
        let products = x.chunks_exact(pixels).zip(dy.chunks_exact(pixels));
        let products: Vec<f64> = products
            .map(|(x, dy)| x.iter().zip(dy).map(|(x, dy)| x.wide() * dy.wide()).sum())
            .collect();
        let mut dmix = 0.0;
        let mut dscale = 0.0;
        let mut dvariances = vec![0.0; variances.len()];
        let zeros = |id: TensorId| vec![0.0; tensors[id.index()].value.len()];
        let mut gradients = [self.reduce, self.weight, self.bias, self.expand].map(zeros);
        for (image, values) in factors.iter_mut().enumerate() {
            let own = image * channels..(image + 1) * channels;
            let instance = dot(&products[own.clone()], &values.factors) / s;
            dmix -= instance;
            dscale -= (1.0 - mix) * instance / s;
            let dfactors = products[own.clone()].iter().map(|x| (1.0 - mix) * x / s);
            let dfactors: Vec<f64> = dfactors.collect();
            let [reduce, weight, bias, expand] = gradients.each_mut();
            let gradients = GateGradients {
                reduce,
                weight,
                bias,
                expand,
            };
            let dvariances = &mut dvariances[own.clone()];
            self.gate(tensors).backward(
                &variances[own],
                values,
                &dfactors,
                dvariances,
                Some(gradients),
            );
        }
        for (id, gradient) in [self.reduce, self.weight, self.bias, self.expand]
            .iter()
            .zip(&gradients)
        {
            let sums = tensors[id.index()].gradient.iter_mut().zip(gradient);
            sums.for_each(|(sum, gradient)| *sum += T::of(*gradient));
        }
        // s = √(mean of all variances).
        let of_scale = dscale / (2.0 * s * variances.len() as f64);
        dvariances.iter_mut().for_each(|dv| *dv += of_scale);
        for (at, group) in batch.groups.iter().enumerate() {
            let values = rows(shape, d, at, x);
            let gradient = rows(shape, d, at, dy);
            let matrix = group.root.last();
            let dmatrix = multiply_transposed(&gradient, n, &values);
            dmix += dot(&dmatrix, matrix);
            let dp: Vec<f64> = dmatrix.iter().map(|x| mix * x).collect();
            let dsigma = group.root.backward(&dp, 0.0);
            let mut centred = values.clone();
            centre(&mut centred, n);
            let through = Group::through_covariance(&dsigma, &centred, n);
            let decorrelated = multiply(&transposed(d, matrix), d, &gradient, n);
            let mut into = vec![0.0; d * n];
            self.each(shape, at, |channel, image, range| {
                let place = image * channels + channel;
                let factor = (1.0 - mix) * factors[image].factors[channel] / s;
                let slope = 2.0 * dvariances[place] / pixels as f64;
                for i in range {
                    into[i] = mix * decorrelated[i]
                        + through[i]
                        + factor * gradient[i]
                        + slope * (values[i] - means[place]);
                }
            });
            put(shape, at, &into, false, dx);
        }
        tensors[self.mix.index()].gradient[0] += T::of(dmix * mix * (1.0 - mix));
    }

    /// The factors of all images.
    fn factors<T: Real>(
        &self,
        tensors: &[Tensor<T>],
        variances: &[f64],
        channels: usize,
    ) -> Vec<GateValues> {
        let images = variances.chunks_exact(channels);
        let factors = images.map(|variances| {
            let mut values = GateValues::default();
            self.gate(tensors).forward(variances, &mut values);
            values
        });
        factors.collect()
    }

    fn gate<'t, T: Real>(&self, tensors: &'t [Tensor<T>]) -> InstanceGate<'t, T> {
        let value = |id: TensorId| &tensors[id.index()].value[..];
        InstanceGate {
            reduce: value(self.reduce),
            weight: value(self.weight),
            bias: value(self.bias),
            expand: value(self.expand),
        }
    }

    /// Calls `run` with each channel and image of a group, and their range in its rows.
    fn each(
        &self,
        shape: BatchShape,
        group: usize,
        mut run: impl FnMut(usize, usize, std::ops::Range<usize>),
    ) {
        let (d, pixels) = (self.whitening.group, shape.shape.pixels());
        for number in 0..d {
            for image in 0..shape.images {
                let start = number * numbers(shape) + image * pixels;
                run(group * d + number, image, start..start + pixels);
            }
        }
    }
}

/// Mean and biased variance of each image and channel over its pixels, `[images, C]` each.
fn moments<T: Real>(shape: BatchShape, x: &[T]) -> (Vec<f64>, Vec<f64>) {
    let pixels = shape.shape.pixels();
    let planes = x.chunks_exact(pixels);
    let moments = planes.map(|plane| {
        let mean = plane.iter().map(|x| x.wide()).sum::<f64>() / pixels as f64;
        let squares = plane.iter().map(|x| (x.wide() - mean).powi(2));
        (mean, squares.sum::<f64>() / pixels as f64)
    });
    moments.unzip()
}
