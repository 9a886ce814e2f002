//! What is said of one run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Recorded;
use crate::batchnorm::Schema;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::inspect::inspect;
use crate::regen::{Below, Scope, To};
use crate::train::{Best, History, Metrics, SceneSample, Settings, TaskName};

/// One run. Lists are by epoch of the report, empty where the run has not finished it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// What tells it from the others: the end of its path.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// The network's name.
    pub network: String,
    /// BatchNorm channels of the network.
    pub channels: usize,
    /// When γ are regenerated and how, in words; `None` where never.
    pub regeneration: Option<String>,
    /// What decides the run.
    pub settings: Settings,
    /// Finished epochs.
    pub finished: u64,
    /// The epoch of the best test accuracy.
    pub best: Option<Best>,
    /// The epochs after which γ were regenerated.
    pub regenerations: Vec<u64>,
    /// Percent.
    pub test_top1: Vec<Option<f64>>,
    /// Of scenes: mean IoU, percent; else empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test_miou: Vec<Option<f64>>,
    /// Of scenes: score, percent; else empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test_score: Vec<Option<f64>>,
    /// Of scenes: IoU of each class after the last finished epoch, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iou: Option<Vec<f64>>,
    /// Some test scenes of the best epoch.
    #[serde(skip)]
    pub samples: Vec<SceneSample>,
    /// Percent.
    pub train_top1: Vec<Option<f64>>,
    /// Mean cross-entropy.
    pub test_loss: Vec<Option<f64>>,
    /// Label smoothing included.
    pub train_loss: Vec<Option<f64>>,
    /// Learning rate of the last update.
    pub lr: Vec<Option<f64>>,
    /// Channels with |γ| < 0.01.
    pub inhibited: Vec<Option<usize>>,
    /// Lower median of γ.
    pub median_gamma: Vec<Option<f64>>,
    /// How many γ are regenerated after it.
    pub regenerated: Vec<Option<usize>>,
    /// Of each bin between the report's edges, how many γ are in it; `None` where γ were not
    /// recorded.
    pub histogram: Option<Vec<Vec<Option<u64>>>>,
}

impl Run {
    /// The last finished epoch's value of a list.
    pub(super) fn last<T: Copy>(list: &[Option<T>]) -> Option<T> {
        list.iter().rev().find_map(|value| *value)
    }

    /// Channels as percent of all.
    pub(super) fn share(&self, count: usize) -> f64 {
        100.0 * count as f64 / self.channels.max(1) as f64
    }
}

pub(super) fn read(
    recorded: &Recorded,
    name: String,
    epochs: &[u64],
    histogram: Option<Vec<Vec<Option<u64>>>>,
) -> Result<Run> {
    let History {
        path,
        checkpoint,
        state,
        metrics,
    } = &recorded.history;
    let known: BTreeMap<u64, &Metrics> = metrics.iter().map(|m| (m.epoch, m)).collect();
    fn by<T>(
        epochs: &[u64],
        known: &BTreeMap<u64, &Metrics>,
        value: impl Fn(&Metrics) -> T,
    ) -> Vec<Option<T>> {
        let at = |epoch| known.get(epoch).map(|metrics| value(metrics));
        epochs.iter().map(at).collect()
    }
    let of_scenes = |value: &dyn Fn(&Metrics) -> Option<f64>| match state.settings.task {
        TaskName::Classification => Vec::new(),
        TaskName::Segmentation => {
            let all = by(epochs, &known, value);
            all.into_iter().map(Option::flatten).collect()
        }
    };
    let edited = metrics.iter().filter(|metrics| metrics.regenerated > 0);
    Ok(Run {
        name,
        path: path.clone(),
        network: state.settings.model.clone(),
        channels: channels(recorded, checkpoint)?,
        regeneration: regeneration(&state.settings),
        finished: state.epoch,
        best: state.best,
        regenerations: edited.map(|metrics| metrics.epoch).collect(),
        test_top1: by(epochs, &known, |m| m.test_top1),
        test_miou: of_scenes(&|m| m.test_miou),
        test_score: of_scenes(&|m| m.test_score),
        iou: metrics.last().and_then(|m| m.test_iou.clone()),
        samples: recorded.history.samples()?,
        train_top1: by(epochs, &known, |m| m.train_top1),
        test_loss: by(epochs, &known, |m| m.test_loss),
        train_loss: by(epochs, &known, |m| m.train_loss),
        lr: by(epochs, &known, |m| m.lr),
        inhibited: by(epochs, &known, |m| m.inhibited),
        median_gamma: by(epochs, &known, |m| m.median_gamma),
        regenerated: by(epochs, &known, |m| m.regenerated),
        histogram,
        settings: state.settings.clone(),
    })
}

fn channels(recorded: &Recorded, checkpoint: &Path) -> Result<usize> {
    if let Some(record) = recorded.any() {
        return Ok(record.layers.iter().map(|layer| layer.gamma.len()).sum());
    }
    let report = inspect(&Checkpoint::open(checkpoint)?, &Schema::default())?;
    let network = report.networks.first();
    Ok(network.map_or(0, |network| network.total.channels))
}

/// When γ are regenerated, and how where that is not the default.
fn regeneration(settings: &Settings) -> Option<String> {
    let schedule = settings.regeneration()?;
    let mut text = format!("{} every {}", settings.rule, schedule.every);
    if schedule.start != schedule.every {
        text += &format!(" from {}", schedule.start);
    }
    if let Some(until) = schedule.until {
        text += &format!(" until {until}");
    }
    if settings.below != Below::Median {
        text += &format!(", below {}", settings.below);
    }
    if settings.to != To::Threshold {
        text += &format!(", to {}", settings.to);
    }
    if settings.scope != Scope::Network {
        text += &format!(", by {}", settings.scope);
    }
    Some(text)
}
