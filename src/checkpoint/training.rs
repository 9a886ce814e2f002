//! The training run around a checkpoint: who wrote it, how many epochs are finished, and what its
//! optimizer keeps for each γ.

use std::collections::{HashMap, HashSet};

use super::epochs::{Epochs, Scalar};
use super::optimizer::{Optimizer, Slot, map_optimizer};
use super::{Checkpoint, StateDict, Tensor};
use crate::error::Result;

/// What is known about the training run.
#[derive(Debug, Default)]
pub struct Training {
    /// Who laid the checkpoint out, where that is recognised.
    pub layout: Option<&'static str>,
    /// The finished epochs, where the checkpoint says it.
    pub epochs: Option<Epochs>,
    /// The numbers beside the weights.
    pub(super) scalars: Vec<Scalar>,
    /// The states of optimizers, or why one cannot be read.
    pub(super) optimizers: Vec<Result<Optimizer>>,
}

/// What an optimizer keeps for one γ.
#[derive(Debug, Clone)]
pub(crate) struct SlotTensor {
    /// The γ, by its name in the state dict.
    pub(crate) gamma: String,
    pub(crate) slot: Slot,
    pub(crate) tensor: Tensor,
}

impl Training {
    /// How many epochs are finished, where the checkpoint says it.
    pub fn epoch(&self) -> Option<u64> {
        Some(self.epochs.as_ref()?.finished)
    }

    /// The family of the optimizer, where there is one.
    pub fn optimizer(&self) -> Option<&'static str> {
        match &self.optimizers[..] {
            [] => None,
            [Ok(optimizer)] => Some(optimizer.kind()),
            [Err(_)] => Some("unreadable"),
            _ => Some("several"),
        }
    }

    /// All that optimizers keep, by the name that it has in its file.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Tensor> {
        let optimizers = self
            .optimizers
            .iter()
            .filter_map(|optimizer| optimizer.as_ref().ok());
        let parameters = optimizers.flat_map(|optimizer| &optimizer.parameters);
        parameters.flat_map(|parameter| parameter.slots.iter().map(|(_, tensor)| tensor))
    }
}

impl Checkpoint {
    /// What the optimizers keep for the parameters of a state dict; `order` has the names of the
    /// parameters of the only one, in its order, where it does not know them itself. `notes` hears
    /// what was taken for granted.
    ///
    /// # Errors
    /// Why it cannot be told: a mapping is never guessed.
    pub(crate) fn optimizer_slots(
        &self,
        dict: &StateDict,
        order: Option<&[String]>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<SlotTensor>, String> {
        let optimizers = &self.training.optimizers[..];
        if optimizers.is_empty() {
            return Err("there is no optimizer state beside the weights".to_owned());
        }
        if order.is_some() && optimizers.len() > 1 {
            let reason = "there are several optimizers, and the order is of one";
            return Err(reason.to_owned());
        }
        let mut slots = Vec::new();
        let mut seen = HashSet::new();
        for optimizer in optimizers {
            let optimizer = optimizer.as_ref().map_err(ToString::to_string)?;
            // Which of several an error is about.
            let of = |reason: String| match optimizers {
                [_] => reason,
                _ => format!("{}: {reason}", optimizer.root),
            };
            if !optimizer.unknown.is_empty() {
                let unknown = optimizer.unknown.join(", ");
                return Err(of(format!(
                    "the optimizer keeps {unknown}, which this program does not know"
                )));
            }
            for parameter in map_optimizer(optimizer, dict, order, notes).map_err(of)? {
                if !seen.insert(parameter.name.clone()) {
                    let name = parameter.name;
                    return Err(format!("several optimizers keep something for {name}"));
                }
                slots.extend(
                    parameter
                        .slots
                        .into_iter()
                        .map(|(slot, tensor)| SlotTensor {
                            gamma: parameter.name.clone(),
                            slot,
                            tensor,
                        }),
                );
            }
        }
        self.check_alone(&slots)?;
        Ok(slots)
    }

    /// No slot may lie on the bytes of another tensor.
    fn check_alone(&self, slots: &[SlotTensor]) -> Result<(), String> {
        let tensors = self.dicts.iter().flat_map(|dict| &dict.tensors);
        let all = tensors.chain(slots.iter().map(|slot| &slot.tensor));
        let mut by_source: HashMap<usize, Vec<&Tensor>> = HashMap::new();
        for tensor in all.filter(|tensor| tensor.len > 0) {
            by_source.entry(tensor.source).or_default().push(tensor);
        }
        let is_slot = |tensor: &Tensor| slots.iter().any(|slot| std::ptr::eq(&slot.tensor, tensor));
        for tensors in by_source.values_mut() {
            tensors.sort_by_key(|tensor| (tensor.offset, tensor.len));
            let end = |tensor: &Tensor| tensor.offset + tensor.len;
            let mut farthest: Option<&Tensor> = None;
            for tensor in tensors.iter().copied() {
                if let Some(other) = farthest.filter(|other| end(other) > tensor.offset)
                    && (is_slot(other) || is_slot(tensor))
                {
                    let (a, b) = (&other.name, &tensor.name);
                    return Err(format!("{a} shares its bytes with {b}"));
                }
                if farthest.is_none_or(|other| end(other) < end(tensor)) {
                    farthest = Some(tensor);
                }
            }
        }
        Ok(())
    }
}
