//! A run as its directory tells it, while it goes on or when it has ended.

use std::fs;
use std::path::{Path, PathBuf};

use super::directory::{RunDirectory, is_checkpoint, is_run};
use super::metrics::{self, Metrics};
use super::record::{self, Record};
use super::settings::{Settings, read_file};
use super::state::State;
use crate::error::{Error, Result};

/// What a run left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The directory of the run.
    pub path: PathBuf,
    /// Its last checkpoint.
    pub checkpoint: PathBuf,
    /// Where it is.
    pub state: State,
    /// Of each finished epoch, ascending; those of the run that it began with are in its directory.
    pub metrics: Vec<Metrics>,
}

impl History {
    /// Reads the state and the metrics of the run at `path`.
    ///
    /// # Errors
    /// There is no run, or a file of it cannot be read.
    pub fn read(path: &Path) -> Result<History> {
        if !is_run(path) {
            let reason = if path.exists() {
                "is no directory of a run: there is no last/ of ckpt-regen train in it"
            } else {
                "there is no such directory"
            };
            return Err(Error::refused(path, reason));
        }
        let last = RunDirectory::last_of(path);
        let checkpoint = if is_checkpoint(&last) {
            last
        } else {
            // A process died between two renames.
            path.join(".last.old")
        };
        let state = State::read(&checkpoint)?;
        let metrics = metrics::read(&RunDirectory::metrics_of(path), state.epoch)?;
        Ok(History {
            path: fs::canonicalize(path).map_err(Error::io("find", path))?,
            checkpoint,
            state,
            metrics,
        })
    }

    /// What was recorded of its finished epochs, ascending; nothing without `--record`.
    ///
    /// # Errors
    /// A file cannot be read, is no record, or is that of another network than the others.
    pub fn records(&self) -> Result<Vec<Record>> {
        let mut records = record::records(&self.path)?;
        records.retain(|record| record.epoch <= self.state.epoch);
        Ok(records)
    }
}

/// A run by its settings and metrics, which are all that is needed to compare it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Its directory.
    pub path: PathBuf,
    /// How it was trained.
    pub settings: Settings,
    /// Of each epoch, ascending.
    pub metrics: Vec<Metrics>,
}

impl Finished {
    /// Reads the run at `path`, or what was kept of it: `settings.toml` and `metrics.jsonl` without a
    /// checkpoint. `None` where neither is.
    ///
    /// # Errors
    /// A file cannot be read; a run that has not ended, and of which no checkpoint was kept.
    pub fn read(path: &Path) -> Result<Option<Finished>> {
        if is_run(path) {
            let History {
                path,
                state,
                metrics,
                ..
            } = History::read(path)?;
            let settings = state.settings;
            return Ok(Some(Finished {
                path,
                settings,
                metrics,
            }));
        }
        let (settings, metrics) = (
            RunDirectory::settings_of(path),
            RunDirectory::metrics_of(path),
        );
        if !(settings.is_file() && metrics.is_file()) {
            return Ok(None);
        }
        let settings = Settings::with(&Settings::default(), &[read_file(&settings)?])?;
        let finished = Finished {
            path: fs::canonicalize(path).map_err(Error::io("find", path))?,
            metrics: metrics::read(&metrics, settings.epochs)?,
            settings,
        };
        let epochs = finished.metrics.last().map_or(0, |metrics| metrics.epoch);
        if epochs < finished.settings.epochs && finished.settings.patience == 0 {
            let reason = format!(
                "has the metrics of {epochs} of {} epochs and no checkpoint to go on from",
                finished.settings.epochs
            );
            return Err(Error::refused(path, reason));
        }
        Ok(Some(finished))
    }

    /// Test accuracy of the best epoch, percent.
    pub fn best(&self) -> Option<f64> {
        let top1 = self.metrics.iter().map(|metrics| metrics.test_top1);
        top1.reduce(f64::max)
    }
}
