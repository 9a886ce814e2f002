//! What every edit has in common: it begins with the lock, and ends with a record and a write.

use std::path::{Path, PathBuf};

use regex_lite::Regex;

use super::target::Target;
use super::write::{RecordAfter, write};
use super::{Destination, Event, Events, going_on};
use crate::checkpoint::{Checkpoint, Patches};
use crate::error::Result;
use crate::record::{Edit, Record};
use crate::storage::{Purpose, Syncs, Transaction, pending};

/// What became of an edit.
pub(super) struct CarriedOut {
    /// Its record, where one was written.
    pub(super) record: Option<PathBuf>,
    pub(super) syncs: Syncs,
    pub(super) warnings: Vec<String>,
}

/// Takes the lock and completes what a killed run has left; `None` where nothing will be written,
/// because it is a dry run or `idle`.
pub(super) fn begin(
    target: &Target,
    idle: bool,
    destination: &Destination,
    events: Events<'_>,
) -> Result<Option<Transaction>> {
    let begin = |anchor: &Path| -> Result<Transaction> {
        let transaction = Transaction::begin(anchor)?;
        if let Some(recovery) = transaction.recovery() {
            going_on(anchor, events(Event::Recovered(recovery.clone())))?;
        }
        Ok(transaction)
    };
    if destination.dry_run {
        return Ok(None);
    }
    // A checkpoint that is only read needs no lock, unless an edit of it waits to be completed.
    if target.output.is_some() && pending(&target.anchor) {
        begin(&target.anchor)?;
    }
    if idle && !pending(&target.anchor) {
        return Ok(None);
    }
    begin(target.edited()).map(Some)
}

/// Writes the patches of an edit, and its record; without a transaction only whether they could be
/// written is looked at. An output without an edit is not what an older record beside it speaks of.
pub(super) fn carry_out(
    target: &Target,
    transaction: Option<Transaction>,
    mut checkpoint: Checkpoint,
    patches: &Patches,
    edit: Option<Edit>,
    events: Events<'_>,
) -> Result<CarriedOut> {
    let mut done = CarriedOut {
        record: None,
        syncs: Syncs::default(),
        warnings: Vec::new(),
    };
    let Some(transaction) = transaction else {
        target.check(&checkpoint, patches)?;
        return Ok(done);
    };
    let record = match edit {
        Some(edit) => {
            done.record = Some(target.record.write.clone());
            RecordAfter::Write(record_with(target, &checkpoint, edit)?)
        }
        None => RecordAfter::Remove,
    };
    checkpoint.unmap();
    (done.syncs, done.warnings) = write(
        transaction,
        target,
        &checkpoint,
        patches,
        record,
        Purpose::Apply,
        events,
    )?;
    Ok(done)
}

/// The record after `edit`: it goes behind the earlier ones when γ are what they left. Where training
/// went on, what they left is no more, and the record begins anew.
fn record_with(target: &Target, checkpoint: &Checkpoint, edit: Edit) -> Result<Record> {
    let mut record = Record::new(target.edited(), &target.record.write);
    if target.output.is_none()
        && let Some(earlier) = Record::read(&target.record.read)?
    {
        record.edits = earlier.edits;
        while let Some(last) = record.edits.last() {
            let now = last.fingerprint_now(checkpoint)?;
            if now.as_ref() == Some(&last.sha256_after) {
                break;
            }
            // It was noted, and then not carried out.
            let undone = now.as_ref() == Some(&last.sha256_before);
            record.edits.pop();
            if !undone {
                record.edits.clear();
            }
        }
    }
    record.edits.push(edit);
    Ok(record)
}

/// Regular expressions as they were typed.
pub(super) fn texts(list: &[Regex]) -> Vec<String> {
    list.iter().map(|regex| regex.as_str().to_owned()).collect()
}
