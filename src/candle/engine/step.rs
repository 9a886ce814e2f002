//! One node, forward and backward: finds the tensors and calls the operation.

use candle_core::{Result, Tensor};

use super::batch_norm::{self, Running, Statistics};
use super::convolution::{self, Geometry};
use super::max_pool::Windows;
use super::resample::Resample;
use super::tensors::Tensors;
use super::whitening::Groups;
use super::{activation, channels, equilibrium, iter_norm, linear, noise};
use crate::engine::common::{Mode, of_node};
use crate::net::{Graph, Node, Op, TensorId};

/// What follows from the sizes of a node alone.
#[derive(Debug)]
pub(super) enum Sizes {
    Nothing,
    Windows(Windows),
    Resample(Resample),
}

/// What backward needs of a node besides its input.
#[derive(Debug)]
pub(super) enum Kept {
    Nothing,
    Statistics(Statistics),
    Groups(Groups),
    Equilibrium(equilibrium::Batch),
    /// Where the largest numbers were.
    Places(Tensor),
    Factors(Tensor),
}

/// One batch on its way through the network.
#[derive(Debug)]
pub(super) struct Pass {
    /// Of each node; none where nothing needs it any longer. So are the gradients.
    values: Vec<Option<Tensor>>,
    gradients: Vec<Option<Tensor>>,
    kept: Vec<Kept>,
    mode: Mode,
}

/// The network, as all passes see it.
#[derive(Clone, Copy)]
pub(super) struct Network<'a> {
    pub(super) graph: &'a Graph,
    pub(super) tensors: &'a Tensors,
    pub(super) sizes: &'a [Sizes],
}

impl Pass {
    /// With the images [N, C, H, W].
    pub(super) fn new(nodes: usize, images: Tensor, mode: Mode) -> Pass {
        let mut pass = Pass {
            values: vec![None; nodes],
            gradients: vec![None; nodes],
            kept: (0..nodes).map(|_| Kept::Nothing).collect(),
            mode,
        };
        pass.values[0] = Some(images);
        pass
    }

    /// The value of a node.
    pub(super) fn value(&self, node: usize) -> Result<&Tensor> {
        match &self.values[node] {
            Some(value) => Ok(value),
            None => candle_core::bail!("the value of node {node} is gone"),
        }
    }

    /// Lets go of the value of a node.
    pub(super) fn forget(&mut self, node: usize) {
        self.values[node] = None;
    }

    /// Adds to the gradient of a node. Nobody asks for that of the images.
    pub(super) fn give(&mut self, node: usize, gradient: Tensor) -> Result<()> {
        let sum = &mut self.gradients[node];
        *sum = Some(match sum.take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        });
        Ok(())
    }

    /// Computes the value of a node from those of its inputs.
    pub(super) fn forward(&mut self, network: Network<'_>, at: usize) -> Result<()> {
        let node = &network.graph.nodes()[at];
        let x = self.value(node.inputs[0].index())?;
        let tensor = |id: TensorId| network.tensors.values.value(id);
        let mut kept = Kept::Nothing;
        let y = match (&node.op, &network.sizes[at]) {
            (Op::Input | Op::Flatten, _) => x.reshape((x.dim(0)?, node.shape.channels, 1, 1))?,
            (Op::Convolution { weight, bias, .. }, _) => {
                let bias = bias.map(tensor).transpose()?;
                let geometry = Geometry::of(network.graph, node)?;
                convolution::forward(&geometry, &tensor(*weight)?, bias.as_ref(), x)?
            }
            (Op::BatchNorm { gamma, beta, .. }, _) => {
                let statistics = self.statistics(network, node, x)?;
                let (gamma, beta) = (tensor(*gamma)?, tensor(*beta)?);
                let y = batch_norm::forward(&statistics, &gamma, &beta, x)?;
                kept = Kept::Statistics(statistics);
                y
            }
            (Op::IterNorm(layer), _) => {
                let momentum = self.momentum(layer.whitening.momentum);
                let (y, groups) = iter_norm::forward(layer, network.tensors, momentum, x)?;
                kept = groups.map_or(Kept::Nothing, Kept::Groups);
                y
            }
            (Op::ChannelEquilibrium(layer), _) => {
                let momentum = self.momentum(layer.whitening.momentum);
                let (y, batch) = equilibrium::forward(layer, network.tensors, momentum, x)?;
                kept = batch.map_or(Kept::Nothing, Kept::Equilibrium);
                y
            }
            (Op::Activation(function), _) => activation::forward(*function, x)?,
            (Op::Add, _) => (x + self.value(node.inputs[1].index())?)?,
            (Op::Gate, _) => x.broadcast_mul(self.value(node.inputs[1].index())?)?,
            (Op::Concat, _) => {
                let inputs = node.inputs.iter().map(|input| self.value(input.index()));
                Tensor::cat(&inputs.collect::<Result<Vec<_>>>()?, 1)?
            }
            (Op::Slice { start, len }, _) => channels::slice(x, *start, *len)?,
            (Op::Shuffle { groups }, _) => channels::shuffle(x, *groups)?,
            (Op::PadChannels { before, after }, _) => channels::pad(x, *before, *after)?,
            (Op::Linear { weight, bias }, _) => {
                let bias = bias.map(tensor).transpose()?;
                linear::forward(&tensor(*weight)?, bias.as_ref(), x)?
            }
            (
                op @ (Op::Dropout { p } | Op::ChannelDropout { p } | Op::StochasticDepth { p }),
                _,
            ) => match self.mode {
                Mode::Training { seed, .. } if *p > 0.0 => {
                    let factors = noise::factors(op, of_node(seed, at), x)?;
                    let y = x.broadcast_mul(&factors)?;
                    kept = Kept::Factors(factors);
                    y
                }
                _ => x.clone(),
            },
            (Op::MaxPool(_), Sizes::Windows(windows)) => {
                let (y, places) = windows.forward(x)?;
                kept = Kept::Places(places);
                y
            }
            (
                Op::AveragePool { .. } | Op::AdaptiveAveragePool { .. } | Op::Resize { .. },
                Sizes::Resample(resample),
            ) => resample.forward(x)?,
            (op, _) => candle_core::bail!("{} has not been prepared", op.name()),
        };
        self.kept[at] = kept;
        self.values[at] = Some(y);
        Ok(())
    }

    /// The weight of the batch in running statistics, given a layer's own; `None` in evaluation.
    fn momentum(&self, own: f64) -> Option<f64> {
        self.mode.is_training().then(|| self.mode.momentum(own))
    }

    /// The statistics of the batch, which move the running ones, or in evaluation those.
    fn statistics(&self, network: Network<'_>, node: &Node, x: &Tensor) -> Result<Statistics> {
        let Op::BatchNorm {
            mean,
            variance,
            batches,
            epsilon,
            momentum,
            ..
        } = node.op
        else {
            candle_core::bail!("{} has no statistics", node.op.name());
        };
        let values = &network.tensors.values;
        let running = Running {
            mean: values.var(mean)?,
            variance: values.var(variance)?,
        };
        if !self.mode.is_training() {
            return batch_norm::recall(epsilon, running);
        }
        if let Some(batches) = batches {
            let count = values.var(batches)?;
            let one = count.as_detached_tensor().ones_like()?;
            count.set(&(count.as_detached_tensor() + one)?)?;
        }
        batch_norm::measure(x, epsilon, self.mode.momentum(momentum), running)
    }

    /// Adds the gradients of a node's inputs and tensors, given that of its value; lets go of both.
    pub(super) fn backward(&mut self, network: Network<'_>, at: usize) -> Result<()> {
        self.forget(at);
        let kept = std::mem::replace(&mut self.kept[at], Kept::Nothing);
        let Some(dy) = self.gradients[at].take() else {
            return Ok(());
        };
        let Network { graph, tensors, .. } = network;
        let node = &graph.nodes()[at];
        let tensor = |id: TensorId| tensors.values.value(id);
        let first = node.inputs[0].index();
        let x = self.value(first)?;
        match (&node.op, &network.sizes[at], kept) {
            (Op::Convolution { weight, bias, .. }, ..) => {
                let geometry = Geometry::of(graph, node)?;
                let dw = convolution::backward_weight(&geometry, x, &dy)?;
                tensors.add_gradient(*weight, &dw)?;
                if let Some(bias) = bias {
                    tensors.add_channel_sums(*bias, &dy)?;
                }
                if first > 0 {
                    let dx = convolution::backward_input(&geometry, &tensor(*weight)?, &dy)?;
                    self.give(first, dx)?;
                }
            }
            (Op::BatchNorm { gamma, beta, .. }, _, Kept::Statistics(statistics)) => {
                let gradients = batch_norm::backward(&statistics, &tensor(*gamma)?, x, &dy)?;
                tensors.add_gradient(*gamma, &gradients.gamma)?;
                tensors.add_gradient(*beta, &gradients.beta)?;
                self.give(first, gradients.x)?;
            }
            (Op::IterNorm(layer), _, Kept::Groups(groups)) => {
                let dx = iter_norm::backward(layer, tensors, &groups, x, &dy)?;
                self.give(first, dx)?;
            }
            (Op::ChannelEquilibrium(layer), _, Kept::Equilibrium(batch)) => {
                let dx = equilibrium::backward(layer, tensors, &batch, x, &dy)?;
                self.give(first, dx)?;
            }
            (Op::Activation(function), ..) => {
                self.give(first, activation::backward(*function, x, &dy)?)?;
            }
            (Op::Add, ..) => {
                for input in &node.inputs {
                    self.give(input.index(), dy.clone())?;
                }
            }
            (Op::Gate, ..) => {
                let second = node.inputs[1].index();
                let dx = dy.broadcast_mul(self.value(second)?)?;
                let dg = (dy * x)?.sum_keepdim((2, 3))?;
                self.give(first, dx)?;
                self.give(second, dg)?;
            }
            (Op::Concat, ..) => {
                let mut start = 0;
                for input in &node.inputs {
                    let len = graph.shape(*input).channels;
                    self.give(input.index(), channels::slice(&dy, start, len)?)?;
                    start += len;
                }
            }
            (Op::Slice { start, len }, ..) => {
                let after = graph.shape(node.inputs[0]).channels - start - len;
                self.give(first, channels::pad(&dy, *start, after)?)?;
            }
            (Op::PadChannels { before, .. }, ..) => {
                let len = graph.shape(node.inputs[0]).channels;
                self.give(first, channels::slice(&dy, *before, len)?)?;
            }
            (Op::Shuffle { groups }, ..) => {
                let back = node.shape.channels / groups;
                self.give(first, channels::shuffle(&dy, back)?)?;
            }
            (Op::MaxPool(_), Sizes::Windows(windows), Kept::Places(places)) => {
                self.give(first, windows.backward(&places, &dy)?)?;
            }
            (_, Sizes::Resample(resample), _) => self.give(first, resample.backward(&dy)?)?,
            (Op::Linear { weight, bias }, ..) => {
                tensors.add_gradient(*weight, &linear::backward_weight(x, &dy)?)?;
                if let Some(bias) = bias {
                    tensors.add_channel_sums(*bias, &dy)?;
                }
                self.give(first, linear::backward_input(&tensor(*weight)?, &dy)?)?;
            }
            (_, _, Kept::Factors(factors)) => self.give(first, dy.broadcast_mul(&factors)?)?,
            (Op::Dropout { .. } | Op::ChannelDropout { .. } | Op::StochasticDepth { .. }, ..) => {
                self.give(first, dy)?
            }
            (Op::Input | Op::Flatten, ..) => {
                let dx = dy.reshape(x.shape())?;
                self.give(first, dx)?;
            }
            (op, ..) => candle_core::bail!("{} has not been run in training", op.name()),
        }
        Ok(())
    }
}

impl Sizes {
    pub(super) fn new(graph: &Graph, node: &Node, tensors: &Tensors) -> Result<Sizes> {
        let (dtype, device) = (tensors.values.dtype(), tensors.values.device());
        Ok(match &node.op {
            Op::MaxPool(window) => {
                let input = graph.shape(node.inputs[0]);
                Sizes::Windows(Windows::new(window, input, node.shape, device)?)
            }
            _ => match Resample::new(graph, node, dtype, device)? {
                Some(resample) => Sizes::Resample(resample),
                None => Sizes::Nothing,
            },
        })
    }
}
