//! Regeneration of the network in training, by the same plan as that of a file.

use std::collections::HashMap;

use super::rule::{RunRule, at_random};
use super::settings::{RegenState, Settings};
use super::tensors;
use crate::batchnorm::{Filter, LayerKind};
use crate::checkpoint::Slot;
use crate::engine::{Engine, Part};
use crate::error::{Error, Result};
use crate::net::onnx;
use crate::net::{Graph, Network, Norm, NormKind, TensorId};
use crate::regen::{
    self, Change, Gamma, Kept, Mask, Moment, Plan, PlanError, is_inhibited, lower_median,
};

/// The γ of a network: of each layer its tensor, name and values.
pub(super) struct Gammas {
    ids: Vec<TensorId>,
    kinds: Vec<LayerKind>,
    all: Vec<Gamma>,
}

impl Gammas {
    /// Reads them from an engine, in the type in which a checkpoint has them.
    pub(super) fn read(engine: &dyn Engine) -> Gammas {
        let norms = engine.graph().norms();
        let read = |norm: &Norm<'_>| {
            let mut values = Vec::new();
            engine.read(norm.gamma, Part::Value, &mut values);
            Gamma {
                layer: norm.layer.to_owned(),
                dtype: tensors::dtype(engine.precision()),
                values,
            }
        };
        Gammas {
            ids: norms.iter().map(|norm| norm.gamma).collect(),
            kinds: norms.iter().map(|norm| kind(norm.kind)).collect(),
            all: norms.iter().map(read).collect(),
        }
    }

    /// All of them, layer by layer.
    pub(super) fn all(&self) -> &[Gamma] {
        &self.all
    }

    /// Those of the layers that pass a filter.
    pub(super) fn passing(&self, filter: &Filter) -> Vec<Gamma> {
        let layers = self.kinds.iter().zip(&self.all);
        let passing = layers.filter(|(kind, gamma)| filter.passes(**kind, &gamma.layer));
        passing.map(|(_, gamma)| gamma.clone()).collect()
    }

    /// How many of those that are not pruned are inhibited.
    pub(super) fn inhibited(&self, pruned: &Mask) -> usize {
        let values = self.unpruned(pruned);
        values.filter(|value| is_inhibited(*value)).count()
    }

    /// The lower median of those that are not pruned; 0 where there is none.
    pub(super) fn median(&self, pruned: &Mask) -> f64 {
        let mut values: Vec<f64> = self.unpruned(pruned).collect();
        lower_median(&mut values).unwrap_or(0.0)
    }

    fn unpruned(&self, pruned: &Mask) -> impl Iterator<Item = f64> {
        self.all.iter().flat_map(|gamma| {
            let pruned = pruned.pruned(&gamma.layer);
            let values = gamma.values.iter().copied().enumerate();
            values
                .filter(|(channel, _)| pruned.binary_search(channel).is_err())
                .map(|(_, value)| value)
        })
    }

    /// What the settings' rule would change after `epoch` epochs.
    pub(super) fn plan(
        &self,
        graph: &Graph,
        settings: &Settings,
        pruned: &Mask,
        epoch: u64,
    ) -> Result<Plan> {
        let counted = self.passing(&settings.filter()?);
        let refused = |err: PlanError| graph.error("γ", format!("cannot be regenerated: {err}"));
        let mask = Some(pruned).filter(|_| !settings.pruned_as_public);
        let plan = regen::plan(&counted, &settings.rule_options(), mask).map_err(refused)?;
        Ok(match settings.rule {
            RunRule::Rule(_) => plan,
            RunRule::Random => at_random(&counted, plan, mask, settings, epoch),
        })
    }

    /// Writes a plan into the engine that they were read from.
    pub(super) fn write(self, plan: &Plan, settings: &Settings, engine: &mut dyn Engine) {
        let layers = plan.layers.iter();
        let changes: HashMap<&str, &[Change]> =
            layers.map(|l| (&l.name[..], &l.changes[..])).collect();
        let mut regenerated = Vec::with_capacity(self.ids.len());
        for (id, mut gamma) in self.ids.into_iter().zip(self.all) {
            let changes = changes.get(&gamma.layer[..]).copied().unwrap_or_default();
            for change in changes {
                gamma.values[change.channel] = change.new;
            }
            if !changes.is_empty() {
                engine.write(id, Part::Value, &gamma.values);
            }
            let channels = changes.iter().map(|change| change.channel);
            regenerated.push((id, channels.collect()));
        }
        if settings.regen_state == RegenState::Reset {
            reset(&regenerated, settings, engine);
        }
    }
}

/// Resets what the optimizer keeps for the regenerated channels of each γ, as an edit of the run's
/// checkpoint does.
fn reset(regenerated: &[(TensorId, Vec<usize>)], settings: &Settings, engine: &mut dyn Engine) {
    let slots = tensors::slots(settings.optimizer, settings.momentum);
    for (place, name) in slots.iter().enumerate() {
        let slot = Slot::of_key(name).expect("the optimizers here keep known slots");
        let part = Part::Slot(place);
        let read = |(id, regenerated): &(TensorId, Vec<usize>)| {
            let mut values = Vec::new();
            engine.read(*id, part, &mut values);
            Kept {
                values,
                regenerated: regenerated.clone(),
            }
        };
        let mut kept: Vec<Kept> = regenerated.iter().map(read).collect();
        regen::reset(Moment::of(slot.divides()), &mut kept);
        for ((id, _), kept) in regenerated.iter().zip(kept) {
            // Nothing is kept before the first update.
            if !kept.regenerated.is_empty() && !kept.values.is_empty() {
                engine.write(*id, part, &kept.values);
            }
        }
    }
}

/// A normalisation, as a checkpoint's is called.
pub(super) fn kind(kind: NormKind) -> LayerKind {
    match kind {
        NormKind::BatchNorm => LayerKind::BatchNorm,
        NormKind::IterNorm => LayerKind::IterNorm,
    }
}

/// Whether the settings' rule has something to count in this network.
///
/// # Errors
/// No normalisation, or none that passes the filters; γ of IterNorm alone, if they are to be regenerated and are not asked
/// for.
pub(super) fn check(network: &Network, settings: &Settings) -> Result<()> {
    let norms = network.graph.norms();
    if let (true, Some(origin)) = (norms.is_empty(), &network.origin) {
        let reason = format!(
            "has no BatchNorm, or the export folded it into the convolutions, and there is no γ \
             left to regenerate: {}",
            onnx::EXPORT
        );
        return Err(Error::refused(origin.path(), reason));
    }
    let layers: Vec<(LayerKind, &str)> = norms
        .iter()
        .map(|norm| (kind(norm.kind), norm.layer))
        .collect();
    let mut filter = settings.filter()?;
    // Without regeneration, γ are only counted.
    filter.iternorm |= settings.regeneration().is_none();
    filter.check(network.graph.name(), &layers)
}
