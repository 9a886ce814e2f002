//! A network before and after an edit.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::collect;
use super::json::to_json;
use super::{NetworkReport, Report};
use crate::batchnorm::{self, Schema};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::regen::{LayerPlan, Mask, Plan};

/// What an edit did, or would do, to one network. Both reports are on one axis, so that they can be
/// laid over each other.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The network as it was.
    pub before: Report,
    /// The network as it is, or would be.
    pub after: Report,
    /// How many channels of each of its layers changed.
    pub regenerated: Vec<usize>,
    /// Whether the edit was carried out.
    pub done: bool,
    /// The rule and its numbers, in a line.
    pub rule: String,
    /// What `apply --json` says of the edit.
    pub summary: Value,
    /// What a user should know of it, in sentences.
    pub warnings: Vec<String>,
}

impl Edited {
    /// The γ of `checkpoint`, and what they were before the `edit` of the network with that root if
    /// it is `done`, or what they would be if it is not. Without an edit, the first network as it is.
    /// `masks` are the pruned channels before and after.
    ///
    /// # Errors
    /// γ cannot be read, or are not those of the plan.
    pub fn new(
        checkpoint: &Checkpoint,
        schema: &Schema,
        edit: Option<(&str, &Plan)>,
        done: bool,
        masks: [&Mask; 2],
    ) -> Result<Edited> {
        let networks = batchnorm::locate(checkpoint, schema)?;
        let network = match edit {
            Some((root, _)) => batchnorm::select(checkpoint, &networks, Some(root))?,
            None => {
                let first = networks.into_iter().next();
                first.ok_or_else(|| batchnorm::nothing_found(checkpoint))?
            }
        };
        let network = &network;
        let here = collect::read(checkpoint, network)?;
        let mut there = here.clone();
        let mut regenerated = vec![0; here.len()];
        // A saved plan may have another order, and no plan need have all layers.
        let planned = edit.map_or(&[][..], |(_, plan)| &plan.layers).iter();
        let mut planned: HashMap<&str, &LayerPlan> =
            planned.map(|layer| (&layer.name[..], layer)).collect();
        for ((layer, values), count) in network.layers.iter().zip(&mut there).zip(&mut regenerated)
        {
            let Some(plan) = planned.remove(&layer.name[..]) else {
                continue;
            };
            for change in &plan.changes {
                let (from, to) = if done {
                    (change.new, change.old)
                } else {
                    (change.old, change.new)
                };
                match values.get_mut(change.channel) {
                    Some(value) if value.to_bits() == from.to_bits() => *value = to,
                    _ => {
                        let reason = "its γ are not those of the edit any more";
                        return Err(Error::refused(checkpoint.path(), reason));
                    }
                }
            }
            *count = plan.changes.len();
        }
        if !planned.is_empty() {
            let reason = "its layers are not those of the edit any more";
            return Err(Error::refused(checkpoint.path(), reason));
        }
        let (before, after) = if done { (there, here) } else { (here, there) };
        let kept = [(&before, masks[0]), (&after, masks[1])]
            .map(|(values, mask)| collect::unpruned(network, values, mask));
        let axes = collect::axes(&[&kept[0], &kept[1]]);
        let report = |values: Vec<Vec<f64>>, mask: &Mask| {
            let network = collect::network_report(checkpoint, network, values, mask, axes);
            collect::report(checkpoint, vec![network])
        };
        Ok(Edited {
            before: report(before, masks[0]),
            after: report(after, masks[1]),
            regenerated,
            done,
            rule: String::new(),
            summary: Value::Null,
            warnings: Vec::new(),
        })
    }

    /// The network before and after.
    pub(super) fn networks(&self) -> (&NetworkReport, &NetworkReport) {
        (&self.before.networks[0], &self.after.networks[0])
    }

    /// Both reports as `inspect --json` has them, what `apply --json` says, and the number of
    /// channels that changed in each layer.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "apply": self.summary,
            "before": to_json(&self.before),
            "after": to_json(&self.after),
            "regenerated": self.regenerated,
        })
    }
}
