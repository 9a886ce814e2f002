//! The checksums of a zip checkpoint that an edit of its tensors makes wrong, put right.
//!
//! PyTorch reads none of them, but `unzip` and Python's `zipfile` do.

use std::collections::HashMap;

use crate::checkpoint::zip::{Directory, Entry, Refreshed};
use crate::error::Result;
use crate::file::Source;
use crate::storage::Patch;

/// The entry's name after the archive's own folder.
const SERIALIZATION_ID: &str = ".data/serialization_id";
/// Digits of each of its two halves: a hash of the names, a fold of the CRCs.
const HALF: usize = 20;

/// The patches that must accompany `edits` of entry data: the CRC-32 of every entry touched, and
/// `.data/serialization_id` with its own CRC-32. They are sorted, and none changes nothing.
///
/// # Errors
/// If an edit lies outside the entries, or the file does not hold its old bytes.
pub(super) fn patches(source: &Source, zip: &Directory, edits: &[Patch]) -> Result<Vec<Patch>> {
    let mut refreshed = Refreshed::new(source, zip, edits)?;
    if let Some((n, edit)) = serialization_id(source, zip, &refreshed.central)? {
        refreshed.add(source, zip, n, &[&edit])?;
        refreshed.patches.push(edit);
    }
    Ok(refreshed.into_patches())
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
    let old = fold(before.iter().map(Entry::central_crc));
    let new = fold(before.iter().enumerate().map(|(n, entry)| {
        new_crcs
            .get(&n)
            .copied()
            .unwrap_or_else(|| entry.central_crc())
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
