//! What `diff` promises: which γ moved, whether a regeneration explains it, what else changed.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::common::*;
use ckpt_regen::inspect::diff::{DiffOptions, diff as compare};
use ckpt_regen::inspect::{Render as _, Terminal};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    repository(FIXTURE).join(name)
}

fn diff_json(a: &Path, b: &Path) -> Value {
    ok_json(&["diff", text(a), text(b), "--json"])
}

/// Two networks of these layers, in two files of a temporary directory.
fn two(a: &[(&str, &[f32])], b: &[(&str, &[f32])]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (file_a, file_b) = (
        dir.path().join("a.safetensors"),
        dir.path().join("b.safetensors"),
    );
    fs::write(&file_a, network(a)).unwrap();
    fs::write(&file_b, network(b)).unwrap();
    (dir, file_a, file_b)
}

#[test]
fn the_same_weights_in_two_formats_are_equal() {
    let model = fixture("model.safetensors");
    for other in [
        "model.safetensors",
        "model.pth",
        "model.legacy.th",
        "sharded",
    ] {
        let diff = diff_json(&model, &fixture(other));
        assert_eq!(diff["equal"], true, "{other}");
        assert_eq!(diff["networks"][0]["channels"], 5328, "{other}");
        assert_eq!(diff["tensors"]["equal"], 262, "{other}");
        ok(&["diff", "--exit-code", text(&model), text(&fixture(other))]);
    }
}

#[test]
fn weights_in_another_type_are_different_even_where_the_numbers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, dtype: &str, gamma: Vec<u8>| {
        let file = dir.path().join(name);
        let rest = f32s(&[0.0, 1.0]);
        let tensors = [
            ("bn.weight", dtype, &[2_u64][..], gamma),
            ("bn.running_mean", "F32", &[2], rest.clone()),
            ("bn.running_var", "F32", &[2], rest),
        ];
        fs::write(&file, safetensors_file(&tensors)).unwrap();
        file
    };
    let single = file("a.safetensors", "F32", f32s(&[0.5, 1.0]));
    let double = [0.5_f64, 1.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let double = file("b.safetensors", "F64", double);
    let diff = diff_json(&single, &double);
    assert_eq!(
        (&diff["equal"], &diff["networks"][0]["moved"]),
        (&json!(false), &json!(0))
    );
    let shown = ok(&["diff", text(&single), text(&double)]);
    assert!(
        shown.contains("γ of 1 layers are F32 in A, F64 in B"),
        "{shown}"
    );
}

#[test]
fn a_regeneration_is_recognised_and_counted_as_its_plan_has_it() {
    for (file, rule, scope) in [
        ("model.safetensors", "paper", "network"),
        ("model.safetensors", "reference", "network"),
        ("model.safetensors", "keep-sign", "network"),
        ("model.safetensors", "reference", "layer"),
        ("model.bf16.safetensors", "paper", "network"),
        ("model.pth", "keep-sign", "layer"),
        ("preserve.onnx", "paper", "network"),
    ] {
        let original = fixture(file);
        let (_dir, copy) = copy_of(&original);
        let args = [
            "apply",
            text(&copy),
            "--rule",
            rule,
            "--scope",
            scope,
            "--json",
        ];
        let applied = ok_json(&args);
        let diff = diff_json(&original, &copy);
        let network = &diff["networks"][0];
        let place = format!("{file} {rule} {scope}");
        assert_eq!(network["regeneration"]["rule"], rule, "{place}");
        assert_eq!(network["regeneration"]["scope"], scope, "{place}");
        assert_eq!(
            network["regeneration"]["threshold"], applied["threshold"],
            "{place}"
        );
        for field in ["moved", "regenerated"] {
            assert_eq!(network[field], applied["regenerated"], "{place} {field}");
        }
        assert_eq!(
            network["layers_changed"], applied["layers_touched"],
            "{place}"
        );
        let counts = |layers: &Value| -> Vec<(Value, Value)> {
            let layers = layers.as_array().unwrap().iter();
            layers
                .map(|l| (l["name"].clone(), l["regenerated"].clone()))
                .collect()
        };
        assert_eq!(
            counts(&network["layers"]),
            counts(&applied["layers"]),
            "{place}"
        );
        assert_eq!(diff["tensors"]["changed"], json!([]), "{place}");
        ok(&["undo", text(&copy)]);
        assert_eq!(diff_json(&original, &copy)["equal"], true, "{place}");
    }
}

#[test]
fn one_more_changed_channel_is_no_regeneration() {
    let before: &[f32] = &[0.001, 0.1, 0.4, 0.5, 0.8];
    let lifted: &[f32] = &[0.4, 0.4, 0.4, 0.5, 0.8];
    let (_dir, a, b) = two(&[("bn", before)], &[("bn", lifted)]);
    assert_eq!(
        diff_json(&a, &b)["networks"][0]["regeneration"]["rule"],
        "paper"
    );
    let (_dir, a, b) = two(&[("bn", before)], &[("bn", &[0.4, 0.4, 0.4, 0.5, 0.9])]);
    let network = &diff_json(&a, &b)["networks"][0];
    assert_eq!(network["regeneration"], Value::Null);
    // Still: two of them rose from at or below the median to it or above it.
    assert_eq!(
        (&network["moved"], &network["regenerated"]),
        (&json!(3), &json!(2))
    );
}

#[test]
fn every_move_of_a_channel_is_counted_under_its_kind() {
    let before: &[f32] = &[0.001, -0.002, 0.5, 0.6, 0.7, f32::NAN];
    let after: &[f32] = &[0.3, -0.001, 0.002, 0.6, 0.9, f32::NAN];
    let (_dir, a, b) = two(
        &[("x", before), ("y", &[1.0])],
        &[("x", after), ("y", &[1.0])],
    );
    let diff = diff_json(&a, &b);
    let network = &diff["networks"][0];
    let layer = &network["layers"][0];
    for (field, count) in [
        ("channels", 6),
        ("moved", 4),
        ("rose", 3),
        ("fell", 1),
        ("died", 1),
        ("revived", 1),
    ] {
        assert_eq!(layer[field], count, "{field}");
    }
    let largest = &layer["largest"];
    assert_eq!(
        (&largest["channel"], &largest["from"]),
        (&json!(2), &json!(0.5))
    );
    assert_eq!(
        (&layer["a"]["inhibited"], &layer["b"]["non_finite"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        (&network["moved"], &network["layers_changed"]),
        (&json!(4), &json!(1))
    );
    let shown = ok(&["diff", text(&a), text(&b)]);
    assert!(shown.contains("\nx ") && !shown.contains("\ny "), "{shown}");
}

#[test]
fn layers_and_tensors_of_one_side_and_of_other_shapes_are_named() {
    let (_dir, a, b) = two(
        &[
            ("first", &[1.0, 2.0]),
            ("second", &[1.0]),
            ("third", &[1.0, 1.0]),
        ],
        &[
            ("first", &[1.0, 2.0]),
            ("second", &[1.0, 1.0]),
            ("fourth", &[1.0]),
        ],
    );
    let diff = diff_json(&a, &b);
    let network = &diff["networks"][0];
    assert_eq!(
        network["only_in_a"],
        json!([{"name": "third", "channels": 2}])
    );
    assert_eq!(
        network["only_in_b"],
        json!([{"name": "fourth", "channels": 1}])
    );
    assert_eq!(network["incompatible"][0]["name"], "second");
    assert_eq!(diff["tensors"]["equal"], 3);
    let kinds = diff["tensors"]["incompatible"].as_array().unwrap();
    let kinds = kinds.iter().find(|t| t["name"] == "second.weight").unwrap();
    assert_eq!(
        (&kinds["a"], &kinds["b"]),
        (&json!("F32 [1]"), &json!("F32 [2]"))
    );
    let shown = ok(&["diff", text(&a), text(&b)]);
    for line in [
        "only in A: third (2 channels)",
        "only in B: fourth (1 channels)",
        "not comparable: second: 1 channels in A, 2 in B",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn a_changed_tensor_that_is_no_gamma_is_found_unless_only_gamma_are_compared() {
    let (dir, file) = copy_of(&fixture("model.safetensors"));
    let changed = dir.path().join("changed.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    // The first byte behind the header: that of a batch counter.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let diff = diff_json(&file, &changed);
    assert_eq!(
        (&diff["equal"], &diff["networks"][0]["moved"]),
        (&json!(false), &json!(0))
    );
    let names = diff["tensors"]["changed"].as_array().unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(diff["tensors"]["equal"], 261);
    let both = ["diff", text(&file), text(&changed), "--exit-code"];
    assert_eq!(run(&both).status.code(), Some(1));
    let gamma_only = ok_json(&[&both[..], &["--gamma-only", "--json"]].concat());
    assert_eq!(
        (&gamma_only["equal"], &gamma_only["tensors"]),
        (&json!(true), &Value::Null)
    );
}

#[test]
fn what_an_optimizer_keeps_is_compared_too() {
    let (_dir, file) = copy_of(&fixture("training.pth"));
    ok(&["apply", text(&file), "--optimizer", "reset"]);
    let diff = diff_json(&fixture("training.pth"), &file);
    assert_eq!(diff["networks"][0]["regeneration"]["rule"], "paper");
    assert_eq!(diff["networks"][1]["root_a"], "model_ema");
    assert_eq!(diff["networks"][1]["moved"], 0);
    let changed = diff["tensors"]["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 42);
    assert!(changed.iter().all(|tensor| tensor["root"] == "(optimizer)"));
}

#[test]
fn the_exit_code_tells_equal_from_different_from_trouble_only_when_asked() {
    let (_dir, a, b) = two(&[("bn", &[1.0])], &[("bn", &[2.0])]);
    let code = |args: &[&str]| run(args).status.code();
    assert_eq!(code(&["diff", text(&a), text(&b)]), Some(0));
    assert_eq!(code(&["diff", "--exit-code", text(&a), text(&b)]), Some(1));
    assert_eq!(code(&["diff", "--exit-code", text(&a), text(&a)]), Some(0));
    // Also where the layers that differ are not shown.
    let (_dir, a, b) = two(
        &[("x", &[1.0]), ("y", &[1.0])],
        &[("x", &[1.0]), ("y", &[2.0])],
    );
    assert_eq!(
        code(&["diff", "--exit-code", text(&a), text(&b), "--layer", "x"]),
        Some(1)
    );
    assert_eq!(code(&["diff", text(&a), "missing"]), Some(1));
    assert_eq!(code(&["diff", "--exit-code", text(&a), "missing"]), Some(2));
    assert_eq!(code(&["diff", text(&a)]), Some(2));
}

#[test]
fn a_file_without_batchnorm_is_named() {
    let message = fails(
        1,
        &[
            "diff",
            text(&fixture("model.pth")),
            text(&fixture("folded.onnx")),
        ],
    );
    assert!(
        message.contains("folded.onnx: has convolutions and no BatchNormalization"),
        "{message}"
    );
    let message = fails(
        1,
        &[
            "diff",
            text(&fixture("missing")),
            text(&fixture("model.pth")),
        ],
    );
    assert!(message.contains("missing: cannot open"), "{message}");
}

#[test]
fn a_pattern_that_no_layer_matches_is_an_error() {
    let file = fixture("model.safetensors");
    let message = fails(
        1,
        &["diff", text(&file), text(&file), "--layer", "nonesuch"],
    );
    assert!(message.contains("none whose name matches"), "{message}");
}

#[test]
fn the_page_holds_the_json_and_loads_nothing() {
    let name = "</script><img src=x onerror=alert(1)>";
    let (dir, a, b) = two(&[(name, &[0.001, 0.2])], &[(name, &[0.3, 0.2])]);
    let file = dir.path().join("r.html");
    let json = ok_json(&["diff", text(&a), text(&b), "--json", "--html", text(&file)]);
    let page = fs::read_to_string(&file).unwrap();
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap();
    let data: Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data, json);
    let outside = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    assert!(!outside.contains("://") && !page.contains("<img"));
    let message = fails(2, &["diff", text(&a), text(&b), "--html", text(&b)]);
    assert!(message.contains("is the checkpoint itself"), "{message}");
}

#[test]
fn the_table_at_80_and_at_200_columns() {
    let save = |epoch: &str| repository(FIXTURE).join(format!("series/epoch-{epoch}.safetensors"));
    let options = DiffOptions::default();
    let mut diff = compare(&save("012"), &save("025"), &options, &|_, _| {
        ControlFlow::Continue(())
    })
    .unwrap();
    (diff.a.path, diff.b.path) = ("a.safetensors".into(), "b.safetensors".into());
    for width in [80, 200] {
        let mut table = Vec::new();
        Terminal { width }.render(&diff, &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        let plain = anstream::adapter::strip_str(&table).to_string();
        let too_wide = plain.lines().find(|line| line.chars().count() > width);
        assert_eq!(too_wide, None);
        snapshot(&format!("diff-{width}.txt"), &plain);
    }
}

#[test]
fn a_filter_leaves_the_count_of_equal_layers_that_of_all() {
    let file = fixture("model.safetensors");
    let shown = ok(&["diff", text(&file), text(&file), "--layer", "features.18"]);
    let whole = "all 5328 γ are equal, in 52 BatchNorm layers";
    assert!(shown.contains(whole), "{shown}");
}

#[test]
fn a_filter_finds_a_layer_that_cannot_be_compared() {
    let (_dir, a, b) = two(&[("bn", &[1.0])], &[("bn", &[1.0, 2.0])]);
    let shown = ok(&["diff", text(&a), text(&b), "--layer", "^bn$"]);
    let reason = "not comparable: bn: 1 channels in A, 2 in B";
    assert!(shown.contains(reason), "{shown}");
}

#[test]
fn the_exit_code_does_not_depend_on_anyone_reading_the_output() {
    let (_dir, a, b) = two(&[("bn", &[1.0])], &[("bn", &[2.0])]);
    for (other, expected) in [(&a, 0), (&b, 1)] {
        let mut child = command(&["diff", "--exit-code", text(&a), text(other)])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(expected));
        assert_eq!(stderr(&output), "");
    }
}
