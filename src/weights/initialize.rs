//! How a network starts.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal, Uniform};
use sha2::{Digest, Sha256};

use super::failed;
use crate::error::{Error, Result};
use crate::net::{Graph, Init, Kind, TensorSpec};

/// Draws every tensor of `graph` as its [`Kind`] says, in `dtype`, F32 or F64; counters are I64.
///
/// Each tensor has a generator of its own, seeded by `seed` and the tensor's name: what it starts as
/// does not depend on the other tensors. Numbers are drawn in f64; those of F32 are the same,
/// rounded.
///
/// # Errors
/// Another type; a distribution whose width is no finite number.
pub fn initialize(graph: &Graph, seed: u64, dtype: DType) -> Result<VarMap> {
    if !matches!(dtype, DType::F32 | DType::F64) {
        let message = format!("weights are F32 or F64, not {}", dtype.as_str());
        return Err(Error::Usage(message));
    }
    let mut vars = Vec::with_capacity(graph.tensors().len());
    for spec in graph.tensors() {
        let tensor = match spec.kind {
            Kind::BatchCount => Tensor::zeros(&spec.shape[..], DType::I64, &Device::Cpu),
            _ => {
                let values = draw(graph, spec, seed)?;
                Tensor::from_vec(values, &spec.shape[..], &Device::Cpu)
                    .and_then(|tensor| tensor.to_dtype(dtype))
            }
        };
        let var = tensor.and_then(|tensor| Var::from_tensor(&tensor));
        vars.push((
            spec.name.clone(),
            var.map_err(failed(&spec.name, "be made"))?,
        ));
    }
    let map = VarMap::new();
    let data = map.data().lock();
    data.expect("no other thread has it yet").extend(vars);
    Ok(map)
}

fn draw(graph: &Graph, spec: &TensorSpec, seed: u64) -> Result<Vec<f64>> {
    let wrong =
        |err: &dyn std::fmt::Display| graph.error(&spec.name, format!("cannot be drawn: {err}"));
    if let Some(statistic) = spec.initial_statistic() {
        return Ok(statistic);
    }
    match spec.kind.init() {
        Some(Init::Normal { deviation }) => {
            let normal = Normal::new(0.0, deviation).map_err(|err| wrong(&err))?;
            Ok(sample(&normal, spec, seed))
        }
        Some(Init::Uniform { bound }) => {
            let uniform = Uniform::new_inclusive(-bound, bound).map_err(|err| wrong(&err))?;
            Ok(sample(&uniform, spec, seed))
        }
        Some(Init::Constant(value)) => Ok(vec![value; spec.len()]),
        None => Ok(vec![0.0; spec.len()]),
    }
}

fn sample(distribution: &impl Distribution<f64>, spec: &TensorSpec, seed: u64) -> Vec<f64> {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(&spec.name);
    let mut random = ChaCha8Rng::from_seed(hash.finalize().into());
    let draws = distribution.sample_iter(&mut random);
    draws.take(spec.len()).collect()
}
