//! Which channels must not be edited, and what is said of others.

use super::{DYING, made};
use crate::common::*;

#[test]
fn an_edit_that_kills_more_than_it_brings_back_is_refused() {
    let (dir, file) = made(&[("bn", DYING)]);
    let before = state(dir.path());
    for args in [
        &[][..],
        &["--dry-run"],
        &["--scope", "layer"],
        &["--in-place"],
    ] {
        let said = fails(1, &[&["apply", text(&file)], args].concat());
        for part in [
            "3 channels fall below |γ| = 0.01 by the threshold 6.0e-41, and 0 rise above it",
            "--to quantile:0.75",
            "--rule keep-sign",
            "--keep-zeros",
            "--allow-dying",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(state(dir.path()), before);
    }
    // The ways out.
    let lifted = ok_json(&["apply", text(&file), "--to", "quantile:0.75", "--json"]);
    assert_eq!(lifted["regenerated"], 5);
    ok(&["undo", text(&file)]);
    ok(&["apply", text(&file), "--rule", "keep-sign"]);
    ok(&["undo", text(&file)]);
    let output = run(&["apply", text(&file), "--allow-dying"]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("3 channels fall"),
        "{}",
        stderr(&output)
    );
    assert_eq!(gamma(&file, "bn")[0], f64::from(6e-41_f32));
}

#[test]
fn a_saved_plan_that_kills_is_refused_too() {
    let (dir, file) = made(&[("bn", DYING)]);
    let plan = dir.path().join("plan.json");
    let saved = [
        "apply",
        text(&file),
        "--dry-run",
        "--allow-dying",
        "--plan-out",
        text(&plan),
    ];
    ok(&saved);
    let said = fails(1, &["apply", text(&file), "--plan", text(&plan)]);
    assert!(said.contains("3 channels fall"), "{said}");
    ok(&["apply", text(&file), "--plan", text(&plan), "--allow-dying"]);
}

#[test]
fn fewer_that_die_than_come_back_are_a_warning_with_both_counts() {
    let (_dir, file) = made(&[
        ("a", &[-0.5, 0.005, 0.6]),
        ("b", &[0.001, 0.002, 0.5, 0.6, 0.7]),
    ]);
    let output = run(&["apply", text(&file), "--scope", "layer"]);
    assert!(output.status.success());
    let said = stderr(&output);
    assert!(
        said.contains(
            "1 channel falls below |γ| = 0.01 by the threshold 0.0050, and 2 rise above it"
        ),
        "{said}"
    );
    assert!(
        said.contains("in 1 layer the threshold is below 0.01"),
        "{said}"
    );
}

#[test]
fn a_low_threshold_and_mostly_zeros_are_pointed_out() {
    let (_dir, file) = made(&[("bn", &[0.001, 0.002, 0.003, 0.5])]);
    let said = stderr(&run(&["apply", text(&file)]));
    assert!(
        said.contains("the threshold 0.0020 is below 0.01: little is brought back"),
        "{said}"
    );
    let (_dir, file) = made(&[("bn", &[0.0, 0.0, 0.0, 0.5, 0.6])]);
    for rule in ["paper", "reference"] {
        let output = run(&["apply", text(&file), "--rule", rule]);
        assert!(output.status.success());
        let said = stderr(&output);
        assert!(
            said.contains("3 of 5 γ are exactly 0, more than half"),
            "{said}"
        );
        assert!(said.contains("--keep-zeros"), "{said}");
    }
}

#[test]
fn strong_negative_gamma_that_only_weaken_are_counted() {
    let (_dir, file) = made(&[("bn", &[-13.3, -0.5, -0.3, -0.3, 0.2, 0.4, 0.6])]);
    let said = stderr(&run(&["apply", text(&file)]));
    assert!(
        said.contains("2 channels with a strong negative γ (down to -13.3000) become weaker"),
        "{said}"
    );
}
