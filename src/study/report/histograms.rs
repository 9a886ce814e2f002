//! How many channels have which γ, epoch by epoch.

use super::Recorded;
use crate::render::Bins;

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
    let edges = Bins::over(Some(ends(&mut pooled))).split(BINS);
    let counts = |run: &Recorded| {
        run.any()?;
        let mut counts = vec![vec![None; run.records.len()]; BINS];
        for epoch in 0..run.records.len() {
            let Some(gammas) = gammas(run, epoch) else {
                continue;
            };
            let here = Bins::count(&edges, &gammas);
            for (bin, count) in counts.iter_mut().zip(here) {
                bin[epoch] = Some(count);
            }
        }
        Some(counts)
    };
    let counts = all.iter().map(counts).collect();
    (edges, counts)
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
}
