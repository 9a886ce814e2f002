//! Looking at γ: statistics and histograms of a checkpoint, and views of them, one a file.
//! Writes no checkpoint.

mod charts;
mod collect;
mod details;
pub mod diff;
mod edited;
mod html;
mod json;
mod masked;
mod picture;
mod preview;
mod summary;
mod terminal;
pub mod track;

pub use crate::regen::INHIBITED;
#[cfg(feature = "png")]
pub use crate::render::Png;
pub use crate::render::{Binned, Html, Json, Render, Svg, Terminal};
pub use collect::{inspect, inspect_masked};
pub use edited::Edited;
pub use preview::{Effect, Preview};
pub use summary::Summary;

use std::path::PathBuf;

use crate::batchnorm::{LayerKind, Role};
use crate::checkpoint::{Epochs, FormatName};
use crate::dtype::Dtype;
use crate::name::without;
use crate::regen::lower_median;

/// What there is to see in a checkpoint.
#[derive(Debug, Clone)]
pub struct Report {
    /// As the user named it.
    pub path: PathBuf,
    /// Its format.
    pub format: FormatName,
    /// Whether an interrupted edit waits to be completed.
    pub pending: bool,
    /// Who laid the training run's files out, finished epochs, and the optimizer's kind, as far as
    /// that is known.
    pub training: (Option<&'static str>, Option<Epochs>, Option<&'static str>),
    /// The networks, raw ones first; at least one.
    pub networks: Vec<NetworkReport>,
}

/// The γ of one network.
#[derive(Debug, Clone)]
pub struct NetworkReport {
    /// See [`Network::root`](crate::batchnorm::Network::root).
    pub root: String,
    /// See [`Network::role`](crate::batchnorm::Network::role).
    pub role: Role,
    /// All γ together, with the name `network`.
    pub total: Statistics,
    /// How many layers it has.
    pub layer_count: usize,
    /// How many of them are IterNorm, which regeneration leaves alone unless it is asked for.
    pub iter_norms: usize,
    /// Which modules share its median, in words, where that may surprise.
    pub one_median: Option<String>,
    /// Each of them, but for those that [`Report::keep_layers`] took out.
    pub layers: Vec<LayerReport>,
    /// The edges of all histograms, one more than there are bins; from the smallest to the largest γ,
    /// with 0 between them.
    pub edges: Vec<f64>,
    /// The edges between which histograms are drawn, where a few γ far from all others would squeeze
    /// these: some lie beyond them. `None` where all are drawn, between [`Self::edges`].
    pub drawn_edges: Option<Vec<f64>>,
    /// What the names of all its layers begin with, up to and with a dot or slash.
    pub names_begin_with: String,
    details: details::Details,
}

/// The γ of one layer.
#[derive(Debug, Clone)]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// BatchNorm, or IterNorm.
    pub kind: LayerKind,
    /// The type of its γ, where there is one.
    pub dtype: Option<Dtype>,
    /// Its statistics.
    pub statistics: Statistics,
    /// Why its γ cannot be edited, if it cannot.
    pub fixed: Option<String>,
    /// Its place among all layers of the network.
    index: usize,
}

/// Statistics over the finite γ of a layer or network, without pruned channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Number of γ, finite or not, pruned or not.
    pub channels: usize,
    /// How many are pruned; they are in no other count.
    pub pruned: usize,
    /// Smallest, lower median and largest; `None` when no γ is finite.
    pub range: Option<Range>,
    /// How many have |γ| < [`INHIBITED`].
    pub inhibited: usize,
    /// How many are at or below the median of the network.
    pub at_or_below_median: usize,
    /// How many are negative.
    pub negative: usize,
    /// How many are NaN or infinite.
    pub non_finite: usize,
    /// How many fall into each bin of the network's edges.
    pub counts: Vec<u64>,
    /// How many fall into each bin of those between which the network is drawn, and beyond them.
    pub drawn: Option<Binned>,
}

/// Where γ lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The smallest.
    pub min: f64,
    /// The lower median, `sorted[(n-1)/2]`.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Report {
    /// Leaves only the layers that `shown` accepts. What is said of a network stays that of all its
    /// layers.
    pub fn keep_layers(&mut self, shown: impl Fn(&str) -> bool) {
        for network in &mut self.networks {
            network.layers.retain(|layer| shown(&layer.name));
        }
    }

    /// What is known about the training run, in words.
    pub(crate) fn training_facts(&self) -> Vec<String> {
        let (layout, epochs, optimizer) = &self.training;
        let facts = [
            layout.map(|layout| format!("written by {layout}")),
            epochs.as_ref().map(|epochs| {
                let Epochs {
                    finished,
                    read_from,
                } = epochs;
                format!("{finished} epochs finished (read from {read_from})")
            }),
            optimizer.map(|optimizer| format!("optimizer {optimizer}")),
        ];
        facts.into_iter().flatten().collect()
    }
}

impl NetworkReport {
    /// The median of its finite γ.
    pub(crate) fn median(&self) -> Option<f64> {
        self.total.range.map(|range| range.median)
    }

    /// How many layers of which normalisation it has, in words.
    pub(crate) fn normalisations(&self) -> String {
        match self.layer_count - self.iter_norms {
            layers if self.iter_norms == 0 => format!("{layers} BatchNorm layers"),
            0 => format!("{} IterNorm layers", self.iter_norms),
            layers => format!(
                "{layers} BatchNorm layers, {} IterNorm layers",
                self.iter_norms
            ),
        }
    }

    /// The names of its layers as a table has them, without what all begin with.
    fn short_names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| self.short_name(layer))
    }

    /// The same of one of them.
    fn short_name<'l>(&self, layer: &'l LayerReport) -> &'l str {
        without(&layer.name, &self.names_begin_with)
    }
}

fn finite<'v>(values: impl IntoIterator<Item = &'v f64>) -> Vec<f64> {
    let finite = values.into_iter().copied().filter(|v| v.is_finite());
    finite.collect()
}

impl Range {
    fn of(finite: &mut [f64]) -> Option<Range> {
        let median = lower_median(finite)?;
        let values = || finite.iter().copied();
        Some(Range {
            min: values().min_by(f64::total_cmp)?,
            median,
            max: values().max_by(f64::total_cmp)?,
        })
    }
}
