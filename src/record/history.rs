//! What the γ of a checkpoint were before it was edited.

use std::collections::HashMap;
use std::path::Path;

use super::{Edit, OPTIMIZER, Place, Record};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::regen::Options;
use crate::storage::pending;

/// γ as they were before an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The state dict that the tensor lies in, empty for a flat file.
    pub dict: String,
    /// The tensor.
    pub tensor: String,
    /// All of its bytes, in the tensor's own type.
    pub bytes: Vec<u8>,
}

/// Whether the γ of the checkpoint at `path` are what an edit left there, by the record beside it; not
/// while an edit waits to be completed.
///
/// # Errors
/// A checkpoint or record that cannot be read.
pub fn is_edited(path: &Path) -> Result<bool> {
    let checkpoint = Checkpoint::open(path)?;
    if pending(checkpoint.anchor()) {
        return Ok(false);
    }
    let record = Record::read(&Place::of(checkpoint.anchor(), None).read)?;
    let Some(last) = record.as_ref().and_then(|record| record.edits.last()) else {
        return Ok(false);
    };
    Ok(last.fingerprint_now(&checkpoint)?.as_ref() == Some(&last.sha256_after))
}

/// By which options the record of a checkpoint, or the one named, says that whole networks of it were
/// edited, the last edit first.
///
/// # Errors
/// A record that cannot be read; one that was named and is not there.
pub fn recorded(checkpoint: &Checkpoint, record: Option<&Path>) -> Result<Vec<Options>> {
    let place = Place::of(checkpoint.anchor(), record);
    let edits = match (Record::read(&place.read)?, record) {
        (Some(record), _) => record.edits,
        (None, None) => Vec::new(),
        (None, Some(path)) => {
            let found = "nothing of this name";
            return Err(Error::malformed(
                path,
                "record",
                "a record of ckpt-regen",
                found,
            ));
        }
    };
    Ok(edits.iter().rev().filter_map(Edit::options).collect())
}

/// The tensors that the edits in the record of `checkpoint`, or in the one named, changed, as they
/// were before the first of them; `None` where there is no record, or it has left other γ than are
/// there now.
///
/// # Errors
/// A record that cannot be read.
pub fn replaced(checkpoint: &Checkpoint, record: Option<&Path>) -> Result<Option<Vec<Replaced>>> {
    let place = Place::of(checkpoint.anchor(), record);
    let Some(record) = Record::read(&place.read)? else {
        return Ok(None);
    };
    let last = record.edits.last();
    let now = last
        .map(|edit| edit.fingerprint_now(checkpoint))
        .transpose()?;
    if now.flatten().as_ref() != last.map(|edit| &edit.sha256_after) {
        return Ok(None);
    }
    let mut oldest = HashMap::new();
    for edit in record.edits.into_iter().rev() {
        for old in edit
            .old
            .into_iter()
            .filter(|old| old.tensor.dict != OPTIMIZER && old.ranges.is_empty())
        {
            oldest.insert((old.tensor.dict, old.tensor.name), old.bytes);
        }
    }
    let replaced = |((dict, tensor), bytes)| Replaced {
        dict,
        tensor,
        bytes,
    };
    Ok(Some(oldest.into_iter().map(replaced).collect()))
}
