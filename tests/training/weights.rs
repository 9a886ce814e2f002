//! Weights of real checkpoints in networks of the zoo, from every format.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::*;
use candle_core::{DType, Tensor};
use candle_nn::VarMap;
use ckpt_regen::checkpoint::Dtype;
use ckpt_regen::net::{Graph, zoo};
use ckpt_regen::weights::{self, Fit, LoadOptions};
use ckpt_regen::{Checkpoint, Error};
use safetensors::SafeTensors;

fn network(name: &str, classes: usize, width: f64) -> Graph {
    let options = zoo::Options {
        classes,
        width,
        ..zoo::defaults(name).unwrap()
    };
    zoo::build(name, &options).unwrap()
}

fn mobilenet() -> Graph {
    network("mobilenet_v2", 100, 0.25)
}

/// The weights of a checkpoint of this network, and how it fitted.
fn load(graph: &Graph, path: &Path, root: Option<&str>) -> Result<(VarMap, Fit), Error> {
    let vars = weights::initialize(graph, 1, DType::F64)?;
    let options = LoadOptions {
        root: root.map(str::to_owned),
        partial: false,
    };
    let fit = weights::load(graph, &Checkpoint::open(path)?, &options, &vars)?;
    Ok((vars, fit))
}

/// The bits of every float tensor.
fn bits(vars: &VarMap) -> BTreeMap<String, Vec<u64>> {
    let data = vars.data().lock().unwrap();
    let floats = data.iter().filter(|(_, var)| var.dtype().is_float());
    let bits = |tensor: &Tensor| -> Vec<u64> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        values.into_iter().map(f64::to_bits).collect()
    };
    floats
        .map(|(name, var)| (name.clone(), bits(var)))
        .collect()
}

/// The same weights by another reader of safetensors.
fn reference(path: &Path) -> BTreeMap<String, Vec<u64>> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let decoded = file.iter().filter_map(|(name, view)| {
        let dtype = Dtype::from_name(&format!("{:?}", view.dtype())).unwrap();
        let values = dtype.is_float().then(|| dtype.decode(view.data()))?;
        let bits = values.into_iter().map(f64::to_bits).collect();
        Some((name.to_owned(), bits))
    });
    decoded.collect()
}

#[test]
fn one_network_in_every_format_gives_the_same_weights() {
    let fixture = repository(FIXTURE);
    let expected = reference(&fixture.join("model.safetensors"));
    assert_eq!(expected.len(), 262);
    for name in [
        "model.safetensors",
        "sharded",
        "sharded/model.safetensors.index.json",
        "model.pth",
        "model.legacy.th",
        "training.pth",
        "preserve.onnx",
        "external/model.onnx",
    ] {
        let (vars, fit) = load(&mobilenet(), &fixture.join(name), None).unwrap();
        assert!(bits(&vars) == expected, "{name}");
        assert_eq!((fit.fitting, fit.tensors), (262, 262), "{name}");
    }
}

#[test]
fn half_precision_is_read_exactly() {
    for name in ["model.f16.safetensors", "model.bf16.safetensors"] {
        let path = repository(FIXTURE).join(name);
        let (vars, _) = load(&mobilenet(), &path, None).unwrap();
        assert!(bits(&vars) == reference(&path), "{name}");
    }
}

#[test]
fn the_batch_counters_of_a_checkpoint_are_kept() {
    let path = repository(FIXTURE).join("model.pth");
    let (vars, _) = load(&mobilenet(), &path, None).unwrap();
    let data = vars.data().lock().unwrap();
    let counter = &data["features.0.1.num_batches_tracked"];
    // 25 epochs of 195 batches (fixtures/generate.py).
    assert_eq!(counter.to_scalar::<i64>().unwrap(), 25 * 195);
}

#[test]
fn the_average_in_a_training_file_is_another_network() {
    let path = repository(FIXTURE).join("training.pth");
    let (raw, fit) = load(&mobilenet(), &path, None).unwrap();
    assert_eq!((&fit.root[..], &fit.prefix[..]), ("model", ""));
    let (ema, fit) = load(&mobilenet(), &path, Some("model_ema")).unwrap();
    assert_eq!((&fit.root[..], &fit.prefix[..]), ("model_ema", "module."));
    let first = |vars: &VarMap| {
        let values = bits(vars).remove("classifier.1.bias").unwrap();
        f64::from_bits(values[0])
    };
    // fixtures/generate.py made the one out of the other by this factor.
    assert!((first(&ema) / first(&raw) - 0.999).abs() < 1e-6);
}

#[test]
fn a_folded_export_and_another_width_or_class_count_are_refused_with_what_differs() {
    let fixture = repository(FIXTURE);
    let refused = |graph: &Graph, name: &str| {
        let result = load(graph, &fixture.join(name), None);
        result.err().expect("it does not fit").to_string()
    };
    let folded = refused(&mobilenet(), "folded.onnx");
    let counts = "does not fit mobilenet_v2 (262 tensors): 260 missing, 104 unexpected";
    assert!(folded.contains(counts), "{folded}");
    assert!(folded.contains("folded BatchNorm into the convolutions"));
    let wide = refused(&network("mobilenet_v2", 100, 0.5), "model.safetensors");
    let first = "features.0.0.weight: expected [16, 3, 3, 3], found [8, 3, 3, 3]";
    assert!(wide.contains(first), "{wide}");
    assert!(!wide.contains("--classes"), "{wide}");
    let classes = refused(&network("mobilenet_v2", 10, 0.25), "model.pth");
    let cause = "the last layer has 100 classes, 10 asked for";
    assert!(classes.contains(cause), "{classes}");
    assert!(classes.contains("2 of another shape"), "{classes}");
    let other = refused(&network("resnet18", 100, 1.0), "model.safetensors");
    assert!(other.contains("holds no tensor of resnet18"), "{other}");
}

#[test]
fn resnet20_checkpoints_by_others_load_strictly() {
    let graph = network("resnet20", 10, 1.0);
    let folder = "checkpoints/resnet20-safetensors/resnet20-12fca82f";
    for dtype in ["f32", "f16", "bf16"] {
        let Some(path) = material(&format!("{folder}.{dtype}.safetensors")) else {
            return;
        };
        let (vars, fit) = load(&graph, &path, None).unwrap();
        assert!(fit.is_complete(), "{fit}");
        let mut expected = reference(&path);
        expected = expected
            .into_iter()
            .map(|(name, bits)| (name.trim_start_matches("module.").to_owned(), bits))
            .collect();
        assert!(bits(&vars) == expected, "{dtype}");
    }
    let Some(legacy) = material("checkpoints/resnet20-legacy/resnet20-12fca82f.th") else {
        return;
    };
    let f32s = material(&format!("{folder}.f32.safetensors")).unwrap();
    let (vars, fit) = load(&graph, &legacy, None).unwrap();
    assert_eq!((&fit.root[..], &fit.prefix[..]), ("state_dict", "module."));
    assert!(bits(&vars) == bits(&load(&graph, &f32s, None).unwrap().0));
}

#[test]
fn the_command_says_whether_a_checkpoint_fits_and_what_does_not() {
    let path = repository(FIXTURE).join("training.pth");
    let network = ["model", "mobilenet_v2", "--width", "0.25"];
    let asked = |more: &[&'static str]| [&network[..], &["--weights", text(&path)], more].concat();
    let fits = |args: &[&'static str]| ok(&asked(args)).split_once(": ").unwrap().1.to_owned();
    let shown = fits(&["--classes", "100"]);
    assert_eq!(shown, "fits mobilenet_v2 (262 tensors, under model)\n");
    let shown = fits(&["--classes", "100", "--root", "model_ema", "--strict"]);
    assert_eq!(
        shown,
        "fits mobilenet_v2 (262 tensors, under model_ema.module)\n"
    );
    let message = fails(1, &asked(&["--classes", "10"]));
    let cause = "the last layer has 100 classes, 10 asked for: --classes 100";
    assert!(message.contains(cause) && message.contains("--partial takes what fits"));
    let shown = fits(&["--classes", "10", "--partial"]);
    let first = "260 of 262 tensors fit; the whole does not fit mobilenet_v2 (262 tensors): 2 of";
    assert!(shown.starts_with(first) && shown.contains(cause), "{shown}");
    let message = fails(2, &asked(&["--root", "teacher"]));
    assert!(
        message.contains("has mobilenet_v2 at \"model\", \"model_ema.module\""),
        "{message}"
    );
    assert!(fails(2, &asked(&["--strict", "--partial"])).contains("cannot be used with"));
    assert!(fails(2, &asked(&["--json"])).contains("cannot be used with"));
}
