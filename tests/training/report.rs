//! What is recorded during training, and what is made of it: `report`, `ablate`, `compare`. With a
//! very small network on the digits that are built in.

use std::fs;
use std::path::Path;

use crate::common::*;
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
    assert!(said.contains("train --record does it"), "{said}");
}

fn run_of(args: &[&str]) -> std::process::Output {
    let output = crate::common::run(args);
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

#[test]
fn ablation_is_evaluation_with_weight_and_bias_of_the_largest_gamma_at_0() {
    let dir = tempfile::tempdir().unwrap();
    let (run, layer) = (dir.path().join("run"), "features.2.conv.3");
    train(&run, &[]);
    let last = run.join("last");
    let args = [
        "ablate",
        text(&last),
        "--layer",
        layer,
        "--points",
        "0,3,8",
        "--json",
    ];
    let shown = ok_json(&args);
    let gammas = gamma(&last.join("model.safetensors"), layer);
    let mut order: Vec<usize> = (0..gammas.len()).collect();
    order.sort_by(|a, b| gammas[*b].total_cmp(&gammas[*a]));
    assert_eq!(shown["checkpoints"][0]["order"], serde_json::json!(order));
    assert_eq!(shown["points"], serde_json::json!([0, 3, 8]));
    let before = state(&last);
    for (i, point) in [0, 3, 8].into_iter().enumerate() {
        let edited = dir.path().join(format!("edited-{point}"));
        fs::create_dir(&edited).unwrap();
        for (name, mut bytes) in before.clone() {
            if name == "model.safetensors" {
                let checkpoint = ckpt_regen::Checkpoint::open(&last).unwrap();
                for part in ["weight", "bias"] {
                    let name = format!("{layer}.{part}");
                    let mut tensors = checkpoint.dicts()[0].tensors.iter();
                    let tensor = tensors.find(|tensor| tensor.name == name).unwrap();
                    for channel in &order[..point] {
                        let at = tensor.offset as usize + 4 * channel;
                        bytes[at..at + 4].fill(0);
                    }
                }
            }
            fs::write(edited.join(name), bytes).unwrap();
        }
        let expected = ok_json(&["eval", text(&edited), "--json"]);
        assert_eq!(
            shown["checkpoints"][0]["top1"][i], expected["top1"],
            "{point}"
        );
        assert_eq!(
            shown["checkpoints"][0]["loss"][i], expected["loss"],
            "{point}"
        );
    }
    assert!(state(&last) == before, "no file is changed");
}

#[test]
fn several_checkpoints_are_ablated_in_their_middle_layer_and_drawn_on_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let (run, page) = (dir.path().join("run"), dir.path().join("a.html"));
    train(&run, &["--keep", "2"]);
    let (a, b) = (run.join("epoch-2"), run.join("last"));
    let points = ["--points", "0,8"];
    let args = ["ablate", text(&a), text(&b), "--html", text(&page)];
    let shown = ok(&[&args[..], &points].concat());
    assert!(
        shown.contains("the largest γ of features.9.conv.3"),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(
        fs::read_to_string(&page)
            .unwrap()
            .contains("Ablation of features.9.conv.3")
    );
    let said = fails(2, &["ablate", text(&b), "--layer", "features.9.conv.4"]);
    assert!(said.contains("did you mean features.9.conv.3"), "{said}");
    let said = fails(2, &["ablate", text(&b), "--points", "9"]);
    assert!(said.contains("features.9.conv.3 has 8 channels"), "{said}");
    let other = dir.path().join("other");
    let wide = [
        "--model",
        "mobilenet_v2",
        "--width",
        "0.25",
        "--data",
        "digits",
    ];
    let settings = ["--batch-size", "1024", "--epochs", "1"];
    ok(&[&["train", "--out", text(&other)], &wide[..], &settings].concat());
    let said = fails(2, &["ablate", text(&b), text(&other)]);
    assert!(said.contains("expected 8 channels, as in"), "{said}");
    let file = b.join("model.safetensors");
    let said = fails(2, &["ablate", text(&b), "--html", text(&file)]);
    assert!(said.contains("is the checkpoint itself"), "{said}");
}

#[test]
fn a_comparison_goes_on_where_it_was_and_has_the_statistics_of_its_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (out, page) = (dir.path().join("runs"), dir.path().join("c.html"));
    let begun = out.join("without/0");
    train(&begun, &["--stop-after", "1"]);
    let arms = ["--arms", "without,paper-1", "--seeds", "0,1", "--json"];
    let args = [&["compare", "--out", text(&out)], &TINY[..], &arms].concat();
    let first = ok_json(&args);
    let kept = state(&begun.join("last"));
    let whole = dir.path().join("whole");
    train(&whole, &[]);
    let weights = |run: &Path| fs::read(run.join("last/model.safetensors")).unwrap();
    assert!(
        weights(&whole) == weights(&begun),
        "the broken run was resumed"
    );

    let again = command(&[&args[..], &["--html", text(&page)]].concat())
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(stderr(&again).matches("is finished").count(), 4);
    assert_eq!(
        serde_json::from_slice::<Value>(&again.stdout).unwrap(),
        first
    );
    assert!(state(&begun.join("last")) == kept);
    assert!(page.exists());

    let last = |arm: &str, seed: u64| -> f64 {
        let metrics = out.join(arm).join(seed.to_string()).join("metrics.jsonl");
        let lines = fs::read_to_string(metrics).unwrap();
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        last["test_top1"].as_f64().unwrap()
    };
    let without = &first["arms"][0]["last"];
    let (a, b) = (last("without", 0), last("without", 1));
    let close = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() < 1e-9, "{value} {expected}");
    };
    close(&without["mean"], (a + b) / 2.0);
    close(&without["deviation"], (a - b).abs() / 2.0_f64.sqrt());
    let (c, d) = (last("paper-1", 0) - a, last("paper-1", 1) - b);
    let difference = &first["differences"][0]["last"];
    assert_eq!(difference["n"], 2);
    close(&difference["mean"], (c + d) / 2.0);
    // t of one degree of freedom is tan(π · 0.475).
    let reach = (std::f64::consts::PI * 0.475).tan() * (c - d).abs() / 2.0;
    let low = difference["interval"][0].as_f64().unwrap();
    assert!((low - ((c + d) / 2.0 - reach)).abs() < 1e-6, "{low}");

    // Of finished runs settings and metrics are enough.
    for run in ["without/0", "paper-1/1"] {
        for checkpoint in ["last", "best"] {
            fs::remove_dir_all(out.join(run).join(checkpoint)).unwrap();
        }
    }
    assert_eq!(ok_json(&args), first);
    let metrics = out.join("paper-1/1/metrics.jsonl");
    let lines = fs::read_to_string(&metrics).unwrap();
    let (all, _) = lines.trim_end().rsplit_once('\n').unwrap();
    fs::write(&metrics, format!("{all}\n")).unwrap();
    let said = fails(1, &args);
    assert!(
        said.contains("has the metrics of 2 of 3 epochs and no checkpoint to go on from"),
        "{said}"
    );
    let (_, but_first) = lines.split_once('\n').unwrap();
    fs::write(&metrics, but_first).unwrap();
    let said = fails(1, &args);
    assert!(
        said.contains("expected those of epoch 1, found epoch 2"),
        "{said}"
    );
    fs::write(&metrics, &lines).unwrap();

    let one = ["--arms", "without,paper-1", "--seeds", "0"];
    let shown = ok(&[&["compare", "--out", text(&out)], &TINY[..], &one].concat());
    assert!(shown.contains("none of one seed"), "{shown}");
    let said = fails(2, &[&args[..], &["--lr", "0.01"]].concat());
    assert!(
        said.contains("was begun with lr 0.05, and this asks for 0.01"),
        "{said}"
    );
}

#[test]
fn arms_are_compared_by_settings_of_their_own_and_with_chance() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("runs");
    let arms = [
        "--arms",
        "without,paper-1,random-1",
        "--seeds",
        "0",
        "--json",
    ];
    let own = ["--arm", "spared: decay-vectors=false, weight_decay=0.5"];
    let args = [&["compare", "--out", text(&out)], &TINY[..], &arms, &own].concat();
    let shown = ok_json(&args);
    let names: Vec<&str> = shown["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| arm["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["without", "paper-1", "random-1", "spared"]);
    let settings = |arm: &str| fs::read_to_string(out.join(arm).join("0/settings.toml")).unwrap();
    let spared = settings("spared");
    for line in [
        "decay-vectors = false",
        "weight-decay = 0.5",
        "regen-every = 0",
    ] {
        assert!(spared.contains(line), "{spared}");
    }
    assert!(settings("random-1").contains("rule = \"random\""));
    let regenerated = |arm: &str| {
        let lines = fs::read_to_string(out.join(arm).join("0/metrics.jsonl")).unwrap();
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        first["regenerated"].as_u64().unwrap()
    };
    let (paper, random) = (regenerated("paper-1"), regenerated("random-1"));
    assert!(paper > 100 && random >= paper, "{paper} {random}");
    let weights = |arm: &str| fs::read(out.join(arm).join("0/last/model.safetensors")).unwrap();
    assert!(weights("random-1") != weights("paper-1") && weights("random-1") != weights("without"));
}

#[test]
fn what_makes_no_sense_in_a_comparison_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("runs");
    let refused = |more: &[&str], expected: &str| {
        let said = fails(
            2,
            &[&["compare", "--out", text(&out)], &TINY[..], more].concat(),
        );
        assert!(said.contains(expected), "{said}");
    };
    refused(
        &["--arms", "paper"],
        "expected without, or a rule and the epochs",
    );
    refused(
        &["--arms", "paper-1,paper-1"],
        "--arms paper-1: named twice",
    );
    refused(&["--arm", "a"], "expected NAME: SETTING=VALUE");
    refused(&["--arm", "a: lr"], "expected SETTING=VALUE, found");
    refused(&["--arm", "../a: lr=1"], "is that of a directory");
    refused(&["--arm", "a: rate=1"], "rate");
    refused(&["--arm", "paper-5: lr=1"], "--arms paper-5: named twice");
    refused(
        &["--arm", "a: rule=random, scope=layer"],
        "scope: the rule random draws from the whole network",
    );
    refused(&["--seeds", "1,1"], "--seeds 1: named twice");
    refused(&["--seed", "1"], "--seed: --seeds says it");
    refused(&["--rule", "paper"], "--rule: --arms says it");
    assert!(!out.exists());
}
