//! What pruning does to each update: a penalty on γ, and elements whose gradient is held at 0.

use super::{Pruning, pruned_norms};
use crate::engine::{Engine, Part};
use crate::net::TensorId;

/// Changes the accumulated gradient before each update.
pub(in crate::train) struct Hold {
    sparsity: f64,
    /// γ of all layers, where there is a penalty on them.
    gammas: Vec<TensorId>,
    /// Tensors with pruned elements.
    held: Vec<Held>,
    values: Vec<f64>,
    gradient: Vec<f64>,
}

struct Held {
    tensor: TensorId,
    /// Of each, one of these many equal parts is a channel's.
    channels: usize,
    pruned: Vec<usize>,
}

impl Hold {
    /// For a penalty of `sparsity` · Σ|γ|, and what is pruned.
    pub(in crate::train) fn new(sparsity: f64, pruning: &Pruning, engine: &dyn Engine) -> Hold {
        let graph = engine.graph();
        let norms = graph.norms();
        let gammas = norms.iter().filter(|_| sparsity > 0.0);
        let gammas = gammas.map(|norm| norm.gamma).collect();
        let mut held = Vec::new();
        for (norm, pruned) in pruned_norms(graph, &pruning.mask) {
            held.extend([norm.gamma, norm.beta].map(|tensor| Held {
                tensor,
                channels: norm.channels,
                pruned: pruned.clone(),
            }));
        }
        for (norm, pruned) in pruned_norms(graph, &pruning.filters) {
            held.extend(norm.filters.map(|tensor| Held {
                tensor,
                channels: norm.channels,
                pruned,
            }));
        }
        Hold {
            sparsity,
            gammas,
            held,
            values: Vec::new(),
            gradient: Vec::new(),
        }
    }

    /// Adds λ · sign(γ), with sign(0) = 0, to the gradient of γ, so that it passes through momentum and
    /// clipping as the gradient of the loss does (Liu et al. 2017, equation 1); then sets the gradient of
    /// what is pruned to 0.
    pub(in crate::train) fn before_update(&mut self, engine: &mut dyn Engine) {
        for gamma in &self.gammas {
            engine.read(*gamma, Part::Value, &mut self.values);
            engine.read(*gamma, Part::Gradient, &mut self.gradient);
            for (gradient, value) in self.gradient.iter_mut().zip(&self.values) {
                if *value != 0.0 {
                    *gradient += self.sparsity * value.signum();
                }
            }
            engine.write(*gamma, Part::Gradient, &self.gradient);
        }
        for held in &self.held {
            engine.read(held.tensor, Part::Gradient, &mut self.gradient);
            let len = self.gradient.len() / held.channels;
            for channel in &held.pruned {
                self.gradient[channel * len..][..len].fill(0.0);
            }
            engine.write(held.tensor, Part::Gradient, &self.gradient);
        }
    }
}
