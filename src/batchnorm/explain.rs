//! Why each one-dimensional tensor, and each of shape [1, C, 1, 1], is, or is not, a γ.

use super::find::{Finder, Finding};
use super::{ITER_NORM_LEFT_ALONE, Layer, LayerKind, Schema, find};
use crate::checkpoint::{Checkpoint, Tensor};

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

/// A verdict on every one-dimensional tensor, and on every one of shape `[1, C, 1, 1]`, in the order of the file.
pub fn explain(checkpoint: &Checkpoint, schema: &Schema) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (index, dict) in checkpoint.dicts().iter().enumerate() {
        let finder = Finder::new(dict, index, schema);
        for (number, tensor) in dict.tensors.iter().enumerate() {
            if !matches!(tensor.shape[..], [_] | [1, _, 1, 1]) {
                continue;
            }
            if let Some(norms) = checkpoint.declared_norms() {
                let norm = norms.iter().find(|norm| norm.gamma == Some(number));
                let reason = match norm {
                    None => "no BatchNormalization takes it for its γ".to_owned(),
                    Some(norm) => match &norm.editable {
                        Ok(()) => format!("γ of the node {}", norm.node),
                        Err(why) => format!("γ of the node {}; {why}", norm.node),
                    },
                };
                verdicts.push(verdict(&dict.root, tensor, norm.is_some(), reason));
                continue;
            }
            let excluded = schema.excludes(find::layer_name(&tensor.name));
            let (gamma, reason) = match finder.judge(number) {
                _ if excluded => (false, "excluded by the schema".to_owned()),
                Finding::Gamma(layer, _) => (true, taken(&layer, schema)),
                Finding::Mismatch { expected, found } => (
                    false,
                    format!("damaged: expected {expected}, found {found}"),
                ),
                Finding::Left(reason) => (false, reason.unwrap_or_else(|| finder.part_of(tensor))),
            };
            verdicts.push(verdict(&dict.root, tensor, gamma, reason));
        }
    }
    verdicts
}

fn verdict(root: &str, tensor: &Tensor, gamma: bool, reason: String) -> Verdict {
    let shape = format!("{} {:?}", tensor.dtype, tensor.shape);
    Verdict {
        root: root.to_owned(),
        tensor: tensor.name.clone(),
        shape,
        gamma,
        reason,
    }
}

fn taken(layer: &Layer, schema: &Schema) -> String {
    let base = match layer.kind {
        LayerKind::IterNorm => format!(
            "running mean and whitening matrices beside it: IterNorm; regenerated only when asked for, since \
             {ITER_NORM_LEFT_ALONE}"
        ),
        _ if schema.is_default() => {
            "running mean and variance of the same length beside it".to_owned()
        }
        _ => "matches the schema".to_owned(),
    };
    match &layer.fixed {
        Some(reason) => format!("{base}; {reason}"),
        None => base,
    }
}
