//! Regeneration of a candle model in memory, whatever its layers are.
//!
//! γ is found among the variables of a [`VarMap`] as in a file: by the running mean and variance
//! beside it, which [`candle_nn::batch_norm()`] puts there.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, TensorId, Var, WithDType};
use candle_nn::VarMap;
use half::{bf16, f16};

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::live::{self, Live, Request};
use crate::regen::{Change, Options, Plan};

/// Regenerates the γ of a model, and returns what changed. Running statistics, all other variables
/// and what an optimizer keeps stay as they are.
///
/// Takes a [`Rule`](crate::regen::Rule), for the paper's algorithm with that rule, or all
/// [`Options`]. An averaged copy (`ema.…`) or a teacher among the variables is left alone, as in a
/// file.
///
/// # Errors
/// No BatchNorm, or several networks; more channels dying than coming back
/// ([`Crossings::kills`](crate::regen::Crossings::kills)); a γ that is NaN or infinite, is not of F16, BF16, F32 or F64,
/// or is at the same time another kind of variable; candle's own. No variable is changed then, unless
/// a device fails in the middle.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use candle_core::{DType, Device};
/// use candle_nn::{VarBuilder, VarMap, batch_norm};
/// use ckpt_regen::candle::regenerate;
/// use ckpt_regen::regen::Rule;
///
/// let vars = VarMap::new();
/// let builder = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
/// batch_norm(8, 1e-5, builder.pp("bn1"))?;
/// // Between two epochs:
/// let plan = regenerate(&vars, Rule::Paper)?;
/// assert_eq!(plan.regenerated(), 0); // all γ are 1 at the start
/// # Ok(())
/// # }
/// ```
pub fn regenerate(vars: &VarMap, options: impl Into<Options>) -> Result<Plan> {
    let named = variables(vars)?;
    let request = Request {
        options: options.into(),
        ordered: false,
        ..Request::default()
    };
    let live = Live::find(OWNER, table(&named), request)?;
    let mut gammas = Vec::new();
    for gamma in live.gammas() {
        let of_name = named.binary_search_by(|named| named.name[..].cmp(gamma.tensor));
        let Named { name, var, .. } = &named[of_name.expect("γ is one of the variables")];
        gammas.push((gamma.layer, name, var));
    }
    let mut values = Vec::new();
    for (_, name, var) in &gammas {
        values.extend(read(name, var)?);
    }
    let plan = live.plan(&values)?.plan;
    let changed = |name: &str| plan.layers.iter().find(|layer| layer.name == name);
    let mut edits = Vec::new();
    for (layer, name, var) in gammas {
        let changes = changed(layer).map_or(&[][..], |layer| &layer.changes);
        if !changes.is_empty() {
            edits.push((name, var, edited(name, var, changes)?));
        }
    }
    for (name, var, gamma) in edits {
        var.set(&gamma).map_err(failed(name, "be set"))?;
    }
    Ok(plan)
}

/// What errors name as the place.
const OWNER: &str = "VarMap";

/// A variable with its name, and its type in this crate's words.
struct Named {
    name: String,
    var: Var,
    dtype: Dtype,
}

/// The variables, in order of their names.
fn variables(vars: &VarMap) -> Result<Vec<Named>> {
    let data = vars.data().lock();
    let data = data.map_err(|_| {
        let reason = "a thread panicked while it held the variables";
        Error::refused(Path::new(OWNER), reason)
    })?;
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

/// The variables as they lie in memory: those that are one have one address.
fn table(named: &[Named]) -> Vec<live::Tensor> {
    let mut addresses: HashMap<TensorId, u64> = HashMap::new();
    let tensor = |named: &Named| {
        let next = addresses.len() as u64;
        live::Tensor {
            name: named.name.clone(),
            dtype: named.dtype,
            shape: named.var.dims().iter().map(|n| *n as u64).collect(),
            device: 0,
            address: *addresses.entry(named.var.id()).or_insert(next),
            len: 1,
        }
    };
    named.iter().map(tensor).collect()
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

/// An error of candle's about the variable `name`, with the action as it reads after "cannot".
pub(crate) fn failed(name: &str, action: &'static str) -> impl FnOnce(candle_core::Error) -> Error {
    let variable = name.to_owned();
    move |source| Error::Candle {
        variable,
        action,
        source: Box::new(source),
    }
}
