//! What the state of a run says is pruned in its checkpoint.

use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::checkpoint::directory::run::{LAYOUT, MAX_STATE, STATE};
use crate::error::{Error, Result};
use crate::file;
use crate::regen::Mask;

/// What of the state is needed here; `train::State` writes it.
#[derive(Deserialize)]
struct State {
    #[serde(default)]
    pruning: Pruning,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pruning {
    mask: Mask,
    filters: Mask,
}

/// The channels that a run has pruned, by their scales or by their filters; none where `checkpoint` is
/// not one of a run.
///
/// # Errors
/// A state that is none.
pub(super) fn pruned(checkpoint: &Checkpoint) -> Result<Mask> {
    if checkpoint.training().layout != Some(LAYOUT) {
        return Ok(Mask::default());
    }
    let file = checkpoint.anchor().with_file_name(STATE);
    let malformed = |found: &dyn std::fmt::Display| {
        Error::malformed(&file, "file", "the state of a run", found)
    };
    let text = file::read_small_file(&file, MAX_STATE).map_err(|err| malformed(&err))?;
    let State { pruning } = serde_json::from_str(&text).map_err(|err| malformed(&err))?;
    let Pruning { mut mask, filters } = pruning;
    mask.merge(&filters).map_err(|err| malformed(&err))?;
    Ok(mask)
}
