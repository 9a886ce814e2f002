//! The weights of a checkpoint into variables.

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;

use super::fit::{Fit, LoadOptions, fit};
use super::{failed, variable};
use crate::checkpoint::{Checkpoint, Weight};
use crate::dtype::Dtype;
use crate::error::{Error, Refusal, Result};
use crate::net::{Graph, Kind};

/// Loads the weights of `graph` from `checkpoint` into the variables of its tensors, which
/// [`initialize`](super::initialize) makes, each in the type that the variable has.
///
/// F16, BF16, F32 and F64 are read, in every format and however strided. A batch counter that is not
/// there becomes 0. NaN and infinities are taken as they are.
///
/// # Errors
/// As [`fit`]; any tensor that is missing, unexpected or misshapen, all of them in one message,
/// unless only a part is asked for; nothing that fits; a file that cannot be read. The variables are
/// then as they were.
pub fn load(
    graph: &Graph,
    checkpoint: &Checkpoint,
    options: &LoadOptions,
    vars: &VarMap,
) -> Result<Fit> {
    let fit = fit(graph, checkpoint, options.root.as_deref())?;
    fit.check(checkpoint, options.partial)?;
    let weights = checkpoint.weights(fit.dict);
    let mut taken = fit.taken.iter().peekable();
    let mut staged: Vec<(&str, Var, Tensor)> = Vec::new();
    for (number, spec) in graph.tensors().iter().enumerate() {
        let weight = taken.next_if(|(tensor, _)| *tensor == number);
        let values = match weight {
            Some((_, index)) => read(checkpoint, &weights[*index])?,
            None if spec.kind == Kind::BatchCount => vec![0.0],
            None => continue,
        };
        let var = variable(graph, spec, vars)?;
        // In the variable's type now: f64 would double what is held until all are read.
        let tensor = Tensor::from_vec(values, &spec.shape[..], &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(var.dtype()))
            .map_err(failed(&spec.name, "be made"))?;
        staged.push((&spec.name, var, tensor));
    }
    for (name, var, tensor) in staged {
        tensor
            .to_device(var.device())
            .and_then(|tensor| var.set(&tensor))
            .map_err(failed(name, "be set"))?;
    }
    Ok(fit)
}

impl Fit {
    /// Whether it may be loaded, as a whole or in part.
    ///
    /// # Errors
    /// It may not; the message lists all that does not fit.
    pub fn check(&self, checkpoint: &Checkpoint, partial: bool) -> Result<()> {
        let none = self.fitting == 0;
        if self.is_complete() || (partial && !none) {
            return Ok(());
        }
        let (refusal, more) = if checkpoint.is_folded() {
            (
                Refusal::File,
                "\n  The export folded BatchNorm into the convolutions: this is another network by now",
            )
        } else if none {
            (Refusal::File, "")
        } else {
            let classes = self.classes.map(|(found, _)| found);
            (Refusal::Weights { classes }, "")
        };
        let reason = format!("{self}{more}");
        Err(Error::refused_for(refusal, checkpoint.path(), reason))
    }
}

/// The numbers of a tensor that fits.
fn read(checkpoint: &Checkpoint, weight: &Weight<'_>) -> Result<Vec<f64>> {
    let bytes = checkpoint.elements(weight)?;
    Ok(match weight.tensor.dtype {
        // Batches are counted far below 2^53.
        Dtype::I64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b) as f64)
            .collect(),
        Dtype::I32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| i32::from_le_bytes(*b).into())
            .collect(),
        dtype => dtype.decode(&bytes),
    })
}
