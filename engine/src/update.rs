//! The settings of an optimizer step.

use crate::net::TensorSpec;

/// One optimizer step of all parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Learning rate.
    pub learning_rate: f64,
    /// Factor of the learning rate of tensors for which [`TensorSpec::is_of_decoder`] holds; 1: all learn alike.
    pub decoder_factor: f64,
    /// Weight decay: SGD adds w · decay to the gradient, AdamW multiplies w by 1 − learning rate · decay.
    pub weight_decay: f64,
    /// Whether γ, β and biases are exempt from weight decay (timm's default; the paper decays all).
    pub spare_vectors: bool,
    /// Gradient clipping: a gradient with a larger norm is scaled down to this one.
    pub clip_norm: Option<f64>,
}

impl Update {
    /// The factor by which clipping scales a gradient of this norm (`torch.nn.utils.clip_grad_norm_`).
    pub fn scale(&self, norm: f64) -> f64 {
        match self.clip_norm {
            Some(limit) => (limit / (norm + 1e-6)).min(1.0),
            None => 1.0,
        }
    }

    /// The learning rate of a tensor.
    pub fn rate(&self, tensor: &TensorSpec) -> f64 {
        if tensor.is_of_decoder() {
            self.learning_rate * self.decoder_factor
        } else {
            self.learning_rate
        }
    }

    /// The weight decay of a tensor.
    pub fn decay(&self, tensor: &TensorSpec) -> f64 {
        if self.spare_vectors && tensor.is_vector() {
            0.0
        } else {
            self.weight_decay
        }
    }
}

/// An optimizer, as PyTorch defines it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent (`torch.optim.SGD`, dampening 0).
    Sgd {
        /// Momentum, 0..1.
        momentum: f64,
        /// Whether the momentum is Nesterov's.
        nesterov: bool,
    },
    /// Adam with decoupled weight decay (`torch.optim.AdamW`; Loshchilov and Hutter 2019).
    AdamW {
        /// Decay rates β₁ and β₂ of the moving averages of the gradient and of its square.
        betas: (f64, f64),
        /// ε, added to the denominator.
        epsilon: f64,
        /// Number of updates before this one, for bias correction.
        step: u64,
    },
}

impl Optimizer {
    /// Number of slots: elements of state per element of a parameter.
    pub fn slots(&self) -> usize {
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } => 1,
            Optimizer::AdamW { .. } => 2,
        }
    }
}
