//! What an edit did, as `apply --json` and `undo --json` print it. Fields may be added here, never
//! changed.

use std::path::Path;

use serde_json::{Value, json};

use super::{Applied, Cadence, Undone};
use crate::regen::{LayerPlan, Rule};

impl Applied {
    /// The edit of `path` as JSON. `rule` is the one to be named where none was applied, and `warnings`
    /// are all that a user should hear.
    pub fn to_json(
        &self,
        path: &Path,
        rule: Rule,
        cadence: &Cadence,
        warnings: &[String],
    ) -> Value {
        let plan = self.planned.as_ref().map(|planned| &planned.plan);
        let layer = |layer: &LayerPlan| {
            json!({
                "name": layer.name,
                "threshold": layer.threshold,
                "target": layer.target,
                "regenerated": layer.changes.len(),
            })
        };
        let rule = self.planned.as_ref().map_or(rule, |p| p.options.rule);
        json!({
            "path": text(path),
            "output": (!self.dry_run).then(|| text(&self.output)),
            "due": cadence.due.now,
            "epoch": cadence.epoch,
            "epoch_read_from": cadence.read_from,
            "next": cadence.due.next,
            "root": self.planned.as_ref().map(|planned| &planned.network.root),
            "rule": rule.to_string(),
            "threshold": plan.and_then(|plan| plan.threshold),
            "target": plan.and_then(|plan| plan.target),
            "counted": plan.map_or(0, |plan| plan.counted),
            "regenerated": plan.map_or(0, |plan| plan.regenerated()),
            "layers_touched": plan.map_or(0, |plan| plan.layers_touched()),
            "layers": plan.map_or_else(Vec::new, |plan| plan.layers.iter().map(layer).collect()),
            "optimizer_tensors_reset": self.slots_reset,
            "warnings": warnings,
            "record": self.record.as_deref().map(text),
        })
    }
}

impl Undone {
    /// What was taken back in `path`, as JSON.
    pub fn to_json(&self, path: &Path) -> Value {
        json!({
            "path": text(path),
            "restored": self.restored.map(|(channels, _)| channels),
            "layers": self.restored.map(|(_, layers)| layers),
            "edits_left": self.left,
            "warnings": self.warnings,
        })
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
