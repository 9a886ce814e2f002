//! Which network, and which of its layers, an edit is about.

use std::collections::HashSet;
use std::path::Path;

use regex_lite::Regex;

use super::copies::is_below;
use super::{ITER_NORM_LEFT_ALONE, Layer, LayerKind, Network, Role};
use crate::checkpoint::{Checkpoint, StateDict};
use crate::error::{Error, Refusal, Result};
use crate::name::SEPARATORS;
use crate::near;

/// Which layers are counted and edited.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// When there are any, only layers that match one of them.
    pub include: Vec<Regex>,
    /// No layer that matches one of them.
    pub exclude: Vec<Regex>,
    /// Whether layers of IterNorm pass: [`ITER_NORM_LEFT_ALONE`](super::ITER_NORM_LEFT_ALONE).
    pub iternorm: bool,
}

impl Filter {
    /// Whether a layer passes.
    pub fn passes(&self, kind: LayerKind, layer: &str) -> bool {
        (self.iternorm || kind == LayerKind::BatchNorm) && self.passes_by_name(layer)
    }

    /// Whether layers pass but for their kind, and none of another kind does.
    fn leaves_iternorm_alone(&self, layers: &[(LayerKind, &str)]) -> bool {
        let by_name = layers.iter().filter(|(_, name)| self.passes_by_name(name));
        let mut passing = by_name.peekable();
        passing.peek().is_some() && passing.all(|(kind, name)| !self.passes(*kind, name))
    }

    fn passes_by_name(&self, layer: &str) -> bool {
        let any = |list: &[Regex]| list.iter().any(|regex| regex.is_match(layer));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }

    /// Whether these layers, of `owner`, are what the expressions were written for.
    ///
    /// # Errors
    /// An expression that matches none of them (with near names), or none that passes; layers of IterNorm alone, which are
    /// not asked for.
    pub(crate) fn check(&self, owner: &str, layers: &[(LayerKind, &str)]) -> Result<()> {
        let names: Vec<&str> = layers.iter().map(|(_, name)| *name).collect();
        let both = [("include", &self.include), ("exclude", &self.exclude)];
        for (argument, list) in both {
            for regex in list {
                if !names.iter().any(|layer| regex.is_match(layer)) {
                    return Err(near::no_match(argument, regex.as_str(), owner, &names));
                }
            }
        }
        if self.leaves_iternorm_alone(layers) {
            let reason = format!(
                "every γ of {owner} that is to be counted is one of IterNorm, which are left alone unless they are asked \
                 for: {ITER_NORM_LEFT_ALONE}"
            );
            return Err(Error::argument("iternorm", "", reason));
        }
        if !names.iter().any(|name| self.passes_by_name(name)) {
            let count = layers.len();
            return Err(Error::Usage(format!(
                "{owner} has {count} BatchNorm layers, and none passes what is to be included and excluded"
            )));
        }
        Ok(())
    }
}

/// The network to edit: the one at `root`, or the only raw one.
///
/// `root` is a network's root, or a prefix of names that ends where a component ends: then it is the
/// part of a network below it, that in training where it holds several.
///
/// # Errors
/// Nothing at `root` (with near names), or several networks to choose from.
pub fn select(
    checkpoint: &Checkpoint,
    networks: &[Network],
    root: Option<&str>,
) -> Result<Network> {
    let path = checkpoint.path();
    let Some(root) = root else {
        return only_raw(path, networks);
    };
    let prefix = root.trim_end_matches(SEPARATORS);
    if let Some(network) = networks.iter().find(|network| network.root == prefix) {
        return Ok(network.clone());
    }
    match &below(checkpoint, networks, prefix)[..] {
        [] => Err(no_root(checkpoint, networks, root)),
        [only] => Ok(only.clone()),
        parts => only_raw(path, parts),
    }
}

/// The only network in training.
pub(crate) fn only_raw(path: &Path, networks: &[Network]) -> Result<Network> {
    let mut raw = networks.iter().filter(|network| network.role == Role::Raw);
    let reason = match (raw.next(), raw.next()) {
        (Some(network), None) => return Ok(network.clone()),
        (None, _) => format!("has no network in training, only {}", listed(networks)),
        (Some(_), Some(_)) => format!("has several networks: {}", listed(networks)),
    };
    Err(Error::refused_for(Refusal::Network, path, reason))
}

fn listed(networks: &[Network]) -> String {
    let line = |n: &Network| format!("{:?} ({}, {} layers)", n.root, n.role, n.layers.len());
    networks.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// Of each network what lies below a prefix, given with or without the state dict's path.
fn below(checkpoint: &Checkpoint, networks: &[Network], prefix: &str) -> Vec<Network> {
    let part = |network: &Network| {
        let dict = &checkpoint.dicts()[network.layers.first()?.dict];
        let rest = prefix
            .strip_prefix(&dict.root)
            .filter(|_| !dict.root.is_empty());
        let own = rest
            .and_then(|rest| rest.strip_prefix(SEPARATORS))
            .unwrap_or(prefix);
        let inside = |layer: &&Layer| is_below(&layer.name, own);
        let layers: Vec<Layer> = network.layers.iter().filter(inside).cloned().collect();
        (!layers.is_empty()).then(|| Network {
            root: dict.path_of(own),
            role: network.role,
            layers,
        })
    };
    networks.iter().filter_map(part).collect()
}

fn no_root(checkpoint: &Checkpoint, networks: &[Network], root: &str) -> Error {
    let mut prefixes: Vec<String> = networks.iter().map(|n| n.root.clone()).collect();
    let mut seen: HashSet<String> = prefixes.iter().cloned().collect();
    for layer in networks.iter().flat_map(|network| &network.layers) {
        let dict = &checkpoint.dicts()[layer.dict];
        let ends = layer.name.match_indices(SEPARATORS).map(|(at, _)| at);
        for at in ends.take_while(|at| *at <= near::MAX_LEN) {
            if prefixes.len() >= MAX_SUGGESTED {
                break;
            }
            let prefix = dict.path_of(&layer.name[..at]);
            if seen.insert(prefix.clone()) {
                prefixes.push(prefix);
            }
        }
    }
    let names: Vec<&str> = prefixes.iter().map(|p| &p[..]).collect();
    let near = near::near(root, names.into_iter());
    let meant = match &near[..] {
        [] => String::new(),
        near => format!("; did you mean {}?", near.join(" or ")),
    };
    let reason = format!(
        "nothing in {} has this name; it has {}{meant}",
        checkpoint.path().display(),
        listed(networks)
    );
    Error::argument("root", format!("{root:?}"), reason)
}

/// Prefixes that are looked at to say which was perhaps meant.
const MAX_SUGGESTED: usize = 2000;

/// The layers of `network` that pass, at least one.
///
/// # Errors
/// None passes, or an expression matches no layer at all: then it is most likely misspelt.
pub fn filter<'n>(path: &Path, network: &'n Network, filter: &Filter) -> Result<Vec<&'n Layer>> {
    filter.check(&path.display().to_string(), &kinds_and_names(network))?;
    let layers = network
        .layers
        .iter()
        .filter(|l| filter.passes(l.kind, &l.name));
    Ok(layers.collect())
}

/// As [`filter`], for an edit that never takes layers of IterNorm.
///
/// # Errors
/// As [`filter`]; only layers of IterNorm pass.
pub(crate) fn filter_batch_norms<'n>(
    path: &Path,
    network: &'n Network,
    by: &Filter,
) -> Result<Vec<&'n Layer>> {
    if by.leaves_iternorm_alone(&kinds_and_names(network)) {
        let reason = format!("only layers of IterNorm are to be edited: {ITER_NORM_LEFT_ALONE}");
        return Err(Error::refused(path, reason));
    }
    filter(path, network, by)
}

fn kinds_and_names(network: &Network) -> Vec<(LayerKind, &str)> {
    let layers = network.layers.iter();
    layers.map(|layer| (layer.kind, &layer.name[..])).collect()
}

/// That layers of IterNorm are left alone, in a sentence, where there are any and they are not asked for.
pub(crate) fn iter_norms_left(network: &Network, filter: &Filter) -> Option<String> {
    let left = network
        .layers
        .iter()
        .filter(|layer| layer.kind == LayerKind::IterNorm);
    let left = left.filter(|_| !filter.iternorm);
    let (layers, channels) = left.fold((0, 0_usize), |(layers, channels), layer| {
        (layers + 1, channels.saturating_add(layer.channels))
    });
    (layers > 0).then(|| {
        format!("{layers} layers of IterNorm, {channels} channels, are left alone: {ITER_NORM_LEFT_ALONE}")
    })
}

/// The place that the error of a checkpoint without any BatchNorm names.
pub const NOTHING_FOUND: &str = "BatchNorm";

/// The error for a checkpoint without any BatchNorm: what was looked for, what is there instead.
pub(crate) fn nothing_found(checkpoint: &Checkpoint) -> Error {
    if checkpoint.is_folded() {
        let reason = "has convolutions and no BatchNormalization: the export folded it into them, \
                      and there is no γ left to edit. Export with training=TrainingMode.PRESERVE, \
                      do_constant_folding=False, or with torch.onnx.export(dynamo=True, \
                      optimize=False)";
        return Error::refused(checkpoint.path(), reason);
    }
    if checkpoint.declared_norms().is_some() {
        let reason = "has no BatchNormalization node: there is no γ in this model";
        return Error::refused(checkpoint.path(), reason);
    }
    nothing_found_in(checkpoint.path(), checkpoint.dicts())
}

/// The same for state dicts, of a file or in memory.
pub(crate) fn nothing_found_in(path: &Path, dicts: &[StateDict]) -> Error {
    let tensors = || dicts.iter().flat_map(|dict| &dict.tensors);
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
        path,
        NOTHING_FOUND,
        "layers with γ, running mean and running variance (weight, running_mean, running_var; \
         gamma, moving_mean, moving_variance; gamma, running_mean, running_var; params/…/scale, \
         batch_stats/…/mean, var)",
        format!("{count} tensors, {flat} of them one-dimensional{some}"),
    )
}
