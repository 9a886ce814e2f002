//! Regeneration of a candle model in memory, whatever its layers are.
//!
//! γ is found among the variables of a [`VarMap`] as in a file: by the running mean and variance
//! beside it, which [`candle_nn::batch_norm()`] puts there.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, TensorId, Var, WithDType};
use candle_nn::VarMap;
use half::{bf16, f16};

use crate::batchnorm::{self, Layer, Network, Role, Schema};
use crate::checkpoint::{self, StateDict};
use crate::dtype::Dtype;
use crate::engine;
use crate::error::{Error, Result};
use crate::regen::{self, Caution, Change, Gamma, Options, Plan};

/// Regenerates the γ of a model, and returns what changed. Running statistics, all other variables
/// and what an optimizer keeps stay as they are.
///
/// Takes a [`Rule`](regen::Rule), for the paper's algorithm with that rule, or all
/// [`Options`]. An averaged copy (`ema.…`) or a teacher among the variables is left alone, as in a
/// file.
///
/// # Errors
/// No BatchNorm, or several networks; more channels dying than coming back
/// ([`Crossings::kills`](regen::Crossings::kills)); a γ that is NaN or infinite, is not of F16, BF16, F32 or F64,
/// or is at the same time another kind of variable; candle's own. No variable is changed then, unless
/// a device fails in the middle.
pub fn regenerate(vars: &VarMap, options: impl Into<Options>) -> Result<Plan> {
    let named = variables(vars)?;
    let dict = table(&named);
    let network = network(&dict)?;
    let layers = once(&network, &named)?;
    let mut gammas = Vec::with_capacity(layers.len());
    for (layer, gamma) in &layers {
        let Named { name, var, dtype } = &named[*gamma];
        gammas.push(Gamma {
            layer: layer.name.clone(),
            dtype: *dtype,
            values: read(name, var)?,
        });
    }
    let plan = regen::plan(&gammas, &options.into()).map_err(|err| wrong("γ", err.to_string()))?;
    if plan.crossings().kills()
        && let Some(caution) = Caution::dying(&plan)
    {
        return Err(wrong("γ", format!("are left as they are: {caution}")));
    }
    let changed = |name: &str| plan.layers.iter().find(|layer| layer.name == name);
    let mut edits = Vec::new();
    for (layer, gamma) in &layers {
        let changes = changed(&layer.name).map_or(&[][..], |layer| &layer.changes);
        if !changes.is_empty() {
            let Named { name, var, .. } = &named[*gamma];
            edits.push((name, var, edited(name, var, changes)?));
        }
    }
    for (name, var, gamma) in edits {
        var.set(&gamma).map_err(failed(name, "be set"))?;
    }
    Ok(plan)
}

/// A variable with its name, and its type in this crate's words.
struct Named {
    name: String,
    var: Var,
    dtype: Dtype,
}

/// The variables, in order of their names.
fn variables(vars: &VarMap) -> Result<Vec<Named>> {
    let data = vars.data().lock();
    let data = data.map_err(|_| wrong("variables", "a thread panicked while it held them"))?;
    let known = data.iter().filter_map(|(name, var)| {
        Some(Named {
            name: name.clone(),
            var: var.clone(),
            dtype: dtype(var.dtype())?,
        })
    });
    let mut named: Vec<Named> = known.collect();
    named.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(named)
}

/// The variables as a table of tensors.
fn table(named: &[Named]) -> StateDict {
    let tensors = named.iter().map(|named| checkpoint::Tensor {
        name: named.name.clone(),
        dtype: named.dtype,
        shape: named.var.dims().iter().map(|n| *n as u64).collect(),
        source: 0,
        offset: 0,
        len: 0,
        fixed: None,
        scattered: None,
        strides: None,
    });
    StateDict {
        root: String::new(),
        tensors: tensors.collect(),
        ordered: false,
        role: Role::Raw,
    }
}

/// The only network in training.
fn network(dict: &StateDict) -> Result<Network> {
    let networks = batchnorm::locate_in(dict, &Schema::default()).map_err(|mismatch| {
        let (expected, found) = (mismatch.expected, mismatch.found);
        let name = &dict.tensors[mismatch.tensor].name;
        wrong(name, format!("expected {expected}, found {found}"))
    })?;
    let mut raw = networks
        .into_iter()
        .filter(|network| network.role == Role::Raw);
    match (raw.next(), raw.next()) {
        (Some(network), None) => Ok(network),
        (Some(one), Some(other)) => Err(wrong(
            "variables",
            format!(
                "expected one network in training, found {:?} and {:?}: a VarMap each keeps them apart",
                one.root, other.root
            ),
        )),
        (None, _) => Err(wrong(
            "variables",
            format!(
                "expected BatchNorm layers with weight, running_mean and running_var, found none \
                 among {} variables",
                dict.tensors.len()
            ),
        )),
    }
}

/// The layers with the places of their γ: a γ under several names once.
fn once<'n>(network: &'n Network, named: &[Named]) -> Result<Vec<(&'n Layer, usize)>> {
    let mut names: HashMap<TensorId, Vec<usize>> = HashMap::new();
    for (place, named) in named.iter().enumerate() {
        names.entry(named.var.id()).or_default().push(place);
    }
    let all: Vec<(&Layer, usize)> = network
        .layers
        .iter()
        .filter_map(|layer| Some((layer, layer.gamma?)))
        .collect();
    let mut layers: Vec<(&Layer, usize)> = Vec::with_capacity(all.len());
    for (layer, gamma) in &all {
        let Named { name, var, .. } = &named[*gamma];
        if let Some(reason) = &layer.fixed {
            return Err(wrong(name, reason));
        }
        let same = &names[&var.id()];
        if let Some(other) = same
            .iter()
            .find(|place| all.iter().all(|(_, g)| g != *place))
        {
            let other = &named[*other].name;
            return Err(wrong(name, format!("is γ, and also the variable {other}")));
        }
        if layers.iter().all(|(_, gamma)| !same.contains(gamma)) {
            layers.push((layer, *gamma));
        }
    }
    Ok(layers)
}

/// The values of a γ, each exact.
fn read(name: &str, var: &Var) -> Result<Vec<f64>> {
    var.to_dtype(DType::F64)
        .and_then(|values| values.to_vec1())
        .map_err(failed(name, "be read"))
}

/// A γ after its changes.
fn edited(name: &str, var: &Var, changes: &[Change]) -> Result<Tensor> {
    let edited = match var.dtype() {
        DType::F16 => edited_as::<f16>(var, changes),
        DType::BF16 => edited_as::<bf16>(var, changes),
        DType::F64 => edited_as::<f64>(var, changes),
        _ => edited_as::<f32>(var, changes),
    };
    edited.map_err(failed(name, "be edited"))
}

fn edited_as<T: WithDType>(var: &Var, changes: &[Change]) -> candle_core::Result<Tensor> {
    let mut values: Vec<T> = var.to_vec1()?;
    for change in changes {
        // Exact: a plan has values of γ's own type.
        values[change.channel] = T::from_f64(change.new);
    }
    let len = values.len();
    Tensor::from_vec(values, len, &Device::Cpu)?.to_device(var.device())
}

/// The type in this crate's words; none for one that candle did not have in version 0.11.
fn dtype(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::BF16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F8E4M3 => Dtype::F8_E4M3,
        DType::F6E2M3 => Dtype::F6_E2M3,
        DType::F6E3M2 => Dtype::F6_E3M2,
        DType::F4 => Dtype::F4,
        DType::F8E8M0 => Dtype::F8_E8M0,
        _ => return None,
    })
}

fn wrong(name: &str, reason: impl Into<String>) -> Error {
    let err = engine::Error::Network {
        network: "VarMap".to_owned(),
        node: name.to_owned(),
        reason: reason.into(),
    };
    err.into()
}

/// An error of candle's about the variable `name`, with the action as it reads after "cannot".
pub(crate) fn failed(name: &str, action: &'static str) -> impl FnOnce(candle_core::Error) -> Error {
    let variable = name.to_owned();
    move |source| Error::Candle {
        variable,
        action,
        source: Box::new(source),
    }
}
