//! Files as programs really write them, that once were misread.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::common::*;

fn unusual(name: &str) -> (TempDir, PathBuf) {
    copy_of(&repository("fixtures/unusual").join(name))
}

#[test]
fn a_network_pickled_among_its_hyperparameters_is_no_second_one() {
    let (dir, file) = unusual("hyperparameters.ckpt");
    let before = state(dir.path());
    let report = ok_json(&["inspect", text(&file), "--json"]);
    assert_eq!(report["networks"].as_array().unwrap().len(), 1);
    assert_eq!(report["networks"][0]["root"], "state_dict");
    let args = [
        "apply",
        text(&file),
        "--every",
        "5",
        "--optimizer",
        "reset",
        "--json",
    ];
    let applied = ok_json(&args);
    assert_eq!(
        (&applied["counted"], &applied["regenerated"]),
        (&json!(4), &json!(1))
    );
    ok(&["undo", text(&file)]);
    assert_eq!(state(dir.path()), before);
}

#[test]
fn zeros_behind_an_archive_are_read_past_and_kept() {
    let (_plain_dir, plain) = unusual("plain.pth");
    let (_dir, file) = unusual("trailing.pth");
    for path in [&plain, &file] {
        assert_eq!(ok_json(&["apply", text(path), "--json"])["regenerated"], 1);
    }
    let (plain, padded) = (fs::read(plain).unwrap(), fs::read(file).unwrap());
    assert!(padded[..plain.len()] == plain && padded[plain.len()..] == [0; 512]);
}

#[test]
fn an_optimizer_pickled_as_an_object_does_not_stop_an_edit() {
    let (_dir, file) = unusual("optimizer-object.pth");
    assert_eq!(ok_json(&["apply", text(&file), "--json"])["regenerated"], 1);
    let said = fails(
        1,
        &["apply", text(&file), "--to", "0.5", "--optimizer", "reset"],
    );
    assert!(said.contains("--optimizer keep"), "{said}");
}

#[test]
fn a_pruned_layer_is_listed_with_what_to_do() {
    let (dir, file) = unusual("pruned.pth");
    let before = state(dir.path());
    let shown = ok(&["inspect", text(&file)]);
    assert!(
        shown.contains("bn") && shown.contains("not editable: it is the product of weight_orig")
    );
    let said = fails(1, &["apply", text(&file)]);
    assert!(
        said.contains("weight_orig cannot be edited") && said.contains("prune.remove"),
        "{said}"
    );
    assert_eq!(state(dir.path()), before);
    assert!(!ok(&["schema", text(&file)]).contains("weight_orig"));
}

#[test]
fn a_tied_gamma_is_one_tensor_of_no_other_kind_in_a_difference() {
    let (_dir_a, a) = unusual("tied.pth");
    let (_dir_b, b) = unusual("tied.pth");
    ok(&["apply", text(&b)]);
    let diff = ok_json(&["diff", text(&a), text(&b), "--json"]);
    assert_eq!(diff["tensors"]["changed"], json!([]));
    assert_eq!(diff["networks"][0]["moved"], 1, "{diff}");
}

#[test]
fn scales_and_statistics_that_lie_elsewhere_are_pointed_out() {
    for (name, wanted) in [
        ("scale-elsewhere.pth", "every γ is exactly 1"),
        (
            "statistics-folded.pth",
            "running means are 0 and variances 1 throughout",
        ),
    ] {
        let (_dir, file) = unusual(name);
        let said = stderr(&run(&["apply", text(&file), "--dry-run"]));
        assert!(said.contains(wanted), "{said}");
    }
    let (_dir, file) = unusual("plain.pth");
    assert_eq!(stderr(&run(&["apply", text(&file), "--dry-run"])), "");
}

#[test]
fn parts_of_distributed_checkpoints_say_how_to_make_them_one() {
    for (name, wanted) in [
        ("dtensor.pth", "full_state_dict=True"),
        ("dcp/__0_0.distcp", "dcp_to_torch"),
        ("dcp", "dcp_to_torch"),
    ] {
        let path = repository("fixtures/unusual").join(name);
        let said = fails(1, &["inspect", text(&path)]);
        assert!(said.contains(wanted), "{name}: {said}");
    }
}

#[test]
fn a_file_of_another_kind_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    for (bytes, wanted) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n"[..],
            "git lfs pull",
        ),
        (b"<!DOCTYPE html>\n<html></html>", "HTML page"),
        (b"\x89HDF\r\n\x1a\n0000", "HDF5"),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09",
            "the file begins with [01, 02",
        ),
    ] {
        fs::write(&file, bytes).unwrap();
        for args in [&["inspect"][..], &["apply"], &["apply", "--dry-run"]] {
            let said = fails(1, &[args, &[text(&file)]].concat());
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[cfg(unix)]
#[test]
fn behind_a_link_a_model_finds_its_data_beside_the_link() {
    use std::os::unix::fs::symlink;
    let cache = copy_of_dir(&repository(FIXTURE).join("external"));
    let snapshot = cache.path().join("snapshot");
    fs::create_dir(&snapshot).unwrap();
    fs::create_dir(cache.path().join("blobs")).unwrap();
    for (n, name) in ["model.onnx", "model.onnx.data"].into_iter().enumerate() {
        let blob = cache.path().join(format!("blobs/{n}"));
        fs::rename(cache.path().join(name), &blob).unwrap();
        symlink(format!("../blobs/{n}"), snapshot.join(name)).unwrap();
    }
    let model = snapshot.join("model.onnx");
    let before = state(cache.path());
    for in_place in [&[][..], &["--in-place"]] {
        let with = |command| [&[command, text(&model), "--follow-symlinks"], in_place].concat();
        ok(&with("apply"));
        assert!(model.is_symlink() && snapshot.join("model.onnx.data").is_symlink());
        assert_ne!(state(cache.path())["blobs/0"], before["blobs/0"]);
        ok(&with("undo"));
        assert_eq!(state(cache.path()), before);
    }
    let said = fails(1, &["undo", text(&model)]);
    assert!(
        said.contains("--follow-symlinks") && !said.contains("--output"),
        "{said}"
    );
}
