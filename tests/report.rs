//! What is recorded during training, and what is made of it: `report`, `ablate`, `compare`. With a
//! very small network on the digits that are built in.
#![cfg(feature = "train")]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use serde_json::Value;

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

/// Two recorded runs that differ by regeneration.
fn two_runs(dir: &Path) -> [std::path::PathBuf; 2] {
    let runs = ["plain", "paper"].map(|name| dir.join(name));
    train(&runs[0], &["--record"]);
    train(&runs[1], &["--record", "--regen-every", "1"]);
    runs
}

#[test]
fn a_report_says_of_every_epoch_what_the_metrics_and_records_say() {
    let dir = tempfile::tempdir().unwrap();
    let [plain, paper] = two_runs(dir.path());
    let shown = ok_json(&["report", text(&plain), text(&paper), "--json"]);
    assert_eq!(shown["epochs"], serde_json::json!([1, 2, 3]));
    assert_eq!(shown["runs"][1]["name"], "paper");
    assert_eq!(shown["runs"][1]["regeneration"], "paper every 1");
    // Not after the last epoch.
    assert_eq!(shown["runs"][1]["regenerations"], serde_json::json!([1, 2]));
    assert_eq!(shown["runs"][0]["regeneration"], Value::Null);
    let records = ckpt_regen::train::records(&paper).unwrap();
    for (epoch, line) in fs::read_to_string(paper.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .enumerate()
    {
        let line: Value = serde_json::from_str(line).unwrap();
        for key in ["test_top1", "train_loss", "inhibited", "median_gamma"] {
            assert_eq!(shown["runs"][1][key][epoch], line[key], "{key}");
        }
        let bins = shown["runs"][1]["histogram"].as_array().unwrap();
        let counted: u64 = bins.iter().map(|bin| bin[epoch].as_u64().unwrap()).sum();
        let gammas: usize = records[epoch]
            .layers
            .iter()
            .map(|layer| layer.gamma.len())
            .sum();
        assert_eq!(counted, gammas as u64);
    }
    let layer = shown["gradients"]["layer"].as_str().unwrap();
    assert_eq!(layer, "features.0.1");
    let recorded = records[1].layers[0].gradient.as_ref().unwrap()[2];
    let said = shown["gradients"]["gradient"][1][2][1].as_f64().unwrap();
    assert!(
        (said - f64::from(recorded)).abs() <= 1e-3 * said,
        "{said} {recorded}"
    );

    let all = || records.iter().flat_map(|record| &record.layers);
    let trace = ok_json(&[
        "report",
        text(&paper),
        "--json",
        "--channel",
        "features.17.conv.3:5",
    ]);
    let gamma: Vec<f64> = all()
        .filter(|layer| layer.name == "features.17.conv.3")
        .map(|layer| f64::from(layer.gamma[5]))
        .collect();
    let told = trace["channels"][0]["gamma"][0].as_array().unwrap();
    for (gamma, told) in gamma.iter().zip(told) {
        assert!((gamma - told.as_f64().unwrap()).abs() < 1e-6);
    }
    assert_eq!(told.len(), 3);
}

#[test]
fn a_report_writes_a_page_and_prints_a_line_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let runs = two_runs(dir.path());
    let shown = command(&["report", "plain", "paper"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", stderr(&shown));
    let said = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("2, paper every 1"), "{said}");
    let page = dir.path().join("report.html");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>"));
    // Again, onto itself; but not onto something else.
    ok(&["report", text(&runs[0]), "--html", text(&page)]);
    let metrics = runs[0].join("metrics.jsonl");
    let said = fails(2, &["report", text(&runs[0]), "--html", text(&metrics)]);
    assert!(said.contains("there is a file that is no page"), "{said}");
}

#[test]
fn a_run_without_records_is_in_the_curves_and_says_how_to_record() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--stop-after", "1"]);
    let page = dir.path().join("r.html");
    let shown = run_of(&["report", text(&run), "--html", text(&page)]);
    assert!(
        stderr(&shown).contains("train --record does it"),
        "{}",
        stderr(&shown)
    );
    let said = fails(1, &["report", text(&run), "--layer", "features.0.1"]);
    assert!(
        said.contains("train --record does it, with --resume"),
        "{said}"
    );
    // From now on.
    ok(&[
        "train",
        "--resume",
        text(&run),
        "--record",
        "features.1.conv.0.1",
    ]);
    let shown = ok_json(&[
        "report",
        text(&run),
        "--json",
        "--layer",
        "features.1.conv.0.1",
    ]);
    let first = &shown["gradients"]["gradient"][0][0];
    assert!(first[0].is_null() && first[1].is_number(), "{first}");
    let said = fails(1, &["report", text(&run), "--layer", "features.0.1"]);
    assert!(
        said.contains("train --record features.0.1 does it"),
        "{said}"
    );
}

fn run_of(args: &[&str]) -> std::process::Output {
    let output = common::run(args);
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

#[test]
fn what_makes_no_sense_in_a_report_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (run, other) = (dir.path().join("run"), dir.path().join("other"));
    train(&run, &["--record"]);
    let resnet = [
        "--model",
        "resnet20",
        "--data",
        "digits",
        "--batch-size",
        "1024",
        "--epochs",
        "1",
    ];
    ok(&[&["train", "--record", "--out", text(&other)], &resnet[..]].concat());
    let said = fails(2, &["report", text(&run), "--layer", "features.0.2"]);
    assert!(said.contains("did you mean features.0.1"), "{said}");
    let said = fails(2, &["report", text(&run), "--channel", "features.0.1:99"]);
    assert!(said.contains("channels, counted from 0"), "{said}");
    let said = fails(
        2,
        &[
            "report",
            text(&run),
            text(&other),
            "--layer",
            "features.0.1",
        ],
    );
    assert!(
        said.contains("different networks (mobilenet_v2 and resnet20)"),
        "{said}"
    );
    // Their accuracies compare all the same.
    ok_json(&["report", text(&run), text(&other), "--json"]);
    let said = fails(1, &["report", text(dir.path())]);
    assert!(said.contains("is no directory of a run"), "{said}");
}
