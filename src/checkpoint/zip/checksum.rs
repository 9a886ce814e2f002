//! The CRC-32 of the entries that an edit changes, put right.
//!
//! One that was wrong before the edit is left alone: whoever wrote it so may know why.

use std::collections::HashMap;

use super::{CrcField, Directory, Entry};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Patch;

const CHUNK: u64 = 1 << 20;

/// What edits of entry data do to checksums.
#[derive(Debug, Default)]
pub(in crate::checkpoint) struct Refreshed {
    /// Of all of them, wherever they stand.
    pub(in crate::checkpoint) patches: Vec<Patch>,
    /// What then stands in the central directory, of each entry that was edited.
    pub(in crate::checkpoint) central: HashMap<usize, u32>,
}

impl Refreshed {
    /// The checksums of every entry that `edits` touch.
    ///
    /// # Errors
    /// If an edit lies outside the entries, or the file does not hold its old bytes.
    pub(in crate::checkpoint) fn new(
        source: &Source,
        zip: &Directory,
        edits: &[Patch],
    ) -> Result<Refreshed> {
        let mut refreshed = Refreshed::default();
        for (n, edits) in edits_by_entry(source, zip, edits)? {
            refreshed.add(source, zip, n, &edits)?;
        }
        Ok(refreshed)
    }

    /// Adds the checksums of the `n`th entry, which `edits` change.
    pub(in crate::checkpoint) fn add(
        &mut self,
        source: &Source,
        zip: &Directory,
        n: usize,
        edits: &[&Patch],
    ) -> Result<()> {
        let entry = &zip.entries()[n];
        let (old, new) = crc_before_and_after(source, entry, edits)?;
        let stale = |field: &&CrcField| field.value == old;
        self.patches
            .extend(entry.crcs.iter().filter(stale).map(|field| Patch {
                offset: field.offset,
                old: old.to_le_bytes().into(),
                new: new.to_le_bytes().into(),
            }));
        let central = entry.central_crc();
        self.central
            .insert(n, if central == old { new } else { central });
        Ok(())
    }

    /// The patches, in order; none changes nothing.
    pub(in crate::checkpoint) fn into_patches(mut self) -> Vec<Patch> {
        self.patches.retain(|patch| patch.old != patch.new);
        self.patches.sort_by_key(|patch| patch.offset);
        self.patches
    }
}

/// The edits of each entry that has any, by the entry's place in the directory.
fn edits_by_entry<'a>(
    source: &Source,
    zip: &Directory,
    edits: &'a [Patch],
) -> Result<Vec<(usize, Vec<&'a Patch>)>> {
    let mut order: Vec<usize> = (0..zip.entries().len()).collect();
    order.sort_by_key(|n| zip.entries()[*n].offset);
    let mut by_entry: HashMap<usize, Vec<&Patch>> = HashMap::new();
    for edit in edits {
        let next = order.partition_point(|n| zip.entries()[*n].offset <= edit.offset);
        let holder = next.checked_sub(1).map(|n| order[n]).filter(|n| {
            let entry = &zip.entries()[*n];
            edit.offset.saturating_add(edit.old.len() as u64) <= entry.offset + entry.len
                && edit.old.len() == edit.new.len()
        });
        let holder = holder.ok_or_else(|| {
            let expected = "a change within the data of one zip entry";
            let found = format!("one of {} bytes", edit.new.len());
            Error::malformed(
                source.path(),
                format!("byte {}", edit.offset),
                expected,
                found,
            )
        })?;
        by_entry.entry(holder).or_default().push(edit);
    }
    let mut by_entry: Vec<_> = by_entry.into_iter().collect();
    by_entry.sort_by_key(|(n, _)| *n);
    Ok(by_entry)
}

/// The CRC-32 of an entry as it is and as the edits make it, in one pass over its data.
fn crc_before_and_after(source: &Source, entry: &Entry, edits: &[&Patch]) -> Result<(u32, u32)> {
    let (mut before, mut after) = (crc32fast::Hasher::new(), crc32fast::Hasher::new());
    let end = entry.offset + entry.len;
    let mut at = entry.offset;
    while at < end {
        let mut chunk = source.read_at(at, (end - at).min(CHUNK) as usize)?;
        before.update(&chunk);
        for edit in edits {
            overlay(source, &mut chunk, at, edit)?;
        }
        after.update(&chunk);
        at += chunk.len() as u64;
    }
    Ok((before.finalize(), after.finalize()))
}

/// Puts the part of an edit that lies in `chunk`, which begins at `at`, into it.
fn overlay(source: &Source, chunk: &mut [u8], at: u64, edit: &Patch) -> Result<()> {
    let start = edit.offset.max(at);
    let end = (edit.offset + edit.new.len() as u64).min(at + chunk.len() as u64);
    if start >= end {
        return Ok(());
    }
    let here = (start - at) as usize..(end - at) as usize;
    let there = (start - edit.offset) as usize..(end - edit.offset) as usize;
    if chunk[here.clone()] != edit.old[there.clone()] {
        let place = format!("byte {start}");
        let expected = "the bytes that were read when the change was planned";
        return Err(Error::malformed(source.path(), place, expected, "others"));
    }
    chunk[here].copy_from_slice(&edit.new[there]);
    Ok(())
}
