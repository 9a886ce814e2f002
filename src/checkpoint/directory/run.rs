//! The directory of a checkpoint that `ckpt-regen train` wrote: beside `model.safetensors` stand
//! `optimizer.safetensors`, with what the optimizer keeps for each parameter as
//! `PARAMETER.momentum_buffer` and the like, and `state.json`, which says where the run is.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::checkpoint::epochs::Epochs;
use crate::checkpoint::optimizer::{Optimizer, Parameter, Slot};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::file;

/// Who laid such a directory out.
pub(crate) const LAYOUT: &str = "ckpt-regen";
/// The state of the run.
pub(crate) const STATE: &str = "state.json";
/// What the optimizer keeps.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
/// An average of the weights.
pub(crate) const AVERAGE: &str = "ema.safetensors";

/// It holds settings and class names.
pub(crate) const MAX_STATE: u64 = 16 << 20;

/// What of the state every reader needs.
#[derive(Deserialize)]
struct State {
    written_by: Option<String>,
    epoch: Option<u64>,
}

/// Takes what lies beside the model as the checkpoint of a run, if it is one.
pub(super) fn read(directory: &Path, checkpoint: &mut Checkpoint) -> Result<bool> {
    let file = directory.join(STATE);
    if !file.is_file() {
        return Ok(false);
    }
    let state = match read_state(&file) {
        Ok(Some(state)) => state,
        Ok(None) => return Ok(false),
        Err(err) => {
            let note = format!("the epoch is not known: {err}");
            checkpoint.notes.push(note);
            return Ok(false);
        }
    };
    checkpoint.training.layout = Some(LAYOUT);
    let epochs = state
        .epoch
        .map(|n| Epochs::new(n, format!("epoch of {STATE}")));
    checkpoint.training.epochs = epochs;
    if directory.join(AVERAGE).is_file() {
        let note = format!("the averaged weights in {AVERAGE} are left as they are");
        checkpoint.notes.push(note);
    }
    Ok(true)
}

/// None where another program uses that name.
fn read_state(file: &Path) -> Result<Option<State>> {
    let malformed =
        |found: &dyn std::fmt::Display| Error::malformed(file, "file", "the state of a run", found);
    let text = file::read_small_file(file, MAX_STATE).map_err(|err| malformed(&err))?;
    let state: State = serde_json::from_str(&text).map_err(|err| malformed(&err))?;
    let ours = |name: &String| name.split(' ').next() == Some(LAYOUT);
    Ok(state.written_by.as_ref().is_some_and(ours).then_some(state))
}

/// What the optimizer keeps, by the names of its tensors.
pub(super) fn optimizer(tensors: impl Iterator<Item = Tensor>) -> Optimizer {
    let mut optimizer = Optimizer {
        root: String::new(),
        unknown: Vec::new(),
        groups: Vec::new(),
        parameters: Vec::new(),
    };
    let mut places = HashMap::new();
    for tensor in tensors {
        let slot = tensor.name.rsplit_once('.').and_then(|(name, key)| {
            let slot = Slot::of_key(key)?;
            Some((name.to_owned(), slot))
        });
        let Some((name, slot)) = slot else {
            Optimizer::note_unknown(&mut optimizer.unknown, &tensor.name);
            continue;
        };
        let known = &mut optimizer.parameters;
        let place = *places.entry(name).or_insert_with_key(|name| {
            known.push(Parameter {
                name: Some(name.clone()),
                slots: Vec::new(),
            });
            known.len() - 1
        });
        known[place].slots.push((slot, tensor));
    }
    optimizer.groups.push(optimizer.parameters.len());
    optimizer
}
