//! Forward and backward of one node: finds its values and calls the operation.

use super::batch_norm::BatchShape;
use super::convolution::Geometry;
use super::plan::Plan;
use super::{Tensor, activation, add_channel_sums, batch_norm, channels, convolution};
use super::{gate, linear, pool, resize};
use crate::channels::{runs, shuffle};
use crate::mode::Mode;
use crate::net::{Graph, Op, TensorId};
use crate::noise;
use crate::real::{Real, add_scaled};

/// Computes the value of node number `at` from the values of its inputs.
pub(super) fn forward<T: Real>(
    graph: &Graph,
    tensors: &mut [Tensor<T>],
    plan: &mut Plan<T>,
    at: usize,
    mode: Mode,
) {
    let node = &graph.nodes()[at];
    let images = plan.images;
    let (before, y) = plan.values.split_at_mut(at);
    let y = &mut y[0][..];
    let input = |number: usize| &before[node.inputs[number].index()][..];
    let input_shape = graph.shape(node.inputs[0]);
    let x = input(0);
    let batch_shape = BatchShape {
        images,
        shape: node.shape,
    };
    let value = |id: TensorId| &tensors[id.index()].value[..];
    match &node.op {
        Op::Input => {}
        Op::Convolution { weight, bias, .. } => {
            let geometry = Geometry::of(graph, node);
            let sums = &mut plan.sums;
            convolution::forward(&geometry, value(*weight), bias.map(value), x, y, sums);
        }
        Op::BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            batches,
            epsilon,
            momentum,
        } => {
            let statistics = &mut plan.statistics[at];
            if !mode.is_training() {
                for (channel, mean) in value(*mean).iter().enumerate() {
                    let variance = value(*variance)[channel].wide();
                    statistics.mean[channel] = mean.wide();
                    statistics.scale[channel] = 1.0 / (variance + epsilon).sqrt();
                }
            } else {
                let mut running_mean = std::mem::take(&mut tensors[mean.index()].value);
                let running = batch_norm::Running {
                    mean: &mut running_mean,
                    variance: &mut tensors[variance.index()].value,
                    epsilon: *epsilon,
                    momentum: mode.momentum(*momentum),
                };
                batch_norm::measure(batch_shape, x, statistics, running);
                tensors[mean.index()].value = running_mean;
                if let Some(batches) = batches {
                    tensors[batches.index()].count += 1;
                }
            }
            let affine = batch_norm::Affine {
                gamma: &tensors[gamma.index()].value,
                beta: &tensors[beta.index()].value,
            };
            batch_norm::forward(batch_shape, statistics, affine, x, y);
        }
        Op::IterNorm(layer) => {
            let own = layer.whitening.momentum;
            let momentum = mode.is_training().then(|| mode.momentum(own));
            layer.forward(
                batch_shape,
                momentum,
                tensors,
                &mut plan.whitenings[at],
                (x, y),
            );
        }
        Op::ChannelEquilibrium(layer) => {
            let own = layer.whitening.momentum;
            let momentum = mode.is_training().then(|| mode.momentum(own));
            layer.forward(
                batch_shape,
                momentum,
                tensors,
                &mut plan.whitenings[at],
                (x, y),
            );
        }
        Op::Activation(activation) => activation::forward(*activation, x, y),
        Op::Add => {
            for (y, (a, b)) in y.iter_mut().zip(x.iter().zip(input(1))) {
                *y = *a + *b;
            }
        }
        Op::Gate => gate::forward(x, input(1), y),
        Op::Concat | Op::Slice { .. } | Op::PadChannels { .. } => {
            y.fill(T::zero());
            for (number, run) in runs(graph, node).enumerate() {
                let from = graph.shape(node.inputs[number]);
                channels::forward(images, from, node.shape, [run], input(number), y);
            }
        }
        Op::Shuffle { groups } => {
            let runs = shuffle(node.shape.channels, *groups);
            channels::forward(images, input_shape, node.shape, runs, x, y);
        }
        Op::MaxPool(window) => pool::max_forward(window, input_shape, node.shape, x, y),
        Op::AveragePool {
            window,
            count_padding,
        } => pool::average_forward(window, *count_padding, input_shape, node.shape, x, y),
        Op::AdaptiveAveragePool { .. } => pool::adaptive_forward(input_shape, node.shape, x, y),
        Op::Resize { align_corners, .. } => {
            resize::forward(*align_corners, input_shape, node.shape, x, y);
        }
        Op::Linear { weight, bias } => {
            linear::forward(input_shape.len(), value(*weight), bias.map(value), x, y);
        }
        Op::Dropout { p } | Op::ChannelDropout { p } | Op::StochasticDepth { p } => match mode {
            Mode::Training { seed, .. } if *p > 0.0 => {
                let seed = noise::of_node(seed, at);
                let run = noise::shared(&node.op, node.shape);
                noise::apply(*p, seed, run, x, y, |y, x| *y = x);
            }
            _ => y.copy_from_slice(x),
        },
        Op::Flatten => y.copy_from_slice(x),
    }
}

/// Adds to the gradients of the inputs and tensors of node number `at`, given the gradient of its value.
pub(super) fn backward<T: Real>(
    graph: &Graph,
    tensors: &mut [Tensor<T>],
    plan: &mut Plan<T>,
    at: usize,
    seed: u64,
) {
    let node = &graph.nodes()[at];
    let images = plan.images;
    let (before, dy) = plan.gradients.split_at_mut(at);
    let dy = &dy[0][..];
    let values = &plan.values;
    let input = |number: usize| &values[node.inputs[number].index()][..];
    let first = node.inputs[0].index();
    let input_shape = graph.shape(node.inputs[0]);
    let batch_shape = BatchShape {
        images,
        shape: node.shape,
    };
    match &node.op {
        Op::Input => {}
        Op::Convolution { weight, bias, .. } => {
            let geometry = Geometry::of(graph, node);
            let Tensor {
                value, gradient, ..
            } = &mut tensors[weight.index()];
            let sums = &mut plan.sums;
            convolution::backward_weight(&geometry, input(0), dy, gradient, sums);
            // The gradient of the images is not needed.
            if first > 0 {
                convolution::backward_input(&geometry, value, dy, &mut before[first], sums);
            }
            if let Some(bias) = bias {
                let db = &mut tensors[bias.index()].gradient;
                add_channel_sums(images, node.shape, dy, db);
            }
        }
        Op::BatchNorm { gamma, beta, .. } => {
            let mut dbeta = std::mem::take(&mut tensors[beta.index()].gradient);
            let Tensor {
                value: gamma,
                gradient: dgamma,
                ..
            } = &mut tensors[gamma.index()];
            let affine = batch_norm::AffineGradient {
                gamma: dgamma,
                beta: &mut dbeta,
            };
            batch_norm::backward(
                batch_shape,
                &plan.statistics[at],
                gamma,
                input(0),
                dy,
                &mut before[first],
                affine,
            );
            tensors[beta.index()].gradient = dbeta;
        }
        Op::IterNorm(layer) => {
            let values = (input(0), dy, &mut before[first][..]);
            layer.backward(batch_shape, &plan.whitenings[at], tensors, values);
        }
        Op::ChannelEquilibrium(layer) => {
            let values = (input(0), dy, &mut before[first][..]);
            layer.backward(batch_shape, &plan.whitenings[at], tensors, values);
        }
        Op::Activation(activation) => {
            activation::backward(*activation, input(0), dy, &mut before[first]);
        }
        Op::Add => {
            for input in &node.inputs {
                add_scaled(&mut before[input.index()], T::one(), dy);
            }
        }
        Op::Gate => {
            gate::backward_map(input(1), dy, &mut before[first]);
            gate::backward_gate(input(0), dy, &mut before[node.inputs[1].index()]);
        }
        Op::Concat | Op::Slice { .. } | Op::PadChannels { .. } => {
            for (number, run) in runs(graph, node).enumerate() {
                let from = graph.shape(node.inputs[number]);
                let dx = &mut before[node.inputs[number].index()];
                channels::backward(images, from, node.shape, [run], dy, dx);
            }
        }
        Op::Shuffle { groups } => {
            let runs = shuffle(node.shape.channels, *groups);
            let dx = &mut before[first];
            channels::backward(images, input_shape, node.shape, runs, dy, dx);
        }
        Op::MaxPool(window) => {
            let dx = &mut before[first];
            pool::max_backward(window, input_shape, node.shape, input(0), dy, dx);
        }
        Op::AveragePool {
            window,
            count_padding,
        } => {
            let dx = &mut before[first];
            pool::average_backward(window, *count_padding, input_shape, node.shape, dy, dx);
        }
        Op::AdaptiveAveragePool { .. } => {
            pool::adaptive_backward(input_shape, node.shape, dy, &mut before[first]);
        }
        Op::Resize { align_corners, .. } => {
            resize::backward(
                *align_corners,
                input_shape,
                node.shape,
                dy,
                &mut before[first],
            );
        }
        Op::Linear { weight, bias } => {
            let features = input_shape.len();
            let kept = &mut tensors[weight.index()];
            linear::backward_weight(features, input(0), dy, &mut kept.gradient);
            linear::backward_input(features, &kept.value, dy, &mut before[first]);
            if let Some(bias) = bias {
                let db = &mut tensors[bias.index()].gradient;
                add_channel_sums(images, node.shape, dy, db);
            }
        }
        Op::Dropout { p } | Op::ChannelDropout { p } | Op::StochasticDepth { p } => {
            let (seed, dx) = (noise::of_node(seed, at), &mut before[first]);
            let run = noise::shared(&node.op, node.shape);
            noise::apply(*p, seed, run, dy, dx, |dx, dy| *dx += dy);
        }
        Op::Flatten => add_scaled(&mut before[first], T::one(), dy),
    }
}
