//! The directory of a run: its checkpoints `last/`, `best/`, `ticket/` and `epoch-N/`, `metrics.jsonl`,
//! `settings.toml`, and a lock, so that two programs do not train in one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::Saved;
use super::state::State;
use crate::checkpoint::directory::run::STATE;
use crate::error::{Error, Result};
use crate::storage::{folder, replace_file};

const LAST: &str = "last";
const BEST: &str = "best";
const TICKET: &str = "ticket";
const METRICS: &str = "metrics.jsonl";
const SETTINGS: &str = "settings.toml";
const LOCK: &str = ".lock";

/// The directory of a run that is going on.
#[derive(Debug)]
pub(super) struct RunDirectory {
    path: PathBuf,
    /// Held as long as it is open.
    _lock: File,
}

/// Whether there is a run to go on with in the directory `path`.
pub fn is_run(path: &Path) -> bool {
    // The second, where a process died between two renames.
    [RunDirectory::last_of(path), path.join(".last.old")]
        .iter()
        .any(|last| is_checkpoint(last))
}

/// The run that `checkpoint` is the last checkpoint of.
pub(super) fn run_of(checkpoint: &Path) -> Option<PathBuf> {
    let whole = fs::canonicalize(checkpoint).ok()?;
    let run = whole.parent()?;
    // By the path that was given, where that is possible.
    let shown = checkpoint.parent().filter(|path| {
        checkpoint.file_name().is_some() && fs::canonicalize(path).is_ok_and(|path| path == run)
    });
    (whole.file_name()? == LAST && is_run(run)).then(|| shown.unwrap_or(run).to_owned())
}

/// Whether a directory is the checkpoint of a run.
pub fn is_checkpoint(path: &Path) -> bool {
    path.join(STATE).is_file() && State::read(path).is_ok()
}

impl RunDirectory {
    /// Makes it, or opens it to go on; no other program can as long as this one does.
    pub(super) fn open(path: &Path) -> Result<RunDirectory> {
        fs::create_dir_all(path).map_err(Error::io("create the directory", path))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(Error::io("create the lock file", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let reason = "another ckpt-regen is training in this directory";
                return Err(Error::refused(path, reason));
            }
            // On such a file system nobody can be kept out.
            Err(TryLockError::Error(err)) if err.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(err)) => return Err(Error::io("lock", &lock)(err)),
        }
        let run = RunDirectory {
            path: path.to_owned(),
            _lock: file,
        };
        run.recover()?;
        Ok(run)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn last(&self) -> PathBuf {
        Self::last_of(&self.path)
    }

    /// The last checkpoint of the run at `path`.
    pub(super) fn last_of(path: &Path) -> PathBuf {
        path.join(LAST)
    }

    pub(super) fn best(&self) -> PathBuf {
        Self::best_of(&self.path)
    }

    /// The best checkpoint of the run at `path`.
    pub(super) fn best_of(path: &Path) -> PathBuf {
        path.join(BEST)
    }

    pub(super) fn metrics(&self) -> PathBuf {
        Self::metrics_of(&self.path)
    }

    /// The metrics of the run at `path`.
    pub(super) fn metrics_of(path: &Path) -> PathBuf {
        path.join(METRICS)
    }

    /// The settings of the run at `path`.
    pub(super) fn settings_of(path: &Path) -> PathBuf {
        path.join(SETTINGS)
    }

    fn epoch(&self, epoch: u64) -> PathBuf {
        self.path.join(format!("epoch-{epoch}"))
    }

    /// Keeps the settings as a file that `--config` takes.
    pub(super) fn write_settings(&self, state: &State) -> Result<()> {
        let text = state.settings.to_toml();
        replace_file(&Self::settings_of(&self.path), text.as_bytes())
    }

    /// Puts a checkpoint in place of the last one, which is kept under the number of its epoch if
    /// `keep` asks for more than one.
    pub(super) fn save_last(&self, saved: &Saved, keep: u64) -> Result<()> {
        let last = self.last();
        let before = if keep > 1 && last.exists() {
            Some(self.epoch(State::read(&last)?.epoch))
        } else {
            None
        };
        folder::replace_directory(&last, &saved.files, before.as_deref())?;
        self.prune(saved.epoch, keep)
    }

    /// Puts a checkpoint of the same epoch in place of the last one.
    pub(super) fn rewrite_last(&self, saved: &Saved) -> Result<()> {
        folder::replace_directory(&self.last(), &saved.files, None)
    }

    /// Puts a checkpoint in place of the best one.
    pub(super) fn save_best(&self, saved: &Saved) -> Result<()> {
        folder::replace_directory(&self.best(), &saved.files, None)
    }

    pub(super) fn ticket(&self) -> PathBuf {
        self.path.join(TICKET)
    }

    /// Keeps the pruned network that an Early-Bird search found.
    pub(super) fn save_ticket(&self, saved: &Saved) -> Result<()> {
        folder::replace_directory(&self.ticket(), &saved.files, None)
    }

    /// Removes the checkpoints of epochs too long ago.
    fn prune(&self, epoch: u64, keep: u64) -> Result<()> {
        for (path, number) in self.numbered()? {
            if number.saturating_add(keep) <= epoch {
                folder::remove(&path)?;
            }
        }
        Ok(())
    }

    fn numbered(&self) -> Result<Vec<(PathBuf, u64)>> {
        let entries = fs::read_dir(&self.path).map_err(Error::io("list", &self.path))?;
        let numbered = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let number = name.strip_prefix("epoch-")?.parse().ok()?;
            is_checkpoint(&path).then_some((path, number))
        });
        Ok(numbered.collect())
    }

    /// Clears up after a process that died while it saved.
    fn recover(&self) -> Result<()> {
        for path in [self.best(), self.ticket()] {
            for left in folder::recover(&path)? {
                folder::remove(&left)?;
            }
        }
        for left in folder::recover(&self.last())? {
            // The one before the last was complete; an incomplete one would be newer.
            let older = State::read(&left).ok().filter(|state| {
                State::read(&self.last()).is_ok_and(|last| state.epoch < last.epoch)
            });
            match older {
                Some(state) if state.settings.keep > 1 && !self.epoch(state.epoch).exists() => {
                    let archive = self.epoch(state.epoch);
                    fs::rename(&left, &archive).map_err(Error::io("rename", &left))?;
                }
                _ => folder::remove(&left)?,
            }
        }
        Ok(())
    }
}
