//! The γ of one network in two checkpoints.

use std::collections::HashMap;

use serde::Serialize;

use super::super::{finite, masked};
use super::{Edges, NetworkDiff, Regeneration, Sided, regeneration};
use crate::batchnorm::{Layer, Network};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::name::shared_beginning;
use crate::regen::{Gamma, Mask, Options, is_inhibited};

/// One layer in both checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerDiff {
    /// The layer's name.
    pub name: String,
    /// The type of γ in the first.
    pub dtype_a: String,
    /// The type of γ in the second.
    pub dtype_b: String,
    /// Its γ in the first.
    pub a: Sided,
    /// Its γ in the second.
    pub b: Sided,
    /// What changed.
    #[serde(flatten)]
    pub gamma: GammaDiff,
}

/// How many γ of a layer or network changed, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct GammaDiff {
    /// Number of γ.
    pub channels: usize,
    /// How many are others: in their bytes, or as numbers where the types differ.
    pub moved: usize,
    /// How many are larger in the second.
    pub rose: usize,
    /// How many are smaller.
    pub fell: usize,
    /// The one that is farthest from where it was.
    pub largest: Option<Move>,
    /// How many are pruned in the second and not in the first; they did not die.
    pub pruned: usize,
    /// How many were not inhibited and are (see [`INHIBITED`](crate::inspect::INHIBITED)).
    pub died: usize,
    /// How many were inhibited and are not.
    pub revived: usize,
    /// How many were regenerated: where a [`Regeneration`] explains the network, those that it
    /// changed; otherwise those that rose from at or below the first one's network median to it or
    /// above it, for whatever cause.
    pub regenerated: usize,
}

/// The change of one γ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Move {
    /// The layer's name.
    pub layer: String,
    /// Counted from 0.
    pub channel: usize,
    /// In the first.
    pub from: f64,
    /// In the second.
    pub to: f64,
    /// How far, and in which direction.
    pub delta: f64,
}

/// A layer that one checkpoint has and the other has not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OneSided {
    /// The layer's name.
    pub name: String,
    /// Its channels.
    pub channels: usize,
}

/// A layer of both that cannot be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Incompatible {
    /// The layer's name.
    pub name: String,
    /// What is in the way.
    pub reason: String,
}

/// γ as they stand in a file.
struct Stored {
    dtype: Dtype,
    bytes: Vec<u8>,
    values: Vec<f64>,
    editable: bool,
    /// The pruned channels, in ascending order.
    pruned: Vec<usize>,
}

impl Stored {
    /// The γ that are not pruned.
    fn kept(&self) -> Vec<f64> {
        masked::unpruned(&self.values, &self.pruned)
    }

    fn is_pruned(&self, channel: usize) -> bool {
        self.pruned.binary_search(&channel).is_ok()
    }
}

/// Compares a network; and says which tensors were compared, in either checkpoint. `masks` are the
/// pruned channels of both.
pub(super) fn compare<'c>(
    (a, of_a): (&'c Checkpoint, &'c Network),
    (b, of_b): (&'c Checkpoint, &'c Network),
    masks: [&Mask; 2],
    recorded: &[Options],
) -> Result<(NetworkDiff, Vec<&'c Tensor>)> {
    let counterparts: HashMap<&str, &Layer> = of_b
        .layers
        .iter()
        .map(|layer| (&layer.name[..], layer))
        .collect();
    let names: HashMap<&str, &Layer> = of_a
        .layers
        .iter()
        .map(|layer| (&layer.name[..], layer))
        .collect();
    let (mut both, mut compared, mut incompatible) = (Vec::new(), Vec::new(), Vec::new());
    for layer in &of_a.layers {
        let Some(other) = counterparts.get(&layer.name[..]) else {
            continue;
        };
        let (in_a, in_b) = (read(a, layer, masks[0])?, read(b, other, masks[1])?);
        match comparable(layer, in_a, other, in_b) {
            Ok(stored) => {
                compared.extend(layer.tensor(a));
                compared.extend(other.tensor(b));
                both.push((&layer.name, stored));
            }
            Err(reason) => incompatible.push(Incompatible {
                name: layer.name.clone(),
                reason,
            }),
        }
    }
    let all = |side: fn(&(Stored, Stored)) -> &Stored| -> Vec<f64> {
        both.iter()
            .flat_map(|(_, stored)| side(stored).kept())
            .collect()
    };
    let pruned = |side: fn(&(Stored, Stored)) -> &Stored| -> usize {
        both.iter()
            .map(|(_, stored)| side(stored).pruned.len())
            .sum()
    };
    let (pruned_a, pruned_b) = (pruned(|(a, _)| a), pruned(|(_, b)| b));
    let (all_a, all_b) = (all(|(a, _)| a), all(|(_, b)| b));
    let mut both_sides = finite(all_a.iter().chain(&all_b));
    let edges = Edges::over(&mut both_sides);
    let side_a = Sided::of(&all_a, pruned_a, &edges);
    let side_b = Sided::of(&all_b, pruned_b, &edges);
    let median = side_a.summary.median;
    let mut layers: Vec<LayerDiff> = both
        .iter()
        .map(|(name, (in_a, in_b))| layer_diff(name, in_a, in_b, median, &edges))
        .collect();
    let only = |network: &Network, other: &HashMap<&str, &Layer>| -> Vec<OneSided> {
        let missing = network
            .layers
            .iter()
            .filter(|layer| !other.contains_key(&layer.name[..]));
        let one = |layer: &Layer| OneSided {
            name: layer.name.clone(),
            channels: layer.channels,
        };
        missing.map(one).collect()
    };
    let (only_in_a, only_in_b) = (only(of_a, &counterparts), only(of_b, &names));
    let whole = only_in_a.is_empty() && only_in_b.is_empty() && incompatible.is_empty();
    let regeneration = if whole {
        explain(&both, &layers, masks[1], recorded)
    } else {
        None
    };
    if regeneration.is_some() {
        for layer in &mut layers {
            layer.gamma.regenerated = layer.gamma.moved;
        }
    }
    let mut total = GammaDiff::default();
    layers.iter().for_each(|layer| total.add(&layer.gamma));
    let differing = layers.iter().filter(|layer| layer.differs()).count();
    let all_names = of_a.layers.iter().chain(&of_b.layers);
    let all_names = all_names.map(|layer| &layer.name[..]);
    let network = NetworkDiff {
        root_a: of_a.root.clone(),
        root_b: of_b.root.clone(),
        role: of_a.role.name(),
        a: side_a,
        b: side_b,
        histogram: edges,
        names_begin_with: shared_beginning(all_names).to_owned(),
        regeneration,
        total,
        layer_count: layers.len(),
        layers_changed: differing + only_in_a.len() + only_in_b.len() + incompatible.len(),
        layers,
        only_in_a,
        only_in_b,
        incompatible,
    };
    Ok((network, compared))
}

fn read(checkpoint: &Checkpoint, layer: &Layer, mask: &Mask) -> Result<Option<Stored>> {
    let gamma = layer.gamma(checkpoint)?;
    Ok(gamma.map(|(dtype, bytes)| Stored {
        dtype,
        values: dtype.decode(&bytes),
        bytes,
        editable: layer.fixed.is_none(),
        pruned: mask.pruned(&layer.name).to_vec(),
    }))
}

fn comparable(
    layer: &Layer,
    in_a: Option<Stored>,
    other: &Layer,
    in_b: Option<Stored>,
) -> Result<(Stored, Stored), String> {
    let unread = |side: &str, layer: &Layer| {
        let why = layer.fixed.as_deref().unwrap_or("there is none");
        format!("γ cannot be read in {side}: {why}")
    };
    let in_a = in_a.ok_or_else(|| unread("A", layer))?;
    let in_b = in_b.ok_or_else(|| unread("B", other))?;
    let (channels_a, channels_b) = (in_a.values.len(), in_b.values.len());
    if channels_a != channels_b {
        return Err(format!("{channels_a} channels in A, {channels_b} in B"));
    }
    Ok((in_a, in_b))
}

fn layer_diff(
    name: &str,
    in_a: &Stored,
    in_b: &Stored,
    median: Option<f64>,
    edges: &Edges,
) -> LayerDiff {
    let mut gamma = GammaDiff {
        channels: in_a.values.len(),
        ..GammaDiff::default()
    };
    let width = (in_a.dtype.bits() / 8) as usize;
    let (bytes_a, bytes_b) = (in_a.bytes.chunks(width), in_b.bytes.chunks(width));
    let moved: Vec<bool> = if in_a.dtype == in_b.dtype {
        bytes_a.zip(bytes_b).map(|(a, b)| a != b).collect()
    } else {
        let values = in_a.values.iter().zip(&in_b.values);
        values.map(|(a, b)| a.to_bits() != b.to_bits()).collect()
    };
    let anew = in_b
        .pruned
        .iter()
        .filter(|channel| !in_a.is_pruned(**channel));
    gamma.pruned = anew.count();
    let mut farthest = 0.0;
    let values = in_a.values.iter().zip(&in_b.values).zip(moved).enumerate();
    for (channel, ((&from, &to), moved)) in values {
        if !moved {
            continue;
        }
        gamma.moved += 1;
        gamma.rose += usize::from(to > from);
        gamma.fell += usize::from(to < from);
        let died = !is_inhibited(from) && is_inhibited(to);
        gamma.died += usize::from(died && !in_b.is_pruned(channel));
        gamma.revived += usize::from(is_inhibited(from) && !is_inhibited(to));
        let lifted = |median: f64| to > from && from <= median && median <= to;
        gamma.regenerated += usize::from(median.is_some_and(lifted));
        if (to - from).abs() > farthest {
            farthest = (to - from).abs();
            gamma.largest = Some(Move {
                layer: name.to_owned(),
                channel,
                from,
                to,
                delta: to - from,
            });
        }
    }
    LayerDiff {
        name: name.to_owned(),
        dtype_a: in_a.dtype.to_string(),
        dtype_b: in_b.dtype.to_string(),
        a: Sided::of(&in_a.kept(), in_a.pruned.len(), edges),
        b: Sided::of(&in_b.kept(), in_b.pruned.len(), edges),
        gamma,
    }
}

fn explain(
    both: &[(&String, (Stored, Stored))],
    layers: &[LayerDiff],
    mask: &Mask,
    recorded: &[Options],
) -> Option<Regeneration> {
    if both.iter().any(|(_, (a, b))| a.dtype != b.dtype) {
        return None;
    }
    let gamma = |name: &str, stored: &Stored| Gamma {
        layer: name.to_owned(),
        dtype: stored.dtype,
        values: stored.values.clone(),
    };
    let editable = both.iter().filter(|(_, (a, _))| a.editable);
    let (before, after): (Vec<Gamma>, Vec<Gamma>) = editable
        .map(|(name, (a, b))| (gamma(name, a), gamma(name, b)))
        .unzip();
    let moved = layers.iter().map(|layer| layer.gamma.moved).sum();
    regeneration::explain(&before, &after, moved, mask, recorded)
}

impl LayerDiff {
    /// Whether its γ are others, or of another type.
    pub fn differs(&self) -> bool {
        self.gamma.moved > 0 || self.dtype_a != self.dtype_b
    }
}

impl GammaDiff {
    fn add(&mut self, layer: &GammaDiff) {
        self.channels += layer.channels;
        self.moved += layer.moved;
        self.rose += layer.rose;
        self.fell += layer.fell;
        self.pruned += layer.pruned;
        self.died += layer.died;
        self.revived += layer.revived;
        self.regenerated += layer.regenerated;
        let size = |largest: &Option<Move>| largest.as_ref().map_or(0.0, |m| m.delta.abs());
        if size(&layer.largest) > size(&self.largest) {
            self.largest.clone_from(&layer.largest);
        }
    }
}
