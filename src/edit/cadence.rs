//! Whether an edit is due: how many epochs are finished, and what the schedule says.

use std::path::Path;

use crate::checkpoint::{Checkpoint, Epochs, TrainerState};
use crate::error::{Error, Result};
use crate::near::near;
use crate::regen::{Due, Schedule};

/// When to edit a checkpoint. The default is always.
#[derive(Debug, Clone, Default)]
pub struct When {
    /// At these epochs only.
    pub schedule: Option<Schedule>,
    /// How many epochs are finished, the first is 1; what the checkpoint says, if not given.
    pub epoch: Option<u64>,
    /// The key of the checkpoint that says so, where it is not known; `KEY+1` where the index of the
    /// last epoch stands there, which counts from 0.
    pub epoch_key: Option<String>,
}

/// How many epochs are finished, and whether an edit is due.
#[derive(Debug, Clone)]
pub struct Cadence {
    /// Its schedule, where it has one.
    pub schedule: Option<Schedule>,
    /// Finished epochs, where there is a schedule.
    pub epoch: Option<u64>,
    /// The keys of the checkpoint that say so.
    pub read_from: Option<String>,
    /// Whether it is due.
    pub due: Due,
    /// That the checkpoint says another number of epochs, in a sentence.
    pub warning: Option<String>,
}

impl Cadence {
    /// What `when` says, or else the checkpoint at `path`. Always due, without a schedule.
    ///
    /// # Errors
    /// Wrong usage, where neither says how many epochs are finished.
    pub fn of(when: &When, path: &Path) -> Result<Cadence> {
        let Some(schedule) = when.schedule else {
            return Ok(Cadence {
                schedule: None,
                epoch: None,
                read_from: None,
                due: Due {
                    now: true,
                    next: None,
                },
                warning: None,
            });
        };
        let checkpoint = Checkpoint::open(path)?;
        let said = checkpoint.training().epochs.as_ref();
        let (epoch, read_from) = match when.epoch {
            Some(epoch) => (epoch, None),
            None => {
                let epochs = finished(&checkpoint, when.epoch_key.as_deref())?;
                (epochs.finished, Some(epochs.read_from))
            }
        };
        let other = said.filter(|said| said.finished != epoch);
        let warning = other.map(|said| {
            let place = read_from.as_ref();
            let source = place.map_or("the epoch given".to_owned(), |key| format!("the key {key}"));
            let Epochs {
                finished,
                read_from,
            } = said;
            let path = path.display();
            format!(
                "{source} says {epoch} finished epochs, and {path} says {finished} (read from {read_from})"
            )
        });
        Ok(Cadence {
            schedule: Some(schedule),
            epoch: Some(epoch),
            read_from,
            due: schedule.at(epoch),
            warning,
        })
    }
}

/// How many epochs a checkpoint says are finished, under `key` if there is one.
///
/// # Errors
/// Wrong usage, where it does not say it.
pub(crate) fn finished(checkpoint: &Checkpoint, key: Option<&str>) -> Result<Epochs> {
    match key {
        Some(key) => by_key(checkpoint, key),
        None => checkpoint
            .training()
            .epochs
            .clone()
            .ok_or_else(|| unknown(checkpoint)),
    }
}

/// The number under a key, or, under `KEY+1`, one more.
fn by_key(checkpoint: &Checkpoint, typed: &str) -> Result<Epochs> {
    let (key, more) = match typed.strip_suffix("+1") {
        Some(key) => (key, 1),
        None => (typed, 0),
    };
    let path = checkpoint.path().display();
    let wrong = |reason: String| Error::argument("epoch_key", typed, reason);
    let Some((_, number)) = checkpoint.numbers().find(|(known, _)| *known == key) else {
        let known: Vec<&str> = checkpoint.numbers().map(|(key, _)| key).collect();
        let said = match &near(key, known.iter().copied())[..] {
            [] if known.is_empty() => "it holds no numbers beside the weights".to_owned(),
            [] => format!("it has {}", known[..known.len().min(8)].join(", ")),
            near => format!("did you mean {}?", near.join(" or ")),
        };
        return Err(wrong(format!("{path} has no number there; {said}")));
    };
    let finished = number.count().and_then(|n| n.checked_add(more));
    let finished =
        finished.ok_or_else(|| wrong(format!("{path} has {number} there, which is no count")))?;
    Ok(Epochs::new(finished, typed))
}

/// That the checkpoint does not say it, and what it has that may.
fn unknown(checkpoint: &Checkpoint) -> Error {
    const SHOWN: usize = 3;
    let path = checkpoint.path();
    let mut reason = format!(
        "is needed here: {} does not say how many epochs are finished",
        path.display()
    );
    let found = checkpoint.epoch_numbers();
    let list: Vec<String> = found
        .iter()
        .take(SHOWN)
        .map(|(key, number)| format!("{key} = {number}"))
        .collect();
    if let Some((key, number)) = found.first() {
        reason += &format!(". It has {}", list.join(", "));
        if number.count().is_some() {
            reason += &format!(
                ": epoch_key={key} if that is the count, epoch_key={key}+1 if it is the index of the \
                 last epoch"
            );
        }
    } else if path.is_file()
        && let Some(epochs) = TrainerState::beside(path).and_then(|state| state.epochs())
    {
        let Epochs {
            finished,
            read_from,
        } = epochs;
        reason += &format!(
            ". Beside it stands {finished} ({read_from}): name the directory instead of the file, and \
             it is read"
        );
    }
    Error::argument("epoch", "", reason)
}
