//! One node, forward and backward: finds the slices and calls the operation.

use super::convolution::Geometry;
use super::plan::Plan;
use super::{Mode, Tensor, activation, add_channel_sums, batch_norm, channels, convolution};
use super::{gate, linear, pool, resize};
use crate::channels::{runs, shuffle};
use crate::net::{Graph, Node, Op, TensorId};
use crate::noise;
use crate::real::{Real, add_scaled};

/// Computes the value of a node from those of its inputs.
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
    let shapes = (graph.shape(node.inputs[0]), node.shape);
    let x = input(0);
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
            if mode == Mode::Evaluation {
                for (channel, mean) in value(*mean).iter().enumerate() {
                    let variance = value(*variance)[channel].wide();
                    statistics.mean[channel] = mean.wide();
                    statistics.scale[channel] = 1.0 / (variance + epsilon).sqrt();
                }
            } else {
                let mut means = std::mem::take(&mut tensors[mean.index()].value);
                let running = (&mut means[..], &mut tensors[variance.index()].value[..]);
                let constants = (*epsilon, *momentum);
                batch_norm::measure((images, node.shape), x, constants, statistics, running);
                tensors[mean.index()].value = means;
                if let Some(batches) = batches {
                    tensors[batches.index()].count += 1;
                }
            }
            let affine = batch_norm::Affine {
                gamma: &tensors[gamma.index()].value,
                beta: &tensors[beta.index()].value,
            };
            batch_norm::forward((images, node.shape), statistics, affine, x, y);
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
                let shapes = (graph.shape(node.inputs[number]), node.shape);
                channels::forward(images, shapes, [run], input(number), y);
            }
        }
        Op::Shuffle { groups } => {
            let runs = shuffle(node.shape.channels, *groups);
            channels::forward(images, shapes, runs, x, y);
        }
        Op::MaxPool(window) => pool::max_forward(window, shapes.0, shapes.1, x, y),
        Op::AveragePool {
            window,
            count_padding,
        } => pool::average_forward(window, *count_padding, shapes.0, shapes.1, x, y),
        Op::AdaptiveAveragePool { .. } => pool::adaptive_forward(shapes.0, shapes.1, x, y),
        Op::Resize { align_corners, .. } => {
            resize::forward(*align_corners, shapes.0, shapes.1, x, y);
        }
        Op::Linear { weight, bias } => {
            linear::forward(shapes.0.len(), value(*weight), bias.map(value), x, y);
        }
        Op::Dropout { p } | Op::StochasticDepth { p } => match mode {
            Mode::Training { seed } if *p > 0.0 => {
                let (seed, run) = (noise::of_node(seed, at), noise_run(node));
                noise::apply(*p, seed, run, x, y, |y, x| *y = x);
            }
            _ => y.copy_from_slice(x),
        },
        Op::Flatten => y.copy_from_slice(x),
    }
}

/// Adds the gradients of a node's inputs and tensors, given that of its value.
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
    let shapes = (graph.shape(node.inputs[0]), node.shape);
    match &node.op {
        Op::Input => {}
        Op::Convolution { weight, bias, .. } => {
            let geometry = Geometry::of(graph, node);
            let Tensor {
                value, gradient, ..
            } = &mut tensors[weight.index()];
            let sums = &mut plan.sums;
            convolution::backward_weight(&geometry, input(0), dy, gradient, sums);
            // Nobody asks for the gradient of the images.
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
            batch_norm::backward(
                (images, node.shape),
                &plan.statistics[at],
                gamma,
                (input(0), dy),
                &mut before[first],
                (dgamma, &mut dbeta),
            );
            tensors[beta.index()].gradient = dbeta;
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
                let shapes = (graph.shape(node.inputs[number]), node.shape);
                let dx = &mut before[node.inputs[number].index()];
                channels::backward(images, shapes, [run], dy, dx);
            }
        }
        Op::Shuffle { groups } => {
            let runs = shuffle(node.shape.channels, *groups);
            channels::backward(images, shapes, runs, dy, &mut before[first]);
        }
        Op::MaxPool(window) => {
            let dx = &mut before[first];
            pool::max_backward(window, shapes.0, shapes.1, input(0), dy, dx);
        }
        Op::AveragePool {
            window,
            count_padding,
        } => {
            let dx = &mut before[first];
            pool::average_backward(window, *count_padding, shapes.0, shapes.1, dy, dx);
        }
        Op::AdaptiveAveragePool { .. } => {
            pool::adaptive_backward(shapes.0, shapes.1, dy, &mut before[first]);
        }
        Op::Resize { align_corners, .. } => {
            resize::backward(*align_corners, shapes.0, shapes.1, dy, &mut before[first]);
        }
        Op::Linear { weight, bias } => {
            let features = shapes.0.len();
            let kept = &mut tensors[weight.index()];
            linear::backward_weight(features, input(0), dy, &mut kept.gradient);
            linear::backward_input(features, &kept.value, dy, &mut before[first]);
            if let Some(bias) = bias {
                let db = &mut tensors[bias.index()].gradient;
                add_channel_sums(images, node.shape, dy, db);
            }
        }
        Op::Dropout { p } | Op::StochasticDepth { p } => {
            let (seed, run) = (noise::of_node(seed, at), noise_run(node));
            noise::apply(*p, seed, run, dy, &mut before[first], |dx, dy| *dx += dy);
        }
        Op::Flatten => add_scaled(&mut before[first], T::one(), dy),
    }
}

/// How many numbers one decision of a noise takes away.
fn noise_run(node: &Node) -> usize {
    match node.op {
        Op::StochasticDepth { .. } => node.shape.len(),
        _ => 1,
    }
}
