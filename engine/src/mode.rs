//! How a batch is run forward.

/// Whether the statistics of the batch or the running ones normalise, and whether dropout draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Running statistics; no dropout.
    Evaluation,
    /// Statistics of the batch, which move the running ones.
    Training {
        /// Seed of dropout and stochastic depth.
        seed: u64,
        /// Weight of the batch in the running statistics, instead of each BatchNorm's own momentum.
        momentum: Option<f64>,
    },
}

impl Mode {
    /// Whether the statistics of the batch normalise.
    pub fn is_training(self) -> bool {
        matches!(self, Mode::Training { .. })
    }

    /// The weight of the batch in the running statistics of a BatchNorm, given the layer's own.
    pub fn momentum(self, own: f64) -> f64 {
        match self {
            Mode::Training {
                momentum: Some(momentum),
                ..
            } => momentum,
            _ => own,
        }
    }
}
