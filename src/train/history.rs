//! A run as its directory tells it, while it goes on or when it has ended.

use std::fs;
use std::path::{Path, PathBuf};

use super::directory::{RunDirectory, is_checkpoint, is_run};
use super::metrics::{self, Metrics};
use super::record::{self, Record};
use super::samples::{self, SceneSample};
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

    /// Some test scenes with what the network of the best epoch says of them; none of a classifier.
    ///
    /// # Errors
    /// A file cannot be read, or is none of a sample.
    pub fn samples(&self) -> Result<Vec<SceneSample>> {
        samples::read(&self.path)
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
        let numbers = finished.metrics.iter().map(|metrics| metrics.epoch);
        if let Some((expected, found)) = (1..).zip(numbers).find(|(a, b)| a != b) {
            let file = RunDirectory::metrics_of(path);
            let expected = format!("those of epoch {expected}");
            return Err(Error::malformed(
                &file,
                "metrics",
                expected,
                format!("epoch {found}"),
            ));
        }
        if !finished.is_over() {
            let reason = format!(
                "has the metrics of {} of {} epochs and no checkpoint to go on from",
                finished.metrics.len(),
                finished.settings.epochs
            );
            return Err(Error::refused(path, reason));
        }
        Ok(Some(finished))
    }

    /// Whether no epoch follows, as [`State::is_over`].
    fn is_over(&self) -> bool {
        let (epochs, patience) = (self.metrics.len() as u64, self.settings.patience);
        let best = self.metrics.iter().find(|m| Some(m.merit()) == self.best());
        epochs >= self.settings.epochs
            || (patience > 0 && best.is_some_and(|best| epochs - best.epoch >= patience))
    }

    /// Test accuracy of the best epoch, percent; of scenes its score.
    pub fn best(&self) -> Option<f64> {
        let merits = self.metrics.iter().map(Metrics::merit);
        merits.reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_run_without_checkpoint_its_metrics_say_whether_patience_ran_out() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            epochs: 10,
            patience: 2,
            ..Settings::default()
        };
        fs::write(RunDirectory::settings_of(dir.path()), settings.to_toml()).unwrap();
        let read = |top1: &[f64]| {
            let _ = fs::remove_file(RunDirectory::metrics_of(dir.path()));
            for (epoch, test_top1) in (1..).zip(top1) {
                let metrics = Metrics {
                    epoch,
                    train_loss: 1.0,
                    train_top1: 50.0,
                    test_loss: 1.0,
                    test_top1: *test_top1,
                    test_miou: None,
                    test_score: None,
                    test_iou: None,
                    images_per_s: 100.0,
                    lr: 0.1,
                    regenerated: 0,
                    inhibited: 0,
                    median_gamma: 0.5,
                    pruned: 0,
                };
                metrics::append(&RunDirectory::metrics_of(dir.path()), &metrics).unwrap();
            }
            Finished::read(dir.path())
        };
        let said = read(&[10.0, 20.0, 15.0]).unwrap_err().to_string();
        assert!(said.contains("metrics of 3 of 10 epochs"), "{said}");
        let finished = read(&[10.0, 20.0, 15.0, 20.0]).unwrap().unwrap();
        assert_eq!((finished.metrics.len(), finished.best()), (4, Some(20.0)));
        assert!(read(&[]).unwrap().is_none());
    }
}
