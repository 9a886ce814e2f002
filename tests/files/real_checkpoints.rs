//! Trained networks: counts that were computed elsewhere, and files that another program writes.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::common::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

fn expected() -> Value {
    let path = repository(FIXTURE).join("expected.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Regenerated channels by layer, those without left out.
fn per_layer(applied: &Value) -> HashMap<String, u64> {
    let layers = applied["layers"].as_array().unwrap().iter();
    let counts = layers.map(|layer| {
        (
            layer["name"].as_str().unwrap().to_owned(),
            layer["regenerated"].as_u64().unwrap(),
        )
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

fn expected_per_layer(rule: &str) -> HashMap<String, u64> {
    let expected = expected();
    let layers = expected[rule]["per_layer"].as_object().unwrap().iter();
    let counts = layers.map(|(name, count)| (name.clone(), count.as_u64().unwrap()));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn both_rules_hit_the_counts_that_numpy_gives_for_every_layer() {
    for rule in ["paper", "reference"] {
        for file in ["model.safetensors", "sharded"] {
            let path = repository(FIXTURE).join(file);
            let plan = ok_json(&["apply", text(&path), "--rule", rule, "--dry-run", "--json"]);
            assert_eq!(
                plan["threshold"],
                expected()[rule]["threshold"],
                "{rule} {file}"
            );
            assert_eq!(
                plan["regenerated"],
                expected()[rule]["count"],
                "{rule} {file}"
            );
            assert_eq!(plan["counted"], expected()["channels"], "{rule} {file}");
            assert_eq!(per_layer(&plan), expected_per_layer(rule), "{rule} {file}");
        }
    }
}

#[test]
fn sixteen_bit_weights_hit_their_counts() {
    for (file, count) in [
        ("model.f16.safetensors", 2663),
        ("model.bf16.safetensors", 2653),
    ] {
        for rule in ["paper", "reference"] {
            let path = repository(FIXTURE).join(file);
            let plan = ok_json(&["apply", text(&path), "--rule", rule, "--dry-run", "--json"]);
            assert_eq!(plan["regenerated"], count, "{rule} {file}");
        }
    }
}

#[test]
fn inspect_finds_every_layer_and_its_statistics() {
    let report = ok_json(&[
        "inspect",
        text(&repository(FIXTURE).join("model.safetensors")),
        "--json",
    ]);
    let network = &report["networks"][0];
    for key in ["channels", "inhibited", "negative"] {
        assert_eq!(network[key], expected()[key], "{key}");
    }
    assert_eq!(network["median"], expected()["lower_median"]);
    assert_eq!(network["layers"].as_array().unwrap().len(), 52);
    assert_eq!(network["layers"][1]["name"], "features.1.conv.0.1");
    assert_eq!(network["layers"][51]["name"], "features.18.1");
    let counted: u64 = network["histogram"]["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c.as_u64().unwrap())
        .sum();
    assert_eq!(counted, 5328);
}

/// What the reference implementation of safetensors writes for the tensors of `file` with γ lifted
/// to the lower median by another, plainer program than ours.
fn rewritten(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let names = tensors.names();
    let is_gamma = |name: &str| {
        name.strip_suffix(".weight")
            .is_some_and(|layer| names.contains(&&format!("{layer}.running_mean")[..]))
    };
    let decode = |view: &TensorView<'_>| -> Vec<f32> {
        assert_eq!(view.dtype(), Dtype::F32);
        view.data()
            .chunks(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    };
    let mut all: Vec<f32> = Vec::new();
    for name in names.iter().filter(|name| is_gamma(name)) {
        all.extend(decode(&tensors.tensor(name).unwrap()));
    }
    all.sort_by(f32::total_cmp);
    let median = all[(all.len() - 1) / 2];
    let edited: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = if is_gamma(&name) {
                f32s(
                    &decode(&view)
                        .iter()
                        .map(|value| value.max(median))
                        .collect::<Vec<_>>(),
                )
            } else {
                view.data().to_vec()
            };
            (name, view.dtype(), view.shape().to_vec(), data)
        })
        .collect();
    let views = edited.iter().map(|(name, dtype, shape, data)| {
        (
            name.clone(),
            TensorView::new(*dtype, shape.clone(), data).unwrap(),
        )
    });
    safetensors::serialize(views, header.metadata().clone()).unwrap()
}

#[test]
fn an_edited_file_is_byte_for_byte_what_safetensors_would_save() {
    let original = repository(FIXTURE).join("model.safetensors");
    for flags in [&[][..], &["--in-place"]] {
        let (_dir, file) = copy_of(&original);
        ok(&[&["apply", text(&file)], flags].concat());
        assert!(
            fs::read(&file).unwrap() == rewritten(&original),
            "{flags:?}"
        );
        ok(&[&["undo", text(&file)], flags].concat());
        assert!(
            fs::read(&file).unwrap() == fs::read(&original).unwrap(),
            "{flags:?}"
        );
    }
}

#[test]
fn a_shard_set_is_edited_and_undone_as_a_whole() {
    for flags in [&[][..], &["--in-place"]] {
        let dir = copy_of_dir(&repository(FIXTURE).join("sharded"));
        let before = state(dir.path());
        ok(&[&["apply", text(dir.path())], flags].concat());
        let single = ok_json(&[
            "inspect",
            text(&repository(FIXTURE).join("model.safetensors")),
            "--json",
        ]);
        let edited = ok_json(&["inspect", text(dir.path()), "--json"]);
        let median = &single["networks"][0]["median"];
        assert_eq!(&edited["networks"][0]["min"], median);
        assert_eq!(&edited["networks"][0]["median"], median);
        ok(&[&["undo", text(dir.path())], flags].concat());
        assert!(state(dir.path()) == before, "{flags:?}");
    }
}

#[test]
fn resnet20_has_the_known_median_and_343_of_688_channels_change() {
    let Some(folder) = material("checkpoints/resnet20-safetensors") else {
        return;
    };
    let (_dir, file) = copy_of(&folder.join("resnet20-12fca82f.f32.safetensors"));
    let before = fs::read(&file).unwrap();
    let network = &ok_json(&["inspect", text(&file), "--json"])["networks"][0];
    assert_eq!(network["layers"].as_array().unwrap().len(), 19);
    assert_eq!(
        (&network["channels"], &network["negative"]),
        (&688.into(), &26.into())
    );
    assert_eq!(network["at_or_below_median"], 344);
    assert!((network["median"].as_f64().unwrap() - 0.663532).abs() < 1e-6);
    assert_eq!(network["inhibited"], 18); // 2.6 %
    let applied = ok_json(&["apply", text(&file), "--json"]);
    assert_eq!(applied["regenerated"], 343);
    assert!(
        fs::read(&file).unwrap() == rewritten(&folder.join("resnet20-12fca82f.f32.safetensors"))
    );
    ok(&["undo", text(&file)]);
    assert!(fs::read(&file).unwrap() == before);
}

#[test]
fn resnet20_in_16_bits_is_edited_and_undone() {
    let Some(folder) = material("checkpoints/resnet20-safetensors") else {
        return;
    };
    for dtype in ["f16", "bf16"] {
        let (_dir, file) = copy_of(&folder.join(format!("resnet20-12fca82f.{dtype}.safetensors")));
        let before = fs::read(&file).unwrap();
        let applied = ok_json(&["apply", text(&file), "--json"]);
        assert_eq!(applied["counted"], 688, "{dtype}");
        assert_eq!(
            ok_json(&["apply", text(&file), "--json"])["regenerated"],
            0,
            "{dtype}"
        );
        ok(&["undo", text(&file)]);
        assert!(fs::read(&file).unwrap() == before, "{dtype}");
    }
}

#[test]
fn a_checkpoint_of_burn_in_pytorch_names_is_read() {
    let Some(file) = material("checkpoints/burn-mnist/mnist.safetensors") else {
        return;
    };
    let network = &ok_json(&["inspect", text(&file), "--json"])["networks"][0];
    let layers = network["layers"].as_array().unwrap();
    let layers: Vec<(&str, u64)> = layers
        .iter()
        .map(|l| (l["name"].as_str().unwrap(), l["channels"].as_u64().unwrap()))
        .collect();
    assert_eq!(layers[0], ("norm1", 24));
    assert_eq!(layers.len(), 2);
}
