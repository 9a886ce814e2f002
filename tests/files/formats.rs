//! One network in every format: the same plan, the same γ afterwards, and nothing else changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;
use ckpt_regen::Checkpoint;
use serde_json::{Value, json};

/// What to name on the command line, in a copy of the fixture.
const FORMATS: [&str; 7] = [
    "model.safetensors",
    "sharded",
    "model.pth",
    "model.legacy.th",
    "training.pth",
    "preserve.onnx",
    "external/model.onnx",
];

/// A copy of what `name` needs, and its path there.
fn copy(name: &str) -> (tempfile::TempDir, PathBuf) {
    let from = repository(FIXTURE).join(name);
    let (dir, path) = match name {
        "sharded" => {
            let dir = copy_of_dir(&from);
            let path = dir.path().to_owned();
            return (dir, path);
        }
        "external/model.onnx" => (copy_of_dir(from.parent().unwrap()), "model.onnx"),
        _ => (copy_of(&from).0, name),
    };
    let path = dir.path().join(path);
    (dir, path)
}

/// The changes of a plan by layer, and its fingerprint.
fn saved_plan(path: &Path, flags: &[&str]) -> (BTreeMap<String, Value>, Value) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.json");
    let args = ["apply", text(path), "--dry-run", "--plan-out", text(&file)];
    ok(&[&args, flags].concat());
    let plan: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let layers = plan["layers"].as_array().unwrap().iter();
    let by_name = layers.map(|layer| (layer["name"].as_str().unwrap().to_owned(), layer.clone()));
    (by_name.collect(), plan["gamma_sha256"].clone())
}

#[test]
fn every_format_gives_the_same_plan() {
    for flags in [
        &["--rule", "paper"][..],
        &["--rule", "keep-sign", "--to", "mean", "--scope", "layer"],
    ] {
        let expected = saved_plan(&copy("model.safetensors").1, flags);
        assert_eq!(expected.0.len(), 52);
        for name in FORMATS {
            let (_dir, path) = copy(name);
            assert!(saved_plan(&path, flags) == expected, "{name} {flags:?}");
        }
    }
}

/// The bytes of every tensor by state dict and name.
fn tensors(path: &Path) -> BTreeMap<(String, String), Vec<u8>> {
    let checkpoint = Checkpoint::open(path).unwrap();
    let mut all = BTreeMap::new();
    for dict in checkpoint.dicts() {
        for tensor in dict.tensors.iter().filter(|tensor| tensor.fixed.is_none()) {
            let key = (dict.root.clone(), tensor.name.clone());
            all.insert(key, checkpoint.read(tensor).unwrap());
        }
    }
    all
}

#[test]
fn every_format_holds_the_same_gamma_afterwards_and_is_restored_bit_for_bit() {
    let (_dir, reference) = copy("model.safetensors");
    ok(&["apply", text(&reference)]);
    let reference = tensors(&reference);
    for name in FORMATS {
        for flags in [&[][..], &["--in-place"]] {
            let (dir, path) = copy(name);
            let (before, untouched) = (state(dir.path()), tensors(&path));
            let applied = ok_json(&[&["apply", text(&path), "--json"], flags].concat());
            assert_eq!(applied["regenerated"], 2663, "{name} {flags:?}");
            let root = applied["root"].as_str().unwrap();
            for ((dict, tensor), bytes) in tensors(&path) {
                // Initializers of an exporter's own have no twin.
                let twin = reference.get(&(String::new(), tensor.clone()));
                let expected = match twin {
                    Some(twin) if dict == root => twin,
                    _ => &untouched[&(dict.clone(), tensor.clone())],
                };
                assert!(&bytes == expected, "{name} {flags:?}: {dict} {tensor}");
            }
            assert_eq!(
                ok_json(&["apply", text(&path), "--json"])["regenerated"],
                0,
                "{name}"
            );
            ok(&[&["undo", text(&path)], flags].concat());
            assert!(state(dir.path()) == before, "{name} {flags:?}");
        }
    }
}

#[test]
fn outside_gamma_and_checksums_no_byte_changes() {
    for name in FORMATS {
        let (dir, path) = copy(name);
        let before = state(dir.path());
        let applied = ok_json(&["apply", text(&path), "--json"]);
        let after = state(dir.path());
        let changed: usize = before
            .iter()
            .map(|(file, old)| {
                let new = &after[file];
                assert_eq!(old.len(), new.len(), "{name}: {file}");
                old.iter().zip(new).filter(|(a, b)| a != b).count()
            })
            .sum();
        // Four bytes a γ, two CRC-32 a layer, and the digits of one fold with its own CRCs.
        let most = 4 * applied["regenerated"].as_u64().unwrap() as usize + 8 * 52 + 20 + 8;
        assert!(changed <= most, "{name}: {changed} bytes");
    }
}

#[test]
fn a_training_file_says_its_epoch_its_layout_and_its_optimizer() {
    let (dir, path) = copy("training.pth");
    let report = ok_json(&["inspect", text(&path), "--json"]);
    let training = json!({ "layout": "torchvision", "epoch": 25, "optimizer": "SGD" });
    assert_eq!(report["training"], training);
    let networks = report["networks"].as_array().unwrap();
    let roots: Vec<_> = networks
        .iter()
        .map(|n| (n["root"].clone(), n["role"].clone()))
        .collect();
    assert_eq!(
        roots,
        [
            (json!("model"), json!("raw")),
            (json!("model_ema"), json!("ema"))
        ]
    );
    let before = state(dir.path());
    assert!(ok(&["apply", text(&path), "--every", "10"]).contains("epoch 25, every 10: not due"));
    assert_eq!(state(dir.path()), before);
    assert!(ok(&["apply", text(&path), "--every", "5"]).contains("epoch 25, every 5: due"));
}

#[test]
fn the_momentum_of_regenerated_gamma_is_reset_and_undone_with_them() {
    let (dir, path) = copy("training.pth");
    let before = state(dir.path());
    let applied = ok_json(&["apply", text(&path), "--optimizer", "reset", "--json"]);
    assert_eq!(applied["optimizer_tensors_reset"], 42);
    let zeroed = |state: &BTreeMap<String, Vec<u8>>| {
        state["training.pth"]
            .chunks(4)
            .filter(|word| **word == [0; 4])
            .count()
    };
    // One momentum a regenerated channel, unless it was 0 before.
    let more = zeroed(&state(dir.path())) - zeroed(&before);
    assert!((2600..=2663).contains(&more), "{more}");
    ok(&["undo", text(&path)]);
    assert!(state(dir.path()) == before);
}

#[test]
fn weights_alone_have_no_optimizer_to_reset() {
    let (dir, path) = copy("model.pth");
    let before = state(dir.path());
    let err = fails(1, &["apply", text(&path), "--optimizer", "reset"]);
    assert!(
        err.contains("no optimizer state beside the weights"),
        "{err}"
    );
    assert_eq!(state(dir.path()), before);
    assert!(fails(2, &["apply", text(&path), "--every", "5"]).contains("--epoch"));
}

#[test]
fn a_trainer_directory_says_its_epoch() {
    let (dir, _) = copy("model.safetensors");
    fs::write(
        dir.path().join("trainer_state.json"),
        r#"{"epoch": 9.97, "global_step": 3}"#,
    )
    .unwrap();
    let path = text(dir.path());
    assert!(ok(&["apply", path, "--every", "5"]).starts_with("epoch 9, every 5: not due"));
    // Python writes what JSON has no word for.
    let state = r#"{"epoch": 10.0, "log": [{"grad_norm": NaN, "x": -Infinity, "n": "NaN"}]}"#;
    fs::write(dir.path().join("trainer_state.json"), state).unwrap();
    assert!(ok(&["apply", path, "--every", "5"]).starts_with("epoch 10, every 5: due"));
}

#[test]
fn a_folded_model_is_refused_as_folded() {
    for command in ["inspect", "apply"] {
        let err = fails(1, &[command, text(&copy("folded.onnx").1)]);
        assert!(
            err.contains("folded") && err.contains("TrainingMode.PRESERVE"),
            "{err}"
        );
    }
}

#[test]
fn an_output_takes_the_data_files_of_a_model_along() {
    let (dir, path) = copy("external/model.onnx");
    let out = dir.path().join("out/");
    ok(&["apply", text(&path), "-o", &format!("{}/", text(&out))]);
    let names: Vec<String> = state(&out).into_keys().collect();
    assert_eq!(
        names,
        [
            ".ckpt-regen/model.onnx.json",
            "model.onnx",
            "model.onnx.data"
        ]
    );
    assert_eq!(
        ok_json(&["apply", text(&out.join("model.onnx")), "--json"])["regenerated"],
        0
    );
    let beside = dir.path().join("other.onnx");
    let err = fails(2, &["apply", text(&path), "-o", text(&beside)]);
    assert!(err.contains("another directory"), "{err}");
    assert!(!beside.exists());
}

#[test]
fn real_checkpoints_of_others_are_read_and_edited() {
    let Some(folder) = material("checkpoints") else {
        return;
    };
    for (file, layers, channels) in [
        ("resnet20-legacy/resnet20-12fca82f.th", 19, 688),
        ("fastestdet-shufflenetv2/shufflenetv2.pth", 55, 2952),
        ("ultraface-slim/version-slim-320.pth", 25, 2272),
        ("ultraface-slim/version-slim-320.onnx", 25, 2272),
        ("burn-mnist/mnist.pt", 2, 34),
    ] {
        let (dir, path) = copy_of(&folder.join(file));
        let before = state(dir.path());
        let network = &ok_json(&["inspect", text(&path), "--json"])["networks"][0];
        assert_eq!(
            network["layers"].as_array().unwrap().len(),
            layers,
            "{file}"
        );
        assert_eq!(network["channels"], channels, "{file}");
        ok(&["apply", text(&path)]);
        assert_ne!(state(dir.path()), before, "{file}");
        ok(&["undo", text(&path)]);
        assert!(state(dir.path()) == before, "{file}");
    }
    let ultraface = |name: &str| saved_plan(&folder.join("ultraface-slim").join(name), &[]).0;
    assert!(ultraface("version-slim-320.pth") == ultraface("version-slim-320.onnx"));
    let simplified = folder.join("ultraface-slim/version-slim-320_simplified.onnx");
    assert!(fails(1, &["inspect", text(&simplified)]).contains("folded"));
    let resnet = |name: &str| saved_plan(&folder.join(name), &[]).0;
    assert!(
        resnet("resnet20-legacy/resnet20-12fca82f.th")
            == resnet("resnet20-safetensors/resnet20-12fca82f.f32.safetensors")
    );
}

/// Every file below a folder.
fn files_below(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, all)
        } else {
            all.push(path)
        }
    }
}

#[test]
fn every_file_of_the_suites_is_read_or_refused_with_a_message() {
    let Some(folder) = material("suites") else {
        return;
    };
    let mut files = Vec::new();
    for suite in ["onnx", "zip-yauzl", "candle-pth"] {
        files_below(&folder.join(suite), &mut files);
    }
    let (mut editable, mut fixed) = (0, 0);
    for file in &files {
        let output = run(&["inspect", text(file), "--json"]);
        let err = stderr(&output);
        assert!(!err.contains("panicked"), "{file:?}: {err}");
        if file.extension().is_some_and(|extension| extension == "zip") {
            assert_eq!(output.status.code(), Some(1), "{file:?}");
        }
        if output.status.success() {
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            let layers = report["networks"][0]["layers"].as_array().unwrap();
            let is_editable = layers.iter().all(|layer| layer["editable"] == true);
            *(if is_editable {
                &mut editable
            } else {
                &mut fixed
            }) += 1;
            let dry = run(&["apply", text(file), "--dry-run"]);
            assert_eq!(
                dry.status.success(),
                is_editable,
                "{file:?}: {}",
                stderr(&dry)
            );
        } else {
            assert!(err.starts_with("error: "), "{file:?}: {err}");
        }
    }
    // Of the nine BatchNormalization models, four have γ as an input without initializer.
    assert_eq!((editable, fixed), (5, 4));
}
