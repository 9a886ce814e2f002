//! Which channels of a network are pruned: as the caller says, or the record.

use std::path::Path;

use super::gamma::GammaBytes;
use crate::batchnorm::{self, Layer, Network, Schema};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::record::{Known, Place, check_mask, known_mask};
use crate::regen::Mask;

/// The pruned channels of a network of `checkpoint`, the one that `root` names or the only raw one, by the
/// record of its edits; none where it has none, or that knows of none.
///
/// # Errors
/// No such network, or several; a record, a state or a γ that cannot be read.
pub fn pruned_channels(checkpoint: &Checkpoint, root: Option<&str>) -> Result<Option<Mask>> {
    if !Place::of(checkpoint.anchor(), None).read.is_file() {
        return Ok(None);
    }
    let networks = batchnorm::locate(checkpoint, &Schema::default())?;
    let network = batchnorm::select(checkpoint, &networks, root)?;
    let gammas = GammaBytes::of_network(checkpoint, &network)?;
    Ok(match known(checkpoint, None, &gammas)? {
        Known::Mask(mask) => Some(mask),
        Known::Nothing | Known::Stale { .. } => None,
    })
}

/// What the record of `checkpoint`, or the one named, says of these γ.
pub(super) fn known(
    checkpoint: &Checkpoint,
    record: Option<&Path>,
    gammas: &[GammaBytes],
) -> Result<Known> {
    let dict = |gamma: &GammaBytes| &checkpoint.dicts()[gamma.layer.dict].root[..];
    let names = gammas.iter();
    let names: Vec<(&str, &str, &str)> = names
        .map(|gamma| (&gamma.layer.name[..], dict(gamma), &gamma.tensor[..]))
        .collect();
    known_mask(checkpoint, record, &names)
}

/// # Errors
/// `mask` is not one of the layers of `network`, or of the networks in the state dicts that it lies in.
pub(super) fn check(
    path: &Path,
    networks: &[Network],
    network: &Network,
    mask: &Mask,
) -> Result<()> {
    let in_dict = |layer: &&Layer| network.layers.iter().any(|own| own.dict == layer.dict);
    let others = networks.iter().flat_map(|network| &network.layers);
    let layers = others.filter(in_dict).chain(&network.layers);
    let layers = layers.map(|layer| (&layer.name[..], layer.channels));
    check_mask(path, mask, layers)
}

/// That the record's mask does not hold any more, in a sentence.
pub(super) fn stale(pruned: usize, alive: usize) -> String {
    format!(
        "the record has {pruned} pruned channels, and γ of {alive} of them is not 0 any more: its mask \
         is not used"
    )
}
