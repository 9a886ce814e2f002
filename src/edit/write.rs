//! Patches and a record → the disk, as one transaction, checked before it is decided.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::target::Target;
use super::{Event, Events};
use crate::checkpoint::{Checkpoint, Patches};
use crate::error::{Error, Refusal, Result};
use crate::file::Source;
use crate::record::Record;
use crate::storage::{self, Purpose, Syncs, Transaction, pending};

/// What becomes of the record.
pub(super) enum RecordAfter {
    Write(Record),
    Remove,
}

/// Writes `patches` and the record. With an output, files of the model without patches are written
/// too.
pub(super) fn write(
    mut transaction: Transaction,
    target: &Target,
    checkpoint: &Checkpoint,
    patches: &Patches,
    record: RecordAfter,
    purpose: Purpose,
    events: Events<'_>,
) -> Result<(Syncs, Vec<String>)> {
    let sources = checkpoint.sources();
    transaction.clear_beside(sources.iter().map(Source::path))?;
    let copied = |i: usize| target.output.is_some() && i < checkpoint.model_sources();
    let written = |i: usize| copied(i) || !patches.files[i].is_empty();
    let files = target.files(checkpoint, &written)?;
    if target.in_place && patches.resizes {
        let reason = "some γ take more or fewer bytes after this edit, so that the file cannot be \
                      patched in place";
        return Err(Error::refused_for(
            Refusal::Resizes,
            checkpoint.path(),
            reason,
        ));
    }
    let total = (0..files.len())
        .filter(|i| written(*i))
        .map(|i| sources[i].len())
        .sum();
    let mut done = 0;
    let mut staged: Vec<PathBuf> = Vec::with_capacity(files.len());
    for (i, source) in sources.iter().enumerate() {
        if !written(i) {
            transaction.depends_on(source);
            staged.push(source.path().to_owned());
            continue;
        }
        target.check_links(source)?;
        if target.in_place {
            transaction.patch_in_place(source, &files[i], &patches.files[i])?;
            staged.push(files[i].clone());
        } else {
            let report = |copied: u64, _| {
                events(Event::Copied {
                    done: done + copied,
                    total,
                })
            };
            staged.push(transaction.replace(source, &files[i], &patches.files[i], &report)?);
            done += source.len();
        }
    }
    for (other, file) in target.other_files(checkpoint) {
        transaction.replace(&Source::open(&other)?, &file, &[], &|_, _| {
            ControlFlow::Continue(())
        })?;
    }
    if let Some(index) = checkpoint.index() {
        transaction.depends_on(index);
        if let Some(output) = &target.output {
            let bytes = index.read_at(0, index.len() as usize)?;
            transaction.write(output, &bytes, index)?;
        }
    }
    let place = &target.record.write;
    if place != &target.record.read {
        // That of an earlier version is taken over.
        transaction.remove(&target.record.read)?;
    }
    let outside = !transaction.reaches(place);
    if !outside {
        match &record {
            RecordAfter::Write(record) => {
                transaction.write(place, &record.to_json(), &sources[0])?;
                if purpose == Purpose::Apply {
                    // What it says can be taken back as soon as anything has changed.
                    transaction.last_first();
                }
            }
            RecordAfter::Remove => transaction.remove(place)?,
        }
    }
    let finish = || {
        if target.in_place {
            let committed = transaction.commit(purpose)?;
            verify(checkpoint, &staged, patches)?;
            return committed.finish();
        }
        verify(checkpoint, &staged, patches)?;
        transaction.commit(purpose)?.finish()
    };
    match (outside, purpose) {
        (false, _) => finish(),
        (true, Purpose::Apply) => {
            let before = Record::read(place)?;
            record.keep(place)?;
            finish().inspect_err(|_| {
                // Unless the edit is decided, and the next run completes it.
                if !pending(target.edited()) {
                    let _ = before
                        .map_or(RecordAfter::Remove, RecordAfter::Write)
                        .keep(place);
                }
            })
        }
        (true, Purpose::Undo) => {
            let done = finish()?;
            record.keep(place)?;
            Ok(done)
        }
    }
}

impl RecordAfter {
    /// Writes or removes a record that lies where no transaction on the checkpoint reaches.
    fn keep(&self, place: &Path) -> Result<()> {
        match self {
            RecordAfter::Write(record) => storage::replace_file(place, &record.to_json()),
            RecordAfter::Remove => match fs::remove_file(place) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {
                    Err(Error::io("remove", place)(err))
                }
                _ => Ok(()),
            },
        }
    }
}

/// Reads back what was written: lengths, table of tensors, and every range of the plan.
fn verify(checkpoint: &Checkpoint, files: &[PathBuf], patches: &Patches) -> Result<()> {
    let differs = |path: &Path, what: &str| {
        let found = "something else when it was read back: is the disk failing?";
        Err(Error::malformed(path, what, "what was just written", found))
    };
    if !checkpoint.same_table(&checkpoint.reread(files)?, patches.resizes) {
        return differs(checkpoint.path(), "table of tensors");
    }
    for (file, patches) in files.iter().zip(&patches.files) {
        if patches.is_empty() {
            continue;
        }
        let source = Source::open(file)?;
        let mut shift = 0_i64;
        for patch in patches {
            let offset = patch.offset.wrapping_add_signed(shift);
            if source.read_at(offset, patch.new.len())? != patch.new {
                return differs(file, &format!("bytes at {offset}"));
            }
            shift += patch.new.len() as i64 - patch.old.len() as i64;
        }
    }
    Ok(())
}
