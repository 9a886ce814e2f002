//! The checksums of a zip checkpoint that an edit of its tensors makes wrong, put right.
//!
//! PyTorch reads none of them, but `unzip` and Python's `zipfile` do. A checksum that was wrong
//! before the edit is left alone: whoever wrote it so may know why.

use std::collections::HashMap;

use super::zip::{CrcField, Directory, Entry};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Patch;

const CHUNK: u64 = 1 << 20;
/// The entry's name after the archive's own folder.
const SERIALIZATION_ID: &str = ".data/serialization_id";
/// Digits of each of its two halves: a hash of the names, a fold of the CRCs.
const HALF: usize = 20;

/// The patches that must accompany `edits` of entry data: the CRC-32 of every entry touched, and
/// `.data/serialization_id` with its own CRC-32. They are sorted, and none changes nothing.
///
/// # Errors
/// If an edit lies outside the entries, or the file does not hold its old bytes.
pub(in crate::checkpoint) fn patches(
    source: &Source,
    zip: &Directory,
    edits: &[Patch],
) -> Result<Vec<Patch>> {
    let mut out = Vec::new();
    let mut new_crcs = HashMap::new();
    for (n, edits) in edits_by_entry(source, zip, edits)? {
        let entry = &zip.entries()[n];
        let central = refresh(source, entry, &edits, &mut out)?;
        new_crcs.insert(n, central);
    }
    if let Some((n, edit)) = serialization_id(source, zip, &new_crcs)? {
        refresh(source, &zip.entries()[n], &[&edit], &mut out)?;
        out.push(edit);
    }
    out.retain(|patch| patch.old != patch.new);
    out.sort_by_key(|patch| patch.offset);
    Ok(out)
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

/// Adds the patches of an entry's checksums, and returns what then stands in the central directory.
fn refresh(source: &Source, entry: &Entry, edits: &[&Patch], out: &mut Vec<Patch>) -> Result<u32> {
    let (old, new) = crc_before_and_after(source, entry, edits)?;
    let stale = |field: &&CrcField| field.value == old;
    out.extend(entry.crcs.iter().filter(stale).map(|field| Patch {
        offset: field.offset,
        old: old.to_le_bytes().into(),
        new: new.to_le_bytes().into(),
    }));
    Ok(if central_crc(entry) == old {
        new
    } else {
        central_crc(entry)
    })
}

fn central_crc(entry: &Entry) -> u32 {
    entry.crcs.first().map_or(0, |field| field.value)
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

/// The edit of `.data/serialization_id` after some CRCs of the central directory changed, with
/// the entry's place. `None` when there is no such entry or its fold did not match.
fn serialization_id(
    source: &Source,
    zip: &Directory,
    new_crcs: &HashMap<usize, u32>,
) -> Result<Option<(usize, Patch)>> {
    let is_id = |entry: &Entry| {
        let folder = entry.name.strip_suffix(SERIALIZATION_ID);
        folder.is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
    };
    let Some(n) = zip.entries().iter().position(is_id) else {
        return Ok(None);
    };
    let entry = &zip.entries()[n];
    if entry.len != 2 * HALF as u64 {
        return Ok(None);
    }
    // The fold is taken while the archive is written: what comes after has no part in it.
    let before = &zip.entries()[..n];
    let old = fold(before.iter().map(central_crc));
    let new = fold(before.iter().enumerate().map(|(n, entry)| {
        new_crcs
            .get(&n)
            .copied()
            .unwrap_or_else(|| central_crc(entry))
    }));
    let offset = entry.offset + HALF as u64;
    let edit = Patch {
        offset,
        old: digits(old),
        new: digits(new),
    };
    let matched = source.read_at(offset, HALF)? == edit.old;
    Ok((matched && old != new).then_some((n, edit)))
}

/// `c10::hash_combine` over the CRCs in the order they were written.
fn fold(crcs: impl Iterator<Item = u32>) -> u64 {
    crcs.fold(0, |sum, crc| {
        let mixed = u64::from(crc)
            .wrapping_add(0x9e37_79b9)
            .wrapping_add(sum << 6)
            .wrapping_add(sum >> 2);
        sum ^ mixed
    })
}

fn digits(fold: u64) -> Vec<u8> {
    format!("{fold:0width$}", width = HALF).into_bytes()
}
