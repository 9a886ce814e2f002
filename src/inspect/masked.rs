//! Pruned channels, which are shown apart from inhibited ones.

use std::path::Path;

use crate::batchnorm::{Layer, Network};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::record::{Known, check_mask, known_mask};
use crate::regen::Mask;

/// # Errors
/// `given` is not one of the layers of these networks.
pub(super) fn check(
    checkpoint: &Checkpoint,
    networks: &[Network],
    given: Option<&Mask>,
) -> Result<()> {
    let layers = networks.iter().flat_map(|network| &network.layers);
    let layers = layers.map(|layer| (&layer.name[..], layer.channels));
    given.map_or(Ok(()), |mask| check_mask(checkpoint.path(), mask, layers))
}

/// The pruned channels of a network: those `given`, else those that the record beside the checkpoint
/// has, or the one named.
pub(super) fn of_network(
    checkpoint: &Checkpoint,
    network: &Network,
    given: Option<&Mask>,
    record: Option<&Path>,
) -> Result<Mask> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let names = |layer: &'_ Layer| {
        let tensor = layer.tensor(checkpoint).filter(|t| t.fixed.is_none())?;
        let dict = &checkpoint.dicts()[layer.dict].root;
        Some((layer.name.clone(), dict.clone(), tensor.name.clone()))
    };
    let names: Vec<_> = network.layers.iter().filter_map(names).collect();
    let names = names
        .iter()
        .map(|(layer, dict, tensor)| (&layer[..], &dict[..], &tensor[..]));
    Ok(
        match known_mask(checkpoint, record, &names.collect::<Vec<_>>())? {
            Known::Mask(mask) => mask,
            Known::Nothing | Known::Stale { .. } => Mask::default(),
        },
    )
}

/// The values of the channels that are not pruned.
pub(super) fn unpruned(values: &[f64], pruned: &[usize]) -> Vec<f64> {
    if pruned.is_empty() {
        return values.to_vec();
    }
    let all = values.iter().enumerate();
    let kept = all.filter(|(channel, _)| pruned.binary_search(channel).is_err());
    kept.map(|(_, value)| *value).collect()
}
