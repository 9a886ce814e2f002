//! Single channels over time: γ, and how large the gradients of their filters were (Figures 1, 3 and
//! 4 of the paper).

use std::ops::Range;

use serde::Serialize;

use super::{Recorded, of_one_network};
use crate::error::Result;
use crate::inspect::track::{Channel, Chosen};
use crate::train::Record;

/// One channel in all runs of its network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// The layer's name.
    pub layer: String,
    /// Counted from 0.
    pub channel: usize,
    /// Why it is shown.
    pub chosen: Chosen,
    /// By run of the report and epoch; empty for a run of which nothing was recorded, or of another
    /// network.
    pub gamma: Vec<Vec<Option<f32>>>,
    /// Mean |gradient| of its filter, in the same order.
    pub gradient: Vec<Vec<Option<f32>>>,
}

/// The channels asked for, or else the weakest and the strongest.
pub(super) fn follow(all: &[Recorded], asked: &[Channel]) -> Result<Vec<Trace>> {
    let runs = of_one_network(all);
    let Some((_, first)) = runs.first() else {
        return Ok(Vec::new());
    };
    let mut chosen: Vec<(usize, usize, Chosen)> = Vec::new();
    if asked.is_empty() {
        chosen.extend(extremes(first));
    }
    let record = first.any().expect("it was recorded");
    for channel in asked {
        let (place, wanted) = find(record, channel)?.expect("that it is there was checked");
        chosen.extend(wanted.map(|channel| (place, channel, Chosen::Asked)));
    }
    let trace = |(place, channel, chosen): (usize, usize, Chosen)| {
        let mut trace = Trace {
            layer: record.layers[place].name.clone(),
            channel,
            chosen,
            gamma: vec![Vec::new(); all.len()],
            gradient: vec![Vec::new(); all.len()],
        };
        for (number, run) in &runs {
            let layer = |record: &Option<Record>| Some(record.as_ref()?.layers[place].clone());
            for epoch in run.records.iter().map(layer) {
                let (gamma, gradient) = match epoch {
                    None => (None, None),
                    Some(layer) => (
                        Some(layer.gamma[channel]).filter(|gamma| gamma.is_finite()),
                        layer.gradient.map(|gradient| gradient[channel]),
                    ),
                };
                trace.gamma[*number].push(gamma);
                trace.gradient[*number].push(gradient);
            }
        }
        trace
    };
    Ok(chosen.into_iter().map(trace).collect())
}

/// Number and channels of the layer that is meant.
pub(super) fn find(record: &Record, channel: &Channel) -> Result<Option<(usize, Range<usize>)>> {
    channel.find(|name| {
        let number = record.layers.iter().position(|layer| layer.name == *name)?;
        Some((number, record.layers[number].gamma.len()))
    })
}

/// Of the channels with recorded gradients, those whose |γ| has the smallest and the largest mean:
/// numbers of layer and channel. Of several the first.
fn extremes(run: &Recorded) -> Vec<(usize, usize, Chosen)> {
    let records: Vec<&Record> = run.records.iter().flatten().collect();
    let Some(first) = records.first() else {
        return Vec::new();
    };
    let mut means: Vec<(f64, usize, usize)> = Vec::new();
    for (place, layer) in first.layers.iter().enumerate() {
        let recorded = |record: &&Record| record.layers[place].gradient.is_some();
        if !records.iter().any(recorded) {
            continue;
        }
        for channel in 0..layer.gamma.len() {
            let gammas = records
                .iter()
                .map(|record| record.layers[place].gamma[channel]);
            let sum: f64 = gammas.map(|gamma| f64::from(gamma.abs())).sum();
            if sum.is_finite() {
                means.push((sum, place, channel));
            }
        }
    }
    let weakest = means.iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let strongest = means.iter().rev().max_by(|a, b| a.0.total_cmp(&b.0));
    let both = [(weakest, Chosen::Weakest), (strongest, Chosen::Strongest)];
    both.into_iter()
        .filter_map(|(found, chosen)| found.map(|(_, place, channel)| (*place, *channel, chosen)))
        .collect()
}
