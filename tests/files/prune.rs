//! What `prune` promises about files, records and masks, and what `apply` does with pruned channels.

#[cfg(feature = "train")]
mod fpgm;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;
use ckpt_regen::Checkpoint;
use ckpt_regen::batchnorm::{Schema, locate};
use serde_json::{Value, json};

/// Every tensor by its name, as numbers.
fn tensors(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let checkpoint = Checkpoint::open(path).unwrap();
    let dicts = checkpoint.dicts().iter();
    let floats = dicts
        .flat_map(|dict| &dict.tensors)
        .filter(|tensor| tensor.dtype.is_editable_float());
    floats
        .map(|tensor| {
            let values = tensor.dtype.decode(&checkpoint.read(tensor).unwrap());
            (tensor.name.clone(), values)
        })
        .collect()
}

/// The names of γ and β of every layer.
fn parameters(path: &Path) -> BTreeMap<String, (String, String)> {
    let checkpoint = Checkpoint::open(path).unwrap();
    let networks = locate(&checkpoint, &Schema::default()).unwrap();
    let layers = networks[0].layers.iter();
    let name = |layer: &ckpt_regen::batchnorm::Layer, at: Option<usize>| {
        checkpoint.dicts()[layer.dict].tensors[at.unwrap()]
            .name
            .clone()
    };
    layers
        .map(|layer| {
            let both = (name(layer, layer.gamma), name(layer, layer.betas[0].tensor));
            (layer.name.clone(), both)
        })
        .collect()
}

/// The channels that slimming takes out, to the letter of the authors' code.
fn slimmed(path: &Path, ratio: f64) -> BTreeMap<String, Vec<usize>> {
    let before = tensors(path);
    let parameters = parameters(path);
    let gammas = || parameters.iter().map(|(layer, (g, _))| (layer, &before[g]));
    let mut all: Vec<f64> = gammas().flat_map(|(_, g)| g).map(|g| g.abs()).collect();
    all.sort_by(f64::total_cmp);
    let threshold = all[(all.len() as f64 * ratio) as usize];
    gammas()
        .map(|(layer, gamma)| {
            let weak = gamma
                .iter()
                .enumerate()
                .filter(|(_, g)| g.abs() <= threshold);
            (layer.clone(), weak.map(|(channel, _)| channel).collect())
        })
        .collect()
}

/// Layers by their pruned channels, in a file of `--mask-out`.
fn mask(file: &Path) -> BTreeMap<String, Vec<usize>> {
    let mask: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let layers = mask["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            let name = layer["name"].as_str().unwrap().to_owned();
            (
                name,
                serde_json::from_value(layer["pruned"].clone()).unwrap(),
            )
        })
        .collect()
}

const SMALL: &[(&str, &[f32])] = &[
    ("a.bn", &[0.1, -0.2, 0.3, 0.9]),
    ("b.bn", &[0.05, 0.06, -0.07, 0.08, 1.0, 2.0]),
];

/// A file with β that are not 0, and a tensor that is none of BatchNorm's.
fn small_of(layers: &[(&str, &[f32])]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    let mut all: Vec<(String, Vec<f32>)> = vec![("fc.weight".to_owned(), vec![1.0; 4])];
    for (name, gamma) in layers {
        all.push((format!("{name}.weight"), gamma.to_vec()));
        all.push((format!("{name}.bias"), vec![0.25; gamma.len()]));
        all.push((format!("{name}.running_mean"), vec![0.5; gamma.len()]));
        all.push((format!("{name}.running_var"), vec![1.0; gamma.len()]));
    }
    let shapes: Vec<[u64; 1]> = all.iter().map(|(_, v)| [v.len() as u64]).collect();
    let entries = all.iter().zip(&shapes);
    let entries: Vec<Entry<'_>> = entries
        .map(|((name, v), shape)| (&name[..], "F32", &shape[..], f32s(v)))
        .collect();
    fs::write(&file, safetensors_file(&entries)).unwrap();
    (dir, file)
}

fn small() -> (tempfile::TempDir, PathBuf) {
    small_of(SMALL)
}

fn record(file: &Path) -> Value {
    let name = format!(
        ".ckpt-regen/{}.json",
        file.file_name().unwrap().to_str().unwrap()
    );
    serde_json::from_slice(&fs::read(file.with_file_name(name)).unwrap()).unwrap()
}

#[test]
fn in_every_format_weak_channels_lose_gamma_and_beta_and_nothing_else_changes() {
    for name in [
        "model.safetensors",
        "model.pth",
        "preserve.onnx",
        "model.f16.safetensors",
    ] {
        let (dir, file) = copy_of(&repository(FIXTURE).join(name));
        let original = fs::read(&file).unwrap();
        let (before, weak) = (tensors(&file), slimmed(&file, 0.25));
        let out = dir.path().join("mask.json");
        let arguments = [
            "prune",
            text(&file),
            "--ratio",
            "0.25",
            "--mask-out",
            text(&out),
        ];
        ok(&arguments);
        assert_eq!(mask(&out), weak, "{name}");
        let mut expected = before;
        for (layer, (gamma, beta)) in parameters(&file) {
            for tensor in [gamma, beta] {
                for channel in &weak[&layer] {
                    expected.get_mut(&tensor).unwrap()[*channel] = 0.0;
                }
            }
        }
        assert!(tensors(&file) == expected, "{name}: other tensors changed");
        let count: usize = weak.values().map(Vec::len).sum();
        assert_eq!(record(&file)["edits"][0]["regenerated"], count);
        assert_eq!(record(&file)["edits"][0]["pruning"]["method"], "slimming");
        ok(&["undo", text(&file)]);
        assert!(fs::read(&file).unwrap() == original, "{name}: undo");
    }
}

#[test]
fn shards_and_data_files_are_pruned_and_undone() {
    for (folder, file) in [
        ("sharded", "model.safetensors.index.json"),
        ("external", "model.onnx"),
    ] {
        let dir = copy_of_dir(&repository(FIXTURE).join(folder));
        let before = state(dir.path());
        let file = dir.path().join(file);
        let weak: usize = slimmed(&file, 0.25).values().map(Vec::len).sum();
        let pruned = ok_json(&["prune", text(&file), "--ratio", "0.25", "--json"]);
        assert_eq!(pruned["pruned"], weak);
        ok(&["undo", text(&file)]);
        let mut after = state(dir.path());
        after.retain(|name, _| !name.starts_with(".ckpt-regen"));
        assert!(after == before, "{folder}");
    }
}

#[test]
fn in_place_another_output_and_a_dry_run_are_those_of_apply() {
    let (dir, file) = small();
    let original = fs::read(&file).unwrap();
    let page = dir.path().join("r.html");
    let plan = dir.path().join("plan.json");
    let dry = ok_json(&[
        "prune",
        text(&file),
        "--ratio",
        "0.5",
        "--dry-run",
        "--json",
        "--report",
        text(&page),
        "--plan-out",
        text(&plan),
    ]);
    assert_eq!((&dry["pruned"], &dry["record"]), (&json!(6), &Value::Null));
    assert!(fs::read(&file).unwrap() == original);
    assert!(fs::read_to_string(&page).unwrap().contains("slimming"));
    let plan: Value = serde_json::from_slice(&fs::read(&plan).unwrap()).unwrap();
    assert_eq!(plan["layers"][0]["changes"].as_array().unwrap().len(), 2);
    let out = dir.path().join("out.safetensors");
    ok(&["prune", text(&file), "--ratio", "0.5", "-o", text(&out)]);
    assert!(fs::read(&file).unwrap() == original);
    ok(&["prune", text(&file), "--ratio", "0.5", "--in-place"]);
    assert!(fs::read(&file).unwrap() == fs::read(&out).unwrap());
    assert_eq!(
        gamma(&file, "a.bn"),
        [0.0, 0.0, f64::from(0.3_f32), f64::from(0.9_f32)]
    );
    ok(&["undo", text(&file), "--in-place"]);
    assert!(fs::read(&file).unwrap() == original);
    let own = fails(
        2,
        &[
            "prune",
            text(&file),
            "--ratio",
            "0.5",
            "--mask-out",
            text(&file),
        ],
    );
    assert!(
        own.contains("--mask-out") && own.contains("would overwrite"),
        "{own}"
    );
}

#[test]
fn a_layer_that_would_empty_keeps_its_strongest_channel_and_is_named() {
    let layers: &[(&str, &[f32])] = &[("weak", &[0.1, -0.3, 0.2]), ("strong", &[1.0, 1.1, 1.2])];
    let (_dir, file) = small_of(layers);
    let said = ok(&["prune", text(&file), "--ratio", "0.4"]);
    assert!(
        said.contains("pruned 2 of 6 channels, in 1 of 2 layers"),
        "{said}"
    );
    assert!(
        said.contains("the strongest of 1 layer, which would be empty: weak (1)"),
        "{said}"
    );
    assert_eq!(gamma(&file, "weak"), [0.0, f64::from(-0.3_f32), 0.0]);
    assert_eq!(tensors(&file)["weak.bias"], [0.0, 0.25, 0.0]);
    ok(&["undo", text(&file)]);
    let letter = [
        "prune",
        text(&file),
        "--ratio",
        "0.4",
        "--min-channels",
        "0",
        "--json",
    ];
    assert_eq!(ok_json(&letter)["pruned"], 3);
    assert_eq!(gamma(&file, "weak"), [0.0; 3]);
}

#[test]
fn apply_after_prune_leaves_pruned_channels_and_the_record_keeps_them() {
    let (_dir, file) = small();
    ok(&["prune", text(&file), "--ratio", "0.5"]);
    // 0.3 0.9 1 2: the lower median is 0.9.
    let output = run(&["apply", text(&file), "--json"]);
    let applied: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&applied["counted"], &applied["regenerated"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(
        (&applied["pruned"], &applied["threshold"]),
        (&json!(6), &json!(f64::from(0.9_f32)))
    );
    assert_eq!(gamma(&file, "a.bn")[..2], [0.0, 0.0]);
    let edits = record(&file)["edits"].as_array().unwrap().clone();
    assert_eq!(edits.len(), 2);
    assert_eq!(edits[0]["mask"], edits[1]["mask"]);
    // A second time, by another rule.
    let again = ok_json(&["apply", text(&file), "--to", "max", "--json"]);
    assert_eq!(
        (&again["counted"], &again["pruned"]),
        (&json!(4), &json!(6))
    );
    let said = stderr(&run(&["apply", text(&file), "--dry-run"]));
    assert!(
        said.contains("6 pruned channels (the record) are left out of the count"),
        "{said}"
    );
    for _ in 0..2 {
        ok(&["undo", text(&file)]);
    }
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["pruned"],
        6
    );
    ok(&["undo", text(&file)]);
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["pruned"],
        0
    );
}

#[test]
fn after_more_training_the_mask_holds_as_long_as_its_channels_are_0() {
    let (_dir, file) = small();
    ok(&["prune", text(&file), "--ratio", "0.5"]);
    let trained: &[(&str, &[f32])] = &[
        ("a.bn", &[0.0, 0.0, 0.5, 0.7]),
        ("b.bn", &[0.0, 0.0, 0.0, 0.0, 1.5, 2.5]),
    ];
    fs::write(&file, network(trained)).unwrap();
    let applied = ok_json(&["apply", text(&file), "--json"]);
    assert_eq!(
        (&applied["counted"], &applied["pruned"]),
        (&json!(4), &json!(6))
    );
    let edits = record(&file)["edits"].as_array().unwrap().clone();
    assert_eq!(edits.len(), 1, "a new record");
    assert!(!edits[0]["mask"].is_null());
    let revived: &[(&str, &[f32])] = &[
        ("a.bn", &[0.4, 0.0, 0.5, 0.7]),
        ("b.bn", &[0.0, 0.0, 0.0, 0.0, 1.5, 2.5]),
    ];
    fs::write(&file, network(revived)).unwrap();
    let output = run(&["apply", text(&file), "--dry-run"]);
    let said = stderr(&output);
    assert!(
        said.contains("6 pruned channels, and γ of 1 of them is not 0 any more"),
        "{said}"
    );
}

#[test]
fn a_mask_in_a_file_does_for_a_copy_without_a_record() {
    let (dir, file) = small();
    let out = dir.path().join("mask.json");
    ok(&[
        "prune",
        text(&file),
        "--ratio",
        "0.5",
        "--mask-out",
        text(&out),
    ]);
    let copy = dir.path().join("copy.safetensors");
    fs::copy(&file, &copy).unwrap();
    let said = stderr(&run(&["apply", text(&copy), "--dry-run"]));
    let expected = "6 of 10 channels have γ = β = 0, as pruning leaves them, and no mask is known";
    assert!(said.contains(expected), "{said}");
    assert!(
        said.contains("--keep-zeros") && said.contains("--mask FILE"),
        "{said}"
    );
    let zeros = ok_json(&["apply", text(&copy), "--keep-zeros", "--dry-run", "--json"]);
    assert_eq!(
        (&zeros["counted"], &zeros["pruned"]),
        (&json!(4), &json!(0))
    );
    assert_eq!(zeros["warnings"], json!([]));
    let masked = ok_json(&["apply", text(&copy), "--mask", text(&out), "--json"]);
    assert_eq!(
        (&masked["counted"], &masked["pruned"]),
        (&json!(4), &json!(6))
    );
    ok(&["apply", text(&file)]);
    assert!(fs::read(&copy).unwrap() == fs::read(&file).unwrap());
    // From now on the copy's own record has it.
    assert_eq!(
        ok_json(&["apply", text(&copy), "--dry-run", "--json"])["pruned"],
        6
    );
}

#[test]
fn pruned_as_public_counts_and_lifts_pruned_channels_and_forgets_them() {
    let (_dir, file) = small();
    ok(&["prune", text(&file), "--ratio", "0.3"]);
    let public = [
        "apply",
        text(&file),
        "--pruned-as-public",
        "--below",
        "quantile:0.7",
        "--json",
    ];
    let applied = ok_json(&public);
    assert_eq!(
        (&applied["counted"], &applied["pruned"]),
        (&json!(10), &json!(0))
    );
    let lifted = gamma(&file, "b.bn");
    assert!(
        lifted.iter().all(|gamma| *gamma >= f64::from(0.9_f32)),
        "{lifted:?}"
    );
    let mask = record(&file)["edits"][1]["mask"]
        .as_array()
        .unwrap()
        .clone();
    assert!(
        mask.iter().all(|layer| layer["pruned"] == json!([])),
        "{mask:?}"
    );
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["counted"],
        10
    );
    ok(&["undo", text(&file)]);
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["pruned"],
        4
    );
}

#[test]
fn an_output_has_the_mask_even_where_nothing_changes() {
    let (dir, file) = small();
    let out = |name: &str| dir.path().join(name);
    ok(&[
        "prune",
        text(&file),
        "--ratio",
        "0.5",
        "-o",
        text(&out("p.safetensors")),
    ]);
    ok(&[
        "apply",
        text(&out("p.safetensors")),
        "-o",
        text(&out("a.safetensors")),
    ]);
    ok(&[
        "apply",
        text(&out("a.safetensors")),
        "-o",
        text(&out("b.safetensors")),
    ]);
    let [from, to] = ["b.safetensors", "c.safetensors"].map(out);
    ok(&[
        "apply",
        text(&from),
        "--every",
        "5",
        "--epoch",
        "1",
        "-o",
        text(&to),
    ]);
    let last = ok_json(&["apply", text(&out("c.safetensors")), "--dry-run", "--json"]);
    assert_eq!(
        (&last["pruned"], &last["regenerated"]),
        (&json!(6), &json!(0))
    );
    ok(&["undo", text(&out("c.safetensors"))]);
    assert!(fs::read(out("c.safetensors")).unwrap() == fs::read(out("a.safetensors")).unwrap());
}

#[test]
fn pruning_twice_adds_to_the_mask_and_says_so() {
    let (_dir, file) = small();
    ok(&["prune", text(&file), "--ratio", "0.3"]);
    let more = run(&["prune", text(&file), "--ratio", "0.6"]);
    let said = stderr(&more);
    assert!(
        said.contains("4 channels were pruned before: 3 are added to the mask, 7 in all"),
        "{said}"
    );
    assert_eq!(gamma(&file, "a.bn")[..3], [0.0; 3]);
    // The share is of the network: the same once more changes nothing.
    let same = ok(&["prune", text(&file), "--ratio", "0.6"]);
    assert!(same.contains("nothing changed"), "{same}");
    ok(&["undo", text(&file)]);
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["pruned"],
        4
    );
    // The mask alone is recorded where its channels were 0 already.
    let zeros: &[(&str, &[f32])] = &[("bn", &[0.0, 1.0, 2.0])];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zeros.safetensors");
    fs::write(&file, network(zeros)).unwrap();
    ok(&["prune", text(&file), "--ratio", "0.3"]);
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["pruned"],
        1
    );
    ok(&["undo", text(&file)]);
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["pruned"],
        0
    );
}

#[test]
fn layers_that_are_left_out_are_neither_counted_nor_pruned() {
    let (_dir, file) = small();
    let pruned = ok_json(&[
        "prune",
        text(&file),
        "--ratio",
        "0.5",
        "--include",
        "^a",
        "--json",
    ]);
    assert_eq!(
        (&pruned["counted"], &pruned["pruned"]),
        (&json!(4), &json!(3))
    );
    assert_eq!(gamma(&file, "b.bn")[0], f64::from(0.05_f32));
    let other = [
        "prune",
        text(&file),
        "--ratio",
        "0.5",
        "--exclude",
        "^a",
        "--json",
    ];
    let both = ok_json(&other);
    assert_eq!(
        (&both["pruned"], &both["pruned_before"]),
        (&json!(7), &json!(3))
    );
}

#[test]
fn an_edit_of_a_part_keeps_what_is_known_of_the_others() {
    let gammas: &[f32] = &[0.1, 0.2, 0.8, 0.9];
    let layers: &[(&str, &[f32])] = &[("g.a", gammas), ("d.a", gammas)];
    let (_dir, file) = small_of(layers);
    let pruned = |arguments: &[&str]| {
        let all = [&["apply", text(&file), "--dry-run", "--json"], arguments].concat();
        ok_json(&all)["pruned"].clone()
    };
    ok(&["prune", text(&file), "--ratio", "0.4", "--root", "g"]);
    ok(&["apply", text(&file), "--root", "d"]);
    assert_eq!(pruned(&[]), 2);
    ok(&["prune", text(&file), "--ratio", "0.4", "--root", "d"]);
    assert_eq!(pruned(&[]), 4);
    // Training goes on, and the record begins anew with a part.
    let trained: &[(&str, &[f32])] = &[
        ("g.a", &[0.0, 0.0, 0.7, 0.9]),
        ("d.a", &[0.0, 0.0, 0.5, 0.6]),
    ];
    fs::write(&file, network(trained)).unwrap();
    ok(&["apply", text(&file), "--root", "g", "--to", "max"]);
    assert_eq!(record(&file)["edits"].as_array().unwrap().len(), 1);
    assert_eq!(
        (pruned(&["--root", "g"]), pruned(&[])),
        (json!(2), json!(4))
    );
}

#[test]
fn wrong_masks_are_refused_with_layer_expected_and_found() {
    let (dir, file) = small();
    let other = dir.path().join("mask.json");
    let check = |layers: Value, said: &str| {
        let mask = json!({ "version": 1, "tool": "test", "layers": layers });
        fs::write(&other, mask.to_string()).unwrap();
        let err = fails(1, &["apply", text(&file), "--mask", text(&other)]);
        assert!(err.contains(said), "{err}");
    };
    check(
        json!([{ "name": "a.bn1", "channels": 4, "pruned": [0] }]),
        "the mask names the layer a.bn1, which is not there; did you mean a.bn?",
    );
    check(
        json!([{ "name": "a.bn", "channels": 8, "pruned": [7] }]),
        "layer a.bn: the mask is for 8 channels, and there are 4",
    );
    check(
        json!([{ "name": "a.bn", "channels": 4, "pruned": [4] }]),
        "layer a.bn: expected pruned channels below 4",
    );
    check(json!(3), "expected a mask of pruned channels");
    fs::write(&other, r#"{"version": 2, "tool": "", "layers": []}"#).unwrap();
    let err = fails(1, &["apply", text(&file), "--mask", text(&other)]);
    assert!(err.contains("version 2"), "{err}");
    fails(
        1,
        &[
            "apply",
            text(&file),
            "--mask",
            text(&dir.path().join("none.json")),
        ],
    );
}

#[test]
fn ratios_outside_0_to_1_and_options_of_the_other_method_are_wrong_usage() {
    let (_dir, file) = small();
    for ratio in ["-0.1", "1", "1.5", "nan"] {
        let ratio = format!("--ratio={ratio}");
        let err = fails(2, &["prune", text(&file), &ratio]);
        assert!(
            err.contains("--ratio") && err.contains("from 0 up to but not 1"),
            "{err}"
        );
    }
    let err = fails(
        2,
        &["prune", text(&file), "--ratio", "0.3", "--filters-only"],
    );
    assert!(
        err.contains("--filters-only goes with --method fpgm"),
        "{err}"
    );
    fails(2, &["prune", text(&file)]);
    let nan: &[(&str, &[f32])] = &[("bn", &[1.0, f32::NAN])];
    fs::write(&file, network(nan)).unwrap();
    let err = fails(1, &["prune", text(&file), "--ratio", "0.3"]);
    assert!(
        err.contains("layer bn: expected finite values, found NaN in channel 1"),
        "{err}"
    );
}

#[test]
fn every_beta_of_a_gamma_that_nodes_share_is_pruned() {
    let models = repository("src/checkpoint/onnx/tests/models");
    let (_dir, file) = copy_of(&models.join("identity.onnx"));
    let original = fs::read(&file).unwrap();
    ok(&["prune", text(&file), "--ratio", "0.4", "--exclude", "bn2"]);
    let weak = record(&file)["edits"][0]["mask"][1]["pruned"].clone();
    let weak: Vec<usize> = serde_json::from_value(weak).unwrap();
    assert!(!weak.is_empty());
    let after = tensors(&file);
    for channel in weak {
        for tensor in ["bn3.weight", "bn3.bias", "bn4.bias"] {
            assert_eq!(after[tensor][channel], 0.0, "{tensor}");
        }
    }
    ok(&["undo", text(&file)]);
    assert!(fs::read(&file).unwrap() == original);
}

#[test]
fn inspect_shows_pruned_channels_apart_from_inhibited_ones() {
    let (dir, file) = small();
    let out = dir.path().join("mask.json");
    let prune = ["prune", text(&file), "--ratio", "0.5", "--mask-out"];
    ok(&[&prune[..], &[text(&out)]].concat());
    let copy = dir.path().join("copy.safetensors");
    fs::copy(&file, &copy).unwrap();
    let network = |arguments: &[&str]| {
        let all = [&["inspect", "--json"], arguments].concat();
        ok_json(&all)["networks"][0].clone()
    };
    let known = network(&[text(&file)]);
    assert_eq!(
        (&known["pruned"], &known["inhibited"]),
        (&json!(6), &json!(0))
    );
    assert_eq!(
        (&known["channels"], &known["median"]),
        (&json!(10), &json!(f64::from(0.9_f32)))
    );
    assert_eq!(known["layers"][1]["pruned"], 4);
    assert_eq!(known["rules"]["paper"]["selected"], 2);
    let counts = known["histogram"]["counts"].as_array().unwrap().iter();
    assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 4);
    assert_eq!(
        network(&[text(&copy), "--mask", text(&out)])["histogram"],
        known["histogram"]
    );
    let unknown = network(&[text(&copy)]);
    assert_eq!(
        (&unknown["pruned"], &unknown["inhibited"]),
        (&json!(0), &json!(6))
    );
    let table = ok(&["inspect", text(&file)]);
    assert!(table.contains("max prun. inh."), "{table}");
    let line = table
        .lines()
        .find(|line| line.starts_with("network"))
        .unwrap();
    assert!(line.contains(" 60%    0 "), "{line}");
    assert!(!ok(&["inspect", text(&copy)]).contains("prun."));
    let page = dir.path().join("r.html");
    ok(&["inspect", text(&file), "--html", text(&page)]);
    assert!(fs::read_to_string(&page).unwrap().contains("pruned"));
    let other =
        r#"{"version": 1, "tool": "", "layers": [{"name": "c", "channels": 1, "pruned": []}]}"#;
    fs::write(&out, other).unwrap();
    let err = fails(1, &["inspect", text(&file), "--mask", text(&out)]);
    assert!(
        err.contains("the mask names the layer c, which is not there"),
        "{err}"
    );
}

#[test]
fn diff_and_track_count_pruned_channels_neither_as_died_nor_as_regenerated() {
    let (dir, file) = small();
    let before = dir.path().join("m-1.safetensors");
    fs::copy(&file, &before).unwrap();
    let after = dir.path().join("m-2.safetensors");
    ok(&["prune", text(&file), "--ratio", "0.5", "-o", text(&after)]);
    let diff = ok_json(&["diff", text(&before), text(&after), "--json"]);
    let network = &diff["networks"][0];
    assert_eq!(
        (&network["pruned"], &network["died"]),
        (&json!(6), &json!(0))
    );
    assert_eq!(
        (&network["b"]["pruned"], &network["b"]["inhibited"]),
        (&json!(6), &json!(0))
    );
    let said = ok(&["diff", text(&before), text(&after)]);
    assert!(
        said.contains("pruned: 0 in A, 6 in B, 6 of them anew"),
        "{said}"
    );
    let lifted = dir.path().join("m-3.safetensors");
    ok(&["apply", text(&after), "-o", text(&lifted)]);
    let diff = ok_json(&["diff", text(&after), text(&lifted), "--json"]);
    assert_eq!(diff["networks"][0]["regeneration"]["rule"], "paper");
    let saves = [text(&before), text(&after), text(&lifted)];
    let series = ok_json(&[&["track", "--json"], &saves[..]].concat());
    assert_eq!(series["network"]["pruned"], json!([0, 6, 6]));
    assert_eq!(series["network"]["inhibited"], json!([0, 0, 0]));
    let regenerations = series["regenerations"].as_array().unwrap();
    assert_eq!(regenerations.len(), 1, "{regenerations:?}");
    assert_eq!(
        (&regenerations[0]["save"], &regenerations[0]["regenerated"]),
        (&json!(2), &json!(1))
    );
    let said = ok(&[&["track"], &saves[..]].concat());
    assert!(
        said.contains("6 of 10 channels are pruned in the last"),
        "{said}"
    );
}
