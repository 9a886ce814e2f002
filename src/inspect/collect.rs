//! A checkpoint → a report: γ are read, counted and forgotten.

use super::details::{Details, LayerGamma};
use super::{LayerReport, NetworkReport, Range, Report, Statistics, finite, masked};
use crate::batchnorm::{self, Layer, LayerKind, Network, Schema};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::name::shared_beginning;
use crate::regen::{Mask, is_inhibited};
use crate::render::{Axes, Binned};
use crate::storage::pending;

/// Inspects every network of a checkpoint.
///
/// # Errors
/// No BatchNorm found: the message says what was looked for and what is there instead.
///
/// ```
/// # fn main() -> Result<(), ckpt_regen::Error> {
/// use ckpt_regen::Checkpoint;
/// use ckpt_regen::batchnorm::Schema;
/// use ckpt_regen::inspect::{Render, Svg, inspect};
///
/// let checkpoint = Checkpoint::open("fixtures/mobilenet_v2_025/model.safetensors")?;
/// let report = inspect(&checkpoint, &Schema::default())?;
/// assert_eq!(report.networks[0].layer_count, 52);
///
/// let mut picture = Vec::new();
/// Svg.render(&report, &mut picture).expect("a Vec takes all");
/// # Ok(())
/// # }
/// ```
pub fn inspect(checkpoint: &Checkpoint, schema: &Schema) -> Result<Report> {
    inspect_masked(checkpoint, schema, None)
}

/// The same, where the channels of `mask` are pruned, instead of those that the record beside the
/// checkpoint has.
///
/// # Errors
/// As of [`inspect`]; a mask of other layers.
pub fn inspect_masked(
    checkpoint: &Checkpoint,
    schema: &Schema,
    mask: Option<&Mask>,
) -> Result<Report> {
    let networks = batchnorm::locate(checkpoint, schema)?;
    if networks.is_empty() {
        return Err(batchnorm::nothing_found(checkpoint));
    }
    masked::check(checkpoint, &networks, mask)?;
    let networks = networks.iter().map(|network| {
        let values = read(checkpoint, network)?;
        let mask = masked::of_network(checkpoint, network, mask, None)?;
        let axes = axes(&[&unpruned(network, &values, &mask)]);
        Ok(network_report(checkpoint, network, values, &mask, axes))
    });
    Ok(report(checkpoint, networks.collect::<Result<_>>()?))
}

/// These networks, with what the checkpoint says around them.
pub(super) fn report(checkpoint: &Checkpoint, networks: Vec<NetworkReport>) -> Report {
    let training = checkpoint.training();
    Report {
        path: checkpoint.path().to_owned(),
        format: checkpoint.format(),
        pending: pending(checkpoint.anchor()),
        training: (
            training.layout,
            training.epochs.clone(),
            training.optimizer(),
        ),
        networks,
    }
}

/// The γ of every layer; none of one whose γ cannot be read plainly, which is listed all the same.
pub(super) fn read(checkpoint: &Checkpoint, network: &Network) -> Result<Vec<Vec<f64>>> {
    let read = |layer: &Layer| {
        let gamma = layer.gamma(checkpoint)?;
        Ok(gamma.map_or_else(Vec::new, |(dtype, bytes)| dtype.decode(&bytes)))
    };
    network.layers.iter().map(read).collect()
}

/// The γ of the channels of each layer that are not pruned.
pub(super) fn unpruned(network: &Network, values: &[Vec<f64>], mask: &Mask) -> Vec<Vec<f64>> {
    let layers = network.layers.iter().zip(values);
    layers
        .map(|(layer, values)| masked::unpruned(values, mask.pruned(&layer.name)))
        .collect()
}

/// The axes of all of these γ.
pub(super) fn axes(values: &[&[Vec<f64>]]) -> Axes {
    let all = values.iter().copied().flatten().flatten();
    Axes::over(&mut finite(all))
}

/// The report on a network whose layers have these γ.
pub(super) fn network_report(
    checkpoint: &Checkpoint,
    network: &Network,
    values: Vec<Vec<f64>>,
    mask: &Mask,
    axes: Axes,
) -> NetworkReport {
    let kept = unpruned(network, &values, mask);
    let edges = Edges {
        whole: axes.whole.edges(),
        drawn: axes.drawn.map(|drawn| drawn.edges()),
    };
    let all = Range::of(&mut finite(kept.iter().flatten()));
    let median = all.map(|range| range.median);
    let layers = network.layers.iter().zip(&kept).enumerate();
    let layers = layers.map(|(index, (layer, values))| LayerReport {
        name: layer.name.clone(),
        kind: layer.kind,
        dtype: layer.tensor(checkpoint).map(|tensor| tensor.dtype),
        statistics: {
            let pruned = mask.pruned(&layer.name).len();
            statistics(values, (layer.channels, pruned), median, &edges)
        },
        fixed: layer.fixed.clone(),
        index,
    });
    let layers: Vec<LayerReport> = layers.collect();
    let pruned = layers.iter().map(|layer| layer.statistics.pruned).sum();
    let channels = (network.channels(), pruned);
    let total = statistics(&kept.concat(), channels, median, &edges);
    let gammas = layers.iter().zip(values).map(|(layer, values)| LayerGamma {
        name: layer.name.clone(),
        kind: layer.kind,
        dtype: layer.dtype,
        fixed: layer.fixed.clone(),
        values,
        pruned: mask.pruned(&layer.name).to_vec(),
    });
    let iter_norms = network
        .layers
        .iter()
        .filter(|layer| layer.kind == LayerKind::IterNorm);
    let names = || network.layers.iter().map(|layer| &layer.name[..]);
    NetworkReport {
        root: network.root.clone(),
        role: network.role,
        layer_count: network.layers.len(),
        iter_norms: iter_norms.count(),
        one_median: batchnorm::one_median(names()),
        details: Details::new(axes, gammas.collect()),
        layers,
        total,
        names_begin_with: shared_beginning(names()).to_owned(),
        edges: edges.whole,
        drawn_edges: edges.drawn,
    }
}

/// Between which γ are counted.
struct Edges {
    whole: Vec<f64>,
    drawn: Option<Vec<f64>>,
}

/// Of the γ that are not pruned; of channels and pruned ones, the numbers.
fn statistics(
    values: &[f64],
    (channels, pruned): (usize, usize),
    median: Option<f64>,
    edges: &Edges,
) -> Statistics {
    let mut finite = finite(values);
    let count = |test: &dyn Fn(f64) -> bool| finite.iter().filter(|v| test(**v)).count();
    Statistics {
        channels,
        pruned,
        inhibited: count(&is_inhibited),
        at_or_below_median: count(&|v| median.is_some_and(|median| v <= median)),
        negative: count(&|v| v < 0.0),
        non_finite: values.len() - finite.len(),
        counts: Binned::new(&edges.whole, &finite).counts,
        drawn: (edges.drawn.as_ref()).map(|edges| Binned::new(edges, &finite)),
        range: Range::of(&mut finite),
    }
}
