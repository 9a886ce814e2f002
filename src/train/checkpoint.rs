//! A checkpoint of a run: a directory with `model.safetensors`, `optimizer.safetensors`, with an
//! average `ema.safetensors`, and `state.json`.

use std::path::Path;

use candle_core::DType;

use super::state::State;
use super::tensors;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::directory::run::{AVERAGE, OPTIMIZER, STATE};
use crate::engine::{Engine, Part, Precision};
use crate::error::{Error, Result};
use crate::storage::pending;
use crate::weights::{self, Fit, LoadOptions};

const MODEL: &str = "model.safetensors";

/// The files of a checkpoint, ready to be written.
pub(super) struct Saved {
    pub(super) epoch: u64,
    /// The state is last: where it stands, the others do.
    pub(super) files: Vec<(&'static str, Vec<u8>)>,
}

impl Saved {
    /// Takes everything that a run needs to go on.
    pub(super) fn new(engine: &dyn Engine, state: &State) -> Result<Saved> {
        let mut files = vec![
            (MODEL, tensors::model_file(engine, Part::Value)?),
            (OPTIMIZER, tensors::optimizer_file(engine, slots(state))?),
        ];
        if state.settings.ema > 0.0 {
            files.push((AVERAGE, tensors::model_file(engine, Part::Average)?));
        }
        files.push((STATE, state.to_json()));
        Ok(Saved {
            epoch: state.epoch,
            files,
        })
    }
}

fn slots(state: &State) -> &'static [&'static str] {
    tensors::slots(state.settings.optimizer, state.settings.momentum)
}

/// Reads the weights in `paths`, of any format, into an engine. Returns how each fits.
///
/// # Errors
/// They cannot be read, or do not fit the network.
pub(super) fn read_weights(
    paths: &[impl AsRef<Path>],
    options: &LoadOptions,
    seed: u64,
    engine: &mut dyn Engine,
) -> Result<Vec<Fit>> {
    let mut checkpoints = Vec::with_capacity(paths.len());
    for path in paths {
        let checkpoint = Checkpoint::open(path.as_ref())?;
        if pending(checkpoint.anchor()) {
            let reason = "an interrupted edit of it is still to be completed: ckpt-regen apply or \
                          undo does it";
            return Err(Error::refused(path.as_ref(), reason));
        }
        checkpoints.push(checkpoint);
    }
    let vars = weights::initialize(engine.graph(), seed, dtype(engine))?;
    let fits = weights::load_parts(engine.graph(), &checkpoints, options, &vars)?;
    weights::to_engine(&vars, engine)?;
    Ok(fits)
}

/// What a user should hear of weights of which not all were taken, or that are a part of the network.
pub(super) fn note(path: &Path, fit: &Fit) -> Option<String> {
    let shown = path.display();
    match (fit.is_complete(), fit.part.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("{shown}: {fit}")),
        (false, _) => {
            let (fitting, tensors) = (fit.fitting, fit.tensors);
            Some(format!(
                "{shown}: {fitting} of {tensors} tensors fit, others are drawn; the whole {fit}"
            ))
        }
    }
}

/// Gives an engine the weights that training begins with.
pub(super) fn draw_weights(seed: u64, engine: &mut dyn Engine) -> Result<()> {
    let vars = weights::initialize(engine.graph(), seed, dtype(engine))?;
    weights::to_engine(&vars, engine)
}

fn dtype(engine: &dyn Engine) -> DType {
    match engine.precision() {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    }
}

/// Reads a run's checkpoint into the engine: weights, optimizer, and the average, if the settings have
/// one; it begins as the weights where the checkpoint has none.
pub(super) fn read(directory: &Path, state: &State, engine: &mut dyn Engine) -> Result<()> {
    let strict = LoadOptions::default();
    let file = directory.join(AVERAGE);
    let averaged = state.settings.ema > 0.0 && file.is_file();
    if averaged {
        read_weights(&[file], &strict, state.seed, engine)?;
        engine.begin_average();
    }
    read_weights(&[directory], &strict, state.seed, engine)?;
    if state.settings.ema > 0.0 && !averaged {
        engine.begin_average();
    }
    tensors::read_optimizer(&directory.join(OPTIMIZER), slots(state), engine)
}
