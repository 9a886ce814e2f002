//! Weights into an engine, and out of it.

use candle_core::{DType, Tensor, Var};
use candle_nn::VarMap;

use super::{failed, variable};
use crate::engine::{Engine, Part};
use crate::error::Result;
use crate::net::{Graph, TensorSpec};

/// Writes every tensor of the engine's network from the variable of its name.
///
/// # Errors
/// A variable is missing, or of another shape; then the engine is left as it was.
pub fn to_engine(vars: &VarMap, engine: &mut dyn Engine) -> Result<()> {
    let graph = engine.graph().clone();
    let all: Vec<_> = graph
        .tensors()
        .iter()
        .map(|spec| Ok((spec, variable(&graph, spec, vars)?)))
        .collect::<Result<_>>()?;
    // One at a time: in f64 they take twice the memory of the network.
    for (id, (spec, var)) in graph.tensor_ids().zip(all) {
        engine.write(id, Part::Value, &numbers(spec, &var)?);
    }
    Ok(())
}

fn numbers(spec: &TensorSpec, var: &Var) -> Result<Vec<f64>> {
    var.flatten_all()
        .and_then(|tensor| tensor.to_dtype(DType::F64)?.to_vec1::<f64>())
        .map_err(failed(&spec.name, "be read"))
}

/// The numbers of every tensor of `graph`, in its order, from the variables of their names.
///
/// # Errors
/// A variable is missing, or of another shape.
pub fn values(graph: &Graph, vars: &VarMap) -> Result<Vec<Vec<f64>>> {
    let read = |spec: &TensorSpec| numbers(spec, &variable(graph, spec, vars)?);
    graph.tensors().iter().map(read).collect()
}

/// Writes every tensor of the engine's network to the variable of its name, in the variable's type.
///
/// # Errors
/// A variable is missing, or of another shape; then all are left as they were.
pub fn from_engine(engine: &dyn Engine, vars: &VarMap) -> Result<()> {
    let graph = engine.graph();
    let all: Vec<_> = graph
        .tensors()
        .iter()
        .map(|spec| Ok((spec, variable(graph, spec, vars)?)))
        .collect::<Result<_>>()?;
    let mut values = Vec::new();
    for (id, (spec, var)) in graph.tensor_ids().zip(all) {
        values.clear();
        engine.read(id, Part::Value, &mut values);
        Tensor::from_slice(&values, &spec.shape[..], var.device())
            .and_then(|tensor| var.set(&tensor.to_dtype(var.dtype())?))
            .map_err(failed(&spec.name, "be set"))?;
    }
    Ok(())
}
