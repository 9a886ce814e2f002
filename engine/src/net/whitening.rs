//! Normalisations that decorrelate channels: iterative normalisation (IterNorm) and Channel Equilibrium.

use super::graph::{Graph, Value};
use super::op::Op;
use super::tensor::{Init, Kind, TensorId};
use crate::error::Result;

/// Iterative normalisation (IterNorm; Huang et al. 2019): y = γ · W · (x − mean) + β per group of channels, with
/// W = P_T / √tr ≈ Σ^(−1/2). Training takes mean and covariance Σ of the batch, and moves the running mean and W; evaluation
/// normalises by the running ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IterNorm {
    /// γ, `[1, C, 1, 1]`.
    pub gamma: TensorId,
    /// β, `[1, C, 1, 1]`.
    pub beta: TensorId,
    /// Running mean, `[groups, d, 1]`.
    pub mean: TensorId,
    /// Running W, `[groups, d, d]`.
    pub matrix: TensorId,
    /// Groups and iterations.
    pub whitening: Whitening,
}

/// Channel Equilibrium (CE; Tang et al. 2020): y = λ · P_T · x + (1 − λ) · x · f / s per group of channels, with
/// λ = sigmoid(mix).
///
/// The first term decorrelates the channels of the batch. The second reweights each image: v is the biased variance of each
/// channel over the pixels of an image, f = sigmoid(expand · ReLU(LayerNorm(reduce · v))), and s = √(mean of v over images
/// and channels). Training takes P_T and s of the batch, and moves the running ones; evaluation takes those.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelEquilibrium {
    /// The mixing scalar.
    pub mix: TensorId,
    /// Running P_T, `[groups, d, d]`.
    pub matrix: TensorId,
    /// Running s, a scalar.
    pub scale: TensorId,
    /// `[hidden, C]`.
    pub reduce: TensorId,
    /// LayerNorm's weight, `[hidden]`.
    pub weight: TensorId,
    /// LayerNorm's bias, `[hidden]`.
    pub bias: TensorId,
    /// `[C, hidden]`.
    pub expand: TensorId,
    /// Groups and iterations.
    pub whitening: Whitening,
}

impl IterNorm {
    /// The tensors in state-dict order.
    pub(super) fn tensors(&self) -> [TensorId; 4] {
        let mut copy = *self;
        copy.tensors_mut().map(|id| *id)
    }

    pub(super) fn tensors_mut(&mut self) -> [&mut TensorId; 4] {
        let IterNorm {
            gamma,
            beta,
            mean,
            matrix,
            ..
        } = self;
        [gamma, beta, mean, matrix]
    }

    /// The shapes of its tensors, for so many channels.
    pub(super) fn shapes(&self, channels: usize) -> Vec<Vec<usize>> {
        let (d, groups) = self.whitening.groups(channels);
        let map = vec![1, channels, 1, 1];
        vec![map.clone(), map, vec![groups, d, 1], vec![groups, d, d]]
    }
}

impl ChannelEquilibrium {
    /// The tensors in state-dict order.
    pub(super) fn tensors(&self) -> [TensorId; 7] {
        let mut copy = *self;
        copy.tensors_mut().map(|id| *id)
    }

    pub(super) fn tensors_mut(&mut self) -> [&mut TensorId; 7] {
        let ChannelEquilibrium {
            mix,
            matrix,
            scale,
            reduce,
            weight,
            bias,
            expand,
            ..
        } = self;
        [mix, matrix, scale, reduce, weight, bias, expand]
    }

    /// The shapes of its tensors, for so many channels, `hidden` of them in the instance branch.
    pub(super) fn shapes(&self, channels: usize, hidden: usize) -> Vec<Vec<usize>> {
        let (d, groups) = self.whitening.groups(channels);
        vec![
            vec![],
            vec![groups, d, d],
            vec![],
            vec![hidden, channels],
            vec![hidden],
            vec![hidden],
            vec![channels, hidden],
        ]
    }
}

/// How the channels of a group are decorrelated: by Σ^(−1/2) of their covariance Σ, from Newton's iteration (Huang et
/// al. 2019, Algorithm 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whitening {
    /// Channels of a group.
    pub group: usize,
    /// Number of Newton iterations.
    pub iterations: usize,
    /// ε, added to the diagonal of Σ; above 0.
    pub epsilon: f64,
    /// Weight of a new batch in the running statistics, 0..1.
    pub momentum: f64,
}

impl Whitening {
    /// IterNorm's defaults: groups of 64, 5 iterations, ε = 1e−5, momentum 0.1.
    pub const ITER_NORM: Whitening = Whitening {
        group: 64,
        iterations: 5,
        epsilon: 1e-5,
        momentum: 0.1,
    };

    /// Channel Equilibrium's defaults: groups of 16, 3 iterations, ε = 1e−5, momentum 0.1.
    pub const EQUILIBRIUM: Whitening = Whitening {
        group: 16,
        iterations: 3,
        ..Whitening::ITER_NORM
    };

    /// The same with groups that divide `channels`: halved, rounding down, until they do.
    #[must_use]
    pub fn fit(mut self, channels: usize) -> Whitening {
        while self.group > 1 && !channels.is_multiple_of(self.group) {
            self.group /= 2;
        }
        self
    }

    /// Channels of a group, and number of groups.
    pub(crate) fn groups(&self, channels: usize) -> (usize, usize) {
        (self.group, channels.checked_div(self.group).unwrap_or(0))
    }

    /// What is wrong with it for so many channels.
    pub(super) fn check(&self, channels: usize) -> Result<(), String> {
        let Whitening {
            group, iterations, ..
        } = *self;
        if group == 0 || !channels.is_multiple_of(group) {
            return Err(format!(
                "{channels} channels do not fall into groups of {group}"
            ));
        }
        if iterations == 0 || iterations > MAX_ITERATIONS {
            return Err(format!(
                "{iterations} Newton iterations, expected 1 to {MAX_ITERATIONS}"
            ));
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(format!("ε {}, expected a number above 0", self.epsilon));
        }
        Ok(())
    }
}

/// Far above any use: the iteration has converged long before.
const MAX_ITERATIONS: usize = 64;

impl Graph {
    /// Adds IterNorm with `NAME.weight` (γ, initially 1) and `NAME.bias` (β, initially 0), both `[1, C, 1, 1]`, and its
    /// running statistics: `NAME.running_mean` `[groups, d, 1]` and `NAME.running_wm`, the whitening matrices
    /// `[groups, d, d]`. Groups are halved until they divide the channels.
    ///
    /// # Errors
    /// A tensor's name is taken; no group, no iteration, or ε not above 0.
    pub fn iter_norm(&mut self, name: &str, x: Value, whitening: Whitening) -> Result<Value> {
        let channels = self.shape(x).channels;
        let whitening = whitening.fit(channels);
        let (d, groups) = whitening.groups(channels);
        let mut tensor = |leaf: &str, shape: &[usize], kind| {
            self.add_tensor(format!("{name}.{leaf}"), shape.to_vec(), kind)
        };
        let map = [1, channels, 1, 1];
        let op = Op::IterNorm(IterNorm {
            gamma: tensor("weight", &map, Kind::Affine(Init::Constant(1.0)))?,
            beta: tensor("bias", &map, Kind::Affine(Init::Constant(0.0)))?,
            mean: tensor("running_mean", &[groups, d, 1], Kind::RunningMean)?,
            matrix: tensor("running_wm", &[groups, d, d], Kind::RunningMatrix)?,
            whitening,
        });
        self.add(name, op, &[x])
    }

    /// Adds Channel Equilibrium: `NAME.mix` (initially 0), the running statistics `NAME.running_p` `[groups, d, d]` and
    /// `NAME.running_s`, and the instance branch: `NAME.reduce.weight` `[C / reduction, C]`, `NAME.norm.weight` and
    /// `NAME.norm.bias` (LayerNorm), `NAME.expand.weight`, linear layers initialised as in PyTorch. Groups are halved
    /// until they divide the channels.
    ///
    /// # Errors
    /// Fewer channels than `reduction`, or maps of one pixel; as [`Graph::iter_norm`].
    pub fn channel_equilibrium(
        &mut self,
        name: &str,
        x: Value,
        whitening: Whitening,
        reduction: usize,
    ) -> Result<Value> {
        let channels = self.shape(x).channels;
        let hidden = channels.checked_div(reduction).unwrap_or(0);
        if hidden == 0 {
            let reason = format!(
                "Channel Equilibrium: {channels} channels reduced by {reduction} leave none for its instance branch"
            );
            return Err(self.error(name, reason));
        }
        let whitening = whitening.fit(channels);
        let (d, groups) = whitening.groups(channels);
        let mut tensor = |leaf: &str, shape: &[usize], kind| {
            self.add_tensor(format!("{name}.{leaf}"), shape.to_vec(), kind)
        };
        let constant = |value| Kind::Parameter(Init::Constant(value));
        let linear = |fan_in: usize| {
            let bound = 1.0 / (fan_in as f64).sqrt();
            Kind::Parameter(Init::Uniform { bound })
        };
        let op = Op::ChannelEquilibrium(ChannelEquilibrium {
            mix: tensor("mix", &[], constant(0.0))?,
            matrix: tensor("running_p", &[groups, d, d], Kind::RunningMatrix)?,
            scale: tensor("running_s", &[], Kind::RunningScale)?,
            reduce: tensor("reduce.weight", &[hidden, channels], linear(channels))?,
            weight: tensor("norm.weight", &[hidden], constant(1.0))?,
            bias: tensor("norm.bias", &[hidden], constant(0.0))?,
            expand: tensor("expand.weight", &[channels, hidden], linear(hidden))?,
            whitening,
        });
        self.add(name, op, &[x])
    }

    /// The same network with IterNorm in place of every BatchNorm, and the same outputs; tensors keep their names, and
    /// their order is that of the nodes.
    ///
    /// # Errors
    /// As [`Graph::iter_norm`].
    pub fn with_iter_norm(&self, whitening: Whitening) -> Result<Graph> {
        let mut graph = Graph::new(self.name(), self.input_shape());
        let mut known = vec![None; self.tensors().len()];
        for node in self.nodes().iter().skip(1) {
            if let Op::BatchNorm { .. } = node.op {
                graph.iter_norm(&node.name, node.inputs[0], whitening)?;
                continue;
            }
            for id in node.op.tensors() {
                if known[id.index()].is_none() {
                    let spec = self.tensor(id).clone();
                    let new = graph.add_tensor(spec.name, spec.shape, spec.kind)?;
                    known[id.index()] = Some(new);
                }
            }
            let mut op = node.op.clone();
            op.rename(|id| known[id.index()].unwrap_or(id));
            graph.add(&node.name, op, &node.inputs)?;
        }
        graph.outputs = self.outputs;
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Shape;

    #[test]
    fn groups_are_halved_until_they_divide_the_channels() {
        let of = |group, channels| {
            let whitening = Whitening {
                group,
                ..Whitening::ITER_NORM
            };
            whitening.fit(channels).group
        };
        // The groups of MobileNetV2's layers.
        for (channels, group) in [
            (24, 8),
            (144, 16),
            (16, 16),
            (32, 32),
            (96, 32),
            (160, 32),
            (1280, 64),
        ] {
            assert_eq!(of(64, channels), group, "{channels}");
        }
        assert_eq!(of(48, 5), 1);
    }

    #[test]
    fn what_cannot_be_equilibrated_is_refused_by_name_and_number() {
        let refused = |shape, reduction| {
            let mut graph = Graph::new("net", shape);
            let x = graph.input();
            let whitening = Whitening::EQUILIBRIUM;
            let added = graph.channel_equilibrium("ce", x, whitening, reduction);
            added.unwrap_err().to_string()
        };
        let message = refused(Shape::new(3, 4, 4), 4);
        assert!(
            message.contains("ce: Channel Equilibrium: 3 channels reduced by 4 leave none"),
            "{message}"
        );
        let message = refused(Shape::new(16, 1, 1), 4);
        assert!(
            message.contains("16×1×1") && message.contains("one pixel"),
            "{message}"
        );
    }
}
