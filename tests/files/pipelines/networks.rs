//! Which network of a file is edited, and under which median.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{EIGHT, made};
use crate::common::*;

#[test]
fn a_teacher_behind_a_wrapper_is_left_alone() {
    let (_dir, file) = made(&[("module.student.bn", EIGHT), ("module.teacher.bn", EIGHT)]);
    let output = run(&["apply", text(&file), "--json"]);
    let applied: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&applied["counted"], &applied["regenerated"]),
        (&json!(8), &json!(3))
    );
    assert_eq!(gamma(&file, "module.teacher.bn")[1], f64::from(0.1_f32));
    assert_eq!(gamma(&file, "module.student.bn")[1], f64::from(0.4_f32));
}

#[test]
fn what_an_averaged_model_counts_is_left_alone_whatever_it_is_called() {
    for (names, root) in [
        (["net.bn", "averaged.module.bn"], "averaged"),
        (["net.bn", "smooth.module.bn"], "smooth"),
    ] {
        let mut tensors: Vec<(String, Vec<f32>)> = Vec::new();
        for name in names {
            tensors.push((format!("{name}.weight"), EIGHT.to_vec()));
            tensors.push((format!("{name}.running_mean"), vec![0.0; 8]));
            tensors.push((format!("{name}.running_var"), vec![1.0; 8]));
        }
        let counter = format!("{root}.n_averaged");
        let shape = [8_u64];
        let mut entries: Vec<Entry<'_>> = tensors
            .iter()
            .map(|(name, values)| (&name[..], "F32", &shape[..], f32s(values)))
            .collect();
        entries.push((&counter, "I64", &[], 5_i64.to_le_bytes().to_vec()));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.safetensors");
        fs::write(&file, safetensors_file(&entries)).unwrap();
        let report = ok_json(&["inspect", text(&file), "--json"]);
        let networks = report["networks"].as_array().unwrap();
        let found: Vec<_> = networks.iter().map(|n| (&n["root"], &n["role"])).collect();
        assert_eq!(
            found,
            [(&json!(""), &json!("raw")), (&json!(root), &json!("ema"))]
        );
        assert_eq!(ok_json(&["apply", text(&file), "--json"])["counted"], 8);
    }
}

/// A generator of two layers with large γ, a discriminator of two with small ones.
fn gan() -> (TempDir, PathBuf) {
    made(&[
        ("generator.a", &[1.0, 2.0]),
        ("generator.b", &[3.0, 4.0]),
        ("discriminator.a", &[0.1, 0.2]),
        ("discriminator.b", &[0.3, 0.4]),
    ])
}

#[test]
fn two_networks_under_one_median_are_named() {
    let (_dir, file) = gan();
    let line = "one median for: discriminator (2 layers), generator (2)";
    for args in [
        &["inspect", text(&file)][..],
        &["apply", text(&file), "--dry-run"],
    ] {
        let shown = ok(args);
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
    let shown = ok(&["apply", text(&file), "--dry-run", "--each"]);
    assert!(!shown.contains("one median"), "{shown}");
}

#[test]
fn each_module_has_its_own_median() {
    let (_dir, file) = gan();
    let applied = ok_json(&["apply", text(&file), "--each", "--json"]);
    assert!(applied["threshold"].is_null() && applied["target"].is_null());
    let thresholds: Vec<f64> = applied["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["threshold"].as_f64().unwrap())
        .collect();
    let small = f64::from(0.2_f32);
    assert_eq!(thresholds, [small, small, 2.0, 2.0]);
    assert_eq!(applied["regenerated"], 2);
    // Twice is once.
    assert_eq!(
        ok_json(&["apply", text(&file), "--each", "--json"])["regenerated"],
        0
    );
    let scope = fails(2, &["apply", text(&file), "--each", "--scope", "layer"]);
    assert!(scope.contains("cannot be used with"), "{scope}");
}

#[test]
fn a_prefix_of_names_is_a_root() {
    let (dir, file) = gan();
    let original = state(dir.path());
    let plan = dir.path().join("plan.json");
    let output = run(&[
        "apply",
        text(&file),
        "--root",
        "generator.",
        "--plan-out",
        text(&plan),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("2 other layers of the network are left"),
        "{said}"
    );
    assert_eq!(gamma(&file, "generator.a"), [2.0, 2.0]);
    assert_eq!(gamma(&file, "discriminator.a")[0], f64::from(0.1_f32));
    ok(&["undo", text(&file)]);
    assert_eq!(fs::read(&file).unwrap(), original["m.safetensors"]);
    // The plan is for that part.
    ok(&["apply", text(&file), "--plan", text(&plan)]);
    assert_eq!(gamma(&file, "generator.a"), [2.0, 2.0]);
}

#[test]
fn the_report_of_an_edit_of_a_part_is_of_that_part() {
    let (dir, file) = gan();
    let page = dir.path().join("r.html");
    ok(&[
        "apply",
        text(&file),
        "--root",
        "generator",
        "--report",
        text(&page),
    ]);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("generator.a") && !page.contains("discriminator.a"));
}

#[test]
fn the_schema_of_averages_under_several_names_finds_them_again() {
    let layers = [
        "encoder.bn",
        "decoder.bn",
        "encoder_ema.bn",
        "decoder_ema.bn",
    ];
    let (dir, file) = made(&layers.map(|name| (name, EIGHT)));
    let schema = dir.path().join("s.toml");
    fs::write(&schema, ok(&["schema", text(&file)])).unwrap();
    let applied =
        |args: &[&str]| ok_json(&[&["apply", text(&file), "--dry-run", "--json"], args].concat());
    assert_eq!(applied(&[])["counted"], 16);
    assert_eq!(applied(&["--schema", text(&schema)])["counted"], 16);
}

#[test]
fn a_prefix_that_holds_a_network_and_its_average_means_the_one_in_training() {
    let (_dir, file) = made(&[
        ("module.net.bn", EIGHT),
        ("module.net_ema.bn", EIGHT),
        ("other.bn", EIGHT),
        ("other.bn2", EIGHT),
    ]);
    let applied = ok_json(&["apply", text(&file), "--root", "module", "--json"]);
    assert_eq!(
        (&applied["root"], &applied["counted"]),
        (&json!("module"), &json!(8))
    );
    assert_eq!(gamma(&file, "module.net_ema.bn")[1], f64::from(0.1_f32));
    let applied = ok_json(&["apply", text(&file), "--root", "module.net_ema.", "--json"]);
    assert_eq!(applied["regenerated"], 3);
    ok(&["undo", text(&file)]);
    let applied = ok_json(&[
        "apply",
        text(&file),
        "--root",
        "module.net_ema.bn",
        "--json",
    ]);
    assert_eq!(applied["regenerated"], 3);
}
