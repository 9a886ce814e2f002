//! How parameters follow their gradients.

use crate::net::TensorSpec;

/// One update of all parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// The rule.
    pub optimizer: Optimizer,
    /// Step size.
    pub learning_rate: f64,
    /// Pull towards 0: SGD adds weight · decay to the gradient, AdamW scales the weight itself.
    pub weight_decay: f64,
    /// Whether weight decay leaves γ, β and biases alone (timm's default; the paper decays all).
    pub spare_vectors: bool,
    /// The gradient is scaled down to this norm where its own is larger.
    pub clip_norm: Option<f64>,
}

impl Update {
    /// Factor of a gradient of this norm (`torch.nn.utils.clip_grad_norm_`).
    pub(super) fn scale(&self, norm: f64) -> f64 {
        match self.clip_norm {
            Some(limit) => (limit / (norm + 1e-6)).min(1.0),
            None => 1.0,
        }
    }

    /// Weight decay of a tensor.
    pub(super) fn decay(&self, tensor: &TensorSpec) -> f64 {
        match self.spare_vectors && tensor.shape.len() <= 1 {
            true => 0.0,
            false => self.weight_decay,
        }
    }
}

/// The rule of an update, as PyTorch defines it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent (`torch.optim.SGD`, dampening 0).
    Sgd {
        /// Share of the last direction that is kept.
        momentum: f64,
        /// Whether the direction looks ahead (Nesterov).
        nesterov: bool,
    },
    /// Adam with decoupled weight decay (`torch.optim.AdamW`; Loshchilov and Hutter 2019).
    AdamW {
        /// Decay of the averages of the gradient and of its square.
        betas: (f64, f64),
        /// Added to the denominator.
        epsilon: f64,
        /// How many updates there were before this one: corrects the averages' start at 0.
        step: u64,
    },
}

impl Optimizer {
    /// How many numbers it remembers for each parameter.
    pub fn slots(&self) -> usize {
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } => 1,
            Optimizer::AdamW { .. } => 2,
        }
    }
}
