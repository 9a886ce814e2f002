use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;

use super::*;
use crate::Checkpoint;
use crate::engine;
use crate::engine::{Batch, Engine, Outcome, Part, Training, Update};
use crate::net::{Convolution, Init, Kind, Shape, TensorId};

mod parts;

/// A convolution with BatchNorm and a classifier.
fn small(classes: usize) -> Graph {
    let mut graph = Graph::new("small", Shape::new(3, 8, 8));
    let x = graph.input();
    let x = graph
        .convolution("conv", x, &Convolution::new(4, 3))
        .unwrap();
    let x = graph.batch_norm("bn", x).unwrap();
    let x = graph.global_average_pool("pool", x).unwrap();
    let x = graph.add("flat", crate::net::Op::Flatten, &[x]).unwrap();
    graph.linear("fc", x, classes, true).unwrap();
    graph
}

/// The f64 values of every variable.
fn values(vars: &VarMap) -> BTreeMap<String, Vec<f64>> {
    let data = vars.data().lock().unwrap();
    let value = |var: &Var| {
        let flat = var.flatten_all().unwrap();
        flat.to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    };
    data.iter()
        .map(|(name, var)| (name.clone(), value(var)))
        .collect()
}

/// A file of the variables of `graph`, changed by `change`.
fn file(
    graph: &Graph,
    change: impl FnOnce(&mut HashMap<String, Tensor>),
) -> (tempfile::TempDir, PathBuf) {
    let vars = initialize(graph, 7, DType::F32).unwrap();
    let data = vars.data().lock().unwrap();
    let tensors = data
        .iter()
        .map(|(name, var)| (name.clone(), var.as_tensor().clone()));
    let mut tensors: HashMap<String, Tensor> = tensors.collect();
    change(&mut tensors);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    candle_core::safetensors::save(&tensors, &path).unwrap();
    (dir, path)
}

fn strict(graph: &Graph, path: &Path, vars: &VarMap) -> Result<Fit> {
    load(
        graph,
        &Checkpoint::open(path)?,
        &LoadOptions::default(),
        vars,
    )
}

fn at_root(root: &str) -> LoadOptions {
    LoadOptions {
        root: Some(root.to_owned()),
        partial: false,
    }
}

fn under(tensors: &mut HashMap<String, Tensor>, prefix: &str) {
    *tensors = tensors
        .drain()
        .map(|(name, t)| (format!("{prefix}{name}"), t))
        .collect();
}

#[test]
fn a_tensor_starts_the_same_whatever_else_the_network_has() {
    let small_one = values(&initialize(&small(10), 3, DType::F64).unwrap());
    let large = values(&initialize(&small(20), 3, DType::F64).unwrap());
    assert_eq!(small_one["conv.weight"], large["conv.weight"]);
    assert_ne!(small_one["fc.weight"][..], large["fc.weight"][10..]);
    let again = values(&initialize(&small(10), 3, DType::F64).unwrap());
    assert_eq!(small_one, again);
    let other_seed = values(&initialize(&small(10), 4, DType::F64).unwrap());
    assert_ne!(small_one["conv.weight"], other_seed["conv.weight"]);
}

#[test]
fn the_numbers_of_f32_are_those_of_f64_rounded() {
    let f64s = values(&initialize(&small(10), 3, DType::F64).unwrap());
    let f32s = values(&initialize(&small(10), 3, DType::F32).unwrap());
    for (name, exact) in f64s {
        let rounded: Vec<f64> = exact.iter().map(|value| f64::from(*value as f32)).collect();
        assert_eq!(f32s[&name], rounded, "{name}");
    }
}

#[test]
fn batchnorm_starts_at_its_constants_and_counts_in_i64() {
    let vars = initialize(&small(10), 0, DType::F32).unwrap();
    let all = values(&vars);
    assert_eq!(
        (&all["bn.weight"], &all["bn.bias"]),
        (&vec![1.0; 4], &vec![0.0; 4])
    );
    assert_eq!(all["bn.running_mean"], [0.0; 4]);
    assert_eq!(all["bn.running_var"], [1.0; 4]);
    let data = vars.data().lock().unwrap();
    let counter = &data["bn.num_batches_tracked"];
    assert_eq!((counter.dtype(), counter.dims()), (DType::I64, &[][..]));
}

#[test]
fn draws_have_the_mean_and_deviation_asked_for() {
    const N: usize = 100_000;
    let mut graph = Graph::new("draws", Shape::new(1, 1, 1));
    let normal = Kind::Parameter(Init::Normal { deviation: 0.5 });
    let uniform = Kind::Parameter(Init::Uniform { bound: 0.3 });
    graph.add_tensor("normal", vec![N], normal).unwrap();
    graph.add_tensor("uniform", vec![N], uniform).unwrap();
    let all = values(&initialize(&graph, 1, DType::F64).unwrap());
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / N as f64;
        let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / N as f64;
        (mean, square.sqrt())
    };
    // Five standard errors of each.
    let (mean, deviation) = moments(&all["normal"]);
    assert!(
        mean.abs() < 0.008 && (deviation - 0.5).abs() < 0.006,
        "{mean} {deviation}"
    );
    let within = all["normal"].iter().filter(|v| v.abs() < 0.5).count();
    assert!(
        (within as f64 / N as f64 - 0.6827).abs() < 0.008,
        "{within}"
    );
    let (mean, deviation) = moments(&all["uniform"]);
    let expected = 0.3 / 3.0_f64.sqrt();
    assert!(
        mean.abs() < 0.003 && (deviation - expected).abs() < 0.002,
        "{mean} {deviation}"
    );
    assert!(all["uniform"].iter().all(|v| v.abs() <= 0.3));
    assert!(
        all["uniform"].iter().any(|v| *v > 0.299) && all["uniform"].iter().any(|v| *v < -0.299)
    );
}

#[test]
fn no_width_and_no_half_precision_to_start_with() {
    let mut graph = Graph::new("odd", Shape::new(1, 1, 1));
    let odd = Kind::Parameter(Init::Uniform { bound: f64::NAN });
    graph.add_tensor("w", vec![1], odd).unwrap();
    let err = initialize(&graph, 0, DType::F32).err();
    let message = err.expect("it cannot be drawn").to_string();
    assert!(message.starts_with("odd: w: cannot be drawn"), "{message}");
    assert!(initialize(&small(10), 0, DType::BF16).is_err());
}

#[test]
fn every_float_type_is_read_and_a_counter_may_be_missing() {
    let graph = small(10);
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let mut saved = HashMap::new();
        let (_dir, path) = file(&graph, |tensors| {
            tensors.remove("bn.num_batches_tracked");
            for tensor in tensors.values_mut() {
                *tensor = tensor.to_dtype(dtype).unwrap();
            }
            saved = tensors.clone();
        });
        let vars = initialize(&graph, 1, DType::F64).unwrap();
        let fit = strict(&graph, &path, &vars).unwrap();
        assert!(fit.is_complete() && fit.fitting == fit.tensors && fit.tensors == 7);
        let loaded = values(&vars);
        for (name, tensor) in saved {
            let exact = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
            assert_eq!(loaded[&name], exact.to_vec1::<f64>().unwrap(), "{name}");
        }
    }
}

#[test]
fn a_prefix_of_all_names_is_left_away() {
    let graph = small(10);
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    for prefix in [
        "module.",
        "_orig_mod.",
        "model.",
        "module._orig_mod.",
        "ema.module.",
    ] {
        let (_dir, path) = file(&graph, |tensors| under(tensors, prefix));
        assert_eq!(strict(&graph, &path, &vars).unwrap().prefix, prefix);
    }
    assert_eq!(
        values(&vars),
        values(&initialize(&graph, 7, DType::F32).unwrap())
    );
}

#[test]
fn a_name_outside_the_prefix_is_unexpected() {
    let graph = small(10);
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let (_dir, path) = file(&graph, |tensors| {
        under(tensors, "backbone.");
        let head = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
        tensors.insert("head.bias".to_owned(), head);
    });
    let message = strict(&graph, &path, &vars).unwrap_err().to_string();
    assert!(
        message.contains("\n  unexpected  head.bias F32 [2]"),
        "{message}"
    );
}

#[test]
fn the_network_in_training_goes_before_its_average_and_a_root_names_either() {
    let graph = small(10);
    let (_dir, path) = file(&graph, |tensors| {
        let ema: Vec<_> = tensors
            .iter()
            .map(|(name, t)| (format!("ema.module.{name}"), t.zeros_like().unwrap()))
            .collect();
        under(tensors, "model.");
        tensors.extend(ema);
        let count = Tensor::new(7_i64, &Device::Cpu).unwrap();
        tensors.insert("ema.n_averaged".to_owned(), count);
    });
    let checkpoint = Checkpoint::open(&path).unwrap();
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    assert_eq!(strict(&graph, &path, &vars).unwrap().prefix, "model.");
    let fit = load(&graph, &checkpoint, &at_root("ema"), &vars).unwrap();
    assert_eq!(fit.prefix, "ema.module.");
    assert!(values(&vars).values().flatten().all(|value| *value == 0.0));
    let message = load(&graph, &checkpoint, &at_root("eva"), &vars)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with(r#"root "eva": "#) && message.ends_with(r#""ema.module", "model""#),
        "{message}"
    );
}

#[test]
fn two_networks_in_training_have_to_be_told_apart() {
    let graph = small(10);
    let (_dir, path) = file(&graph, |tensors| {
        let copy: Vec<_> = tensors
            .iter()
            .map(|(name, t)| (format!("a.{name}"), t.clone()))
            .collect();
        under(tensors, "b.");
        tensors.extend(copy);
    });
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let message = strict(&graph, &path, &vars).unwrap_err().to_string();
    assert!(
        message.ends_with(r#"holds small several times: "a", "b""#),
        "{message}"
    );
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(
        load(&graph, &checkpoint, &at_root("b"), &vars)
            .unwrap()
            .prefix,
        "b."
    );
}

#[test]
fn all_that_does_not_fit_is_listed_at_once_with_near_names() {
    let graph = small(10);
    let (_dir, path) = file(&graph, |tensors| {
        let gamma = tensors.remove("bn.weight").unwrap();
        tensors.insert("bn.gamma".to_owned(), gamma);
        tensors.remove("fc.bias");
        let wide = Tensor::zeros((4, 3, 5, 5), DType::F32, &Device::Cpu).unwrap();
        tensors.insert("conv.weight".to_owned(), wide);
        let counts = Tensor::zeros(4, DType::I64, &Device::Cpu).unwrap();
        tensors.insert("bn.running_mean".to_owned(), counts);
        let extra = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        tensors.insert("extra".to_owned(), extra);
        let counter = Tensor::zeros((), DType::I64, &Device::Cpu).unwrap();
        tensors.insert("gone.num_batches_tracked".to_owned(), counter);
    });
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let before = values(&vars);
    let message = strict(&graph, &path, &vars).unwrap_err().to_string();
    let report =
        "does not fit small (7 tensors): 2 missing, 2 unexpected, 2 of another shape or type
  missing     bn.weight (here it may be bn.gamma)
  missing     fc.bias
  unexpected  bn.gamma F32 [4]
  unexpected  extra F32 [3]
  misfit      conv.weight: expected [4, 3, 3, 3], found [4, 3, 5, 5]
  misfit      bn.running_mean: expected F16, BF16, F32 or F64, found I64";
    let (_, shown) = message.split_once(": ").unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(shown), sorted(report));
    assert_eq!(values(&vars), before);
}

#[test]
fn another_number_of_classes_is_called_that() {
    let (_dir, path) = file(&small(10), |_| {});
    let graph = small(100);
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let message = strict(&graph, &path, &vars).unwrap_err().to_string();
    let cause = "the last layer has 10 classes, 100 asked for";
    assert!(
        message.contains("fc.weight: expected [100, 4], found [10, 4]"),
        "{message}"
    );
    assert!(
        message.contains("fc.bias: expected [100], found [10]"),
        "{message}"
    );
    assert!(message.contains(cause), "{message}");
}

#[test]
fn in_part_what_fits_is_taken_and_the_rest_stays() {
    let (_dir, path) = file(&small(10), |_| {});
    let (graph, partial) = (
        small(100),
        LoadOptions {
            root: None,
            partial: true,
        },
    );
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    let before = values(&vars);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let fit = load(&graph, &checkpoint, &partial, &vars).unwrap();
    assert_eq!(
        (fit.fitting, fit.tensors, fit.classes),
        (5, 7, Some((10, 100)))
    );
    let (after, saved) = (
        values(&vars),
        values(&initialize(&small(10), 7, DType::F32).unwrap()),
    );
    assert_eq!(after["conv.weight"], saved["conv.weight"]);
    assert_eq!(after["fc.weight"], before["fc.weight"]);
}

#[test]
fn a_checkpoint_of_something_else_is_refused_also_in_part() {
    let (_dir, path) = file(&small(10), |tensors| {
        let one = tensors.remove("conv.weight").unwrap();
        *tensors = HashMap::from([("lstm.kernel".to_owned(), one)]);
    });
    let vars = initialize(&small(10), 1, DType::F32).unwrap();
    let partial = LoadOptions {
        root: None,
        partial: true,
    };
    let checkpoint = Checkpoint::open(&path).unwrap();
    let message = load(&small(10), &checkpoint, &partial, &vars)
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with(
            "holds no tensor of small: expected names such as conv.weight, bn.weight, bn.bias, …, \
             found 1 tensors (lstm.kernel, …)"
        ),
        "{message}"
    );
}

/// Looking every end of the name up would take hours.
#[test]
fn a_name_of_a_million_components_is_unexpected_like_any_other() {
    let long = format!("{}w", ".".repeat(1_000_000));
    let (_dir, path) = file(&small(10), |tensors| {
        let one = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        tensors.insert(long.clone(), one);
    });
    let fit = fit(&small(10), &Checkpoint::open(&path).unwrap(), None).unwrap();
    assert_eq!(fit.unexpected, [(long, "F32 [1]".to_owned())]);
}

#[test]
fn non_finite_weights_are_taken_as_they_are() {
    let graph = small(10);
    let (_dir, path) = file(&graph, |tensors| {
        let odd = Tensor::new(&[f32::NAN, f32::INFINITY, 0.0, -0.0], &Device::Cpu).unwrap();
        tensors.insert("bn.bias".to_owned(), odd);
    });
    let vars = initialize(&graph, 1, DType::F32).unwrap();
    strict(&graph, &path, &vars).unwrap();
    let bias = &values(&vars)["bn.bias"];
    assert!(bias[0].is_nan() && bias[1] == f64::INFINITY && bias[3].is_sign_negative());
}

/// Keeps tensors and computes nothing.
struct Keeper(Graph, Vec<Vec<f64>>);

impl Engine for Keeper {
    fn graph(&self) -> &Graph {
        &self.0
    }
    fn task(&self) -> engine::Task {
        engine::Task::Classification
    }
    fn precision(&self) -> engine::Precision {
        engine::Precision::F64
    }
    fn begin_average(&mut self) {
        unreachable!()
    }
    fn follow_average(&mut self, _: f64) {
        unreachable!()
    }
    fn exchange_average(&mut self) {
        unreachable!()
    }
    fn predictions(&self, _: &mut Vec<usize>) {
        unreachable!()
    }
    fn reshape(&mut self, _: crate::net::Resolution) -> engine::Result<()> {
        unreachable!()
    }
    fn evaluate(&mut self, _: &Batch<'_>) -> engine::Result<Outcome> {
        unreachable!()
    }
    fn differentiate(&mut self, _: &Batch<'_>, _: &Training) -> engine::Result<Outcome> {
        unreachable!()
    }
    fn recalibrate(&mut self, _: &Batch<'_>, _: f64, _: u64) -> engine::Result<Outcome> {
        unreachable!()
    }
    fn update(&mut self, _: &Update) -> f64 {
        unreachable!()
    }
    fn output(&self, _: &mut Vec<f64>) {}
    fn read(&self, tensor: TensorId, part: Part, into: &mut Vec<f64>) {
        assert_eq!(part, Part::Value);
        into.clone_from(&self.1[tensor.index()]);
    }
    fn write(&mut self, tensor: TensorId, part: Part, values: &[f64]) {
        assert_eq!(
            (part, values.len()),
            (Part::Value, self.0.tensor(tensor).len())
        );
        self.1[tensor.index()] = values.to_vec();
    }
}

#[test]
fn into_an_engine_and_back_changes_nothing() {
    let graph = small(10);
    let vars = initialize(&graph, 5, DType::F32).unwrap();
    let empty = vec![Vec::new(); graph.tensors().len()];
    let mut engine = Keeper(graph.clone(), empty);
    to_engine(&vars, &mut engine).unwrap();
    engine.write(graph.tensor_ids().last().unwrap(), Part::Value, &[0.5; 10]);
    let back = initialize(&graph, 6, DType::F32).unwrap();
    from_engine(&engine, &back).unwrap();
    let mut expected = values(&vars);
    expected.insert("fc.bias".to_owned(), vec![0.5; 10]);
    assert_eq!(values(&back), expected);
}

#[test]
fn a_variable_that_is_missing_or_misshapen_is_named() {
    let graph = small(10);
    let mut engine = Keeper(graph.clone(), vec![Vec::new(); graph.tensors().len()]);
    let none = to_engine(&VarMap::new(), &mut engine)
        .unwrap_err()
        .to_string();
    assert_eq!(
        none,
        "small: conv.weight: expected a variable of this name, found none"
    );
    let other = initialize(&small(3), 0, DType::F32).unwrap();
    let message = to_engine(&other, &mut engine).unwrap_err().to_string();
    assert_eq!(
        message,
        "small: fc.weight: expected a variable of [10, 4], found [3, 4]"
    );
    assert!(engine.1.iter().all(Vec::is_empty));
}
