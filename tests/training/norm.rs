//! Networks that normalise by IterNorm or with Channel Equilibrium, in runs and comparisons, on the digits that are built
//! in.

use std::fs;

use crate::common::*;

/// Seconds for a run.
const TINY: [&str; 8] = [
    "--model",
    "resnet20",
    "--data",
    "digits",
    "--batch-size",
    "256",
    "--epochs",
    "2",
];

fn train(more: &[&str]) -> std::process::Output {
    run(&[&["train"], &TINY[..], more].concat())
}

#[test]
fn a_run_keeps_its_normalisation_and_goes_on_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    // A guess has 10 %.
    for (norm, least) in [("itn", 15.0), ("ce", 30.0)] {
        let (whole, parts) = (
            dir.path().join(norm),
            dir.path().join(format!("{norm}-parts")),
        );
        let output = train(&["--norm", norm, "--out", text(&whole)]);
        assert!(output.status.success(), "{}", stderr(&output));
        let output = train(&[
            "--norm",
            norm,
            "--stop-after",
            "1",
            "--threads",
            "1",
            "--out",
            text(&parts),
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        ok(&["train", "--resume", text(&parts)]);
        let settings = fs::read_to_string(whole.join("settings.toml")).unwrap();
        assert!(
            settings.contains(&format!("norm = \"{norm}\"")),
            "{settings}"
        );
        let model = |run: &std::path::Path| fs::read(run.join("last/model.safetensors")).unwrap();
        assert!(model(&whole) == model(&parts), "{norm}");
        let accuracy = ok_json(&["eval", text(&whole), "--json"])["top1"]
            .as_f64()
            .unwrap();
        assert!(accuracy > least, "{norm}: {accuracy} %");
    }
}

#[test]
fn gamma_of_iternorm_is_regenerated_in_a_run_only_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let regenerated = ["--norm", "itn", "--regen-every", "1", "--out", text(&out)];
    let refused = train(&regenerated);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(
        said.contains("--iternorm") && said.contains("resnet20 that is to be counted"),
        "{said}"
    );
    assert!(!out.exists(), "nothing is begun");
    let output = train(&[&regenerated[..], &["--iternorm"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert!(first["regenerated"].as_u64().unwrap() > 0, "{metrics}");
}

#[test]
fn the_pitfalls_are_named_with_numbers_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let arguments = [
            "train",
            "--model",
            "mobilenet_v2",
            "--width",
            "0.1",
            "--data",
            "digits",
            "--epochs",
            "1",
        ];
        run(&[&arguments, more, &["--out", text(&out)]].concat())
    };
    let few = stderr(&run(
        "few",
        &["--norm", "itn", "--batch-size", "8", "--stop-after", "1"],
    ));
    assert!(
        few.contains("8 images × 1 × 1 pixels = 8 samples in groups of"),
        "{few}"
    );
    let one = run(
        "one",
        &["--norm", "ce", "--batch-size", "512", "--stop-after", "1"],
    );
    let said = stderr(&one);
    assert!(
        one.status.success() && said.contains("go without Channel Equilibrium"),
        "{said}"
    );
    let none = fails(
        2,
        &[
            "train",
            "--norm",
            "batch",
            "--norm-group",
            "8",
            "--out",
            "x",
            "--data",
            "digits",
        ],
    );
    assert!(
        none.contains("--norm-group 8: BatchNorm has no groups"),
        "{none}"
    );
    // Evaluated with the statistics that it starts with.
    let fresh = dir.path().join("fresh");
    ok(&[
        &["train", "--norm", "itn", "--stop-after", "0"],
        &TINY[..],
        &["--out", text(&fresh)],
    ]
    .concat());
    let said = stderr(&crate::common::run(&["eval", text(&fresh)]));
    assert!(
        said.contains("the running matrix of bn1 is the identity"),
        "{said}"
    );
}

#[test]
fn whitening_is_compared_with_regeneration() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("compared");
    let arms = [
        "--arms",
        "without,paper-1",
        "--arm",
        "itn: norm=itn",
        "--arm",
        "ce: norm=ce, norm-iterations=2",
        "--seeds",
        "0",
    ];
    let compared = ok_json(
        &[
            &["compare"],
            &TINY[..],
            &arms,
            &["--out", text(&out), "--json"],
        ]
        .concat(),
    );
    let names: Vec<_> = compared["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| arm["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["without", "paper-1", "itn", "ce"]);
    let settings = fs::read_to_string(out.join("ce/0/settings.toml")).unwrap();
    assert!(settings.contains("norm-iterations = 2"), "{settings}");
}

#[test]
fn a_network_shows_its_normalisations_and_their_cost() {
    let itn = ok(&[
        "model",
        "mobilenet_v2",
        "--stem",
        "cifar",
        "--classes",
        "10",
        "--norm",
        "itn",
    ]);
    assert!(
        itn.lines()
            .next()
            .unwrap()
            .contains("52 IterNorm layers, 17056 channels"),
        "{itn}"
    );
    assert!(
        itn.contains("2,236,682") && itn.contains("ITN g64"),
        "{itn}"
    );
    let ce = ok(&[
        "model",
        "mobilenet_v2",
        "--stem",
        "cifar",
        "--classes",
        "10",
        "--norm",
        "ce",
    ]);
    let heading = "52 BatchNorm layers, 17056 channels,\n  17 Channel Equilibria, 1504 channels\n";
    assert!(ce.contains(heading), "{ce}");
    assert!(ce.contains("2,351,307") && ce.contains("CE g16"), "{ce}");
    let refused = fails(2, &["model", "--norm", "itn"]);
    assert!(refused.contains("--norm: goes with NAME"), "{refused}");
}
