//! A checkpoint of a run: a directory with `model.safetensors`, `optimizer.safetensors`, with an
//! average `ema.safetensors`, and `state.json`.

use std::path::Path;

use candle_core::DType;

use super::average::Average;
use super::state::State;
use super::tensors::{self, Precision};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::directory::run::{AVERAGE, OPTIMIZER, STATE};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::storage::pending;
use crate::weights::{self, LoadOptions};

const MODEL: &str = "model.safetensors";

/// The files of a checkpoint, ready to be written.
pub(super) struct Saved {
    pub(super) epoch: u64,
    /// The state is last: where it stands, the others do.
    pub(super) files: Vec<(&'static str, Vec<u8>)>,
}

impl Saved {
    /// Takes everything that a run needs to go on.
    pub(super) fn new(
        engine: &dyn Engine,
        average: Option<&Average>,
        state: &State,
        precision: Precision,
    ) -> Result<Saved> {
        let specs = engine.graph().tensors();
        let slots = slots(state);
        let mut files = vec![
            (
                MODEL,
                tensors::model_file(specs, &tensors::values(engine), precision)?,
            ),
            (
                OPTIMIZER,
                tensors::optimizer_file(engine, slots, precision)?,
            ),
        ];
        if let Some(average) = average {
            let bytes = tensors::model_file(specs, &average.values, precision)?;
            files.push((AVERAGE, bytes));
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

/// Reads the weights in `path`, of any format, into an engine.
///
/// # Errors
/// They cannot be read, or do not fit the network.
pub(super) fn read_weights(
    path: &Path,
    options: &LoadOptions,
    seed: u64,
    precision: Precision,
    engine: &mut dyn Engine,
) -> Result<weights::Fit> {
    let checkpoint = Checkpoint::open(path)?;
    if pending(checkpoint.anchor()) {
        let reason = "an interrupted edit of it is still to be completed: ckpt-regen apply or undo \
                      does it";
        return Err(Error::refused(path, reason));
    }
    let dtype = match precision {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    };
    let vars = weights::initialize(engine.graph(), seed, dtype)?;
    let fit = weights::load(engine.graph(), &checkpoint, options, &vars)?;
    weights::to_engine(&vars, engine)?;
    Ok(fit)
}

/// Gives an engine the weights that training begins with.
pub(super) fn draw_weights(seed: u64, precision: Precision, engine: &mut dyn Engine) -> Result<()> {
    let dtype = match precision {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    };
    let vars = weights::initialize(engine.graph(), seed, dtype)?;
    weights::to_engine(&vars, engine)
}

/// Reads a run's checkpoint: weights and optimizer into the engine, and the average, if `state` says
/// that there is one.
pub(super) fn read(
    directory: &Path,
    state: &State,
    precision: Precision,
    engine: &mut dyn Engine,
) -> Result<Option<Average>> {
    let strict = LoadOptions::default();
    let settings = &state.settings;
    let mut average = None;
    let file = directory.join(AVERAGE);
    if settings.ema > 0.0 && file.is_file() {
        read_weights(&file, &strict, state.seed, precision, engine)?;
        let values = tensors::values(engine);
        average = Some(Average::new(settings.ema, precision, values));
    }
    read_weights(directory, &strict, state.seed, precision, engine)?;
    tensors::read_optimizer(&directory.join(OPTIMIZER), slots(state), engine)?;
    if settings.ema > 0.0 && average.is_none() {
        let values = tensors::values(engine);
        average = Some(Average::new(settings.ema, precision, values));
    }
    Ok(average)
}
