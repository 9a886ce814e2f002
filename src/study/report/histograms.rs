//! How many channels have which γ, epoch by epoch.

use super::Recorded;
use crate::render::{Axes, Binned};

/// Bins on the common axis.
const BINS: usize = 64;

/// One γ in so many may lie beyond the axis, at each end: a single one would squeeze all others.
const BEYOND: usize = 2000;

/// By bin and epoch; `None` where nothing was recorded.
pub(super) type Counts = Vec<Vec<Option<u64>>>;

/// The edges of the bins, common to all runs, and of each run the counts by bin and epoch; `None`
/// where γ were not recorded. The outermost bins also count what lies beyond them.
pub(super) fn over_time(all: &[Recorded]) -> (Vec<f64>, Vec<Option<Counts>>) {
    let gammas = |run: &Recorded, epoch: usize| -> Option<Vec<f64>> {
        let record = run.records[epoch].as_ref()?;
        let all = record.layers.iter().flat_map(|layer| &layer.gamma);
        let finite = all.filter(|gamma| gamma.is_finite());
        Some(finite.map(|gamma| f64::from(*gamma)).collect())
    };
    let mut pooled: Vec<f64> = Vec::new();
    for run in all {
        let epochs = 0..run.records.len();
        pooled.extend(epochs.filter_map(|epoch| gammas(run, epoch)).flatten());
    }
    if pooled.is_empty() {
        return (Vec::new(), all.iter().map(|_| None).collect());
    }
    let edges = edges(pooled);
    let counts = |run: &Recorded| {
        run.any()?;
        let mut counts = vec![vec![None; run.records.len()]; BINS];
        for epoch in 0..run.records.len() {
            let Some(gammas) = gammas(run, epoch) else {
                continue;
            };
            let here = counted(&edges, &gammas);
            for (bin, count) in counts.iter_mut().zip(here) {
                bin[epoch] = Some(count);
            }
        }
        Some(counts)
    };
    let counts = all.iter().map(counts).collect();
    (edges, counts)
}

/// The edges of the bins for these values: as of a network's histograms, but for a few.
fn edges(mut values: Vec<f64>) -> Vec<f64> {
    let (low, high) = ends(&mut values);
    values.retain(|value| (low..=high).contains(value));
    let axes = Axes::over(&mut values);
    axes.drawn.unwrap_or(axes.whole).split(BINS)
}

/// How many values fall into each bin; into the outermost ones also what lies beyond them.
fn counted(edges: &[f64], values: &[f64]) -> Vec<u64> {
    let mut binned = Binned::new(edges, values);
    binned.counts[0] += binned.below;
    binned.counts[BINS - 1] += binned.above;
    binned.counts
}

/// Between which all but a few values lie.
fn ends(values: &mut [f64]) -> (f64, f64) {
    let few = values.len() / BEYOND;
    let at =
        |place: usize, values: &mut [f64]| *values.select_nth_unstable_by(place, f64::total_cmp).1;
    let last = values.len() - 1;
    (at(few, values), at(last - few, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_values_far_away_do_not_stretch_the_axis() {
        let mut values: Vec<f64> = (0..4000).map(|i| f64::from(i) / 4000.0).collect();
        values.extend([900.0, -900.0]);
        assert_eq!(ends(&mut values), (0.00025, 3998.0 / 4000.0));
        assert_eq!(ends(&mut [3.0, -1.0]), (-1.0, 3.0));
    }

    #[test]
    fn a_channel_far_away_in_every_epoch_does_not_stretch_the_axis_and_is_counted() {
        let bulk: Vec<f64> = (0..200).map(|i| f64::from(i) / 199.0).collect();
        let epoch = [&bulk[..], &[15.0]].concat();
        let edges = edges(epoch.repeat(10));
        assert_eq!((edges[0], edges[BINS]), (0.0, 1.0));
        let (with, without) = (counted(&edges, &epoch), counted(&edges, &bulk));
        assert_eq!(with[BINS - 1], without[BINS - 1] + 1);
        assert_eq!(with[..BINS - 1], without[..BINS - 1]);
    }
}
