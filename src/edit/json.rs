//! What an edit did, as `apply --json`, `prune --json` and `undo --json` print it. Fields may be added here, never
//! changed.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{Applied, Cadence, Planned, Pruned, Undone};
use crate::error::Result;
use crate::record::tool;
use crate::regen::{LayerPlan, Rule};
use crate::storage;

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
            "pruned": self.planned.as_ref().map_or(0, Planned::pruned),
            "layers_touched": plan.map_or(0, |plan| plan.layers_touched()),
            "layers": plan.map_or_else(Vec::new, |plan| plan.layers.iter().map(layer).collect()),
            "optimizer_tensors_reset": self.slots_reset,
            "warnings": warnings,
            "record": self.record.as_deref().map(text),
        })
    }
}

impl Pruned {
    /// The pruning of `path` as JSON; `warnings` are all that a user should hear.
    pub fn to_json(&self, path: &Path, warnings: &[String]) -> Value {
        let spared: HashMap<&str, usize> = self
            .spared
            .iter()
            .map(|(layer, kept)| (&layer[..], *kept))
            .collect();
        let layer = |(name, channels, pruned): (&str, usize, &[usize])| {
            json!({
                "name": name,
                "channels": channels,
                "pruned": pruned.len(),
                "spared": spared.get(name).copied().unwrap_or(0),
            })
        };
        json!({
            "path": text(path),
            "output": (!self.dry_run).then(|| text(&self.output)),
            "root": self.network.root,
            "method": self.pruning.method,
            "ratio": self.pruning.ratio,
            "norm_ratio": self.pruning.norm_ratio,
            "min_channels": self.pruning.min_channels,
            "filters_only": self.pruning.filters_only,
            "threshold": self.plan.threshold,
            "counted": self.plan.counted,
            "pruned": self.mask.count(),
            "pruned_before": self.before.count(),
            "layers": self.mask.layers().map(layer).collect::<Vec<_>>(),
            "warnings": warnings,
            "notes": self.notes,
            "record": self.record.as_deref().map(text),
        })
    }

    /// Writes what was planned: the γ that become 0, and the mask.
    pub(super) fn write_plan(&self, file: &Path) -> Result<()> {
        let plan = json!({
            "version": 1,
            "tool": tool(),
            "root": self.network.root,
            "gamma_sha256": self.gamma_sha256,
            "pruning": self.pruning,
            "threshold": self.plan.threshold,
            "layers": self.plan.layers,
            "mask": self.mask,
        });
        let mut text = serde_json::to_string_pretty(&plan).expect("a plan is plain JSON");
        text.push('\n');
        storage::replace_file(file, text.as_bytes())
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
