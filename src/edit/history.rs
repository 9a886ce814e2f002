//! What the γ of a checkpoint were before it was edited.

use std::collections::HashMap;

use super::record::{OPTIMIZER, Record};
use crate::checkpoint::Checkpoint;
use crate::error::Result;

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

/// The tensors that the edits in the record beside `checkpoint` changed, as they were before the
/// first of them; `None` where there is no record, or it has left other γ than are there now.
///
/// # Errors
/// A record that cannot be read.
pub fn replaced(checkpoint: &Checkpoint) -> Result<Option<Vec<Replaced>>> {
    let Some(record) = Record::read(checkpoint.anchor())? else {
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
            .filter(|old| old.tensor.dict != OPTIMIZER)
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
