//! Taking the last edit back.

use std::path::{Path, PathBuf};

use super::target::Target;
use super::write::{RecordAfter, write};
use super::{Destination, Event, Events, going_on};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::record::Record;
use crate::storage::{Purpose, Recovery, Syncs, Transaction};

/// What was taken back.
#[derive(Debug)]
pub struct Undone {
    /// The file or shard index that was edited.
    pub path: PathBuf,
    /// How many γ that edit had changed, in how many layers; `None` when an interrupted undo was
    /// completed.
    pub restored: Option<(usize, usize)>,
    /// How many earlier edits the record still holds.
    pub left: usize,
    /// Things that went otherwise than a user may expect, in sentences.
    pub warnings: Vec<String>,
    /// What waiting for the disk cost.
    pub syncs: Syncs,
}

/// Takes back the last edit of the checkpoint at `path`, bit for bit. An undo that was interrupted
/// is completed, and that is all.
///
/// # Errors
/// No record, or γ other than those it left. Of [`Destination`], only `in_place`, `record` and
/// `follow_symlinks` have a meaning here.
pub fn undo(path: &Path, destination: &Destination, events: Events<'_>) -> Result<Undone> {
    let target = Target::resolve(
        path,
        &Destination {
            in_place: destination.in_place,
            record: destination.record.clone(),
            follow_symlinks: destination.follow_symlinks,
            ..Destination::default()
        },
        Purpose::Undo,
    )?;
    let transaction = Transaction::begin(target.edited())?;
    let recovery = transaction.recovery().cloned();
    if let Some(recovery) = &recovery {
        going_on(path, events(Event::Recovered(recovery.clone())))?;
    }
    if recovery == Some(Recovery::Completed(Purpose::Undo)) {
        let left = Record::read(&target.record.read)?.map_or(0, |record| record.edits.len());
        return Ok(Undone {
            path: target.edited().to_owned(),
            restored: None,
            left,
            warnings: Vec::new(),
            syncs: Syncs::default(),
        });
    }
    let file = &target.record.read;
    let Some(mut record) = Record::read(file)? else {
        let reason = format!("has no record of an edit ({} is not there)", file.display());
        return Err(Error::refused(path, reason));
    };
    let mut checkpoint = Checkpoint::open(&target.path)?;
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
        Error::malformed(file, "record", expected, found)
    };
    if edit.changed_optimizer() && checkpoint.training().slots().next().is_none() {
        let reason = "the edit changed the optimizer's file too: name the directory of both";
        return Err(Error::refused(path, reason));
    }
    let restored = edit
        .old_tensors(&checkpoint)?
        .ok_or_else(|| damaged("others"))?;
    let old: Vec<(&Tensor, &[u8])> = restored.iter().map(|(t, bytes)| (*t, &bytes[..])).collect();
    if !edit.slots_as_left(&checkpoint)? {
        let reason =
            "the optimizer's state is not what the recorded edit left; nothing was changed";
        return Err(Error::refused(path, reason));
    }
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
    checkpoint.unmap();
    let (syncs, warnings) = write(
        transaction,
        &target,
        &checkpoint,
        &patches,
        after,
        Purpose::Undo,
        events,
    )?;
    Ok(Undone {
        path: target.edited().to_owned(),
        restored: Some((edit.regenerated, edit.layers())),
        left,
        warnings,
        syncs,
    })
}
