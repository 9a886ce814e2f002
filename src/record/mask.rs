//! Masks of pruned channels: in the record of the edit that pruned, and in files of their own.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{MAX_LEN, Place, Record, run, tool};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::file;
use crate::regen::Mask;
use crate::storage;

const VERSION: u32 = 1;

/// A mask as a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct MaskFile {
    version: u32,
    tool: String,
    layers: Mask,
}

impl MaskFile {
    /// Reads the mask in a file.
    ///
    /// # Errors
    /// A file that cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Mask> {
        let malformed = |found: &dyn std::fmt::Display| {
            let expected = "a mask of pruned channels, as a pruning writes it";
            Error::malformed(path, "file", expected, found)
        };
        let text = file::read_small_file(path, MAX_LEN).map_err(Error::io("read", path))?;
        let read: MaskFile = serde_json::from_str(&text).map_err(|err| malformed(&err))?;
        if read.version != VERSION {
            return Err(malformed(&format!("version {}", read.version)));
        }
        Ok(read.layers)
    }

    /// Writes a mask, replacing an older file as a whole.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(mask: &Mask, path: &Path) -> Result<()> {
        let file = MaskFile {
            version: VERSION,
            tool: tool(),
            layers: mask.clone(),
        };
        let mut json = serde_json::to_string(&file).expect("a mask is plain JSON");
        json.push('\n');
        storage::replace_file(path, json.as_bytes())
    }
}

/// What a record says of the pruned channels of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Nothing: it was not pruned, or that was taken back.
    Nothing,
    /// These are pruned.
    Mask(Mask),
    /// It was pruned, and some of the channels are in use again.
    Stale {
        /// How many channels were pruned.
        pruned: usize,
        /// How many of them have other γ than 0 now.
        alive: usize,
    },
}

/// The pruned channels of the network whose γ are `gammas` (layer, state dict, tensor), by the record
/// of `checkpoint` or the one named, or else by the state of the run that it is of: of each layer those of the last edit that knows of it, if γ are
/// what that left, or if training has left all of them at 0. Layers of other parts of the network may
/// stand in the mask too.
///
/// # Errors
/// A record, a state or a γ that cannot be read.
pub fn known_mask(
    checkpoint: &Checkpoint,
    record: Option<&Path>,
    gammas: &[(&str, &str, &str)],
) -> Result<Known> {
    let place = Place::of(checkpoint.anchor(), record);
    let Some(record) = Record::read(&place.read)? else {
        return of_run(checkpoint, gammas);
    };
    let mut known = Mask::default();
    let (mut pruned, mut in_use) = (0, 0);
    let mut decided: HashSet<String> = HashSet::new();
    for edit in record.edits.iter().rev() {
        let tensors: HashSet<(&str, &str)> = edit
            .gamma
            .iter()
            .map(|name| (&name.dict[..], &name.name[..]))
            .collect();
        let covered: HashSet<&str> = gammas
            .iter()
            .filter(|(_, dict, tensor)| tensors.contains(&(*dict, *tensor)))
            .map(|(layer, ..)| *layer)
            .collect();
        // A mask also carries what was known of other parts of the same state dict.
        let same_dict = |(_, dict, _): &(&str, &str, &str)| tensors.iter().any(|t| t.0 == *dict);
        let mask = edit.mask.as_ref().filter(|_| gammas.iter().any(same_dict));
        let own = mask.map(|mask| mask.of_layers(|layer| !decided.contains(layer)));
        let own = own.unwrap_or_default();
        if own.layers().next().is_none() && covered.iter().all(|layer| decided.contains(*layer)) {
            continue;
        }
        let now = edit.fingerprint_now(checkpoint)?;
        let as_left = now.as_ref() == Some(&edit.sha256_after);
        if !as_left && now.as_ref() == Some(&edit.sha256_before) {
            // It was noted, and then not carried out.
            continue;
        }
        let to_check = own.of_layers(|layer| !(as_left && covered.contains(layer)));
        let alive = alive(checkpoint, &to_check, gammas)?;
        if alive == 0 {
            known.merge(&own).map_err(|err| {
                Error::malformed(&place.read, "record", "masks of one network", err)
            })?;
        } else {
            pruned += own.count();
            in_use += alive;
        }
        decided.extend(own.layers().map(|(layer, ..)| layer.to_owned()));
        decided.extend(covered.into_iter().map(str::to_owned));
    }
    let own = |(layer, ..): &(&str, &str, &str)| !known.pruned(layer).is_empty();
    Ok(match in_use {
        _ if gammas.iter().any(own) => Known::Mask(known),
        0 if decided.is_empty() => return of_run(checkpoint, gammas),
        0 => Known::Nothing,
        alive => Known::Stale { pruned, alive },
    })
}

/// What the state of its run says of these γ.
fn of_run(checkpoint: &Checkpoint, gammas: &[(&str, &str, &str)]) -> Result<Known> {
    let mask = run::pruned(checkpoint)?;
    let own = |(layer, ..): &(&str, &str, &str)| !mask.pruned(layer).is_empty();
    Ok(if gammas.iter().any(own) {
        Known::Mask(mask)
    } else {
        Known::Nothing
    })
}

/// # Errors
/// `mask` is not one of the `layers` of the checkpoint at `path`, given by name and channels.
pub(crate) fn check_mask<'n>(
    path: &Path,
    mask: &Mask,
    layers: impl Iterator<Item = (&'n str, usize)>,
) -> Result<()> {
    mask.check(layers).map_err(|err| {
        let reason = format!("is not the network that the mask is of: {err}");
        Error::refused(path, reason)
    })
}

/// How many pruned channels have another γ than 0.
fn alive(checkpoint: &Checkpoint, mask: &Mask, gammas: &[(&str, &str, &str)]) -> Result<usize> {
    let mut alive = 0;
    for (layer, dict, tensor) in gammas {
        let pruned = mask.pruned(layer);
        if pruned.is_empty() {
            continue;
        }
        let dicts = checkpoint.dicts().iter().filter(|d| d.root == **dict);
        let mut tensors = dicts.flat_map(|dict| &dict.tensors);
        let Some(gamma) = tensors.find(|t| t.name == **tensor) else {
            continue;
        };
        let values = gamma.dtype.decode(&checkpoint.read(gamma)?);
        let is_alive = |channel: &&usize| values.get(**channel).is_none_or(|value| *value != 0.0);
        alive += pruned.iter().filter(is_alive).count();
    }
    Ok(alive)
}
