//! What is recorded during training, and what is made of it: `report`, `ablate`, `compare`. With a
//! very small network on the digits that are built in.
#![cfg(feature = "train")]

mod common;

use std::fs;
use std::path::Path;

use common::*;

/// Seconds for a run: few updates of a very small network.
const TINY: [&str; 10] = [
    "--model",
    "mobilenet_v2",
    "--width",
    "0.1",
    "--data",
    "digits",
    "--batch-size",
    "512",
    "--epochs",
    "3",
];

fn train(out: &Path, more: &[&str]) -> String {
    ok(&[&["train", "--out", text(out)], &TINY[..], more].concat())
}

#[test]
fn a_run_that_died_and_goes_on_has_the_records_of_one_that_did_not() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    train(&whole, &["--record", "--regen-every", "1"]);
    let stop = ["--record", "--regen-every", "1", "--stop-after", "1"];
    train(&parts, &stop);
    // It died in the second epoch, after what is written before the checkpoint.
    let records = parts.join("records");
    fs::copy(
        records.join("epoch-1.safetensors"),
        records.join("epoch-2.safetensors"),
    )
    .unwrap();
    fs::write(records.join(".tmpA1b2C3"), b"a part").unwrap();
    ok(&["train", "--resume", text(&parts)]);
    let (whole, parts) = (state(&whole.join("records")), state(&records));
    assert_eq!(whole.len(), 3);
    assert!(whole == parts);
}

#[test]
fn records_hold_gamma_before_the_edit_and_gradients_of_the_layers_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let layer = "features.1.conv.0.1";
    let settings = ["--record", layer, "--epochs", "1"];
    let tiny: Vec<&str> = TINY[..8].to_vec();
    ok(&[&["train", "--out", text(&run)], &tiny[..], &settings].concat());
    let records = ckpt_regen::train::records(&run).unwrap();
    assert_eq!((records.len(), records[0].epoch), (1, 1));
    let recorded = |name: &str| {
        let mut layers = records[0].layers.iter();
        layers.find(|layer| layer.name == name).unwrap()
    };
    assert_eq!(records[0].layers[0].name, "features.0.1");
    assert_eq!(records[0].layers.len(), 52);
    assert_eq!(recorded("features.0.1").gradient, None);
    let gradient = recorded(layer).gradient.as_ref().unwrap();
    assert!(
        gradient.iter().all(|g| g.is_finite() && *g > 0.0),
        "{gradient:?}"
    );
    // No edit after the last epoch: γ are those of the checkpoint.
    let kept = gamma(&run.join("last/model.safetensors"), layer);
    let held: Vec<f64> = recorded(layer)
        .gamma
        .iter()
        .map(|g| f64::from(*g))
        .collect();
    assert_eq!(held, kept);
}

#[test]
fn recording_changes_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (with, without) = (dir.path().join("with"), dir.path().join("without"));
    train(&with, &["--record", "--stop-after", "1"]);
    train(&without, &["--stop-after", "1"]);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |run: &Path| fs::read(run.join("last").join(file)).unwrap();
        assert!(read(&with) == read(&without), "{file}");
    }
    assert!(!without.join("records").exists());
}

#[test]
fn a_layer_to_record_that_is_not_there_is_refused_with_near_names() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let said = fails(
        2,
        &[
            &["train", "--out", text(&run)],
            &TINY[..],
            &["--record", "features.1.conv.9"],
        ]
        .concat(),
    );
    assert!(
        said.contains(
            "--record features.1.conv.9: no such BatchNorm layer; did you mean features.1.conv.2"
        ),
        "{said}"
    );
    assert!(!run.exists());
}
