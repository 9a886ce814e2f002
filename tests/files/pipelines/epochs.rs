//! How many epochs a file says are finished.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{EIGHT, made};
use crate::common::*;

fn epochs() -> PathBuf {
    repository("fixtures/epochs")
}

#[test]
fn the_finished_epochs_are_those_that_each_program_counts() {
    let expected = fs::read_to_string(epochs().join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&expected).unwrap();
    assert!(expected.len() >= 19);
    for (name, wanted) in expected {
        let (dir, file) = copy_of(&epochs().join(&name));
        let args = ["apply", text(&file), "--every", "5"];
        let Some(wanted) = wanted.as_u64() else {
            let before = state(dir.path());
            let said = fails(2, &args);
            assert!(said.contains(wanted.as_str().unwrap()), "{name}: {said}");
            assert_eq!(state(dir.path()), before, "{name}");
            continue;
        };
        let applied = ok_json(&[&args[..], &["--json"]].concat());
        assert_eq!(applied["epoch"], wanted, "{name}");
        assert_eq!(applied["due"], wanted % 5 == 0, "{name}");
        let place = applied["epoch_read_from"].as_str().unwrap();
        let line = ok(&[&args[..], &["--dry-run"]].concat());
        let line = line.lines().next().unwrap();
        assert!(
            line.ends_with(&format!("(read from {place})")),
            "{name}: {line}"
        );
    }
}

#[test]
fn a_key_says_the_epoch_where_the_file_does_not_say_which_number_it_is() {
    let (_dir, file) = copy_of(&epochs().join("tensor.pth"));
    let epoch = |key: &str| {
        let args = ["apply", text(&file), "--every", "5", "--dry-run", "--json"];
        ok_json(&[&args[..], &["--epoch-key", key]].concat())["epoch"].clone()
    };
    assert_eq!(epoch("meta.finished_epochs"), 7);
    assert_eq!(epoch("meta.finished_epochs+1"), 8);
    let refused = |file: &str, key: &str| {
        let (_dir, file) = copy_of(&epochs().join(file));
        fails(
            2,
            &["apply", text(&file), "--every", "5", "--epoch-key", key],
        )
    };
    assert!(
        refused("tensor.pth", "meta.finished_epoch").contains("did you mean meta.finished_epochs?")
    );
    let silent = fails(2, &["apply", text(&file), "--every", "5"]);
    assert!(silent.contains("--epoch: is needed here"), "{silent}");
    assert!(refused("silent.pth", "epoch").contains("no numbers beside the weights"));
    assert!(refused("float.pth", "epoch").contains("has 4.97 there, which is no count"));
    let both = [
        "apply",
        text(&file),
        "--every",
        "5",
        "--epoch-key",
        "x",
        "--epoch",
        "3",
    ];
    assert!(fails(2, &both).contains("cannot be used with"));
}

#[test]
fn an_epoch_that_the_file_contradicts_is_a_warning() {
    let (_dir, file) = copy_of(&epochs().join("timm-2.pth"));
    let said = |args: &[&str]| {
        let output = run(&[&["apply", text(&file), "--every", "5", "--dry-run"], args].concat());
        assert!(output.status.success());
        stderr(&output)
    };
    assert!(said(&["--epoch", "5"]).contains("the epoch given says 5 finished epochs, and"));
    assert!(said(&["--epoch-key", "epoch"]).contains("says 6 (read from epoch + 1)"));
    assert!(!said(&["--epoch", "6"]).contains("finished epochs"));
}

#[test]
fn an_epoch_beside_the_named_file_is_shown() {
    let (dir, file) = made(&[("bn", EIGHT)]);
    let model = dir.path().join("model.safetensors");
    fs::rename(file, &model).unwrap();
    let trainer =
        r#"{"epoch": 4.97, "global_step": 155, "max_steps": 620, "num_train_epochs": 20}"#;
    fs::write(dir.path().join("trainer_state.json"), trainer).unwrap();
    let said = fails(2, &["apply", text(&model), "--every", "5"]);
    assert!(said.contains("Beside it stands 5 (global_step"), "{said}");
    let applied = ok_json(&["apply", text(dir.path()), "--every", "5", "--json"]);
    assert_eq!(
        (&applied["epoch"], &applied["due"]),
        (&json!(5), &json!(true))
    );
}
