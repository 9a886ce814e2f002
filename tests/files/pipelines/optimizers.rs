//! What the optimizer keeps for regenerated channels.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::common::*;

/// The directory of a run: one layer of four channels with γ 0.1 to 0.4, another of two.
fn with_optimizer(slots: &[(&str, &[f32], &[f32])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let weights = network(&[("a", &[0.1, 0.2, 0.3, 0.4]), ("b", &[0.05, 0.01])]);
    fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    let (four, two) = ([4_u64], [2_u64]);
    let names: Vec<[String; 2]> = slots
        .iter()
        .map(|(slot, ..)| ["a", "b"].map(|layer| format!("{layer}.weight.{slot}")))
        .collect();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for ((_, a, b), [in_a, in_b]) in slots.iter().zip(&names) {
        entries.push((in_a, "F32", &four, f32s(a)));
        entries.push((in_b, "F32", &two, f32s(b)));
    }
    fs::write(
        dir.path().join("optimizer.safetensors"),
        safetensors_file(&entries),
    )
    .unwrap();
    let state = json!({"written_by": "ckpt-regen 0.1.0", "epoch": 5});
    fs::write(dir.path().join("state.json"), state.to_string()).unwrap();
    dir
}

/// What is kept for γ of `layer` afterwards.
fn kept(dir: &TempDir, layer: &str, slot: &str) -> Vec<f64> {
    let path = dir.path().join("optimizer.safetensors");
    let checkpoint = ckpt_regen::Checkpoint::open(&path).unwrap();
    let tensors = &checkpoint.dicts()[0].tensors;
    let name = format!("{layer}.weight.{slot}");
    let tensor = tensors.iter().find(|t| t.name == name).unwrap();
    tensor.dtype.decode(&checkpoint.read(tensor).unwrap())
}

#[test]
fn second_moments_become_the_median_of_the_others_and_first_ones_0() {
    // The threshold is 0.2: both of b and the first of a are regenerated.
    let dir = with_optimizer(&[
        ("exp_avg", &[0.5, 1.0, 2.0, 3.0], &[4.0, 5.0]),
        ("exp_avg_sq", &[0.5, 4.0, 2.0, 3.0], &[0.25, 8.0]),
        ("square_avg", &[9.0, 4.0, 2.0, 3.0], &[0.0, 0.0]),
    ]);
    let before = state(dir.path());
    let args = [
        "apply",
        text(dir.path()),
        "--below",
        "quantile:0.5",
        "--optimizer",
        "reset",
    ];
    ok(&args);
    assert_eq!(kept(&dir, "a", "exp_avg"), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(kept(&dir, "b", "exp_avg"), [0.0, 0.0]);
    assert_eq!(kept(&dir, "a", "exp_avg_sq"), [3.0, 4.0, 2.0, 3.0]);
    assert_eq!(kept(&dir, "b", "exp_avg_sq"), [3.0, 8.0]);
    assert_eq!(kept(&dir, "a", "square_avg"), [9.0, 4.0, 2.0, 3.0]);
    assert_eq!(kept(&dir, "b", "square_avg"), [3.0, 3.0]);
    ok(&["undo", text(dir.path())]);
    assert_eq!(state(dir.path()), before);
}

#[test]
fn what_an_optimizer_keeps_and_is_not_known_is_named() {
    let dir = with_optimizer(&[("exp_avg_sq_row", &[0.5; 4], &[0.5; 2])]);
    let before = state(dir.path());
    let said = fails(1, &["apply", text(dir.path()), "--optimizer", "reset"]);
    assert!(said.contains("a.weight.exp_avg_sq_row"), "{said}");
    assert_eq!(state(dir.path()), before);
}

/// The optimizer of `fixtures/trainer`, whose parameters have positions only.
#[test]
fn a_named_order_of_parameters_resets_the_same_slots_as_the_one_that_is_found() {
    let reset = |order: Option<&str>| {
        let dir = copy_of_dir(&repository("fixtures/trainer"));
        let mut args = vec!["apply", text(dir.path()), "--optimizer", "reset"];
        let file = dir.path().join("order.txt");
        if let Some(order) = order {
            fs::write(&file, order).unwrap();
            args.extend(["--param-order", text(&file)]);
        }
        let output = run(&args);
        let optimizer = fs::read(dir.path().join("optimizer.pt")).unwrap();
        (output.status.code(), optimizer, stderr(&output))
    };
    let before = fs::read(repository("fixtures/trainer/optimizer.pt")).unwrap();
    let found = reset(None);
    assert!(found.0 == Some(0) && found.1 != before, "{}", found.2);
    let checkpoint = ckpt_regen::Checkpoint::open(repository("fixtures/trainer")).unwrap();
    let is_buffer = |name: &str| name.contains("running_") || name.ends_with("num_batches_tracked");
    let tensors = checkpoint.dicts()[0].tensors.iter();
    let names: Vec<&str> = tensors
        .map(|t| &t.name[..])
        .filter(|n| !is_buffer(n))
        .collect();
    let named = reset(Some(&names.join("\n")));
    assert_eq!(named.0, Some(0), "{}", named.2);
    assert!(named.1 == found.1);
    let mut twice = names.clone();
    twice[1] = twice[0];
    for (order, said) in [
        (names[1..].join("\n"), "names, and the optimizer"),
        (twice.join("\n"), "twice"),
        (
            names.join("\n").replace(names[0], "other"),
            "names a parameter other",
        ),
        (String::new(), "has 0 names"),
    ] {
        let refused = reset(Some(&order));
        assert_eq!(refused.0, Some(1), "{}", refused.2);
        assert!(
            refused.2.contains(said) && refused.1 == before,
            "{}",
            refused.2
        );
    }
}
