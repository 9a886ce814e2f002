//! Resetting what an optimizer keeps for the γ that were regenerated: a momentum or a running mean
//! of gradients that belongs to another value.

use std::collections::{BTreeMap, HashMap};

use super::Request;
use super::plan::Planned;
use crate::checkpoint::{Checkpoint, SlotTensor, Tensor};
use crate::error::{Error, Refusal, Result};
use crate::regen::{self, Kept, Moment};

/// One tensor of the optimizer that changes.
#[derive(Debug)]
pub(super) struct SlotReset {
    pub(super) tensor: Tensor,
    pub(super) old: Vec<u8>,
    pub(super) new: Vec<u8>,
}

/// The slots of the network's γ, those of the regenerated channels reset ([`regen::reset`]). `notes`
/// hears what was taken for granted.
///
/// # Errors
/// If it cannot be told which slots these are.
pub(super) fn reset(
    checkpoint: &Checkpoint,
    planned: &Planned,
    request: &Request,
    notes: &mut Vec<String>,
) -> Result<Vec<SlotReset>> {
    let Some(first) = planned.gammas.first() else {
        return Ok(Vec::new());
    };
    let refused = |reason: String| {
        let reason = format!("its optimizer cannot be reset: {reason}");
        Error::refused_for(Refusal::Optimizer, checkpoint.path(), reason)
    };
    let dict = &checkpoint.dicts()[first.layer.dict];
    let slots = checkpoint
        .optimizer_slots(dict, request.param_order.as_deref(), notes)
        .map_err(refused)?;
    let layers = planned.plan.layers.iter();
    let changes: HashMap<&str, &[regen::Change]> =
        layers.map(|l| (&l.name[..], &l.changes[..])).collect();
    let gammas = planned.gammas.iter();
    let by_tensor: HashMap<&str, &str> = gammas
        .map(|gamma| (&gamma.tensor[..], &gamma.layer.name[..]))
        .collect();
    let mut by_kind: BTreeMap<_, Vec<(SlotTensor, Vec<usize>)>> = BTreeMap::new();
    for slot in slots {
        let Some(layer) = by_tensor.get(&slot.gamma[..]) else {
            continue;
        };
        let changes = changes.get(layer).copied().unwrap_or_default();
        let channels = changes.iter().map(|change| change.channel).collect();
        by_kind.entry(slot.slot).or_default().push((slot, channels));
    }
    let mut resets = Vec::new();
    for (kind, slots) in by_kind {
        let (mut old, mut kept) = (Vec::new(), Vec::new());
        for (slot, regenerated) in &slots {
            let tensor = &slot.tensor;
            let fixed = tensor.fixed.clone();
            let unreadable = || format!("its type is {}", tensor.dtype);
            let no_float = (!tensor.dtype.is_editable_float()).then(unreadable);
            if let Some(reason) = fixed.or(no_float) {
                return Err(refused(format!("{}: {reason}", tensor.name)));
            }
            let bytes = checkpoint.read(tensor)?;
            kept.push(Kept {
                values: tensor.dtype.decode(&bytes),
                regenerated: regenerated.clone(),
            });
            old.push(bytes);
        }
        let before = kept.clone();
        regen::reset(Moment::of(kind.divides()), &mut kept);
        for (n, (slot, _)) in slots.into_iter().enumerate() {
            let new = encoded(&slot.tensor, &old[n], &before[n], &kept[n]);
            if new != old[n] {
                resets.push(SlotReset {
                    tensor: slot.tensor,
                    old: std::mem::take(&mut old[n]),
                    new,
                });
            }
        }
    }
    Ok(resets)
}

/// The bytes of a slot with the values that are other ones now; the others stay bit for bit.
fn encoded(tensor: &Tensor, bytes: &[u8], before: &Kept, after: &Kept) -> Vec<u8> {
    let width = (tensor.dtype.bits() / 8) as usize;
    let mut new = bytes.to_vec();
    let mut one = Vec::with_capacity(width);
    for channel in &after.regenerated {
        let (old, value) = (before.values[*channel], after.values[*channel]);
        if old.to_bits() != value.to_bits() {
            one.clear();
            tensor.dtype.encode(tensor.dtype.round(value), &mut one);
            new[channel * width..][..width].copy_from_slice(&one);
        }
    }
    new
}
