//! Runs side by side: accuracy and loss, γ and gradients over time (Figures 1, 3, 4 and 7 of the
//! paper).

mod channels;
mod gradients;
mod histograms;
mod html;
mod run;
mod terminal;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use channels::Trace;
pub use gradients::LayerGradients;
pub use run::Run;

use super::names::names;
use crate::error::{Error, Refusal, Result};
use crate::inspect::track::Channel;
use crate::near::no_layer;
use crate::train::{History, Record};

/// Several runs. Lists by epoch are in the order of [`Self::epochs`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The epochs that any of the runs has finished, ascending.
    pub epochs: Vec<u64>,
    /// The runs, in the order in which they were named; at least one.
    pub runs: Vec<Run>,
    /// The classes by label.
    #[serde(skip)]
    pub classes: Vec<String>,
    /// The edges between which the histograms of γ count, the outermost bins also what lies beyond;
    /// empty where nothing was recorded.
    pub edges: Vec<f64>,
    /// Single channels of the recorded runs.
    pub channels: Vec<Trace>,
    /// The gradients of one layer in the recorded runs.
    pub gradients: Option<LayerGradients>,
    /// What a user should know, in sentences.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// What is asked of a report.
#[derive(Debug, Clone, Default)]
pub struct ReportOptions {
    /// The layer whose gradients are shown; the first that was recorded if not given.
    pub layer: Option<String>,
    /// The channels that are followed; if none is given, the weakest and the strongest.
    pub channels: Vec<Channel>,
}

impl Report {
    /// Whether any of the runs is of segmentation.
    fn is_of_scenes(&self) -> bool {
        self.runs.iter().any(|run| run.iou.is_some())
    }
}

/// A run with what was recorded of it.
struct Recorded {
    history: History,
    /// By epoch of the report; empty where nothing was recorded.
    records: Vec<Option<Record>>,
}

impl Recorded {
    fn any(&self) -> Option<&Record> {
        self.records.iter().flatten().next()
    }
}

/// Reads the runs at `paths`.
///
/// # Errors
/// A directory that is no run; runs on data of different classes, whose accuracies do not compare;
/// of different networks, where a layer or channel is asked for; a layer or channel that is not
/// there, or of which nothing was recorded.
///
/// # Panics
/// Without paths.
pub fn report(paths: &[PathBuf], options: &ReportOptions) -> Result<Report> {
    assert!(!paths.is_empty(), "a report has at least one run");
    let histories = paths.iter().map(|path| History::read(path));
    let histories: Vec<History> = histories.collect::<Result<_>>()?;
    same_task(&histories)?;
    let found: Vec<&Path> = histories.iter().map(|run| run.path.as_path()).collect();
    let names = names(&found);
    let mut epochs = BTreeSet::new();
    let mut recorded = Vec::new();
    for history in histories {
        epochs.extend(history.metrics.iter().map(|metrics| metrics.epoch));
        let records = history.records()?;
        recorded.push((history, records));
    }
    let epochs: Vec<u64> = epochs.into_iter().collect();
    if epochs.is_empty() {
        let reason = "no epoch of it is finished yet";
        return Err(Error::refused(&paths[0], reason));
    }
    let by_epoch = |records: Vec<Record>| -> Vec<Option<Record>> {
        let mut records = records.into_iter().peekable();
        let at = |epoch: &u64| records.next_if(|record| record.epoch == *epoch);
        epochs.iter().map(at).collect()
    };
    let all: Vec<Recorded> = recorded
        .into_iter()
        .map(|(history, records)| Recorded {
            history,
            records: by_epoch(records),
        })
        .collect();
    asked(&all, &names, options)?;
    let (edges, histograms) = histograms::over_time(&all);
    let runs = all.iter().zip(names).zip(histograms);
    let runs =
        runs.map(|((recorded, name), histogram)| run::read(recorded, name, &epochs, histogram));
    let runs: Vec<Run> = runs.collect::<Result<_>>()?;
    let channels = channels::follow(&all, &options.channels)?;
    let gradients = gradients::of_layer(&all, options.layer.as_deref())?;
    Ok(Report {
        classes: all[0].history.state.classes.clone(),
        notes: notes(&all, &runs),
        epochs,
        runs,
        edges,
        channels,
        gradients,
    })
}

/// Accuracies compare on the same classes alone.
fn same_task(histories: &[History]) -> Result<()> {
    let first = &histories[0];
    let other = histories
        .iter()
        .find(|history| history.state.classes != first.state.classes);
    match other {
        None => Ok(()),
        Some(other) => Err(Error::Usage(format!(
            "{} was trained on {} ({} classes) and {} on {} ({}): their accuracies do not compare",
            first.path.display(),
            first.state.settings.data,
            first.state.classes.len(),
            other.path.display(),
            other.state.settings.data,
            other.state.classes.len(),
        ))),
    }
}

/// The layers of a record with their channels.
fn shape(record: &Record) -> Vec<(&str, usize)> {
    let layers = record.layers.iter();
    layers
        .map(|layer| (&layer.name[..], layer.gamma.len()))
        .collect()
}

/// Whether what is asked of layers and channels has an answer in every run.
fn asked(all: &[Recorded], names: &[String], options: &ReportOptions) -> Result<()> {
    let whole = options.layer.iter().map(|layer| Channel {
        layer: layer.clone(),
        index: None,
    });
    let whole = whole.map(|layer| ("layer", layer));
    let channels = options.channels.iter().cloned();
    let channels = channels.map(|channel| ("channel", channel));
    let wanted: Vec<(&'static str, Channel)> = whole.chain(channels).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let option = wanted[0].0;
    let mut first: Option<(&Record, &str)> = None;
    for (run, name) in all.iter().zip(names) {
        let path = &run.history.path;
        let Some(record) = run.any() else {
            let reason = format!("{option}: neither γ nor gradients were recorded of this run");
            return Err(Error::refused_for(Refusal::NotRecorded, path, reason));
        };
        match first {
            None => first = Some((record, name)),
            Some((other, of)) if shape(other) != shape(record) => {
                let reason = format!(
                    "{of} and {name} are of different networks ({} and {}), whose layers do not \
                     compare",
                    all[0].history.state.settings.model, run.history.state.settings.model
                );
                return Err(Error::argument(option, "", reason));
            }
            Some(_) => {}
        }
        for (option, wanted) in &wanted {
            let Some((number, _)) = channels::find(record, wanted)? else {
                let names: Vec<&str> = shape(record).into_iter().map(|(name, _)| name).collect();
                return Err(no_layer(option, &wanted.layer, &names));
            };
            let layer = &record.layers[number];
            let records = run.records.iter().flatten();
            let has = |record: &Record| record.layers[number].gradient.is_some();
            if !records.clone().any(has) {
                let reason = format!("{option} {}: its gradients were not recorded", layer.name);
                return Err(Error::refused_for(Refusal::NotRecorded, path, reason));
            }
        }
    }
    Ok(())
}

/// The runs of the network of the first that was recorded: their layers and channels compare.
fn of_one_network(all: &[Recorded]) -> Vec<(usize, &Recorded)> {
    let Some(first) = all.iter().find_map(Recorded::any) else {
        return Vec::new();
    };
    let same = |run: &Recorded| {
        run.any()
            .is_some_and(|record| shape(record) == shape(first))
    };
    let runs = all.iter().enumerate();
    runs.filter(|(_, run)| same(run)).collect()
}

fn notes(all: &[Recorded], runs: &[Run]) -> Vec<String> {
    let mut notes = Vec::new();
    let without: Vec<&str> = all
        .iter()
        .zip(runs)
        .filter(|(recorded, _)| recorded.any().is_none())
        .map(|(_, run)| &run.name[..])
        .collect();
    if !without.is_empty() {
        notes.push(format!(
            "neither γ nor gradients were recorded of {}: train --record does it",
            without.join(", ")
        ));
    }
    let compared = of_one_network(all).len();
    if compared + without.len() < all.len() {
        notes.push(
            "the runs are of different networks: channels and gradients are shown of those of the \
             first recorded one"
                .to_owned(),
        );
    }
    notes
}
