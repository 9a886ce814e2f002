//! What lies beside the model in the directory of a training run, by who laid it out.

pub(crate) mod run;
mod trainer;

use std::path::Path;

pub(crate) use trainer::TrainerState;

use super::format::{self, DataFiles, Opening};
use super::{Checkpoint, StateDict};
use crate::error::Result;
use crate::file::Source;

/// Names of an optimizer's file beside a model: HF Trainer's and accelerate's.
const OPTIMIZERS: [&str; 2] = ["optimizer.pt", ACCELERATE];
const ACCELERATE: &str = "optimizer.bin";

/// Reads what lies beside the model of `checkpoint`.
pub(super) fn read(directory: &Path, checkpoint: &mut Checkpoint) -> Result<()> {
    if run::read(directory, checkpoint)? {
        add_if_there(checkpoint, &directory.join(run::OPTIMIZER));
        return Ok(());
    }
    let state = directory.join(trainer::STATE);
    if state.is_file() {
        checkpoint.training.layout = Some("HF Trainer");
        match TrainerState::read(&state) {
            Ok(state) => {
                checkpoint.training.epochs = state.epochs();
                checkpoint.training.scalars = state.scalars();
            }
            Err(err) => checkpoint
                .notes
                .push(format!("the epoch is not known: {err}")),
        }
    }
    for name in OPTIMIZERS {
        let file = directory.join(name);
        if file.is_file() {
            if name == ACCELERATE {
                checkpoint.training.layout.get_or_insert("accelerate");
            }
            add_if_there(checkpoint, &file);
            break;
        }
    }
    Ok(())
}

fn add_if_there(checkpoint: &mut Checkpoint, file: &Path) {
    if file.is_file()
        && let Err(err) = Source::open(file).and_then(|file| add_optimizer(checkpoint, file))
    {
        checkpoint.training.optimizers = vec![Err(err)];
    }
}

/// Adds an optimizer's file as a companion.
pub(super) fn add_optimizer(checkpoint: &mut Checkpoint, source: Source) -> Result<()> {
    let home = source.path().to_owned();
    let opened = format::open(Opening {
        source,
        number: checkpoint.sources.len(),
        home: crate::file::directory(&home),
        files: DataFiles::Gamma,
    })?;
    checkpoint.training.optimizers = match checkpoint.training.layout {
        Some(run::LAYOUT) => {
            let tensors = |dict: &StateDict| dict.tensors.clone();
            let tensors = opened.dicts.iter().flat_map(tensors);
            vec![Ok(run::optimizer(tensors))]
        }
        _ => opened.training.optimizers,
    };
    checkpoint.add(opened.sources, opened.contents);
    Ok(())
}
