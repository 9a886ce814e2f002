//! Named tensors between an engine and files: the values of a network, and what the optimizer keeps
//! for its parameters.

use std::path::Path;

use safetensors::tensor::TensorView;

use crate::checkpoint::Checkpoint;
use crate::dtype::Dtype;
use crate::engine::{Engine, Part};
use crate::error::{Error, Result};
use crate::net::{Kind, TensorSpec};

use super::settings::OptimizerName;

/// In which type an engine's numbers are written, so that each is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// That of [`engine::cpu`](crate::engine::cpu).
    F32,
    /// That of `Plain<f64>`.
    F64,
}

impl Precision {
    pub(super) fn dtype(self) -> Dtype {
        match self {
            Precision::F32 => Dtype::F32,
            Precision::F64 => Dtype::F64,
        }
    }

    /// The nearest number of this precision.
    pub(super) fn round(self, value: f64) -> f64 {
        match self {
            Precision::F32 => f64::from(value as f32),
            Precision::F64 => value,
        }
    }

    fn encode(self, values: &[f64]) -> Vec<u8> {
        match self {
            Precision::F32 => values
                .iter()
                .flat_map(|value| (*value as f32).to_le_bytes())
                .collect(),
            Precision::F64 => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    fn safetensors(self) -> safetensors::Dtype {
        match self {
            Precision::F32 => safetensors::Dtype::F32,
            Precision::F64 => safetensors::Dtype::F64,
        }
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

/// The values of all tensors of a network, one list a tensor.
pub(super) fn values(engine: &dyn Engine) -> Vec<Vec<f64>> {
    let read = |id| {
        let mut values = Vec::new();
        engine.read(id, Part::Value, &mut values);
        values
    };
    engine.graph().tensor_ids().map(read).collect()
}

/// Gives them to an engine.
pub(super) fn set_values(engine: &mut dyn Engine, values: &[Vec<f64>]) {
    for (id, values) in engine.graph().tensor_ids().zip(values) {
        engine.write(id, Part::Value, values);
    }
}

/// The file of a network's tensors.
pub(super) fn model_file(
    specs: &[TensorSpec],
    values: &[Vec<f64>],
    precision: Precision,
) -> Result<Vec<u8>> {
    let tensors = specs.iter().zip(values).map(|(spec, values)| {
        let (dtype, bytes) = match spec.kind {
            Kind::BatchCount => {
                let count = values.iter().flat_map(|n| (*n as i64).to_le_bytes());
                (safetensors::Dtype::I64, count.collect())
            }
            _ => (precision.safetensors(), precision.encode(values)),
        };
        (spec.name.clone(), dtype, spec.shape.clone(), bytes)
    });
    file(tensors.collect())
}

/// The file of what the optimizer keeps.
pub(super) fn optimizer_file(
    engine: &dyn Engine,
    slots: &[&str],
    precision: Precision,
) -> Result<Vec<u8>> {
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
                let bytes = precision.encode(&values);
                tensors.push((name, precision.safetensors(), spec.shape.clone(), bytes));
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
