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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit;
    use crate::regen::{Below, Rule, Scope, To};
    use crate::{Checkpoint, weights};
    use std::collections::BTreeMap;

    /// Names and γ of a small network in `dtype`, with other variables around them.
    fn model(dtype: DType) -> VarMap {
        let gammas: [(&str, &[f64]); 3] = [
            ("stem.bn", &[0.5, -0.9, 0.001, 0.25]),
            ("layer.2.bn", &[0.75, 0.0, -0.002]),
            ("layer.10.bn", &[1.0, 0.3]),
        ];
        let vars = VarMap::new();
        let mut data = vars.data().lock().unwrap();
        let mut insert = |name: String, values: &[f64]| {
            let tensor = Tensor::new(values, &Device::Cpu)
                .unwrap()
                .to_dtype(dtype)
                .unwrap();
            data.insert(name, Var::from_tensor(&tensor).unwrap());
        };
        for (layer, gamma) in gammas {
            insert(format!("{layer}.weight"), gamma);
            for leaf in ["bias", "running_mean", "running_var"] {
                insert(format!("{layer}.{leaf}"), &vec![0.125; gamma.len()]);
            }
        }
        // A LayerNorm, which has no statistics, and a classifier.
        insert("norm.weight".to_owned(), &[0.001, 0.002]);
        insert("norm.bias".to_owned(), &[0.0, 0.0]);
        insert("fc.weight".to_owned(), &[0.1, 0.2]);
        drop(data);
        vars
    }

    /// The bytes of every variable, as a file has them.
    fn bytes(vars: &VarMap) -> BTreeMap<String, Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        vars.save(&path).unwrap();
        bytes_of(&path)
    }

    fn bytes_of(path: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
        let checkpoint = Checkpoint::open(path).unwrap();
        let tensors = checkpoint.dicts()[0].tensors.iter();
        tensors
            .map(|t| (t.name.clone(), checkpoint.read(t).unwrap()))
            .collect()
    }

    fn options() -> Vec<Options> {
        vec![
            Rule::Paper.into(),
            Rule::Reference.into(),
            Rule::KeepSign.into(),
            Options {
                below: Below::Quantile(0.75),
                to: To::Mean,
                scope: Scope::Layer,
                keep_zeros: true,
                ..Options::default()
            },
        ]
    }

    #[test]
    fn memory_and_file_are_regenerated_alike_bit_for_bit() {
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            for options in options() {
                let vars = model(dtype);
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("model.safetensors");
                vars.save(&path).unwrap();
                let request = edit::Request {
                    change: edit::Change::Rule(options),
                    ..Default::default()
                };
                let destination = edit::Destination::default();
                let applied = edit::apply(&path, &request, &destination, &|_| {}).unwrap();
                let before = bytes(&vars);
                let plan = regenerate(&vars, options).unwrap();
                let after = bytes(&vars);
                assert_eq!(plan, applied.planned.unwrap().plan, "{dtype:?} {options:?}");
                assert!(plan.regenerated() > 0);
                assert_eq!(after, bytes_of(&path), "{dtype:?} {options:?}");
                for (name, bytes) in after {
                    let gamma = name.ends_with("bn.weight");
                    assert!(gamma || bytes == before[&name], "{name}");
                }
            }
        }
    }

    #[test]
    fn a_whole_network_is_regenerated_as_its_file_is() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mobilenet_v2_025");
        let options = crate::net::zoo::Options {
            classes: 100,
            width: 0.25,
            ..crate::net::zoo::defaults("mobilenet_v2").unwrap()
        };
        let graph = crate::net::zoo::build("mobilenet_v2", &options).unwrap();
        let vars = weights::initialize(&graph, 0, DType::F32).unwrap();
        let checkpoint = Checkpoint::open(folder.join("model.safetensors")).unwrap();
        weights::load(&graph, &checkpoint, &weights::LoadOptions::default(), &vars).unwrap();
        let rule: &Rule = &Rule::Paper;
        let plan = regenerate(&vars, rule).unwrap();
        let planned = edit::plan(&checkpoint, &edit::Request::default()).unwrap();
        assert_eq!((plan.regenerated(), plan.layers_touched()), (2663, 42));
        assert_eq!(plan, planned.plan);
        assert_eq!(regenerate(&vars, rule).unwrap().regenerated(), 0);
    }

    #[test]
    fn an_average_among_the_variables_is_left_alone() {
        let (vars, alone) = (model(DType::F32), model(DType::F32));
        let copies = variables(&vars).unwrap();
        for Named { name, var, .. } in copies {
            let copy = Var::from_tensor(&var.copy().unwrap().detach()).unwrap();
            let name = format!("ema.{name}");
            vars.data().lock().unwrap().insert(name, copy);
        }
        let before = bytes(&vars);
        let plan = regenerate(&vars, Rule::Paper).unwrap();
        assert_eq!(plan, regenerate(&alone, Rule::Paper).unwrap());
        let after = bytes(&vars);
        assert!(
            after
                .iter()
                .all(|(name, b)| !name.starts_with("ema.") || *b == before[name])
        );
    }

    #[test]
    fn a_gamma_of_two_names_counts_once_and_of_two_parts_is_refused() {
        let vars = model(DType::F32);
        let share = |from: &str, to: &str| {
            let mut data = vars.data().lock().unwrap();
            let var = data[from].clone();
            data.insert(to.to_owned(), var);
        };
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            share(
                &format!("layer.10.bn.{leaf}"),
                &format!("layer.11.bn.{leaf}"),
            );
        }
        assert_eq!(regenerate(&vars, Rule::Paper).unwrap().counted, 9);
        share("stem.bn.weight", "stem.bn.bias");
        let message = regenerate(&vars, Rule::Paper).unwrap_err().to_string();
        assert_eq!(
            message,
            "VarMap: stem.bn.weight: is γ, and also the variable stem.bn.bias"
        );
    }

    #[test]
    fn what_cannot_be_regenerated_is_named_and_left() {
        let fails = |vars: &VarMap, part: &str| {
            let before = bytes(vars);
            let message = regenerate(vars, Rule::Paper).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert_eq!(bytes(vars), before);
        };
        fails(&VarMap::new(), "found none among 0 variables");
        let insert = |name: &str, values: &[f32]| {
            let vars = model(DType::F32);
            let var = Var::new(values, &Device::Cpu).unwrap();
            vars.data().lock().unwrap().insert(name.to_owned(), var);
            vars
        };
        let nan = [1.0, f32::NAN, 1.0, 1.0];
        let part = "layer stem.bn: expected finite γ, found NaN in channel 1";
        fails(&insert("stem.bn.weight", &nan), part);
        let part = "stem.bn.weight: expected as many channels as in stem.bn.running_mean";
        fails(&insert("stem.bn.running_mean", &[0.0]), part);
    }
}
