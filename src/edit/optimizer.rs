//! Resetting what an optimizer keeps for the γ that were regenerated: a momentum or a running mean
//! of gradients that belongs to another value.

use std::collections::HashMap;

use super::fingerprint::GammaBytes;
use super::plan::Planned;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result};

/// One tensor of the optimizer that changes.
#[derive(Debug)]
pub(super) struct SlotReset {
    pub(super) tensor: Tensor,
    pub(super) old: Vec<u8>,
    pub(super) new: Vec<u8>,
}

/// The slots of the changed γ with their channels set to 0.
///
/// # Errors
/// If it cannot be told which slots these are.
pub(super) fn reset(
    checkpoint: &Checkpoint,
    planned: &Planned,
    changed: &[(&GammaBytes, Vec<u8>)],
) -> Result<Vec<SlotReset>> {
    let Some((first, _)) = changed.first() else {
        return Ok(Vec::new());
    };
    let refused = |reason: String| {
        let reason = format!("--optimizer reset: {reason}; --optimizer keep leaves it as it is");
        Error::refused(checkpoint.path(), reason)
    };
    let dict = &checkpoint.dicts()[first.layer.dict];
    let slots = checkpoint.optimizer_slots(dict).map_err(refused)?;
    let layers: HashMap<&str, _> = planned
        .plan
        .layers
        .iter()
        .map(|layer| (&layer.name[..], &layer.changes))
        .collect();
    let by_tensor: HashMap<&str, &GammaBytes> = changed
        .iter()
        .map(|(gamma, _)| (&gamma.tensor[..], *gamma))
        .collect();
    let mut resets = Vec::new();
    for slot in slots {
        let Some(gamma) = by_tensor.get(&slot.gamma[..]) else {
            continue;
        };
        if let Some(reason) = &slot.tensor.fixed {
            return Err(refused(format!("{}: {reason}", slot.tensor.name)));
        }
        let old = checkpoint.read(&slot.tensor)?;
        let width = (slot.tensor.dtype.bits() / 8) as usize;
        let mut new = old.clone();
        for change in layers[&gamma.layer.name[..]] {
            new[change.channel * width..][..width].fill(0);
        }
        if new != old {
            resets.push(SlotReset {
                tensor: slot.tensor,
                old,
                new,
            });
        }
    }
    Ok(resets)
}
