//! `--every`: how many epochs are finished, and whether it is time.

use std::io::{self, Write};

use super::args::ScheduleArgs;
use crate::checkpoint::{Checkpoint, Epochs, TrainerState};
use crate::error::{Error, Result};
use crate::near::near;
use crate::regen::{Due, Schedule};

/// When it is, and whether it is time.
#[derive(Debug, Clone)]
pub(super) struct Cadence {
    every: Option<u64>,
    /// Finished epochs, with `--every`.
    pub(super) epoch: Option<u64>,
    /// The keys of the checkpoint that say so.
    pub(super) read_from: Option<String>,
    pub(super) due: Due,
    /// That the checkpoint says otherwise.
    pub(super) warning: Option<String>,
}

impl Cadence {
    /// What the arguments say, or else the checkpoint at `path`. Always time, without `--every`.
    ///
    /// # Errors
    /// Wrong usage, where neither says how many epochs are finished.
    pub(super) fn of(args: &ScheduleArgs, path: &std::path::Path) -> Result<Cadence> {
        let Some(every) = args.every else {
            return Ok(Cadence {
                every: None,
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
        let (epoch, read_from) = match args.epoch {
            Some(epoch) => (epoch, None),
            None => {
                let epochs = finished(&checkpoint, args.epoch_key.as_deref())?;
                (epochs.finished, Some(epochs.read_from))
            }
        };
        let other = said.filter(|said| said.finished != epoch);
        let warning = other.map(|said| {
            let option = read_from.as_ref().map_or("--epoch", |_| "--epoch-key");
            let Epochs {
                finished,
                read_from,
            } = said;
            let path = path.display();
            format!(
                "{option} says {epoch} finished epochs, and {path} says {finished} (read from {read_from})"
            )
        });
        let schedule = Schedule {
            every,
            start: args.start.unwrap_or(every),
            until: args.until,
        };
        Ok(Cadence {
            every: Some(every),
            epoch: Some(epoch),
            read_from,
            due: schedule.at(epoch),
            warning,
        })
    }

    /// One line, where there is a schedule.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (Some(every), Some(epoch)) = (self.every, self.epoch) else {
            return Ok(());
        };
        let state = if self.due.now {
            "due"
        } else {
            "not due, nothing regenerated"
        };
        let next = match self.due.next {
            Some(next) => format!("next at epoch {next}"),
            None => "never again".to_owned(),
        };
        let place = self.read_from.as_ref();
        let place = place.map_or(String::new(), |place| format!(" (read from {place})"));
        writeln!(out, "epoch {epoch}, every {every}: {state}; {next}{place}")
    }
}

/// How many epochs a checkpoint says are finished, under `key` if there is one.
///
/// # Errors
/// Wrong usage, where it does not say it.
pub(super) fn finished(checkpoint: &Checkpoint, key: Option<&str>) -> Result<Epochs> {
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
    let Some((_, number)) = checkpoint.numbers().find(|(known, _)| *known == key) else {
        let known: Vec<&str> = checkpoint.numbers().map(|(key, _)| key).collect();
        let said = match &near(key, known.iter().copied())[..] {
            [] if known.is_empty() => "it holds no numbers beside the weights".to_owned(),
            [] => format!("it has {}", known[..known.len().min(8)].join(", ")),
            near => format!("did you mean {}?", near.join(" or ")),
        };
        return Err(Error::Usage(format!(
            "--epoch-key {typed}: {path} has no number there; {said}"
        )));
    };
    let finished = number.count().and_then(|n| n.checked_add(more));
    let finished = finished.ok_or_else(|| {
        let message = format!("--epoch-key {typed}: {path} has {number} there, which is no count");
        Error::Usage(message)
    })?;
    Ok(Epochs::new(finished, typed))
}

/// That the checkpoint does not say it, and what it has that may.
fn unknown(checkpoint: &Checkpoint) -> Error {
    const SHOWN: usize = 3;
    let path = checkpoint.path();
    let mut message = format!(
        "--every needs --epoch N: {} does not say how many epochs are finished",
        path.display()
    );
    let found = checkpoint.epoch_numbers();
    let list: Vec<String> = found
        .iter()
        .take(SHOWN)
        .map(|(key, number)| format!("{key} = {number}"))
        .collect();
    if let Some((key, number)) = found.first() {
        message += &format!(". It has {}", list.join(", "));
        if number.count().is_some() {
            message += &format!(
                ": --epoch-key {key} if that is the count, --epoch-key {key}+1 if it is the index \
                 of the last epoch"
            );
        }
    } else if path.is_file()
        && let Some(epochs) = TrainerState::beside(path).and_then(|state| state.epochs())
    {
        let Epochs {
            finished,
            read_from,
        } = epochs;
        message += &format!(
            ". Beside it stands {finished} ({read_from}): name the directory instead of the file, and \
             it is read"
        );
    }
    Error::Usage(message)
}
