//! Patches and a record → the disk, as one transaction, checked before it is decided.

use std::path::PathBuf;

use super::record::{Record, record_path};
use super::target::Target;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::storage::{Patch, Progress, Syncs, Transaction};

/// What becomes of the record.
pub(super) enum RecordAfter {
    Write(Record),
    Remove,
}

/// Writes `patches` (one list for each file of `checkpoint`) and the record. With an output, files
/// without patches are written too.
pub(super) fn write(
    mut transaction: Transaction,
    target: &Target,
    checkpoint: &Checkpoint,
    patches: &[Vec<Patch>],
    record: RecordAfter,
    progress: Progress<'_>,
) -> Result<(Syncs, Vec<String>)> {
    let files = target.files(checkpoint)?;
    let written = |i: usize| target.output.is_some() || !patches[i].is_empty();
    let sources = checkpoint.sources();
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
            transaction.patch_in_place(source, &patches[i])?;
            staged.push(source.path().to_owned());
        } else {
            let report = |copied: u64, _| progress(done + copied, total);
            staged.push(transaction.replace(source, &files[i], &patches[i], &report)?);
            done += source.len();
        }
    }
    if let Some(index) = checkpoint.index() {
        transaction.depends_on(index);
        if let Some(output) = &target.output {
            let bytes = index.read_at(0, index.len() as usize)?;
            transaction.write(output, &bytes, index)?;
        }
    }
    let record_file = record_path(target.edited());
    match record {
        RecordAfter::Write(record) => {
            transaction.write(&record_file, &record.to_json(), &checkpoint.sources()[0])?;
        }
        RecordAfter::Remove => transaction.remove(&record_file)?,
    }
    if target.in_place {
        let committed = transaction.commit()?;
        verify(checkpoint, &staged, patches)?;
        committed.finish()
    } else {
        verify(checkpoint, &staged, patches)?;
        transaction.commit()?.finish()
    }
}

/// Reads back what was written: lengths, table of tensors, and every range of the plan.
fn verify(checkpoint: &Checkpoint, files: &[PathBuf], patches: &[Vec<Patch>]) -> Result<()> {
    let read = checkpoint.reread(files)?;
    let differs = |path: &std::path::Path, what: &str| {
        let found = "something else when it was read back: is the disk failing?";
        Err(Error::malformed(path, what, "what was just written", found))
    };
    if !checkpoint.same_table(&read) {
        return differs(checkpoint.path(), "table of tensors");
    }
    for (source, patches) in read.sources().iter().zip(patches) {
        for patch in patches {
            if source.read_at(patch.offset, patch.new.len())? != patch.new {
                return differs(source.path(), &format!("bytes at {}", patch.offset));
            }
        }
    }
    Ok(())
}
