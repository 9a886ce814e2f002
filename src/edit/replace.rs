//! New elements for whole tensors, in a copy of their checkpoint.

use std::path::{Path, PathBuf};

use super::target::Target;
use super::write::{RecordAfter, write};
use super::{Destination, Events};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::storage::{Purpose, Transaction, pending};

/// Writes a copy of `checkpoint` to `output` in which each of these tensors has new bytes, as many as
/// before; everything else is what it was. Data files of a model go beside the copy. Returns the
/// file, and what a user should be told.
///
/// # Errors
/// The copy would overwrite what it is made from, or a file that another checkpoint may need; an edit
/// of the checkpoint is still to be completed; two tensors lie on the same bytes.
pub(crate) fn replace(
    checkpoint: &Checkpoint,
    changes: &[(&Tensor, Vec<u8>)],
    output: &Path,
    events: Events<'_>,
) -> Result<(PathBuf, Vec<String>)> {
    if pending(checkpoint.anchor()) {
        let reason = "an interrupted edit of it is still to be completed: ckpt-regen apply or undo \
                      does it";
        return Err(Error::refused(checkpoint.path(), reason));
    }
    let destination = Destination {
        output: Some(output.to_owned()),
        ..Destination::default()
    };
    let target = Target::resolve(checkpoint.path(), &destination, Purpose::Apply)?;
    let transaction = Transaction::begin(target.edited())?;
    let changes: Vec<(&Tensor, &[u8])> =
        changes.iter().map(|(t, bytes)| (*t, &bytes[..])).collect();
    let patches = checkpoint.patches(&changes)?;
    let mut notes = patches.notes.clone();
    let (_, warnings) = write(
        transaction,
        &target,
        checkpoint,
        &patches,
        // A record that lies there is not of this copy.
        RecordAfter::Remove,
        Purpose::Apply,
        events,
    )?;
    notes.extend(warnings);
    Ok((target.edited().to_owned(), notes))
}
