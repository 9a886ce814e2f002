//! γ that cannot be edited, and files without any.

use crate::sandbox::*;

/// The network with one γ replaced.
fn with_gamma(channel: usize, value: f32) -> Dir {
    let mut entries = network();
    let gamma = entries
        .iter_mut()
        .find(|(name, ..)| name == "bn2.weight")
        .unwrap();
    gamma.3[channel * 4..][..4].copy_from_slice(&value.to_le_bytes());
    Dir::with_model(&safetensors(&entries))
}

/// A network whose second layer has γ of this type, which has one byte an element.
fn with_bytes(dtype: &'static str) -> Dir {
    let mut entries = network();
    let gamma = entries
        .iter_mut()
        .find(|(name, ..)| name == "bn2.weight")
        .unwrap();
    (gamma.1, gamma.3) = (dtype, vec![0x38; 6]);
    Dir::with_model(&safetensors(&entries))
}

fn apply_names_the_channel(value: f32, shown: &str) {
    let dir = with_gamma(3, value);
    for args in [
        &["apply", MODEL][..],
        &["apply", MODEL, "--in-place"],
        &[
            "apply",
            MODEL,
            "--rule",
            "keep-sign",
            "--keep-zeros",
            "--scope",
            "layer",
        ],
        &["apply", MODEL, "--below", "0.1", "--to", "1"],
        &["apply", MODEL, "--plan-out", "plan.json"],
        &["apply", MODEL, "-o", "out.safetensors"],
    ] {
        let message = [MODEL, "bn2.weight", "expected finite γ", "channel 3", shown];
        dir.refuses(args, 1, &message);
    }
}

fn inspect_counts_it(value: f32) {
    let dir = with_gamma(3, value);
    let report = dir.succeeds(&["inspect", MODEL, "--json"]).json();
    let network = &report["networks"][0];
    assert_eq!(network["non_finite"], 1);
    assert_eq!(network["channels"], 10);
    assert_eq!(network["layers"][0]["non_finite"], 0);
    assert_eq!(network["layers"][1]["non_finite"], 1);
    assert_eq!(network["layers"][1]["max"], 3.0);
    assert_eq!(network["layers"][1]["min"], -0.125);
    dir.succeeds(&["inspect", MODEL]);
}

#[test]
fn apply_refuses_a_nan_and_names_tensor_and_channel() {
    apply_names_the_channel(f32::NAN, "NaN");
}

#[test]
fn apply_refuses_an_infinity_and_names_tensor_and_channel() {
    apply_names_the_channel(f32::INFINITY, "inf");
    apply_names_the_channel(f32::NEG_INFINITY, "-inf");
}

#[test]
fn inspect_counts_a_nan_and_takes_statistics_over_the_others() {
    inspect_counts_it(f32::NAN);
}

#[test]
fn inspect_counts_an_infinity_and_takes_statistics_over_the_others() {
    inspect_counts_it(f32::INFINITY);
    inspect_counts_it(f32::NEG_INFINITY);
}

#[test]
fn inspect_shows_a_network_without_one_finite_gamma() {
    let dir = Dir::with_model(&safetensors(&batchnorm("bn", &[f32::NAN, f32::INFINITY])));
    let report = dir.succeeds(&["inspect", MODEL, "--json"]).json();
    assert_eq!(report["networks"][0]["non_finite"], 2);
    assert!(report["networks"][0]["median"].is_null());
    dir.succeeds(&["inspect", MODEL]);
}

#[test]
fn a_nan_in_a_layer_that_is_left_out_does_not_matter() {
    let dir = with_gamma(3, f32::NAN);
    dir.succeeds(&["apply", MODEL, "--exclude", "bn2"]);
}

#[test]
fn apply_refuses_fp8_gamma_and_names_the_tensor() {
    for dtype in ["F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ"] {
        let dir = with_bytes(dtype);
        let message = [MODEL, "bn2.weight", dtype, "cannot be edited"];
        dir.refuses(&["apply", MODEL], 1, &message);
        dir.refuses(&["apply", MODEL, "--in-place"], 1, &message);
        dir.refuses(&["apply", MODEL, "--dry-run"], 1, &message);
    }
}

#[test]
fn inspect_lists_fp8_gamma_as_not_editable_with_a_reason() {
    let dir = with_bytes("F8_E4M3");
    let report = dir.succeeds(&["inspect", MODEL, "--json"]).json();
    let layers = &report["networks"][0]["layers"];
    assert_eq!(layers[0]["editable"], true);
    assert_eq!(layers[1]["editable"], false);
    assert_eq!(layers[1]["channels"], 6);
    let reason = layers[1]["reason"].as_str().unwrap();
    assert!(reason.contains("F8_E4M3"), "{reason}");
    dir.succeeds(&["inspect", MODEL]);
}

#[test]
fn fp8_gamma_that_are_left_out_do_not_stop_the_others() {
    let dir = with_bytes("F8_E4M3");
    let before = dir.read(MODEL);
    dir.succeeds(&["apply", MODEL, "--exclude", "bn2"]);
    assert_ne!(dir.read(MODEL), before);
    dir.succeeds(&["undo", MODEL]);
    assert_eq!(dir.read(MODEL), before);
}

#[test]
fn gamma_and_statistics_of_different_lengths_are_refused() {
    for short in ["running_mean", "running_var"] {
        let mut entries = network();
        let name = format!("bn1.{short}");
        let statistic = entries.iter_mut().find(|(n, ..)| *n == name).unwrap();
        *statistic = f32s(name, &[1.0; 3]);
        let dir = Dir::with_model(&safetensors(&entries));
        let expected = format!("expected as many channels as in bn1.{short}, of shape [3]");
        let message = [MODEL, "bn1.weight: ", &expected, "found shape [4]"];
        dir.refuses(&["inspect", MODEL], 1, &message);
        dir.refuses(&["apply", MODEL], 1, &message);
        dir.refuses(&["schema", MODEL], 1, &message);
    }
}

#[test]
fn explain_points_at_gamma_and_statistics_of_different_lengths() {
    let mut entries = batchnorm("bn", &[1.0, 2.0]);
    entries[2] = f32s("bn.running_mean", &[0.0; 3]);
    let dir = Dir::with_model(&safetensors(&entries));
    let stdout = dir.succeeds(&["inspect", MODEL, "--explain"]).stdout;
    let line = stdout
        .lines()
        .find(|line| line.contains("bn.weight"))
        .unwrap();
    assert!(line.starts_with('-') && line.contains("damaged"), "{line}");
}

#[test]
fn without_batchnorm_it_says_what_was_looked_for_and_what_is_there() {
    let layer_norm = [
        f32s("norm.weight", &[1.0; 4]),
        f32s("norm.bias", &[0.0; 4]),
        ("fc.weight".to_owned(), "F32", vec![2, 2], vec![0; 16]),
    ];
    let dir = Dir::with_model(&safetensors(&layer_norm));
    let looked_for = [
        "BatchNorm",
        "γ",
        "running_mean",
        "running_var",
        "moving_variance",
    ];
    let there = [
        "3 tensors, 2 of them one-dimensional",
        "norm.weight",
        "fc.weight",
        "--explain",
    ];
    let message = [&[MODEL, "expected", "found"][..], &looked_for, &there].concat();
    dir.refuses(&["inspect", MODEL], 1, &message);
    dir.refuses(&["inspect", MODEL, "--json"], 1, &message);
    dir.refuses(&["apply", MODEL], 1, &message);
    dir.refuses(&["apply", MODEL, "-o", "out.safetensors"], 1, &message);
}

#[test]
fn a_file_without_any_tensor_has_no_batchnorm() {
    let dir = Dir::with_model(&safetensors(&[]));
    dir.refuses(
        &["inspect", MODEL],
        1,
        &[MODEL, "expected", "found 0 tensors"],
    );
    dir.refuses(
        &["apply", MODEL],
        1,
        &[MODEL, "expected", "found 0 tensors"],
    );
}

#[test]
fn several_raw_networks_are_refused_and_listed() {
    let mut entries = batchnorm("bn", &[1.0, 2.0]);
    entries.extend(batchnorm("other.bn", &[3.0, 4.0]));
    let dir = Dir::with_model(&safetensors(&entries));
    let schema = "version = 1\n[[network]]\nprefix = 'other.'\nrole = 'raw'\n";
    dir.write("s.toml", schema.as_bytes());
    let message = [
        MODEL,
        "several networks",
        r#""" (raw"#,
        r#""other" (raw"#,
        "--root",
    ];
    let apply = ["apply", MODEL, "--schema", "s.toml"];
    dir.refuses(&apply, 1, &message);
    dir.succeeds(&[&apply[..], &["--root", "other"]].concat());
}

/// What `apply` makes of `before`, tensor by tensor: either it refuses, or exactly the γ at or
/// below the median of `gammas` have changed.
fn regenerated_or_refused(before: &[Entry], gammas: &[&str], median: f32) {
    let dir = Dir::with_model(&safetensors(before));
    let outcome = dir.run(&["apply", MODEL]);
    if outcome.code != Some(0) {
        assert_clean_error(&outcome, &["apply", MODEL], 1, &[MODEL]);
        assert_eq!(dir.names(), [MODEL]);
        assert_eq!(dir.read(MODEL), safetensors(before));
        return;
    }
    let mut expected = before.to_vec();
    for (name, _, _, bytes) in &mut expected {
        if gammas.contains(&&name[..]) {
            for value in bytes.as_chunks_mut::<4>().0 {
                let lifted = f32::from_le_bytes(*value).max(median);
                *value = lifted.to_le_bytes();
            }
        }
    }
    assert!(dir.read(MODEL) == safetensors(&expected), "{outcome:?}");
    dir.succeeds(&["undo", MODEL]);
    assert!(dir.read(MODEL) == safetensors(before));
}

#[test]
fn two_layers_of_one_name_and_different_lengths_are_not_confused() {
    let mut entries = batchnorm("a", &[4.0, 5.0]);
    for mut tensor in batchnorm("a", &[1.0, 2.0, 3.0, 6.0, 0.5]) {
        tensor.0 = tensor.0.replace('.', "/");
        entries.push(tensor);
    }
    regenerated_or_refused(&entries, &["a.weight", "a/weight"], 3.0);
}

#[test]
fn two_gamma_with_the_same_statistics_are_not_confused() {
    let mut entries = batchnorm("a", &[4.0, 0.25, 5.0]);
    entries.push(f32s("a.gamma", &[0.5, 3.0, 0.125]));
    regenerated_or_refused(&entries, &["a.weight", "a.gamma"], 0.5);
}
