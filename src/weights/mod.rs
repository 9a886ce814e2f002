//! The weights of a network: drawn at random, read from a checkpoint, carried into an engine and
//! back.
//!
//! Parameters and BatchNorm's buffers live in a candle [`VarMap`] under their state-dict names; that
//! is their form before training and at every checkpoint.
//!
//! ```
//! # fn main() -> Result<(), ckpt_regen::Error> {
//! use candle_core::DType;
//! use ckpt_regen::net::{Convolution, Graph, Shape};
//! use ckpt_regen::{Checkpoint, weights};
//!
//! let mut graph = Graph::new("tiny", Shape::new(3, 32, 32));
//! let x = graph.input();
//! let x = graph.convolution("features.0.0", x, &Convolution::new(8, 3).stride(2).padding(1))?;
//! graph.batch_norm("features.0.1", x)?;
//! let vars = weights::initialize(&graph, 0, DType::F32)?;
//!
//! // Takes what fits: this network is the beginning of that one.
//! let checkpoint = Checkpoint::open("fixtures/mobilenet_v2_025/model.safetensors")?;
//! let options = weights::LoadOptions { partial: true, ..Default::default() };
//! let fit = weights::load(&graph, &checkpoint, &options, &vars)?;
//! assert!(fit.missing.is_empty());
//! # Ok(())
//! # }
//! ```

mod engine;
mod find;
mod fit;
mod initialize;
mod load;
mod report;
#[cfg(test)]
mod tests;

pub use engine::{from_engine, to_engine, values};
pub use fit::{Fit, LoadOptions, Misfit, fit};
pub use initialize::initialize;
pub use load::{load, load_parts};

use candle_core::Var;
use candle_nn::VarMap;

use crate::candle::failed;
use crate::error::Result;
use crate::net::{Graph, TensorSpec};

/// The variable of one of the graph's tensors.
fn variable(graph: &Graph, spec: &TensorSpec, vars: &VarMap) -> Result<Var> {
    let data = vars
        .data()
        .lock()
        .map_err(|_| graph.error(&spec.name, "a thread panicked while it held the variables"))?;
    let Some(var) = data.get(&spec.name) else {
        let reason = "expected a variable of this name, found none";
        return Err(graph.error(&spec.name, reason).into());
    };
    if var.dims() != spec.shape {
        let reason = format!(
            "expected a variable of {:?}, found {:?}",
            spec.shape,
            var.dims()
        );
        return Err(graph.error(&spec.name, reason).into());
    }
    Ok(var.clone())
}
