//! Carrying out the actions of a journal: the last part of every edit, and what the next run does
//! for one that was killed.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::home::Kept;
use super::journal::{self, Action, Journal, Purpose, Range, journal_path};
use crate::error::{Error, Result};
use crate::file::{Identity, directory, read_exact_at};

/// What became of an edit that a killed run had left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// It was completed.
    Completed(Purpose),
    /// It was given up, since another program had meanwhile rewritten this file; that program's
    /// contents stand. What had been replaced by then stays so, and the record says how it was;
    /// everything else is as before the edit.
    GivenUp(PathBuf),
}

/// Completes the pending edit of `anchor`, if there is one. The caller holds the lock.
pub(super) fn recover(disk: &Disk, anchor: &Path) -> Result<Option<Recovery>> {
    let Some(Journal { purpose, actions }) = journal::read(anchor)? else {
        return Ok(None);
    };
    let directory = directory(anchor);
    let mut foreign = None;
    for action in &actions {
        if foreign.is_none() && rewritten(directory, action)? {
            foreign = Some(directory.join(action.target()));
        }
    }
    let recovery = match foreign {
        None => {
            perform(disk, directory, &actions).map_err(|(_, err)| err)?;
            Recovery::Completed(purpose)
        }
        Some(file) => {
            give_up_all(disk, directory, &actions)?;
            Recovery::GivenUp(file)
        }
    };
    finish(disk, anchor)?;
    Ok(Some(recovery))
}

/// Gives an edit up. Where files had been replaced already, its record is all that is left of
/// their old bytes, and takes its place.
fn give_up_all(disk: &Disk, directory: &Path, actions: &[Action]) -> Result<()> {
    let mut replaced = false;
    for action in actions {
        if let Action::Rename { from, to, .. } = action {
            replaced |= !Kept::Record.is_at(to) && !exists(&directory.join(from))?;
        }
    }
    for action in actions {
        match action {
            Action::Rename { from, to, .. } if Kept::Record.is_at(to) && replaced => {
                perform_one(disk, directory, action)?;
                disk.sync_directory_of(&directory.join(from))?;
            }
            Action::Rename { from, .. } => disk.remove(&directory.join(from))?,
            Action::Remove { .. } => {}
            Action::Patch { .. } if rewritten(directory, action)? => {}
            Action::Patch { path, ranges, .. } => {
                write_ranges(disk, &directory.join(path), ranges, |range| &range.old)?;
            }
        }
    }
    Ok(())
}

/// Carries the actions out, in order. An error comes with the number of actions done before it.
pub(super) fn perform(
    disk: &Disk,
    directory: &Path,
    actions: &[Action],
) -> Result<(), (usize, Error)> {
    for (done, action) in actions.iter().enumerate() {
        perform_one(disk, directory, action).map_err(|err| (done, err))?;
    }
    let mut renamed: Vec<PathBuf> = actions
        .iter()
        .filter(|action| !matches!(action, Action::Patch { .. }))
        .map(|action| directory.join(action.target()))
        .collect();
    renamed.dedup_by(|a, b| a.parent() == b.parent());
    renamed
        .iter()
        .try_for_each(|path| disk.sync_directory_of(path))
        .map_err(|err| (actions.len(), err))
}

fn perform_one(disk: &Disk, directory: &Path, action: &Action) -> Result<()> {
    match action {
        Action::Rename { from, to, .. } => {
            let from = directory.join(from);
            if exists(&from)? {
                disk.rename(&from, &directory.join(to))
            } else {
                Ok(())
            }
        }
        Action::Remove { path, .. } => disk.remove(&directory.join(path)),
        Action::Patch { path, ranges, .. } => {
            write_ranges(disk, &directory.join(path), ranges, |range| &range.new)
        }
    }
}

/// Removes the journal of a completed edit.
pub(super) fn finish(disk: &Disk, anchor: &Path) -> Result<()> {
    let path = journal_path(anchor);
    disk.remove(&path)?;
    disk.sync_directory_of(&path)
}

/// Whether another program has rewritten the target since the action was decided.
fn rewritten(directory: &Path, action: &Action) -> Result<bool> {
    let target = directory.join(action.target());
    let now = Identity::at(&target).map_err(Error::io("look at", &target))?;
    Ok(match action {
        // Without the staged file it was renamed, or lost with the power.
        Action::Rename { from, was, .. } if exists(&directory.join(from))? => now != *was,
        Action::Rename { was, .. } => now == *was,
        Action::Remove { was, .. } => now.is_some() && now != *was,
        Action::Patch { len, ranges, .. } => {
            now.is_none_or(|now| now.len != *len) || !holds_old_or_new(&target, ranges)?
        }
    })
}

/// Whether every byte of the ranges is the old or the new one, as an interrupted patch leaves it.
fn holds_old_or_new(path: &Path, ranges: &[Range]) -> Result<bool> {
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    for range in ranges {
        let mut now = vec![0; range.old.len()];
        read_exact_at(&file, &mut now, range.offset).map_err(Error::io("read", path))?;
        let known = |((now, old), new): ((&u8, &u8), &u8)| now == old || now == new;
        if !now.iter().zip(&range.old).zip(&range.new).all(known) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_ranges(
    disk: &Disk,
    path: &Path,
    ranges: &[Range],
    bytes: impl Fn(&Range) -> &Vec<u8>,
) -> Result<()> {
    let file = disk.open_to_patch(path)?;
    for range in ranges {
        disk.write_at(&file, path, bytes(range), range.offset)?;
    }
    disk.sync(&file, path)
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(Error::io("look at", path))
}
