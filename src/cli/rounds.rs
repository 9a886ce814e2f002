//! `ckpt-regen loop`: a training command in pieces, regenerated between them.

mod child;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::LoopArgs;
use super::progress::Bytes;
use super::{apply, hints, output};
use crate::checkpoint::{Checkpoint, newest};
use crate::edit::{self, Change, Destination, Request};
use crate::error::{Error, Result};
use crate::record;
use crate::regen::Schedule;
use crate::text::printable;
use child::End;
use words::{Values, Words};

pub(super) fn run(args: &LoopArgs) -> Result<ExitCode> {
    let request = apply::request(&args.edit, None)?;
    let rounds = Rounds {
        args,
        request,
        words: Words::parse(&args.command)?,
        schedule: Schedule {
            every: args.every,
            start: args.start.unwrap_or(args.every),
            until: args.until,
        },
    };
    let mut at = rounds.state()?;
    if let Some(state) = &at {
        // The run that wrote it may have ended before the edit, or in it.
        let edited = rounds.regenerate(state)?;
        if !edited.is_empty() {
            output::talk_plainly(&format!(
                "{} of {} epochs{edited}",
                state.epochs, args.epochs
            ));
        }
    }
    while at.as_ref().map_or(0, |state| state.epochs) < args.epochs {
        let begun = at.as_ref().map_or(0, |state| state.epochs);
        match child::run(&rounds.words, &rounds.values(at.as_ref()))? {
            End::Success => {}
            End::Failed(code) => return Ok(ExitCode::from(code)),
        }
        let state = rounds.state()?.filter(|state| state.epochs > begun);
        let Some(state) = state else {
            return Err(rounds.stands_still(begun));
        };
        let edited = rounds.regenerate(&state)?;
        output::talk_plainly(&format!(
            "round {}: {} of {} epochs{edited}",
            rounds.number(begun),
            state.epochs,
            args.epochs
        ));
        at = Some(state);
    }
    Ok(ExitCode::SUCCESS)
}

/// What stays the same in all rounds.
struct Rounds<'a> {
    args: &'a LoopArgs,
    request: Request,
    words: Words,
    schedule: Schedule,
}

/// Where the training is: all that is known between two rounds.
struct State {
    checkpoint: PathBuf,
    /// Finished.
    epochs: u64,
}

impl Rounds<'_> {
    /// What the newest checkpoint says; `None` as long as there is none.
    fn state(&self) -> Result<Option<State>> {
        let named = &self.args.checkpoint;
        let path = match newest(named)? {
            Some(newest) => newest,
            None if is_empty(named) => return Ok(None),
            None => named.clone(),
        };
        let checkpoint = Checkpoint::open(&path)?;
        let epochs = edit::finished(&checkpoint, self.args.epoch_key.as_deref())?;
        Ok(Some(State {
            checkpoint: path,
            epochs: epochs.finished,
        }))
    }

    /// The epoch at which a round ends that begins at `begun`.
    fn stop(&self, begun: u64) -> u64 {
        let next = self.schedule.at(begun).next.unwrap_or(self.args.epochs);
        next.min(self.args.epochs)
    }

    /// How many rounds there are up to the one that begins at `begun`.
    fn number(&self, begun: u64) -> u64 {
        let due = (1..=begun).filter(|epoch| self.schedule.at(*epoch).now);
        due.count() as u64 + 1
    }

    fn values(&self, at: Option<&State>) -> Values {
        let begun = at.map_or(0, |state| state.epochs);
        Values {
            epochs: self.stop(begun),
            total: self.args.epochs,
            start: begun,
            round: self.number(begun),
            checkpoint: at.map(|state| state.checkpoint.clone()),
        }
    }

    /// Edits a checkpoint if it is due, and says what became of it, as it reads behind the epoch.
    fn regenerate(&self, state: &State) -> Result<String> {
        let due = self.schedule.at(state.epochs);
        if !due.now || state.epochs >= self.args.epochs {
            return Ok(String::new());
        }
        let path = &state.checkpoint;
        // The newest of a directory may be a link; records are kept for the file itself.
        let destination = Destination {
            follow_symlinks: path.is_symlink() && self.args.checkpoint.is_dir(),
            ..Destination::default()
        };
        let file = if destination.follow_symlinks {
            fs::canonicalize(path).map_err(Error::io("follow", path))?
        } else {
            path.clone()
        };
        let apply = |request: &Request| {
            let progress = Bytes::new("copying");
            edit::apply(path, request, &destination, &|event| progress.on(event))
        };
        // Completes an edit that was killed.
        apply(&Request {
            change: Change::Nothing,
            ..Request::default()
        })?;
        if record::is_edited(&file)? {
            return Ok(String::new());
        }
        let done = apply(&self.request);
        let shown = printable(&path.to_string_lossy());
        let applied = match done {
            Ok(applied) => applied,
            // Training must not end because of it.
            Err(err @ (Error::Refused { .. } | Error::Malformed { .. })) => {
                output::warn(&format!("{err}; training goes on without this edit"));
                return Ok(format!("; {shown} is left as it is"));
            }
            Err(err) => return Err(err),
        };
        let planned = applied.planned.as_ref();
        let warnings = planned.into_iter().flat_map(hints::warnings);
        let warnings = warnings.chain(applied.warnings.iter().cloned());
        warnings.for_each(|warning| output::warn(&warning));
        let plan = planned.map(|planned| &planned.plan);
        let (regenerated, counted) = plan.map_or((0, 0), |p| (p.regenerated(), p.counted));
        Ok(format!(
            "; regenerated {regenerated} of {counted} channels in {shown}"
        ))
    }

    fn stands_still(&self, begun: u64) -> Error {
        let reason = format!(
            "the command ended well, and {begun} epochs are finished as before: does it save a \
             checkpoint there, and resume from {{checkpoint}}?"
        );
        Error::refused(&self.args.checkpoint, reason)
    }
}

/// Whether nothing is there yet, or a directory without any checkpoint.
fn is_empty(path: &Path) -> bool {
    if path.is_dir() {
        crate::checkpoint::model_file(path).is_err()
    } else {
        !path.exists()
    }
}
