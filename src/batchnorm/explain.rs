//! Why each one-dimensional tensor is, or is not, a γ.

use super::find::{Finder, Finding};
use super::{Schema, find};
use crate::checkpoint::Checkpoint;

/// What was decided about one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state dict it lies in (see [`StateDict::root`](crate::checkpoint::StateDict::root)).
    pub root: String,
    /// Its name there.
    pub tensor: String,
    /// Type and shape, as `F32 [16]`.
    pub shape: String,
    /// Whether it is taken for a γ.
    pub gamma: bool,
    /// Why.
    pub reason: String,
}

/// A verdict on every one-dimensional tensor, in the order of the file.
pub fn explain(checkpoint: &Checkpoint, schema: &Schema) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (index, dict) in checkpoint.dicts().iter().enumerate() {
        let finder = Finder::new(checkpoint, index, schema);
        for (number, tensor) in dict.tensors.iter().enumerate() {
            if tensor.shape.len() != 1 {
                continue;
            }
            let excluded = schema.excludes(find::layer_name(&tensor.name));
            let (gamma, reason) = match finder.judge(number) {
                _ if excluded => (false, "excluded by the schema".to_owned()),
                Finding::Gamma(layer, _) => (true, taken(&layer.fixed, schema)),
                Finding::Mismatch { expected, found } => (
                    false,
                    format!("damaged: expected {expected}, found {found}"),
                ),
                Finding::Left(reason) => (false, reason.unwrap_or_else(|| finder.part_of(tensor))),
            };
            verdicts.push(Verdict {
                root: dict.root.clone(),
                tensor: tensor.name.clone(),
                shape: format!("{} {:?}", tensor.dtype, tensor.shape),
                gamma,
                reason,
            });
        }
    }
    verdicts
}

fn taken(fixed: &Option<String>, schema: &Schema) -> String {
    let base = if schema.is_default() {
        "running mean and variance of the same length beside it"
    } else {
        "matches the schema"
    };
    match fixed {
        Some(reason) => format!("{base}; {reason}"),
        None => base.to_owned(),
    }
}
