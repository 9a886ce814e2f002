//! From new elements to patches of files: the elements, the lengths around them, and the checksums
//! over them.

use std::collections::btree_map::{BTreeMap, Entry};

use sha1::{Digest, Sha1};

use super::data::{Place, patch_runs};
use super::model::Run;
use super::wire::{Length, Span, encode_varint};
use crate::checkpoint::{Patches, Tensor};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Patch;
use crate::text::hex;

/// Bytes of a data file that are hashed at a time.
const CHUNK: u64 = 1 << 20;

/// A checksum of a data file, which stands in the model file.
#[derive(Debug)]
pub(super) struct Checksum {
    /// Number of the data file among the sources.
    pub(super) source: usize,
    /// Where the checksum stands in the model file, source 0.
    pub(super) at: Span,
}

/// Patches that give each tensor its new bytes (little-endian elements, as many as it has).
/// `sources`, `places` and `checksums` are those of the opened model, all and in its order.
///
/// One call has to cover a whole edit, with each tensor once: tensors share the lengths and
/// checksums around them. A data file is read as a whole only when it changes and has a checksum.
///
/// # Errors
/// A file that cannot be read, or new bytes of another length than the tensor's.
pub(super) fn patches(
    sources: &[Source],
    places: &[Place],
    checksums: &[Checksum],
    edits: &[(&Tensor, &[u8])],
) -> Result<Patches> {
    let mut result = Patches::none(sources.len());
    let mut lengths = BTreeMap::new();
    for (tensor, new) in edits {
        let source = &sources[tensor.source];
        if new.len() as u64 != tensor.len {
            let reason = format!(
                "{} has {} bytes, not {}",
                tensor.name,
                tensor.len,
                new.len()
            );
            return Err(Error::refused(source.path(), reason));
        }
        let width = (tensor.dtype.bits() / 8).max(1) as usize;
        let (patches, around) = match tensor.scattered.map(|number| &places[number]) {
            Some(Place::Varints(varints)) => varints.patch(source, new)?,
            Some(place @ Place::Runs(runs)) => {
                let old = place.read(source, tensor.len)?;
                (patch_runs(runs, width, &old, new), Vec::new())
            }
            None => {
                let span = Span {
                    start: tensor.offset,
                    end: tensor.offset + tensor.len,
                };
                let old = source.read_at(tensor.offset, new.len())?;
                (
                    patch_runs(&[Run::contiguous(span)], width, &old, new),
                    Vec::new(),
                )
            }
        };
        result.files[tensor.source].extend(patches);
        lengths.extend(around.into_iter().map(|length: Length| (length.at, length)));
    }
    // Lengths stand in the model file.
    let more = patch_lengths(&sources[0], &result.files[0], &lengths)?;
    result.files[0].extend(more);
    let mut all = result.files.iter().flatten();
    result.resizes = all.any(|patch| patch.old.len() != patch.new.len());
    sort(&mut result);
    patch_checksums(sources, checksums, &mut result)?;
    Ok(result)
}

fn sort(patches: &mut Patches) {
    for patches in &mut patches.files {
        patches.sort_by_key(|patch| patch.offset);
    }
}

/// Patches of lengths in the model file, by where they stand, after those of the elements.
fn patch_lengths(
    model: &Source,
    elements: &[Patch],
    lengths: &BTreeMap<u64, Length>,
) -> Result<Vec<Patch>> {
    let growth = |patch: &Patch| patch.new.len() as i64 - patch.old.len() as i64;
    let mut grown: BTreeMap<u64, i64> = elements
        .iter()
        .filter(|patch| growth(patch) != 0)
        .map(|patch| (patch.offset, growth(patch)))
        .collect();
    let mut patches = Vec::new();
    // An inner length stands behind the outer ones, and may itself take more or fewer bytes.
    for length in lengths.values().rev() {
        let Span { start, end } = length.body;
        let by: i64 = grown.range(start..end).map(|(_, by)| by).sum();
        let Some(len) = length.body.len().checked_add_signed(by).filter(|_| by != 0) else {
            continue;
        };
        let old = model.read_at(length.at, (start - length.at) as usize)?;
        let mut new = encode_varint(len);
        if old.len() > encode_varint(length.body.len()).len() {
            pad_varint(&mut new, old.len());
        }
        let patch = Patch {
            offset: length.at,
            old,
            new,
        };
        if growth(&patch) != 0 {
            grown.insert(patch.offset, growth(&patch));
        }
        patches.push(patch);
    }
    Ok(patches)
}

/// Makes a varint `width` bytes long, as writers do that reserve room for a length.
fn pad_varint(bytes: &mut Vec<u8>, width: usize) {
    while bytes.len() < width {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push(0);
    }
}

/// Adds patches of the checksums over changed data files, where they were right before.
fn patch_checksums(sources: &[Source], checksums: &[Checksum], edits: &mut Patches) -> Result<()> {
    let mut added = Vec::new();
    let mut hashes: BTreeMap<usize, (String, String)> = BTreeMap::new();
    for checksum in checksums {
        let file = &sources[checksum.source];
        let changes = &edits.files[checksum.source];
        if changes.is_empty() {
            continue;
        }
        let (before, after) = match hashes.entry(checksum.source) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(entry) => entry.insert(hash(file, changes)?),
        };
        let len = usize::try_from(checksum.at.len()).unwrap_or(usize::MAX);
        let old = if len == before.len() {
            sources[0].read_at(checksum.at.start, len)?
        } else {
            Vec::new()
        };
        if !old.eq_ignore_ascii_case(before.as_bytes()) {
            let note = format!(
                "{}: a checksum in the model file did not match before, and is left as it is",
                file.path().display()
            );
            if !edits.notes.contains(&note) {
                edits.notes.push(note);
            }
            continue;
        }
        let upper = old.iter().any(u8::is_ascii_uppercase);
        let new = if upper {
            after.to_ascii_uppercase()
        } else {
            after.clone()
        }
        .into_bytes();
        added.push(Patch {
            offset: checksum.at.start,
            old,
            new,
        });
    }
    edits.files[0].extend(added);
    sort(edits);
    Ok(())
}

/// SHA-1 of a file, in hexadecimal, without and with patches, which are in order and keep lengths.
fn hash(file: &Source, patches: &[Patch]) -> Result<(String, String)> {
    let (mut before, mut after) = (Sha1::new(), Sha1::new());
    let mut at = 0;
    while at < file.len() {
        let end = file.len().min(at + CHUNK);
        let mut chunk = file.read_at(at, (end - at) as usize)?;
        before.update(&chunk);
        let first = patches.partition_point(|p| p.offset + p.new.len() as u64 <= at);
        for patch in patches[first..].iter().take_while(|p| p.offset < end) {
            for (position, byte) in (patch.offset..).zip(&patch.new) {
                if (at..end).contains(&position) {
                    chunk[(position - at) as usize] = *byte;
                }
            }
        }
        after.update(&chunk);
        at = end;
    }
    Ok((hex(&before.finalize()), hex(&after.finalize())))
}
