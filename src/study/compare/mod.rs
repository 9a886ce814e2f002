//! The same recipe with and without regeneration, over several seeds: the honest way to claim that it
//! helps.
//!
//! [`plan`] says which runs there are and how far they are, [`Planned::open`] opens one of them to be
//! trained, and [`compare`] tells what the finished ones came to. The run of an arm and a seed is
//! `OUT/ARM/SEED`, an ordinary run, so that a comparison that was interrupted goes on where it was. Of a
//! finished run its settings and metrics are enough.

mod arm;
mod html;
mod statistics;
mod terminal;

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::{Table, Value};

pub use arm::Arm;
pub use statistics::{CONFIDENCE, Sample};

use crate::error::{Error, Result};
use crate::train::{self, Finished, History, NewEngine, Request, Trainer};

/// The run of an arm and a seed.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Which way to train.
    pub arm: Arm,
    /// What decides all that is drawn.
    pub seed: u64,
    /// Its directory.
    pub path: PathBuf,
    /// Finished epochs; `None` where it has not begun.
    pub epochs: Option<u64>,
    /// Whether it has ended.
    pub finished: bool,
    request: Request,
}

/// The runs of a comparison below `out`, seed by seed; `recipe` says what all of them have in common.
///
/// # Errors
/// An arm or seed that is named twice; settings that make no sense; a run that was begun with other
/// settings; weights to begin with that are a run to go on with.
pub fn plan(out: &Path, arms: &[Arm], seeds: &[u64], recipe: &Request) -> Result<Vec<Planned>> {
    let twice = |what: &'static str, names: Vec<String>| {
        let mut seen = std::collections::BTreeSet::new();
        match names.into_iter().find(|name| !seen.insert(name.clone())) {
            Some(name) => Err(Error::argument(what, name, "named twice")),
            None => Ok(()),
        }
    };
    let is_run = |path: &&PathBuf| train::is_run(path) || train::is_checkpoint(path);
    if let Some(path) = recipe.resume.iter().find(is_run) {
        let reason =
            "expected weights that every run begins with: of a run, its best/model.safetensors";
        return Err(Error::argument("resume", path.display(), reason));
    }
    twice("arms", arms.iter().map(Arm::to_string).collect())?;
    twice("seeds", seeds.iter().map(u64::to_string).collect())?;
    let mut planned = Vec::new();
    for seed in seeds {
        for arm in arms {
            let path = out.join(arm.to_string()).join(seed.to_string());
            let mut changes = recipe.changes.clone();
            let mut last = arm.changes().clone();
            let number = i64::try_from(*seed)
                .map_err(|_| Error::argument("seeds", seed, format!("at most {}", i64::MAX)))?;
            last.insert("seed".to_owned(), Value::Integer(number));
            changes.push(last);
            let request = Request {
                changes,
                out: Some(path.clone()),
                ..recipe.clone()
            };
            let (epochs, finished) = begun(&path, &request.settings()?)?;
            planned.push(Planned {
                arm: arm.clone(),
                seed: *seed,
                path,
                epochs,
                finished,
                request,
            });
        }
    }
    Ok(planned)
}

/// How many epochs of a run are finished, `None` where it has not begun, and whether it has ended.
///
/// # Errors
/// It is not the run that is asked for.
fn begun(path: &Path, asked: &train::Settings) -> Result<(Option<u64>, bool)> {
    let (settings, epochs, is_over) = if train::is_run(path) {
        let state = History::read(path)?.state;
        let is_over = state.is_over();
        (state.settings, state.epoch, is_over)
    } else if let Some(kept) = Finished::read(path)? {
        let epochs = kept.metrics.last().map_or(0, |metrics| metrics.epoch);
        (kept.settings, epochs, true)
    } else {
        return Ok((None, false));
    };
    let table = |settings: &train::Settings| Table::try_from(settings).unwrap_or_default();
    let (had, asked) = (table(&settings), table(asked));
    // What the data set decided is not asked for.
    let decided = ["resolution", "mean", "std"];
    let keys = had.keys().chain(asked.keys());
    let differs = |key: &&String| {
        had.get(*key) != asked.get(*key)
            && (asked.contains_key(*key) || !decided.contains(&&key[..]))
    };
    let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    match keys.into_iter().find(differs) {
        Some(key) => Err(Error::argument(
            "out",
            path.display(),
            format!(
                "was begun with {key} {}, and this asks for {}: a comparison is of one recipe",
                shown(had.get(key)),
                shown(asked.get(key)),
            ),
        )),
        None => Ok((Some(epochs), is_over)),
    }
}

impl Planned {
    /// Opens the run: begins it, or goes on with it.
    ///
    /// # Errors
    /// As of [`train::open`].
    pub fn open(&self, engine: NewEngine<'_>) -> Result<Trainer> {
        let request = match self.epochs {
            None => self.request.clone(),
            Some(_) => Request {
                resume: vec![self.path.clone()],
                mask: None,
                recipe: None,
                changes: Vec::new(),
                ..self.request.clone()
            },
        };
        train::open(&request, engine)
    }
}

/// What the runs of a comparison came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The network's name.
    pub network: String,
    /// The data set.
    pub data: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The epochs that every run has finished.
    pub epochs: Vec<u64>,
    /// The arms; the others are compared with the first.
    pub arms: Vec<ArmResult>,
    /// Each arm but the first against it.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether it is of segmentation.
    fn is_of_scenes(&self) -> bool {
        self.arms.iter().any(|arm| arm.miou.is_some())
    }
}

/// What the runs of an arm came to. Lists by seed are in the order of [`Comparison::seeds`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmResult {
    /// As it is written.
    pub name: String,
    /// Test accuracy after the last epoch, percent.
    pub last: Sample,
    /// Test accuracy (of scenes: score) of the best epoch, percent: chosen by the test images, and so a little too high.
    pub best: Sample,
    /// Of scenes: mean IoU after the last epoch, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miou: Option<Sample>,
    /// Of scenes: score after the last epoch, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Sample>,
    /// Inhibited channels after the last epoch.
    pub inhibited: Sample,
    /// The epochs after which γ were regenerated, in the first run.
    pub regenerations: Vec<u64>,
    /// Mean test accuracy over the seeds, by epoch.
    pub top1: Vec<f64>,
    /// The directories of the runs.
    pub runs: Vec<PathBuf>,
}

/// Differences between the runs of two arms with the same seed: positive where the first is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// `paper-5 − without`.
    pub name: String,
    /// Of the test accuracies after the last epoch.
    pub last: Sample,
    /// Of those of the best epochs.
    pub best: Sample,
    /// Of scenes: of mean IoU after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miou: Option<Sample>,
    /// Of scenes: of the score after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Sample>,
}

/// Reads what the finished runs of a plan came to.
///
/// # Errors
/// A file of a run cannot be read; a run without a finished epoch.
///
/// # Panics
/// The plan is empty.
pub fn compare(plan: &[Planned]) -> Result<Comparison> {
    let mut arms: Vec<Arm> = Vec::new();
    let mut seeds: Vec<u64> = Vec::new();
    for planned in plan {
        if !arms.contains(&planned.arm) {
            arms.push(planned.arm.clone());
        }
        if !seeds.contains(&planned.seed) {
            seeds.push(planned.seed);
        }
    }
    let mut read: Vec<Vec<Finished>> = Vec::new();
    for arm in &arms {
        let of_arm = plan.iter().filter(|planned| planned.arm == *arm);
        let runs = of_arm.map(|planned| {
            let finished = Finished::read(&planned.path)?;
            let begun = finished.filter(|run| !run.metrics.is_empty());
            begun.ok_or_else(|| Error::refused(&planned.path, "no epoch of it is finished"))
        });
        read.push(runs.collect::<Result<_>>()?);
    }
    // Where patience ran out, runs differ in length.
    let length = read.iter().flatten().map(|run| run.metrics.len()).min();
    let length = length.unwrap_or(0);
    let results: Vec<ArmResult> = arms
        .iter()
        .zip(&read)
        .map(|(arm, runs)| of_arm(arm, runs, length))
        .collect();
    let (first, others) = results.split_first().expect("a plan has an arm");
    let pairs = |a: &Sample, b: &Sample| {
        let pairs = a.values.iter().zip(&b.values);
        Sample::of(pairs.map(|(a, b)| a - b).collect())
    };
    let both = |a: &Option<Sample>, b: &Option<Sample>| Some(pairs(a.as_ref()?, b.as_ref()?));
    let difference = |arm: &ArmResult| Difference {
        name: format!("{} − {}", arm.name, first.name),
        last: pairs(&arm.last, &first.last),
        best: pairs(&arm.best, &first.best),
        miou: both(&arm.miou, &first.miou),
        score: both(&arm.score, &first.score),
    };
    let run = &read[0][0];
    Ok(Comparison {
        network: run.settings.model.clone(),
        data: run.settings.data.clone(),
        seeds,
        epochs: run.metrics[..length].iter().map(|m| m.epoch).collect(),
        differences: others.iter().map(difference).collect(),
        arms: results,
    })
}

fn of_arm(arm: &Arm, runs: &[Finished], length: usize) -> ArmResult {
    let last = |value: &dyn Fn(&train::Metrics) -> f64| {
        let last = runs.iter().filter_map(|run| run.metrics.last());
        Sample::of(last.map(value).collect())
    };
    let of_scenes = |value: &dyn Fn(&train::Metrics) -> Option<f64>| {
        let last = runs.iter().map(|run| run.metrics.last().and_then(value));
        last.collect::<Option<Vec<f64>>>().map(Sample::of)
    };
    let best = runs.iter().filter_map(Finished::best);
    let mean = |epoch: usize| {
        let sum: f64 = runs.iter().map(|run| run.metrics[epoch].test_top1).sum();
        sum / runs.len() as f64
    };
    let edited = runs[0].metrics.iter().filter(|m| m.regenerated > 0);
    ArmResult {
        name: arm.to_string(),
        last: last(&|metrics| metrics.test_top1),
        best: Sample::of(best.collect()),
        miou: of_scenes(&|metrics| metrics.test_miou),
        score: of_scenes(&|metrics| metrics.test_score),
        inhibited: last(&|metrics| metrics.inhibited as f64),
        regenerations: edited.map(|metrics| metrics.epoch).collect(),
        top1: (0..length).map(mean).collect(),
        runs: runs.iter().map(|run| run.path.clone()).collect(),
    }
}
