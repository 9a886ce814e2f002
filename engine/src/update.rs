//! One optimizer step, as settings.

use crate::net::TensorSpec;

/// Settings of one optimizer step over all parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// The update rule.
    pub optimizer: Optimizer,
    /// Learning rate.
    pub learning_rate: f64,
    /// Weight decay: SGD adds decay · w to the gradient, AdamW scales w by 1 − lr · decay.
    pub weight_decay: f64,
    /// Whether γ, β and biases have no weight decay (timm's default; the paper decays all).
    pub spare_vectors: bool,
    /// Gradient clipping: the largest norm over all parameters.
    pub clip_norm: Option<f64>,
}

impl Update {
    /// The clipping factor for a gradient of this norm (`torch.nn.utils.clip_grad_norm_`).
    pub(super) fn scale(&self, norm: f64) -> f64 {
        match self.clip_norm {
            Some(limit) => (limit / (norm + 1e-6)).min(1.0),
            None => 1.0,
        }
    }

    /// Weight decay of a tensor.
    pub(super) fn decay(&self, tensor: &TensorSpec) -> f64 {
        if self.spare_vectors && tensor.shape.len() <= 1 {
            0.0
        } else {
            self.weight_decay
        }
    }
}

/// An update rule, as PyTorch defines it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent (`torch.optim.SGD`, dampening 0).
    Sgd {
        /// Momentum, 0 to 1.
        momentum: f64,
        /// Nesterov momentum.
        nesterov: bool,
    },
    /// Adam with decoupled weight decay (`torch.optim.AdamW`; Loshchilov and Hutter 2019).
    AdamW {
        /// β₁ and β₂: decay of the averages of the gradient and of its square.
        betas: (f64, f64),
        /// ε, added to the denominator.
        epsilon: f64,
        /// Number of updates before this one, for the bias correction.
        step: u64,
    },
}

impl Optimizer {
    /// Number of state slots for each parameter.
    pub fn slots(&self) -> usize {
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } => 1,
            Optimizer::AdamW { .. } => 2,
        }
    }
}
