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
    take(graph, &[(checkpoint, &fit)], vars)?;
    Ok(fit)
}

/// As [`load`], from several checkpoints that hold a part of the network each, as encoder and decoder
/// (see [`Fit::part`]). Returns how each fits.
///
/// # Errors
/// As [`load`]; a part that none holds, unless only a part is asked for; a tensor that two hold.
pub fn load_parts(
    graph: &Graph,
    checkpoints: &[Checkpoint],
    options: &LoadOptions,
    vars: &VarMap,
) -> Result<Vec<Fit>> {
    if let [checkpoint] = checkpoints {
        return Ok(vec![load(graph, checkpoint, options, vars)?]);
    }
    let fit = |checkpoint| fit(graph, checkpoint, options.root.as_deref());
    let fits: Vec<Fit> = checkpoints.iter().map(fit).collect::<Result<_>>()?;
    let mut holders: Vec<Option<&Checkpoint>> = vec![None; graph.tensors().len()];
    for (checkpoint, fit) in checkpoints.iter().zip(&fits) {
        fit.check_own(checkpoint, options.partial)?;
        for (tensor, _) in &fit.taken {
            if let Some(other) = holders[*tensor].replace(checkpoint) {
                let name = &graph.tensors()[*tensor].name;
                let reason = format!("holds {name}, as {} does", other.path().display());
                return Err(Error::refused(checkpoint.path(), reason));
            }
        }
    }
    let specs = graph.tensors().iter().zip(&holders);
    let mut missing =
        specs.filter(|(spec, holder)| holder.is_none() && spec.kind != Kind::BatchCount);
    if let Some((spec, _)) = missing.next().filter(|_| !options.partial) {
        let more = 1 + missing.count();
        let reason = format!("none of the files holds {} ({more} missing)", spec.name);
        return Err(graph.error(&spec.name, reason).into());
    }
    let all: Vec<(&Checkpoint, &Fit)> = checkpoints.iter().zip(&fits).collect();
    take(graph, &all, vars)?;
    Ok(fits)
}

/// Sets the variables to the tensors that fit, once all of them are read.
fn take(graph: &Graph, from: &[(&Checkpoint, &Fit)], vars: &VarMap) -> Result<()> {
    let weights: Vec<Vec<Weight<'_>>> = from
        .iter()
        .map(|(checkpoint, fit)| checkpoint.weights(fit.dict))
        .collect();
    let mut sources = vec![None; graph.tensors().len()];
    for (file, (_, fit)) in from.iter().enumerate() {
        for (tensor, index) in &fit.taken {
            sources[*tensor] = Some((file, *index));
        }
    }
    let mut staged: Vec<(&str, Var, Tensor)> = Vec::new();
    for (spec, source) in graph.tensors().iter().zip(sources) {
        let values = match source {
            Some((file, index)) => read(from[file].0, &weights[file][index])?,
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
    Ok(())
}

impl Fit {
    /// Whether it may be loaded, as a whole or in part.
    ///
    /// # Errors
    /// It may not; the message lists all that does not fit.
    pub fn check(&self, checkpoint: &Checkpoint, partial: bool) -> Result<()> {
        self.check_own(checkpoint, partial)?;
        if self.part.is_empty() || partial {
            return Ok(());
        }
        let (part, path) = (self.part.trim_end_matches('.'), checkpoint.path());
        let reason = format!("{self}, and holds nothing of the network but its {part}");
        let refusal = Refusal::Weights { classes: None };
        Err(Error::refused_for(refusal, path, reason))
    }

    /// As [`Fit::check`], of the part that is compared.
    fn check_own(&self, checkpoint: &Checkpoint, partial: bool) -> Result<()> {
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
