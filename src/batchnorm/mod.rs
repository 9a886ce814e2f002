//! The table of tensors → the layers that normalise and scale by γ, grouped into networks.
//!
//! A BatchNorm is recognised by what it consists of, not by what it is called: a float γ with a
//! running mean and a running variance beside it, all one-dimensional and of one length. Leaf
//! names are those of a few dialects (`pattern.rs`), or of a [`Schema`]. IterNorm is recognised in the same way: γ of
//! shape `[1, C, 1, 1]`, and beside it the running mean `[groups, d, 1]` and whitening matrices `[groups, d, d]`.

mod copies;
mod explain;
mod find;
mod modules;
mod network;
mod pattern;
mod schema;
mod select;

pub use explain::{Verdict, explain};
pub(crate) use modules::one_median;
pub use schema::{Schema, template};
pub use select::{Filter, NOTHING_FOUND, filter, select};
pub(crate) use select::{
    filter_batch_norms, iter_norms_left, nothing_found, nothing_found_in, only_raw,
};

pub use crate::checkpoint::Role;
use crate::checkpoint::{Checkpoint, StateDict, Tensor};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use std::collections::HashSet;

/// One network of a checkpoint.
#[derive(Debug, Clone)]
pub struct Network {
    /// What tells it from the other networks of the file: the state dict it lies in, what the names of
    /// an average or teacher begin with, or both. Empty when the whole file is one network.
    pub root: String,
    /// Whether these are the weights in training.
    pub role: Role,
    /// Its BatchNorm and IterNorm layers, in the order of the state dict or else in natural order of names.
    pub layers: Vec<Layer>,
}

/// Which normalisation a layer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayerKind {
    /// Each channel by its own mean and variance.
    #[default]
    BatchNorm,
    /// Iterative normalisation: groups of channels, decorrelated (Huang et al. 2019).
    IterNorm,
}

impl LayerKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            LayerKind::BatchNorm => "BatchNorm",
            LayerKind::IterNorm => "IterNorm",
        }
    }
}

/// Why γ of IterNorm are left alone unless they are asked for.
pub const ITER_NORM_LEFT_ALONE: &str = "IterNorm scales decorrelated channels: the filter before a small γ still \
     reaches the other channels of its group and gets gradients by them, so that it is not dead as behind BatchNorm";

/// One layer that normalises and scales by γ.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The name of its γ without the last component.
    pub name: String,
    /// BatchNorm, or IterNorm.
    pub kind: LayerKind,
    /// Which of [`Checkpoint::dicts`] it lies in.
    pub dict: usize,
    /// Its γ in that state dict; `None` where the format has none that could be read.
    pub gamma: Option<usize>,
    /// Number of channels; 0 where there is no γ that could be read.
    pub channels: usize,
    /// Whether it lacks the batch counter that other layers of its network have, as a frozen
    /// BatchNorm does.
    pub frozen: bool,
    /// Why its γ cannot be edited, if it cannot.
    pub fixed: Option<String>,
    /// Its running mean and variance in that state dict, where they were found by their names.
    pub statistics: [Option<usize>; 2],
    /// Its β: none where it has a scale only, several where nodes of a graph share one γ.
    pub betas: Vec<Beta>,
}

/// A β of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beta {
    /// Its tensor in the state dict of the layer; `None` where the format has none that could be read.
    pub tensor: Option<usize>,
    /// Why it cannot be edited, if it cannot.
    pub fixed: Option<String>,
}

impl Network {
    /// Number of channels of all layers, at most `usize::MAX`: a γ of one element that is repeated
    /// may have any number of them.
    pub fn channels(&self) -> usize {
        let channels = self.layers.iter().map(|layer| layer.channels);
        channels.fold(0, usize::saturating_add)
    }
}

impl Layer {
    /// The tensor that holds γ.
    pub fn tensor<'c>(&self, checkpoint: &'c Checkpoint) -> Option<&'c Tensor> {
        Some(&checkpoint.dicts()[self.dict].tensors[self.gamma?])
    }

    /// The type and the bytes of its γ; `None` where there is none that can be read as it stands.
    pub(crate) fn gamma(&self, checkpoint: &Checkpoint) -> Result<Option<(Dtype, Vec<u8>)>> {
        self.tensor(checkpoint)
            .filter(|tensor| tensor.dtype.is_editable_float() && tensor.fixed.is_none())
            .map(|tensor| Ok((tensor.dtype, checkpoint.read(tensor)?)))
            .transpose()
    }
}

/// The networks of a checkpoint, raw ones first.
///
/// A BatchNorm whose γ and statistics have different lengths is an error, unless the schema
/// excludes it. No BatchNorm at all is an empty list.
pub fn locate(checkpoint: &Checkpoint, schema: &Schema) -> Result<Vec<Network>> {
    let mut networks = Vec::new();
    for (index, dict) in checkpoint.dicts().iter().enumerate() {
        let layers = match checkpoint.declared_norms() {
            Some(norms) => declared(checkpoint, index, norms, schema),
            None => find::layers(dict, index, schema).map_err(|mismatch| {
                let tensor = &dict.tensors[mismatch.tensor];
                let path = checkpoint.sources()[tensor.source].path();
                Error::malformed(path, &tensor.name, mismatch.expected, mismatch.found)
            })?,
        };
        networks.extend(grouped(dict, layers, schema));
    }
    networks.sort_by_key(|network| network.role);
    if checkpoint.declared_norms().is_none() {
        mark_shared(checkpoint, &mut networks);
        each_once(checkpoint.dicts(), &mut networks);
    }
    Ok(networks)
}

/// The networks of a state dict that lies in no file, raw ones first.
pub(crate) fn locate_in(
    dict: &StateDict,
    schema: &Schema,
) -> std::result::Result<Vec<Network>, find::Mismatch> {
    let mut networks = grouped(dict, find::layers(dict, 0, schema)?, schema);
    networks.sort_by_key(|network| network.role);
    Ok(networks)
}

/// The networks that the layers of a state dict make.
fn grouped(dict: &StateDict, mut layers: Vec<Layer>, schema: &Schema) -> Vec<Network> {
    if !dict.ordered {
        layers.sort_by(|a, b| alphanumeric_sort::compare_str(&a.name, &b.name));
    }
    network::split(dict, layers, schema)
}

/// The layers that an ONNX graph declares, in its order.
fn declared(
    checkpoint: &Checkpoint,
    dict: usize,
    norms: &[crate::checkpoint::DeclaredNorm],
    schema: &Schema,
) -> Vec<Layer> {
    let tensors = &checkpoint.dicts()[dict].tensors;
    let layer = |norm: &crate::checkpoint::DeclaredNorm| Layer {
        name: norm.layer.clone(),
        kind: LayerKind::BatchNorm,
        dict,
        gamma: norm.gamma,
        channels: norm.gamma.and_then(|g| tensors[g].channels()).unwrap_or(0) as usize,
        frozen: false,
        fixed: norm.editable.clone().err(),
        statistics: [None; 2],
        betas: (norm.betas.iter())
            .map(|beta| Beta {
                tensor: beta.tensor,
                fixed: beta.editable.clone().err(),
            })
            .collect(),
    };
    norms
        .iter()
        .map(layer)
        .filter(|layer| !schema.excludes(&layer.name))
        .collect()
}

/// Marks γ whose bytes something else than γ uses too.
fn mark_shared(checkpoint: &Checkpoint, networks: &mut [Network]) {
    let layers = networks.iter().flat_map(|network| &network.layers);
    let gammas = layers.filter_map(|layer| Some((layer.dict, layer.gamma?)));
    let shared = checkpoint.shared_gammas(&gammas.collect());
    for layer in networks.iter_mut().flat_map(|network| &mut network.layers) {
        let with = layer
            .gamma
            .and_then(|gamma| shared.get(&(layer.dict, gamma)));
        if let Some(with) = with {
            let reason = || format!("its bytes are also used by {with}");
            layer.fixed.get_or_insert_with(reason);
        }
    }
}

/// Marks β whose bytes something else than β uses too.
pub(crate) fn mark_shared_betas(checkpoint: &Checkpoint, layers: &mut [Layer]) {
    if checkpoint.declared_norms().is_some() {
        return;
    }
    let betas = layers.iter().flat_map(|layer| {
        let tensors = layer.betas.iter().filter_map(|beta| beta.tensor);
        tensors.map(|tensor| (layer.dict, tensor))
    });
    let shared = checkpoint.shared_gammas(&betas.collect());
    for layer in layers {
        for beta in &mut layer.betas {
            let with = beta.tensor.and_then(|beta| shared.get(&(layer.dict, beta)));
            if let Some(with) = with {
                let reason = || format!("its bytes are also used by {with}");
                beta.fixed.get_or_insert_with(reason);
            }
        }
    }
}

/// Counts a γ that several names share once, and leaves out a network of which every γ is one of
/// another: a module that was pickled beside its own state dict.
pub(crate) fn each_once(dicts: &[StateDict], networks: &mut Vec<Network>) {
    let place = |layer: &Layer| {
        let tensor = &dicts[layer.dict].tensors[layer.gamma?];
        Some((tensor.source, tensor.offset, tensor.len))
    };
    let mut known = HashSet::new();
    networks.retain_mut(|network| {
        let mut own = HashSet::new();
        let mut again = Vec::new();
        network.layers.retain_mut(|layer| match place(layer) {
            Some(place) if !own.insert(place) => {
                again.push((place, std::mem::take(&mut layer.betas)));
                false
            }
            _ => true,
        });
        for (shared, betas) in again {
            let mut layers = network.layers.iter_mut();
            if let Some(layer) = layers.find(|layer| place(layer) == Some(shared)) {
                let new = betas.into_iter().filter(|beta| !layer.betas.contains(beta));
                let new: Vec<Beta> = new.collect();
                layer.betas.extend(new);
            }
        }
        let is_other = network.layers.iter().any(|layer| {
            // A γ without bytes is its layer's own.
            place(layer).is_none_or(|place| place.2 == 0 || !known.contains(&place))
        });
        known.extend(own);
        is_other
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_channels_than_can_be_counted_are_the_most_that_can() {
        let layer = Layer {
            name: "bn".to_owned(),
            kind: LayerKind::BatchNorm,
            dict: 0,
            gamma: None,
            channels: i64::MAX as usize,
            frozen: false,
            fixed: None,
            statistics: [None; 2],
            betas: Vec::new(),
        };
        let network = Network {
            root: String::new(),
            role: Role::Raw,
            layers: vec![layer; 3],
        };
        assert_eq!(network.channels(), usize::MAX);
    }
}
