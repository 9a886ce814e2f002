//! Which network, and which of its layers, an edit is about.

use std::path::Path;

use regex::Regex;

use super::{Layer, Network, Role};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

/// Regular expressions on layer names.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// When there are any, only layers that match one of them.
    pub include: Vec<Regex>,
    /// No layer that matches one of them.
    pub exclude: Vec<Regex>,
}

impl Filter {
    /// Whether a layer passes.
    pub fn passes(&self, layer: &str) -> bool {
        let any = |list: &[Regex]| list.iter().any(|regex| regex.is_match(layer));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// The network to edit: the one at `root`, or the only raw one.
pub fn select<'n>(path: &Path, networks: &'n [Network], root: Option<&str>) -> Result<&'n Network> {
    let listed = || {
        let line = |n: &Network| format!("{:?} ({}, {} layers)", n.root, n.role, n.layers.len());
        networks.iter().map(line).collect::<Vec<_>>().join(", ")
    };
    if let Some(root) = root {
        return networks
            .iter()
            .find(|network| network.root == root)
            .ok_or_else(|| {
                Error::malformed(
                    path,
                    "--root",
                    format!("one of {}", listed()),
                    format!("{root:?}"),
                )
            });
    }
    let mut raw = networks.iter().filter(|network| network.role == Role::Raw);
    match (raw.next(), raw.next()) {
        (Some(network), None) => Ok(network),
        (None, _) => Err(Error::refused(
            path,
            format!(
                "has no network in training, only {}: name one with --root",
                listed()
            ),
        )),
        (Some(_), Some(_)) => Err(Error::refused(
            path,
            format!(
                "has several networks: {}. Name the one to edit with --root",
                listed()
            ),
        )),
    }
}

/// The layers of `network` that pass, at least one.
pub fn filter<'n>(path: &Path, network: &'n Network, filter: &Filter) -> Result<Vec<&'n Layer>> {
    let layers: Vec<&Layer> = network
        .layers
        .iter()
        .filter(|l| filter.passes(&l.name))
        .collect();
    if layers.is_empty() {
        let first = network
            .layers
            .iter()
            .take(4)
            .map(|layer| &layer.name[..])
            .collect::<Vec<_>>();
        let found = format!(
            "{} layers, none of them ({}, …)",
            network.layers.len(),
            first.join(", ")
        );
        return Err(Error::malformed(
            path,
            "network",
            "layers that pass the filters",
            found,
        ));
    }
    Ok(layers)
}

/// The error for a checkpoint without any BatchNorm: what was looked for, what is there instead.
pub(crate) fn nothing_found(checkpoint: &Checkpoint) -> Error {
    if checkpoint.is_folded() {
        let reason = "has convolutions and no BatchNormalization: the export folded it into them, \
                      and there is no γ left to edit. Export with training=TrainingMode.PRESERVE, \
                      do_constant_folding=False, or with torch.onnx.export(dynamo=True, \
                      optimize=False)";
        return Error::refused(checkpoint.path(), reason);
    }
    let tensors = || checkpoint.dicts().iter().flat_map(|dict| &dict.tensors);
    let (count, flat) = (
        tensors().count(),
        tensors().filter(|t| t.shape.len() == 1).count(),
    );
    let names: Vec<&str> = tensors().take(4).map(|tensor| &tensor.name[..]).collect();
    let some = if names.is_empty() {
        String::new()
    } else {
        format!(" ({}, …)", names.join(", "))
    };
    Error::malformed(
        checkpoint.path(),
        "BatchNorm",
        "layers with γ, running mean and running variance (weight, running_mean, running_var; \
         gamma, moving_mean, moving_variance; gamma, running_mean, running_var; params/…/scale, \
         batch_stats/…/mean, var)",
        format!(
            "{count} tensors, {flat} of them one-dimensional{some}. --explain says why each was \
             left; --schema names them otherwise"
        ),
    )
}
