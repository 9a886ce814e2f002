//! Networks from ONNX files: they compute what ONNX Runtime and the zoo's networks compute, train as
//! those do, and take their trained weights back.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;
use candle_core::DType;
use ckpt_regen::engine::plain::Plain;
use ckpt_regen::engine::{Batch, Engine, Optimizer, Part, Training, Update};
use ckpt_regen::net::{Graph, onnx, zoo};
use ckpt_regen::{Checkpoint, weights};
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// An engine with the weights that the file has.
fn imported(path: &Path, resolution: Option<usize>) -> Plain<f64> {
    let onnx::Network { graph, origin } = onnx::open(path, resolution.map(Into::into)).unwrap();
    let mut engine = Plain::new(graph.without_noise()).unwrap();
    let ids: Vec<_> = engine.graph().tensor_ids().collect();
    for (id, values) in ids.into_iter().zip(origin.weights().unwrap()) {
        engine.write(id, Part::Value, &values);
    }
    engine
}

/// The zoo's twin of the fixture, with the fixture's weights.
fn twin() -> Plain<f64> {
    let options = zoo::Options {
        classes: 100,
        resolution: 32.into(),
        width: 0.25,
        ..zoo::defaults("mobilenet_v2").unwrap()
    };
    let graph = zoo::build("mobilenet_v2", &options).unwrap();
    let mut engine = Plain::new(graph.without_noise()).unwrap();
    let file = repository(FIXTURE).join("model.safetensors");
    let vars = weights::initialize(engine.graph(), 0, DType::F64).unwrap();
    let checkpoint = Checkpoint::open(file).unwrap();
    weights::load(engine.graph(), &checkpoint, &Default::default(), &vars).unwrap();
    weights::to_engine(&vars, &mut engine).unwrap();
    engine
}

fn value(engine: &dyn Engine, name: &str) -> Vec<f64> {
    let graph = engine.graph();
    let mut ids = graph.tensor_ids();
    let id = ids.find(|id| graph.tensor(*id).name == name);
    let mut values = Vec::new();
    engine.read(
        id.unwrap_or_else(|| panic!("no {name}")),
        Part::Value,
        &mut values,
    );
    values
}

/// Asserts that two networks with tensors of the same names train alike, step for step.
fn assert_trains_like(mut found: Plain<f64>, mut wanted: Plain<f64>) {
    let images = pixels(4 * 3 * 32 * 32);
    for step in 0..3 {
        let labels: Vec<u32> = (0..4).map(|image| (31 * step + 7 * image) % 100).collect();
        let batch = Batch {
            images: &images,
            labels: &labels,
        };
        let update = Update {
            optimizer: Optimizer::Sgd {
                momentum: 0.9,
                nesterov: true,
            },
            learning_rate: 0.1,
            weight_decay: 5e-4,
            decoder_factor: 1.0,
            spare_vectors: false,
            clip_norm: None,
        };
        let mut losses = Vec::new();
        for engine in [&mut found as &mut dyn Engine, &mut wanted] {
            losses.push(
                engine
                    .differentiate(&batch, &Training::default())
                    .unwrap()
                    .loss,
            );
            engine.update(&update);
        }
        assert!(
            (losses[0] - losses[1]).abs() < 1e-8,
            "step {step}: {losses:?}"
        );
        for spec in found.graph().tensors() {
            let (a, b) = (value(&found, &spec.name), value(&wanted, &spec.name));
            let far = a
                .iter()
                .zip(&b)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            assert!(far < 1e-8, "step {step}: {} is {far} away", spec.name);
        }
    }
}

#[test]
fn an_export_that_preserves_batch_norm_trains_like_the_zoos_network() {
    let file = repository(FIXTURE).join("preserve.onnx");
    assert_trains_like(imported(&file, None), twin());
}

#[test]
fn an_export_with_external_data_and_folded_sizes_trains_like_the_zoos_network() {
    let file = repository(FIXTURE).join("external/model.onnx");
    assert_trains_like(imported(&file, None), twin());
}

#[test]
fn both_exports_are_the_zoos_network_node_for_node() {
    let ops = |graph: &Graph| -> Vec<(&str, String)> {
        let nodes = graph
            .nodes()
            .iter()
            .filter(|node| node.op.name() != "flatten");
        let kept = nodes.filter(|node| node.op.name() != "dropout");
        kept.map(|node| (node.op.name(), node.shape.to_string()))
            .collect()
    };
    let wanted = twin();
    for file in ["preserve.onnx", "external/model.onnx"] {
        let found = imported(&repository(FIXTURE).join(file), None);
        assert_eq!(ops(found.graph()), ops(wanted.graph()), "{file}");
    }
}

fn small(name: &str) -> PathBuf {
    repository("fixtures/onnx").join(name)
}

/// Asserts that a small file computes what ONNX Runtime says it does.
fn assert_computes(name: &str, resolution: Option<usize>, tolerance: f64) {
    let text = fs::read_to_string(small("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let list = |value: &Value| -> Vec<f64> {
        let numbers = value.as_array().unwrap().iter();
        numbers.map(|number| number.as_f64().unwrap()).collect()
    };
    let images: Vec<f32> = list(&expected[name]["images"])
        .iter()
        .map(|x| *x as f32)
        .collect();
    let rows = expected[name]["outputs"].as_array().unwrap();
    let mut engine = imported(&small(&format!("{name}.onnx")), resolution);
    let batch = Batch {
        images: &images,
        labels: &[0, 0],
    };
    engine.evaluate(&batch).unwrap();
    let mut output = Vec::new();
    engine.output(&mut output);
    let wanted: Vec<f64> = rows.iter().flat_map(list).collect();
    assert_eq!(output.len(), wanted.len());
    for (found, wanted) in output.iter().zip(&wanted) {
        assert!(
            (found - wanted).abs() < tolerance,
            "{output:?}, expected {wanted:?}"
        );
    }
}

#[test]
fn activations_gates_and_layers_in_pieces_compute_what_onnx_runtime_computes() {
    assert_computes("pieces", None, 1e-5);
    let graph = onnx::open(&small("pieces.onnx"), None).unwrap().graph;
    let names: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
    for name in ["hard-swish", "hard-sigmoid", "SiLU", "gate", "linear"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!names.contains(&"sigmoid"), "{names:?}");
}

#[test]
fn layouts_and_sizes_of_a_dynamic_image_compute_what_onnx_runtime_computes() {
    assert_computes("layouts", Some(7), 1e-5);
    let graph = onnx::open(&small("layouts.onnx"), Some(7.into()))
        .unwrap()
        .graph;
    let names: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
    assert!(
        names.contains(&"channel shuffle") && names.contains(&"dropout"),
        "{names:?}"
    );
}

#[test]
fn weights_in_f16_are_read_as_floats() {
    assert_computes("half", None, 5e-3);
}

#[test]
fn everything_that_is_not_supported_is_listed_at_once() {
    let message = fails(1, &["model", text(&small("list.onnx"))]);
    for line in [
        "for 4 reasons",
        "Gelu Gelu_3: there is no such operation here",
        "Tanh Tanh_4: there is no such operation here",
        "Blur Blur_5: the domain com.example is not that of ONNX itself",
        "Softmax Softmax_8: the loss applies it",
        "2 nodes that need these were not judged",
    ] {
        assert!(message.contains(line), "{line} is not in\n{message}");
    }
}

#[test]
fn a_size_that_stays_open_is_named_with_the_option_that_fixes_it() {
    let file = small("layouts.onnx");
    let message = fails(2, &["model", text(&file)]);
    let expected = "the height of its input \"image\", dimension 2 (\"rows\"), is not fixed";
    assert!(message.contains(expected), "{message}");
    assert!(message.contains("--resolution: expected one"), "{message}");
    ok(&["model", text(&file), "--resolution", "9"]);
    let message = fails(
        2,
        &["model", text(&small("half.onnx")), "--resolution", "9"],
    );
    assert!(message.contains("have a height of 8"), "{message}");
}

#[test]
fn operator_sets_that_are_not_known_are_refused() {
    for (file, version) in [("opset6.onnx", "opset 6"), ("opset99.onnx", "opset 99")] {
        let message = fails(1, &["model", text(&small(file))]);
        assert!(
            message.contains(version) && message.contains("7 to 28"),
            "{message}"
        );
    }
}

#[test]
fn a_batch_norm_whose_parts_are_one_tensor_is_refused() {
    let message = fails(1, &["model", text(&small("tied.onnx"))]);
    let expected = "its γ and its β are one tensor";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn an_export_with_folded_batch_norm_is_refused_for_training_with_the_way_to_export() {
    let dir = tempfile::tempdir().unwrap();
    let file = repository(FIXTURE).join("folded.onnx");
    let out = dir.path().join("run");
    cifar100(dir.path());
    let args = ["train", "--recipe", "cifar", "--data", text(dir.path())];
    let more = ["--model", text(&file), "--out", text(&out)];
    let message = fails(1, &[&args[..], &more].concat());
    assert!(message.contains("the export folded it"), "{message}");
    assert!(message.contains("dynamo=True, optimize=False"), "{message}");
    assert!(!out.exists());
}

#[test]
fn external_data_that_is_missing_is_named() {
    let (_dir, file) = copy_of(&repository(FIXTURE).join("external/model.onnx"));
    let message = fails(1, &["model", text(&file)]);
    assert!(
        message.contains("model.onnx.data") && message.contains("no such file"),
        "{message}"
    );
}

#[test]
fn what_a_file_decides_cannot_be_chosen() {
    let file = small("pieces.onnx");
    for (option, value) in [("--classes", "7"), ("--width", "0.5"), ("--stem", "cifar")] {
        let message = fails(2, &["model", text(&file), option, value]);
        assert!(message.contains("export"), "{message}");
    }
}

/// A run of one epoch from a file of the fixture in a new directory.
fn trained(file: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    cifar100(dir.path());
    let model = dir.path().join("net").join(file);
    let folder = model.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    let original = repository(FIXTURE).join(file);
    for (name, bytes) in state(original.parent().unwrap()) {
        if name.starts_with(file.rsplit('/').next().unwrap()) {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let run = dir.path().join("run");
    let data = ["train", "--recipe", "cifar", "--data", text(dir.path())];
    let more = ["--model", text(&model), "--out", text(&run), "--lr", "0.01"];
    let epochs = [
        "--epochs",
        "2",
        "--stop-after",
        "1",
        "--batch-size",
        "25",
        "--regen-every",
        "1",
    ];
    ok(&[&data[..], &more, &epochs].concat());
    (dir, model, run)
}

/// The ranges of bytes of every tensor, by file.
fn tensor_ranges(path: &Path) -> Vec<(PathBuf, std::ops::Range<usize>)> {
    let checkpoint = Checkpoint::open(path).unwrap();
    let tensors = checkpoint.dicts()[0].tensors.iter();
    let ranges = tensors.map(|tensor| {
        let file = checkpoint.sources()[tensor.source].path().to_owned();
        let start = tensor.offset as usize;
        (file, start..start + tensor.len as usize)
    });
    ranges.collect()
}

#[test]
fn an_export_changes_tensors_and_no_other_byte() {
    let (dir, model, run) = trained("preserve.onnx");
    let out = dir.path().join("out.onnx");
    ok(&["export", text(&run.join("last")), "-o", text(&out)]);
    let (before, after) = (fs::read(&model).unwrap(), fs::read(&out).unwrap());
    assert_eq!(before.len(), after.len());
    let ranges = tensor_ranges(&model);
    let mut inside = vec![false; before.len()];
    for (_, range) in &ranges {
        inside[range.clone()].fill(true);
    }
    let differ = |at: &usize| before[*at] != after[*at];
    assert!((0..before.len()).filter(differ).all(|at| inside[at]));
    // The weights are those of the checkpoint, bit for bit.
    let saved = Checkpoint::open(run.join("last")).unwrap();
    let written = Checkpoint::open(&out).unwrap();
    let table = &written.dicts()[0].tensors;
    for tensor in &saved.dicts()[0].tensors {
        let own = table.iter().find(|own| own.name == tensor.name).unwrap();
        assert_eq!(
            written.read(own).unwrap(),
            saved.read(tensor).unwrap(),
            "{}",
            tensor.name
        );
    }
    assert_eq!(saved.dicts()[0].tensors.len(), 4 * 52 + 52 + 2);
}

#[test]
fn an_export_evaluates_like_the_checkpoint_it_is_from() {
    let (dir, _, run) = trained("external/model.onnx");
    let out = dir.path().join("deployed/model.onnx");
    let weights = text(&run.join("last")).to_owned();
    let directory = format!("{}/", text(out.parent().unwrap()));
    ok(&["export", &weights, "-o", &directory]);
    assert!(out.with_file_name("model.onnx.data").is_file());
    // The loss is summed up batch by batch.
    let how = ["--batch-size", "4", "--json"];
    let data = ["--data", text(dir.path()), "--recipe", "cifar"];
    let of_run = ok_json(&[&["eval", &weights], &how[..]].concat());
    let of_file = ok_json(&[&["eval", text(&out)], &data[..], &how[..]].concat());
    assert_eq!(of_run, of_file);
}

#[test]
fn an_export_to_f16_rounds_to_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, out) = (
        dir.path().join("w.safetensors"),
        dir.path().join("out.onnx"),
    );
    let before = imported(&small("half.onnx"), None);
    // Numbers that f16 does not have.
    let given = |name: &str| value(&before, name).into_iter().map(|x| x as f32 / 3.0);
    let tensors = before.graph().tensors().iter().map(|spec| {
        let bytes: Vec<u8> = given(&spec.name).flat_map(f32::to_le_bytes).collect();
        (spec.name.clone(), spec.shape.clone(), bytes)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name, view)
    });
    fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
    let model = small("half.onnx");
    let paths = [text(&weights), "--model", text(&model), "-o", text(&out)];
    ok(&[&["export"], &paths[..]].concat());
    let after = imported(&out, None);
    for (name, ..) in &tensors {
        let rounded = given(name).map(|x| f64::from(f16::from_f32(x)));
        assert_eq!(value(&after, name), rounded.collect::<Vec<f64>>(), "{name}");
    }
}

#[test]
fn an_export_does_not_overwrite_the_data_it_is_made_from() {
    let (_dir, model, run) = trained("external/model.onnx");
    let before = state(model.parent().unwrap());
    let last = run.join("last");
    let message = fails(2, &["export", text(&last), "-o", text(&model)]);
    assert!(message.contains("is the checkpoint itself"), "{message}");
    let beside = model.with_file_name("other.onnx");
    let message = fails(2, &["export", text(&last), "-o", text(&beside)]);
    assert!(message.contains("would overwrite"), "{message}");
    let mut after = state(model.parent().unwrap());
    after.retain(|name, _| !name.ends_with(".lock"));
    assert_eq!(before, after);
}

#[test]
fn a_run_goes_on_with_the_file_it_began_with_and_no_other() {
    let (dir, model, run) = trained("preserve.onnx");
    let moved = dir.path().join("moved.onnx");
    fs::rename(&model, &moved).unwrap();
    let message = fails(1, &["train", "--resume", text(&run)]);
    assert!(
        message.contains("--model FILE says where it is now"),
        "{message}"
    );
    let mut changed = fs::read(&moved).unwrap();
    let (_, range) = tensor_ranges(&moved).remove(3);
    changed[range.start] ^= 1;
    fs::write(&model, changed).unwrap();
    let message = fails(1, &["train", "--resume", text(&run)]);
    assert!(
        message.contains("is not the file that the run began with"),
        "{message}"
    );
    ok(&["train", "--resume", text(&run), "--model", text(&moved)]);
    assert!(
        fs::read_to_string(run.join("metrics.jsonl"))
            .unwrap()
            .lines()
            .count()
            == 2
    );
}

#[test]
fn an_edit_of_the_last_checkpoint_is_an_edit_of_gamma() {
    let (_dir, model, run) = trained("preserve.onnx");
    let of_file = ok_json(&["inspect", text(&model), "--json"]);
    let of_run = ok_json(&["inspect", text(&run.join("last")), "--json"]);
    let names = |json: &Value| -> Vec<String> {
        let layers = json["networks"][0]["layers"].as_array().unwrap().iter();
        layers
            .map(|layer| layer["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (mut a, mut b) = (names(&of_file), names(&of_run));
    a.sort();
    b.sort();
    assert_eq!(a, b);
}

#[test]
fn a_network_for_grey_images_of_unequal_sides_is_trained_and_tested_on_any_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let (model, run) = (small("grey.onnx"), dir.path().join("run"));
    let model = text(&model);
    let what = [
        "train", "--model", model, "--data", "digits", "--epochs", "1",
    ];
    ok(&[&what[..], &["--out", text(&run)]].concat());
    let settings = fs::read_to_string(run.join("settings.toml")).unwrap();
    for line in ["resolution = \"12x8\"", "mean = [0.3054]", "std = [0.3758]"] {
        assert!(settings.contains(line), "{line} is not in\n{settings}");
    }
    let of_run = ok_json(&["eval", text(&run.join("last")), "--json"]);
    assert_eq!(of_run["images"], 449);
    let of_file = ok_json(&["eval", model, "--data", "digits", "--json"]);
    assert_eq!(of_file["images"], 449);

    let model = small("deep.onnx");
    let model = text(&model);
    let what = [
        "train", "--model", model, "--data", "digits", "--epochs", "1",
    ];
    let message = fails(
        1,
        &[&what[..], &["--out", text(&dir.path().join("deep"))]].concat(),
    );
    assert!(message.contains("takes images of 5 channels"), "{message}");
}
