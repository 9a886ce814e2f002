//! The exponential moving average of the weights (EMA).

use super::tensors::{self, Precision};
use crate::engine::{Engine, Part};
use crate::net::Kind;

/// An average of all tensors of a network, BatchNorm's statistics too; counts are the network's.
#[derive(Debug)]
pub(super) struct Average {
    decay: f64,
    precision: Precision,
    pub(super) values: Vec<Vec<f64>>,
    read: Vec<f64>,
}

impl Average {
    /// Begins as `values`.
    pub(super) fn new(decay: f64, precision: Precision, values: Vec<Vec<f64>>) -> Average {
        Average {
            decay,
            precision,
            values,
            read: Vec::new(),
        }
    }

    /// Follows the network by one update: a ← decay · a + (1 − decay) · w, rounded as it is saved, so
    /// that a resumed run goes on from the same numbers.
    pub(super) fn follow(&mut self, engine: &dyn Engine) {
        let graph = engine.graph();
        let all = graph.tensor_ids().zip(graph.tensors());
        for ((id, spec), kept) in all.zip(&mut self.values) {
            engine.read(id, Part::Value, &mut self.read);
            if spec.kind == Kind::BatchCount {
                kept.clone_from(&self.read);
                continue;
            }
            for (kept, value) in kept.iter_mut().zip(&self.read) {
                *kept = self
                    .precision
                    .round(self.decay * *kept + (1.0 - self.decay) * value);
            }
        }
    }

    /// Puts the average in the engine in place of the network while `work` runs; what `work` does to
    /// it (statistics that are estimated again) stays in the average.
    pub(super) fn lend<T>(
        &mut self,
        engine: &mut dyn Engine,
        work: impl FnOnce(&mut dyn Engine) -> T,
    ) -> T {
        let own = tensors::values(engine);
        tensors::set_values(engine, &self.values);
        let result = work(engine);
        self.values = tensors::values(engine);
        tensors::set_values(engine, &own);
        result
    }
}
