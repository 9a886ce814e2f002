//! Regeneration of the network in training, by the same plan as that of a file.

use std::path::Path;

use super::checkpoint::forget;
use super::settings::{RegenState, Settings};
use super::tensors::{self, Precision};
use crate::engine::{Engine, Part};
use crate::error::{Error, Result};
use crate::inspect::INHIBITED;
use crate::net::onnx::{self, Origin};
use crate::net::{Graph, Network, Norm, TensorId};
use crate::regen::{self, Gamma, Plan};

/// The γ of a network: of each layer its tensor, name and values.
pub(super) struct Gammas {
    ids: Vec<TensorId>,
    all: Vec<Gamma>,
}

impl Gammas {
    /// Reads them from an engine, in the type in which a checkpoint has them.
    pub(super) fn read(engine: &dyn Engine, precision: Precision) -> Gammas {
        let norms = engine.graph().norms();
        let read = |norm: &Norm<'_>| {
            let mut values = Vec::new();
            engine.read(norm.gamma, Part::Value, &mut values);
            Gamma {
                layer: norm.layer.to_owned(),
                dtype: precision.dtype(),
                values,
            }
        };
        let ids = norms.iter().map(|norm| norm.gamma).collect();
        let all = norms.iter().map(read).collect();
        Gammas { ids, all }
    }

    /// All of them, layer by layer.
    pub(super) fn all(&self) -> &[Gamma] {
        &self.all
    }

    /// How many are inhibited.
    pub(super) fn inhibited(&self) -> usize {
        let values = self.all.iter().flat_map(|gamma| &gamma.values);
        values.filter(|value| value.abs() < INHIBITED).count()
    }

    /// The lower median; 0 where there is none.
    pub(super) fn median(&self) -> f64 {
        let values = self.all.iter().flat_map(|gamma| &gamma.values);
        let mut values: Vec<f64> = values.copied().collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len().saturating_sub(1) / 2;
        values.get(middle).copied().unwrap_or(0.0)
    }

    /// What the settings' rule would change.
    pub(super) fn plan(&self, graph: &Graph, settings: &Settings) -> Result<Plan> {
        let filter = settings.filter()?;
        let counted = self.all.iter().filter(|gamma| filter.passes(&gamma.layer));
        let counted: Vec<Gamma> = counted.cloned().collect();
        regen::plan(&counted, &settings.rule_options())
            .map_err(|err| graph.error("γ", format!("cannot be regenerated: {err}")))
    }

    /// Writes a plan into the engine that they were read from.
    pub(super) fn write(self, plan: &Plan, settings: &Settings, engine: &mut dyn Engine) {
        let slots = tensors::slots(settings.optimizer, settings.momentum).len();
        for (id, mut gamma) in self.ids.into_iter().zip(self.all) {
            let planned = plan.layers.iter().find(|layer| layer.name == gamma.layer);
            let changes = planned.map_or(&[][..], |layer| &layer.changes);
            if changes.is_empty() {
                continue;
            }
            for change in changes {
                gamma.values[change.channel] = change.new;
            }
            engine.write(id, Part::Value, &gamma.values);
            if settings.regen_state == RegenState::Reset {
                forget(
                    engine,
                    id,
                    slots,
                    changes.iter().map(|change| change.channel),
                );
            }
        }
    }
}

/// Whether the settings' rule has something to count in this network.
///
/// # Errors
/// No BatchNorm, or none that passes the filters.
pub(super) fn check(network: &Network, settings: &Settings) -> Result<()> {
    let filter = settings.filter()?;
    let norms = network.graph.norms();
    match norms.iter().any(|norm| filter.passes(norm.layer)) {
        true => Ok(()),
        false if norms.is_empty() && network.origin.is_some() => {
            let path = network.origin.as_ref().map_or(Path::new(""), Origin::path);
            let reason = format!(
                "has no BatchNorm, or the export folded it into the convolutions, and there is no γ \
                 left to regenerate: {}",
                onnx::EXPORT
            );
            Err(Error::refused(path, reason))
        }
        false => Err(Error::Usage(format!(
            "{} has {} BatchNorm layers, and none passes --include and --exclude",
            network.graph.name(),
            norms.len()
        ))),
    }
}
