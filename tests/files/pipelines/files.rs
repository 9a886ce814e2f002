//! Which of several files is edited.

use std::fs;

use serde_json::json;

use super::{EIGHT, made};
use crate::common::*;

#[test]
fn of_a_file_and_a_shard_index_the_file_is_taken_as_transformers_does() {
    let dir = copy_of_dir(&repository(FIXTURE).join("sharded"));
    fs::write(
        dir.path().join("model.safetensors"),
        network(&[("bn", EIGHT)]),
    )
    .unwrap();
    for args in [&["inspect"][..], &["apply", "--dry-run"]] {
        let output = run(&[args, &[text(dir.path())]].concat());
        assert!(output.status.success());
        let said = stderr(&output);
        assert!(
            said.contains("model.safetensors is taken, as transformers does")
                && said.contains("it also holds model.safetensors.index.json"),
            "{said}"
        );
    }
    let applied = ok_json(&["apply", text(dir.path()), "--json"]);
    assert_eq!(applied["counted"], 8);
    assert!(
        applied["warnings"][0]
            .as_str()
            .unwrap()
            .contains("it also holds")
    );
}

#[test]
fn the_best_checkpoint_of_transformers_is_edited_with_a_warning() {
    let runs = tempfile::tempdir().unwrap();
    for (best, warned) in [("out/checkpoint-20", true), ("out/checkpoint-10", false)] {
        let dir = runs.path().join("checkpoint-20");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("model.safetensors"), network(&[("bn", EIGHT)])).unwrap();
        let trainer = json!({"epoch": 5.0, "best_model_checkpoint": best});
        fs::write(dir.join("trainer_state.json"), trainer.to_string()).unwrap();
        for path in [dir.clone(), dir.join("model.safetensors")] {
            let said = stderr(&run(&["apply", text(&path), "--dry-run"]));
            assert_eq!(
                said.contains("is the best checkpoint so far"),
                warned,
                "{said}"
            );
        }
        let out = dir.join("copy.safetensors");
        let said = stderr(&run(&["apply", text(&dir), "-o", text(&out)]));
        assert!(!said.contains("is the best checkpoint"), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn a_followed_link_to_one_of_the_best_is_said() {
    let (dir, file) = made(&[("bn", EIGHT)]);
    let last = dir.path().join("last.ckpt");
    std::os::unix::fs::symlink(&file, &last).unwrap();
    assert!(fails(1, &["apply", text(&last)]).contains("is a symbolic link"));
    let output = run(&["apply", text(&last), "--follow-symlinks"]);
    assert!(output.status.success());
    let said = stderr(&output);
    assert!(
        said.contains("last.ckpt is a link to") && said.contains("one of the best"),
        "{said}"
    );
}
