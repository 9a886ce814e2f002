//! Which channels of a network are pruned: as the caller says, or the record.

use std::path::Path;

use super::gamma::GammaBytes;
use crate::batchnorm::{self, Layer, Network, Schema};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::record::{Known, Place, check_mask, known_mask};
use crate::regen::Mask;

/// The pruned channels of a network of `checkpoint`, the one that `root` names or the only raw one, by the
/// record of its edits; none where it has none, or that knows of none. A mask that does not hold any more
/// becomes one of the `notes`.
///
/// # Errors
/// No such network, or several; a record or a γ that cannot be read.
pub fn pruned_channels(
    checkpoint: &Checkpoint,
    root: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Option<Mask>> {
    if !Place::of(checkpoint.anchor(), None).read.is_file() {
        return Ok(None);
    }
    let networks = batchnorm::locate(checkpoint, &Schema::default())?;
    let network = batchnorm::select(checkpoint, &networks, root)?;
    let gammas = GammaBytes::of_network(checkpoint, &network)?;
    known(checkpoint, None, &gammas, notes)
}

/// The mask that the record of `checkpoint`, or the one named, has of these γ. One that does not hold any
/// more becomes one of the `notes`.
pub(super) fn known(
    checkpoint: &Checkpoint,
    record: Option<&Path>,
    gammas: &[GammaBytes],
    notes: &mut Vec<String>,
) -> Result<Option<Mask>> {
    let dict = |gamma: &GammaBytes| &checkpoint.dicts()[gamma.layer.dict].root[..];
    let names = gammas.iter();
    let names: Vec<(&str, &str, &str)> = names
        .map(|gamma| (&gamma.layer.name[..], dict(gamma), &gamma.tensor[..]))
        .collect();
    Ok(match known_mask(checkpoint, record, &names)? {
        Known::Nothing => None,
        Known::Mask(mask) => Some(mask),
        Known::Stale { pruned, alive } => {
            notes.push(format!(
                "the record has {pruned} pruned channels, and γ of {alive} of them is not 0 any more: its \
                 mask is not used"
            ));
            None
        }
    })
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
