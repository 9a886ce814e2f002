//! Named tensors between an engine and files: the values of a network, and what the optimizer keeps
//! for its parameters.

use std::path::Path;

use safetensors::tensor::TensorView;

use crate::checkpoint::Checkpoint;
use crate::dtype::Dtype;
use crate::engine::{Engine, Part, Precision};
use crate::error::{Error, Result};
use crate::net::Kind;

use super::settings::OptimizerName;

/// The type in which an engine's numbers are written, so that each is exact.
pub(super) fn dtype(precision: Precision) -> Dtype {
    match precision {
        Precision::F32 => Dtype::F32,
        Precision::F64 => Dtype::F64,
    }
}

fn encode(precision: Precision, values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 * values.len());
    let dtype = dtype(precision);
    values
        .iter()
        .for_each(|value| dtype.encode(*value, &mut bytes));
    bytes
}

fn safetensors(precision: Precision) -> safetensors::Dtype {
    match precision {
        Precision::F32 => safetensors::Dtype::F32,
        Precision::F64 => safetensors::Dtype::F64,
    }
}

/// What is kept for a parameter after `updates`, by PyTorch's names.
pub(super) fn slots(optimizer: OptimizerName, momentum: f64) -> &'static [&'static str] {
    match optimizer {
        OptimizerName::Sgd if momentum == 0.0 => &[],
        OptimizerName::Sgd => &["momentum_buffer"],
        OptimizerName::AdamW => &["exp_avg", "exp_avg_sq"],
    }
}

/// The file of a part of all tensors of an engine's network.
pub(super) fn model_file(engine: &dyn Engine, part: Part) -> Result<Vec<u8>> {
    let precision = engine.precision();
    let graph = engine.graph();
    let mut values = Vec::new();
    let tensors = graph.tensor_ids().zip(graph.tensors()).map(|(id, spec)| {
        engine.read(id, part, &mut values);
        let (dtype, bytes) = match spec.kind {
            Kind::BatchCount => {
                let count = values.iter().flat_map(|n| (*n as i64).to_le_bytes());
                (safetensors::Dtype::I64, count.collect())
            }
            _ => (safetensors(precision), encode(precision, &values)),
        };
        (spec.name.clone(), dtype, spec.shape.clone(), bytes)
    });
    file(tensors.collect())
}

/// The file of what the optimizer keeps.
pub(super) fn optimizer_file(engine: &dyn Engine, slots: &[&str]) -> Result<Vec<u8>> {
    let precision = engine.precision();
    let mut tensors = Vec::new();
    let mut values = Vec::new();
    let graph = engine.graph();
    for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
        for (number, slot) in slots.iter().enumerate() {
            if spec.is_parameter() {
                engine.read(id, Part::Slot(number), &mut values);
            }
            // Nothing is kept before the first update.
            if spec.is_parameter() && values.len() == spec.len() {
                let name = format!("{}.{slot}", spec.name);
                let bytes = encode(precision, &values);
                tensors.push((name, safetensors(precision), spec.shape.clone(), bytes));
            }
        }
    }
    file(tensors)
}

/// Reads such a file into an engine; a file without tensors is that of a run before its first
/// update.
///
/// # Errors
/// It cannot be read, or is not that of this network and optimizer.
pub(super) fn read_optimizer(path: &Path, slots: &[&str], engine: &mut dyn Engine) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    let tensors = checkpoint.weights(0);
    if tensors.is_empty() {
        return Ok(());
    }
    let graph = engine.graph().clone();
    let parameters = || graph.tensors().iter().filter(|spec| spec.is_parameter());
    let wanted = parameters().count() * slots.len();
    if tensors.len() != wanted {
        let expected = format!("{wanted} tensors ({})", slots.join(", "));
        return Err(Error::malformed(path, "file", expected, tensors.len()));
    }
    for (id, spec) in graph.tensor_ids().zip(graph.tensors()) {
        for (number, slot) in slots.iter().enumerate() {
            if !spec.is_parameter() {
                continue;
            }
            let name = format!("{}.{slot}", spec.name);
            let Some(kept) = tensors.iter().find(|kept| kept.tensor.name == name) else {
                return Err(Error::malformed(path, name, "a tensor", "none"));
            };
            let shape: Vec<u64> = spec.shape.iter().map(|n| *n as u64).collect();
            if kept.tensor.shape != shape || !kept.tensor.dtype.is_editable_float() {
                let expected = format!("floats of {shape:?}");
                let found = format!("{} {:?}", kept.tensor.dtype, kept.tensor.shape);
                return Err(Error::malformed(path, name, expected, found));
            }
            let values = kept.tensor.dtype.decode(&checkpoint.elements(kept)?);
            engine.write(id, Part::Slot(number), &values);
        }
    }
    Ok(())
}

fn file(tensors: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)>) -> Result<Vec<u8>> {
    let refused = |err: safetensors::SafeTensorError| {
        Error::refused(Path::new("model.safetensors"), err.to_string())
    };
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes)?;
        Ok((&name[..], view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(refused)?;
    // What PyTorch's writers say of themselves, and its readers ask for.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata)).map_err(refused)
}
