//! A run as its directory tells it, while it goes on or when it has ended.

use std::fs;
use std::path::{Path, PathBuf};

use super::directory::{RunDirectory, is_checkpoint, is_run};
use super::metrics::{self, Metrics};
use super::record::{self, Record};
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
