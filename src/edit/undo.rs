//! Taking the last edit back.

use std::path::{Path, PathBuf};

use super::Destination;
use super::record::{Record, record_path};
use super::target::Target;
use super::write::{RecordAfter, write};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::storage::{Progress, Recovery, Syncs, Transaction};

/// What was taken back.
#[derive(Debug)]
pub struct Undone {
    /// The file or shard index that was edited.
    pub path: PathBuf,
    /// How many γ that edit had changed.
    pub restored: usize,
    /// In how many layers.
    pub layers: usize,
    /// How many earlier edits the record still holds.
    pub left: usize,
    /// What became of an edit that a killed run had left behind.
    pub recovery: Option<Recovery>,
    /// Things that went otherwise than a user may expect, in sentences.
    pub warnings: Vec<String>,
    /// What waiting for the disk cost.
    pub syncs: Syncs,
}

/// Takes back the last edit of the checkpoint at `path`, bit for bit.
///
/// # Errors
/// No record, or γ other than those it left. [`Destination::output`] has no meaning here.
pub fn undo(path: &Path, destination: &Destination, progress: Progress<'_>) -> Result<Undone> {
    let destination = Destination {
        output: None,
        ..destination.clone()
    };
    let target = Target::resolve(path, &destination)?;
    let transaction = Transaction::begin(target.edited())?;
    let recovery = transaction.recovery().cloned();
    let file = record_path(target.edited());
    let Some(mut record) = Record::read(target.edited())? else {
        let reason = format!("has no record of an edit ({} is not there)", file.display());
        return Err(Error::refused(path, reason));
    };
    let checkpoint = Checkpoint::open(&target.path)?;
    let edit = record
        .edits
        .pop()
        .expect("a record that was read has an edit");
    let now = edit.fingerprint_now(&checkpoint)?;
    if now.as_ref() != Some(&edit.sha256_after) {
        let reason = if now.as_ref() == Some(&edit.sha256_before) {
            "holds the γ from before the recorded edit: it is taken back already"
        } else {
            "does not hold the γ that the recorded edit left (training went on, or another program \
             wrote it); nothing was changed"
        };
        return Err(Error::refused(path, reason));
    }
    let damaged = |found: &str| {
        let expected = "the bytes that the recorded edit replaced";
        Error::malformed(&file, "record", expected, found)
    };
    let old = edit
        .old_tensors(&checkpoint)
        .ok_or_else(|| damaged("others"))?;
    if edit.fingerprint_restored(&checkpoint)?.as_ref() != Some(&edit.sha256_before) {
        return Err(damaged("bytes that do not fit its checksum"));
    }
    let patches = checkpoint.patches(&old)?;
    let left = record.edits.len();
    let after = if left == 0 {
        RecordAfter::Remove
    } else {
        RecordAfter::Write(record)
    };
    let (syncs, warnings) = write(transaction, &target, &checkpoint, &patches, after, progress)?;
    Ok(Undone {
        path: target.edited().to_owned(),
        restored: edit.regenerated,
        layers: edit.layers(),
        left,
        recovery,
        warnings,
        syncs,
    })
}
