//! What changed between two checkpoints: γ by layer, and whether anything else did.

mod gamma;
mod pairs;
mod regeneration;
mod sided;
mod tensors;
mod terminal;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use gamma::{GammaDiff, Incompatible, LayerDiff, Move, OneSided};
pub use regeneration::Regeneration;
pub use sided::{Counts, DrawnCounts, DrawnEdges, Edges, Sided};
pub use tensors::{Mismatch, TensorName, Tensors, Uncompared};

use super::{Summary, masked};
use crate::batchnorm::{self, Network, Schema};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::name::without;
use crate::record;
use crate::regen::Mask;
use crate::storage::Progress;

/// Two checkpoints beside each other. Layers and tensors are matched by name, so that formats and
/// their order of tensors do not matter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The first checkpoint.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Whether nothing differs, and all that was to be compared could be.
    pub equal: bool,
    /// The networks that both have: those of one root, else those that alone have their role.
    pub networks: Vec<NetworkDiff>,
    /// Networks of the first that the second has no counterpart of.
    pub networks_only_in_a: Vec<NetworkName>,
    /// The other way round.
    pub networks_only_in_b: Vec<NetworkName>,
    /// All tensors that are no γ of these networks; `None` where only γ were compared.
    pub tensors: Option<Tensors>,
}

/// One of the two checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// As the user named it.
    pub path: String,
    /// Its format, as in `inspect --json`.
    pub format: &'static str,
    /// Finished epochs, where the checkpoint says it.
    pub epoch: Option<u64>,
    /// Where it says it.
    pub epoch_read_from: Option<String>,
}

/// What a network is called.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkName {
    /// See [`Network::root`].
    pub root: String,
    /// See [`Network::role`].
    pub role: &'static str,
}

/// The γ of one network in both checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkDiff {
    /// Its root in the first.
    pub root_a: String,
    /// Its root in the second.
    pub root_b: String,
    /// What it is for, in the first.
    pub role: &'static str,
    /// All of its γ in the first.
    pub a: Sided,
    /// All of its γ in the second.
    pub b: Sided,
    /// The bins of all histograms.
    pub histogram: Edges,
    /// What the names of all layers of both begin with, up to and with a dot or slash.
    #[serde(skip)]
    pub names_begin_with: String,
    /// The regeneration that makes the γ of the second out of those of the first, bit for bit.
    pub regeneration: Option<Regeneration>,
    /// Over the layers of both.
    #[serde(flatten)]
    pub total: GammaDiff,
    /// How many layers both have and can be compared.
    pub layer_count: usize,
    /// How many layers differ, or are in one checkpoint only.
    pub layers_changed: usize,
    /// Each layer of both, in the order of the first; but for those that [`Diff::keep_layers`]
    /// took out.
    pub layers: Vec<LayerDiff>,
    /// Layers of the first that the second has not.
    pub only_in_a: Vec<OneSided>,
    /// The other way round.
    pub only_in_b: Vec<OneSided>,
    /// Layers of both that cannot be compared.
    pub incompatible: Vec<Incompatible>,
}

/// How two checkpoints are compared.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// How BatchNorm layers are found.
    pub schema: Schema,
    /// Leave all other tensors out: only headers and γ are read.
    pub gamma_only: bool,
    /// The record of the edit that made the second checkpoint, instead of the one beside it.
    pub record: Option<PathBuf>,
    /// The channels that are pruned in both, instead of those that the records have.
    pub mask: Option<Mask>,
}

/// Compares two checkpoints. Memory stays bounded whatever their size; `progress` hears of bytes
/// compared.
///
/// # Errors
/// A file that cannot be read, or in which no BatchNorm is found.
pub fn diff(a: &Path, b: &Path, options: &DiffOptions, progress: Progress<'_>) -> Result<Diff> {
    let open = |path: &Path| -> Result<(Checkpoint, Vec<Network>)> {
        let checkpoint = Checkpoint::open(path)?;
        let networks = batchnorm::locate(&checkpoint, &options.schema)?;
        if networks.is_empty() {
            return Err(batchnorm::nothing_found(&checkpoint));
        }
        masked::check(&checkpoint, &networks, options.mask.as_ref())?;
        Ok((checkpoint, networks))
    };
    let ((a, in_a), (b, in_b)) = (open(a)?, open(b)?);
    let recorded = record::recorded(&b, options.record.as_deref())?;
    let paired = pairs::pairs(&in_a, &in_b, |network| (&network.root, network.role));
    let mut networks = Vec::with_capacity(paired.both.len());
    let mut gammas = tensors::Gammas::default();
    for (of_a, of_b) in paired.both {
        let given = options.mask.as_ref();
        let mask_a = masked::of_network(&a, of_a, given, None)?;
        let mask_b = masked::of_network(&b, of_b, given, options.record.as_deref())?;
        let masks = [&mask_a, &mask_b];
        let (network, compared) = gamma::compare((&a, of_a), (&b, of_b), masks, &recorded)?;
        gammas.add(compared);
        networks.push(network);
    }
    [&a, &b].into_iter().for_each(|side| gammas.add_ties(side));
    let tensors = if options.gamma_only {
        None
    } else {
        Some(tensors::compare(&a, &b, &gammas, progress)?)
    };
    let names = |networks: Vec<&Network>| networks.into_iter().map(NetworkName::of).collect();
    let mut diff = Diff {
        a: Side::of(&a),
        b: Side::of(&b),
        equal: false,
        networks,
        networks_only_in_a: names(paired.only_a),
        networks_only_in_b: names(paired.only_b),
        tensors,
    };
    diff.equal = diff.networks_only_in_a.is_empty()
        && diff.networks_only_in_b.is_empty()
        && diff.networks.iter().all(|n| n.layers_changed == 0)
        && diff.tensors.as_ref().is_none_or(Tensors::all_equal);
    Ok(diff)
}

impl Diff {
    /// Leaves only the layers that `shown` accepts. What is said of networks stays that of all
    /// layers.
    pub fn keep_layers(&mut self, shown: impl Fn(&str) -> bool) {
        for network in &mut self.networks {
            network.layers.retain(|layer| shown(&layer.name));
            network.only_in_a.retain(|layer| shown(&layer.name));
            network.only_in_b.retain(|layer| shown(&layer.name));
            network.incompatible.retain(|layer| shown(&layer.name));
        }
    }
}

impl NetworkDiff {
    /// The name of a layer as a table has it, without what all begin with.
    pub(super) fn short_name<'l>(&self, layer: &'l LayerDiff) -> &'l str {
        without(&layer.name, &self.names_begin_with)
    }
}

impl Side {
    fn of(checkpoint: &Checkpoint) -> Side {
        let epochs = checkpoint.training().epochs.as_ref();
        Side {
            path: checkpoint.path().to_string_lossy().into_owned(),
            format: checkpoint.format().name(),
            epoch: epochs.map(|epochs| epochs.finished),
            epoch_read_from: epochs.map(|epochs| epochs.read_from.clone()),
        }
    }
}

impl NetworkName {
    fn of(network: &Network) -> NetworkName {
        NetworkName {
            root: network.root.clone(),
            role: network.role.name(),
        }
    }
}
