//! Statistics of each layer over time.

use std::ops::Range;

use serde::Serialize;

use super::mask;
use super::survival::Lifted;
use crate::inspect::{Summary, masked};

/// A layer, or the whole network, over time: one entry a save in each list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSeries {
    /// The layer's name.
    pub name: String,
    /// Number of γ.
    pub channels: usize,
    /// How many have |γ| < [`INHIBITED`](crate::inspect::INHIBITED).
    pub inhibited: Vec<usize>,
    /// The smallest; `None`, as the next two, where no γ is finite.
    pub min: Vec<Option<f64>>,
    /// The lower median.
    pub median: Vec<Option<f64>>,
    /// The largest.
    pub max: Vec<Option<f64>>,
    /// How many are NaN or infinite.
    pub non_finite: Vec<usize>,
    /// How many are pruned; they are in no other count.
    pub pruned: Vec<usize>,
    /// The share of channels that are at or below the network's median in this save and were not in
    /// the one before, or the other way round; `None` for the first.
    pub hamming: Vec<Option<f64>>,
    /// How many are known to be regenerated in this save.
    pub regenerated: Vec<usize>,
    /// Where its γ lie among those of the network.
    #[serde(skip)]
    pub(super) range: Range<usize>,
}

/// The network, and each layer.
pub(super) fn over_time(
    layers: &[(String, usize)],
    gammas: &[&[f64]],
    pruned: &[&[usize]],
    lifted: &[Lifted],
) -> (LayerSeries, Vec<LayerSeries>) {
    let all = 0..gammas[0].len();
    let mut network = LayerSeries::new("network", all.clone(), gammas.len());
    let mut end = 0;
    let layer = |(name, channels): &(String, usize)| {
        let start = end;
        end += channels;
        LayerSeries::new(name, start..end, gammas.len())
    };
    let mut layers: Vec<LayerSeries> = layers.iter().map(layer).collect();
    let mut before: Option<Vec<bool>> = None;
    for (save, (gamma, pruned)) in gammas.iter().zip(pruned).enumerate() {
        let median = Summary::of(&masked::unpruned(gamma, pruned), 0).median;
        let mut mask = mask::below(gamma, median);
        pruned.iter().for_each(|channel| mask[*channel] = false);
        let known = lifted.iter().find(|lifted| lifted.save == save);
        for series in layers.iter_mut().chain([&mut network]) {
            let own = series.range.clone();
            let distance = before
                .as_ref()
                .map(|before| mask::distance(&before[own.clone()], &mask[own.clone()]));
            let regenerated = known.map_or(0, |lifted| lifted.count(&own));
            let within = |end: usize| pruned.partition_point(|channel| *channel < end);
            let pruned = &pruned[within(own.start)..within(own.end)];
            let pruned: Vec<usize> = pruned.iter().map(|channel| channel - own.start).collect();
            let kept = masked::unpruned(&gamma[own], &pruned);
            series.add(&Summary::of(&kept, pruned.len()), distance, regenerated);
        }
        before = Some(mask);
    }
    (network, layers)
}

impl LayerSeries {
    fn new(name: &str, range: Range<usize>, saves: usize) -> LayerSeries {
        LayerSeries {
            name: name.to_owned(),
            channels: range.len(),
            inhibited: Vec::with_capacity(saves),
            min: Vec::with_capacity(saves),
            median: Vec::with_capacity(saves),
            max: Vec::with_capacity(saves),
            non_finite: Vec::with_capacity(saves),
            pruned: Vec::with_capacity(saves),
            hamming: Vec::with_capacity(saves),
            regenerated: Vec::with_capacity(saves),
            range,
        }
    }

    fn add(&mut self, summary: &Summary, distance: Option<f64>, regenerated: usize) {
        self.inhibited.push(summary.inhibited);
        self.min.push(summary.min);
        self.median.push(summary.median);
        self.max.push(summary.max);
        self.non_finite.push(summary.non_finite);
        self.pruned.push(summary.pruned);
        self.hamming.push(distance);
        self.regenerated.push(regenerated);
    }

    /// The share of inhibited channels in a save.
    pub fn inhibited_share(&self, save: usize) -> f64 {
        self.inhibited[save] as f64 / self.channels.max(1) as f64
    }
}
