//! From new elements to patches of files: the elements, the lengths around them, and the checksums
//! over them.

use std::collections::btree_map::{BTreeMap, Entry};

use sha1::{Digest, Sha1};

use super::data::{Place, patch_runs};
use super::model::Run;
use super::wire::{Length, Span, encode_varint};
use crate::checkpoint::Tensor;
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Patch;
use crate::text::hex;

/// Bytes of a data file that are hashed at a time.
const CHUNK: u64 = 1 << 20;

/// A checksum of a data file, which stands in the model file.
#[derive(Debug)]
pub(crate) struct Checksum {
    /// Number of the data file among the sources.
    pub(super) source: usize,
    /// Where the checksum stands in the model file, source 0.
    pub(super) at: Span,
}

/// What an edit writes.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// Source and patch, by source and offset, disjoint.
    pub(crate) patches: Vec<(usize, Patch)>,
    /// Whether some patch changes the length of its file's content (`old` and `new` differ in
    /// length), so that the file cannot be patched in place.
    pub(crate) resizes: bool,
    /// Facts that a user should hear of.
    pub(crate) notes: Vec<String>,
}

/// Patches that give each tensor its new bytes (little-endian elements, as many as it has).
/// `sources` and `checksums` are those of the opened model, all and in its order.
///
/// One call has to cover a whole edit, with each tensor once: tensors share the lengths and
/// checksums around them. A data file is read as a whole only when it changes and has a checksum.
///
/// # Errors
/// A file that cannot be read, or new bytes of another length than the tensor's.
pub(crate) fn patches(
    sources: &[Source],
    checksums: &[Checksum],
    edits: &[(&Tensor, &[u8])],
) -> Result<Edits> {
    let mut result = Edits::default();
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
        let (patches, around) = match &tensor.place {
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
        result
            .patches
            .extend(patches.into_iter().map(|patch| (tensor.source, patch)));
        lengths.extend(around.into_iter().map(|length: Length| (length.at, length)));
    }
    result
        .patches
        .extend(patch_lengths(sources, &result.patches, &lengths)?);
    result.resizes = result
        .patches
        .iter()
        .any(|(_, patch)| patch.old.len() != patch.new.len());
    result
        .patches
        .sort_by_key(|(source, patch)| (*source, patch.offset));
    patch_checksums(sources, checksums, &mut result)?;
    Ok(result)
}

/// Patches of lengths in the model file, by where they stand, after those of the elements.
fn patch_lengths(
    sources: &[Source],
    elements: &[(usize, Patch)],
    lengths: &BTreeMap<u64, Length>,
) -> Result<Vec<(usize, Patch)>> {
    let growth = |patch: &Patch| patch.new.len() as i64 - patch.old.len() as i64;
    let mut grown: BTreeMap<u64, i64> = elements
        .iter()
        .filter(|(source, patch)| *source == 0 && growth(patch) != 0)
        .map(|(_, patch)| (patch.offset, growth(patch)))
        .collect();
    let mut patches = Vec::new();
    // An inner length stands behind the outer ones, and may itself take more or fewer bytes.
    for length in lengths.values().rev() {
        let Span { start, end } = length.body;
        let by: i64 = grown.range(start..end).map(|(_, by)| by).sum();
        let Some(len) = length.body.len().checked_add_signed(by).filter(|_| by != 0) else {
            continue;
        };
        let old = sources[0].read_at(length.at, (start - length.at) as usize)?;
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
        patches.push((0, patch));
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
fn patch_checksums(sources: &[Source], checksums: &[Checksum], edits: &mut Edits) -> Result<()> {
    let mut added = Vec::new();
    let mut changes: BTreeMap<usize, Vec<&Patch>> = BTreeMap::new();
    for (source, patch) in &edits.patches {
        changes.entry(*source).or_default().push(patch);
    }
    let mut hashes: BTreeMap<usize, (String, String)> = BTreeMap::new();
    for checksum in checksums {
        let file = &sources[checksum.source];
        let Some(changes) = changes.get(&checksum.source) else {
            continue;
        };
        let (before, after) = match hashes.entry(checksum.source) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(entry) => entry.insert(hash(file, changes)?),
        };
        let len = usize::try_from(checksum.at.len()).unwrap_or(usize::MAX);
        let old = match len == before.len() {
            true => sources[0].read_at(checksum.at.start, len)?,
            false => Vec::new(),
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
        added.push((
            0,
            Patch {
                offset: checksum.at.start,
                old,
                new,
            },
        ));
    }
    edits.patches.extend(added);
    edits
        .patches
        .sort_by_key(|(source, patch)| (*source, patch.offset));
    Ok(())
}

/// SHA-1 of a file, in hexadecimal, without and with patches, which are in order and keep lengths.
fn hash(file: &Source, patches: &[&Patch]) -> Result<(String, String)> {
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
