//! The γ of one network over a training run, from the checkpoints that it left.

mod csv;
mod layers;
mod mask;
mod order;
mod read;
mod survival;
mod terminal;
mod trajectory;

use std::path::PathBuf;

use serde::Serialize;

pub use csv::Csv;
pub use layers::LayerSeries;
pub use order::Order;
pub use survival::{Regeneration, Source, Survival};
pub use trajectory::{Channel, Chosen, Trajectory};

use crate::batchnorm::Schema;
use crate::error::Result;
use crate::name::{shared_beginning, without};
use crate::regen::Mask;

/// Below this share of channels, the masks of two successive saves are taken as the same: the
/// network has settled (You et al., *Drawing Early-Bird Tickets*, ICLR 2020, section 3).
pub const SETTLED: f64 = 0.1;

/// A training run as its checkpoints show it. Lists by save are in the order of [`Self::saves`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// What put the saves in order.
    pub order: Order,
    /// The checkpoints; at least one.
    pub saves: Vec<Save>,
    /// The network that is followed, as the first save calls it.
    pub root: String,
    /// How many layers it has.
    pub layer_count: usize,
    /// All layers together, with the name `network`.
    pub network: LayerSeries,
    /// Each layer; but for those that [`Series::keep_layers`] took out.
    pub layers: Vec<LayerSeries>,
    /// From which save on each mask was nearer than [`SETTLED`] to the one before; `None` where the
    /// last is not.
    pub settled: Option<usize>,
    /// The regenerations that are known.
    pub regenerations: Vec<Regeneration>,
    /// How their channels fared, of all together.
    pub survival: Vec<Survival>,
    /// Single channels over time, as in Figure 4 of the paper.
    pub trajectories: Vec<Trajectory>,
    /// What the names of all layers begin with, up to and with a dot or slash.
    #[serde(skip)]
    pub names_begin_with: String,
    /// What a user should know, in sentences.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// One checkpoint of a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Save {
    /// As the user named it.
    pub path: String,
    /// Its format, as in `inspect --json`.
    pub format: &'static str,
    /// Finished epochs, where the checkpoint says it.
    pub epoch: Option<u64>,
    /// Its place in time: the epoch, or the number in its name, as [`Series::order`] says.
    pub at: u64,
}

/// What is asked of a series.
#[derive(Debug, Clone, Default)]
pub struct TrackOptions {
    /// How BatchNorm layers are found.
    pub schema: Schema,
    /// The network to follow; the only raw one if not given.
    pub root: Option<String>,
    /// The channels to follow; without any, two are chosen (see [`Trajectory`]).
    pub channels: Vec<Channel>,
    /// The record of an edit, instead of those beside the checkpoints.
    pub record: Option<PathBuf>,
    /// The channels that are pruned in every save, instead of those that the records have.
    pub mask: Option<Mask>,
}

/// Reads headers and γ of `paths` and follows the network through them. Keeps 8 bytes for a channel
/// of a save.
///
/// # Errors
/// A checkpoint that cannot be read or has no BatchNorm; one of another network than the first; one
/// whose place in time cannot be told; a channel that is not there.
///
/// # Panics
/// Without paths.
pub fn track(paths: &[PathBuf], options: &TrackOptions) -> Result<Series> {
    assert!(!paths.is_empty(), "a series has at least one checkpoint");
    let read::Run {
        root,
        layers,
        mut saves,
        mut warnings,
    } = read::read(paths, options)?;
    let (order, said) = order::sort(&mut saves)?;
    warnings.extend(said);
    let gammas: Vec<&[f64]> = saves.iter().map(|save| &save.gamma[..]).collect();
    let lifted = survival::find(&saves);
    let pruned: Vec<&[usize]> = saves.iter().map(|save| &save.pruned[..]).collect();
    let (network, layers) = layers::over_time(&layers, &gammas, &pruned, &lifted);
    let trajectories = trajectory::follow(&options.channels, &layers, &gammas)?;
    let (regenerations, survival) = survival::follow(&lifted, &gammas);
    if let Some(at) = (0..saves.len()).find(|i| network.non_finite[*i] > 0) {
        warnings.push(format!(
            "{}: {} γ are NaN or infinite; medians and counts are of the others",
            saves[at].path.display(),
            network.non_finite[at]
        ));
    }
    Ok(Series {
        order,
        root,
        layer_count: layers.len(),
        names_begin_with: shared_beginning(layers.iter().map(|layer| &layer.name[..])).to_owned(),
        settled: mask::settled(&network.hamming),
        network,
        layers,
        regenerations,
        survival,
        trajectories,
        warnings,
        saves: saves.into_iter().map(read::Read::into_save).collect(),
    })
}

impl Series {
    /// Leaves only the layers that `shown` accepts. What is said of the network stays that of all
    /// layers.
    pub fn keep_layers(&mut self, shown: impl Fn(&str) -> bool) {
        self.layers.retain(|layer| shown(&layer.name));
    }

    /// The name of a layer as a table has it, without what all begin with.
    pub(super) fn short_name<'n>(&self, layer: &'n str) -> &'n str {
        without(layer, &self.names_begin_with)
    }
}
