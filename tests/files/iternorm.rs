//! Checkpoints with IterNorm: its γ are shown, and regenerated only when asked for.

use std::fs;

use crate::common::*;

/// A checkpoint with a layer of BatchNorm, if any, and two of IterNorm, of four channels in groups of two.
fn checkpoint(with_batch_norm: bool) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    let gammas = [
        ("a.itn", [0.0, 0.2, 0.4, 0.6]),
        ("b.itn", [0.1, 0.3, 0.5, 0.7]),
    ];
    let mut tensors: Vec<(String, Vec<u64>, Vec<f32>)> = Vec::new();
    let mut add = |name: String, shape: &[u64], values: &[f32]| {
        tensors.push((name, shape.to_vec(), values.to_vec()));
    };
    for (layer, gamma) in gammas {
        add(format!("{layer}.weight"), &[1, 4, 1, 1], &gamma);
        add(format!("{layer}.bias"), &[1, 4, 1, 1], &[0.0; 4]);
        add(format!("{layer}.running_mean"), &[2, 2, 1], &[0.5; 4]);
        add(
            format!("{layer}.running_wm"),
            &[2, 2, 2],
            &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0],
        );
    }
    if with_batch_norm {
        add("c.bn.weight".to_owned(), &[3], &[0.1, 0.8, 0.9]);
        add("c.bn.bias".to_owned(), &[3], &[0.0; 3]);
        add("c.bn.running_mean".to_owned(), &[3], &[0.5; 3]);
        add("c.bn.running_var".to_owned(), &[3], &[2.0; 3]);
    }
    // A convolution with one filter has the shape of such a γ.
    add("conv.weight".to_owned(), &[1, 4, 1, 1], &[0.0; 4]);
    let entries = tensors
        .iter()
        .map(|(name, shape, values)| (&name[..], "F32", &shape[..], f32s(values)));
    fs::write(&file, safetensors_file(&entries.collect::<Vec<_>>())).unwrap();
    (dir, file)
}

#[test]
fn iternorm_is_shown_and_explained() {
    let (_dir, file) = checkpoint(true);
    let shown = ok(&["inspect", text(&file)]);
    assert!(
        shown.contains("1 BatchNorm layers, 2 IterNorm layers, 11 channels"),
        "{shown}"
    );
    assert!(
        shown.contains("a.itn") && shown.contains("only when they are asked for"),
        "{shown}"
    );
    let json = ok_json(&["inspect", text(&file), "--json"]);
    let layers = json["networks"][0]["layers"].as_array().unwrap();
    let kinds: Vec<_> = layers
        .iter()
        .map(|layer| layer["norm"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["IterNorm", "IterNorm", "BatchNorm"]);
    // What a rule would change is of BatchNorm alone.
    assert_eq!(json["networks"][0]["rules"]["paper"]["selected"], 2);
    let explained = ok(&["inspect", text(&file), "--explain"]);
    let line = explained
        .lines()
        .find(|line| line.contains("a.itn.weight"))
        .unwrap();
    assert!(
        line.starts_with('γ') && line.contains("regenerated only when asked for"),
        "{line}"
    );
    let line = explained
        .lines()
        .find(|line| line.contains("conv.weight"))
        .unwrap();
    assert!(line.starts_with('-'), "{line}");
}

#[test]
fn apply_leaves_iternorm_alone_unless_it_is_asked_for() {
    let (_dir, file) = checkpoint(true);
    let before = gamma(&file, "a.itn");
    let output = run(&["apply", text(&file), "--json"]);
    let applied: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (applied["counted"].as_u64(), applied["regenerated"].as_u64()),
        (Some(3), Some(1))
    );
    assert_eq!(gamma(&file, "a.itn"), before);
    let said = stderr(&run(&["apply", text(&file)]));
    assert!(
        said.contains("2 layers of IterNorm, 8 channels, are left alone"),
        "{said}"
    );
    ok(&["undo", text(&file)]);

    let applied = ok_json(&["apply", text(&file), "--iternorm", "--json"]);
    assert_eq!(applied["counted"], 11);
    let threshold = applied["threshold"].as_f64().unwrap();
    assert!(
        gamma(&file, "a.itn")
            .iter()
            .all(|gamma| *gamma >= threshold)
    );
    ok(&["undo", text(&file)]);
    assert_eq!(gamma(&file, "a.itn"), before);
}

#[test]
fn of_iternorm_alone_an_edit_is_refused_with_the_reason_and_the_option() {
    let (_dir, file) = checkpoint(false);
    let said = fails(2, &["apply", text(&file)]);
    assert!(
        said.contains("--iternorm") && said.contains("gets gradients by them"),
        "{said}"
    );
    let named = fails(2, &["apply", text(&file), "--include", "a.itn"]);
    assert!(named.contains("--iternorm"), "{named}");
    assert_eq!(
        ok_json(&["apply", text(&file), "--iternorm", "--json"])["counted"],
        8
    );
    // A schema that is printed finds the same.
    let schema = file.with_file_name("schema.toml");
    fs::write(&schema, ok(&["schema", text(&file)])).unwrap();
    let json = ok_json(&["inspect", text(&file), "--schema", text(&schema), "--json"]);
    assert_eq!(json["networks"][0]["channels"], 8);
}

#[test]
fn prune_leaves_iternorm_alone_with_the_reason_and_names_no_option() {
    let (_dir, file) = checkpoint(true);
    let before = fs::read(&file).unwrap();
    let arguments = ["prune", text(&file), "--ratio", "0.5"];
    let said = fails(1, &[&arguments[..], &["--include", "itn$"]].concat());
    assert!(
        said.contains("only layers of IterNorm are to be edited"),
        "{said}"
    );
    assert!(said.contains("gets gradients by them"), "{said}");
    assert!(!said.contains("--iternorm"), "{said}");
    assert!(fs::read(&file).unwrap() == before);
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("2 layers of IterNorm, 8 channels, are left alone"),
        "{said}"
    );
    assert_eq!(gamma(&file, "c.bn")[..2], [0.0, 0.0]);
}
