//! Regeneration of candle's variables is that of a file, and the example does what it says.

#[path = "../../examples/candle_regenerate.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod example;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use ckpt_regen::candle::regenerate;
use ckpt_regen::net::zoo;
use ckpt_regen::regen::{Below, Options, Rule, Scope, To};
use ckpt_regen::{Checkpoint, edit, weights};

use crate::common::{FIXTURE, repository};

#[test]
fn the_example_trains_and_regenerates_a_candle_model() {
    let (vars, plans) = example::train_and_regenerate().unwrap();
    assert_eq!(plans.len(), 2);
    for plan in plans {
        assert_eq!(plan.counted, 8 + 16);
        assert!(
            plan.regenerated() > 0 && plan.regenerated() <= 12,
            "{plan:?}"
        );
    }
    // What the last epoch did to γ is there to be regenerated again, once.
    let again = |vars| regenerate(vars, Rule::Paper).unwrap();
    assert!(again(&vars).regenerated() > 0);
    assert_eq!(again(&vars).regenerated(), 0);
}

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

fn bytes_of(path: &Path) -> BTreeMap<String, Vec<u8>> {
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
            let applied = edit::apply(&path, &request, &destination, &edit::ignore).unwrap();
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
    let options = zoo::Options {
        classes: 100,
        width: 0.25,
        ..zoo::defaults("mobilenet_v2").unwrap()
    };
    let graph = zoo::build("mobilenet_v2", &options).unwrap();
    let vars = weights::initialize(&graph, 0, DType::F32).unwrap();
    let checkpoint = Checkpoint::open(repository(FIXTURE).join("model.safetensors")).unwrap();
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
    let copies = vars.data().lock().unwrap().clone();
    for (name, var) in copies {
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
        "VarMap: stem.bn.weight cannot be edited: its memory is also used by stem.bn.bias"
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
    fails(&VarMap::new(), "VarMap: BatchNorm: expected layers with");
    let insert = |name: &str, values: &[f32]| {
        let vars = model(DType::F32);
        let var = Var::new(values, &Device::Cpu).unwrap();
        vars.data().lock().unwrap().insert(name.to_owned(), var);
        vars
    };
    let nan = [1.0, f32::NAN, 1.0, 1.0];
    let part = "stem.bn.weight: expected finite γ, found NaN in channel 1";
    fails(&insert("stem.bn.weight", &nan), part);
    let part = "stem.bn.weight: expected as many channels as in stem.bn.running_mean";
    fails(&insert("stem.bn.running_mean", &[0.0]), part);
}
