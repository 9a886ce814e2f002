//! Looking at γ: statistics and histograms of a checkpoint, and renderers for them, one a file.
//! Writes no checkpoint.

mod histogram;
mod json;
mod render;
mod terminal;

pub use histogram::Histogram;
pub use json::Json;
pub use render::Render;
pub use terminal::Terminal;
pub(crate) use terminal::{number, printable};

use std::path::PathBuf;

use crate::batchnorm::{self, Layer, Network, Role, Schema};
use crate::checkpoint::{Checkpoint, Dtype, Format};
use crate::error::Result;
use crate::storage::pending;

/// |γ| below this counts as inhibited (Sharma and Foroosh, 2023).
pub const INHIBITED: f64 = 1e-2;

/// What there is to see in a checkpoint.
#[derive(Debug, Clone)]
pub struct Report {
    /// As the user named it.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Whether an interrupted edit waits to be completed.
    pub pending: bool,
    /// Who laid the training run's files out, finished epochs, and the optimizer's kind, as far as
    /// that is known.
    pub training: (Option<&'static str>, Option<u64>, Option<&'static str>),
    /// The networks, raw ones first; at least one.
    pub networks: Vec<NetworkReport>,
}

/// The γ of one network.
#[derive(Debug, Clone)]
pub struct NetworkReport {
    /// See [`Network::root`].
    pub root: String,
    /// See [`Network::role`].
    pub role: Role,
    /// All γ together, with the name `network`.
    pub total: Statistics,
    /// How many layers it has.
    pub layer_count: usize,
    /// Each of them, but for those that [`Report::keep_layers`] took out.
    pub layers: Vec<LayerReport>,
    /// The edges of all histograms, one more than there are bins.
    pub edges: Vec<f64>,
}

/// The γ of one layer.
#[derive(Debug, Clone)]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// The type of its γ, where there is one.
    pub dtype: Option<Dtype>,
    /// Its statistics.
    pub statistics: Statistics,
    /// Why its γ cannot be edited, if it cannot.
    pub fixed: Option<String>,
}

/// Statistics over the finite γ of a layer or network; the counts of channels are of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Number of γ, finite or not.
    pub channels: usize,
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
        let (layout, epoch, optimizer) = self.training;
        let facts = [
            layout.map(|layout| format!("written by {layout}")),
            epoch.map(|epoch| format!("{epoch} epochs finished")),
            optimizer.map(|optimizer| format!("optimizer {optimizer}")),
        ];
        facts.into_iter().flatten().collect()
    }
}

impl Range {
    fn of(finite: &mut [f64]) -> Option<Range> {
        finite.sort_by(f64::total_cmp);
        let (min, max) = (*finite.first()?, *finite.last()?);
        Some(Range {
            min,
            median: finite[(finite.len() - 1) / 2],
            max,
        })
    }
}

/// Inspects every network of a checkpoint.
///
/// # Errors
/// No BatchNorm found: the message says what was looked for and what is there instead.
pub fn inspect(checkpoint: &Checkpoint, schema: &Schema) -> Result<Report> {
    let networks = batchnorm::locate(checkpoint, schema)?;
    if networks.is_empty() {
        return Err(batchnorm::nothing_found(checkpoint));
    }
    let networks = networks
        .iter()
        .map(|network| inspect_network(checkpoint, network));
    Ok(Report {
        path: checkpoint.path().to_owned(),
        format: checkpoint.format(),
        pending: pending(checkpoint.anchor()),
        training: {
            let training = checkpoint.training();
            (training.layout, training.epoch, training.optimizer())
        },
        networks: networks.collect::<Result<_>>()?,
    })
}

fn inspect_network(checkpoint: &Checkpoint, network: &Network) -> Result<NetworkReport> {
    let read = |layer: &Layer| -> Result<Vec<f64>> {
        // What cannot be read as a plain γ is listed, not decoded.
        match layer.tensor(checkpoint) {
            Some(tensor) if tensor.dtype.is_editable_float() && tensor.fixed.is_none() => {
                Ok(tensor.dtype.decode(&checkpoint.read(tensor)?))
            }
            _ => Ok(Vec::new()),
        }
    };
    let values = network
        .layers
        .iter()
        .map(read)
        .collect::<Result<Vec<_>>>()?;
    let mut all: Vec<f64> = values
        .iter()
        .flatten()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    let range = Range::of(&mut all);
    let histogram = Histogram::over(range);
    let median = range.map(|range| range.median);
    let statistics = |values: &[f64], channels: usize| {
        let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let count = |test: &dyn Fn(f64) -> bool| finite.iter().filter(|v| test(**v)).count();
        Statistics {
            channels,
            inhibited: count(&|v| v.abs() < INHIBITED),
            at_or_below_median: count(&|v| median.is_some_and(|median| v <= median)),
            negative: count(&|v| v < 0.0),
            non_finite: values.len() - finite.len(),
            counts: histogram.count(&finite),
            range: Range::of(&mut finite),
        }
    };
    let layers = network
        .layers
        .iter()
        .zip(&values)
        .map(|(layer, values)| LayerReport {
            name: layer.name.clone(),
            dtype: layer.tensor(checkpoint).map(|tensor| tensor.dtype),
            statistics: statistics(values, layer.channels),
            fixed: layer.fixed.clone(),
        });
    let channels = network.layers.iter().map(|layer| layer.channels).sum();
    Ok(NetworkReport {
        root: network.root.clone(),
        role: network.role,
        layer_count: network.layers.len(),
        layers: layers.collect(),
        total: statistics(&values.concat(), channels),
        edges: histogram.edges(),
    })
}
