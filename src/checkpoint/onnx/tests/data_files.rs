use std::fs;

use super::{edit_all, load, models, refusal, summary, try_open};

fn file(name: &str) -> Vec<u8> {
    fs::read(models().join(name)).unwrap()
}

#[test]
fn an_edit_of_external_data_updates_the_checksum_of_its_file() {
    let opened = load("external");
    assert_eq!(summary(&opened), [("bn1", "", false), ("bn2", "", false)]);
    let (files, resizes, notes) = edit_all(&opened);
    let twins = [
        "external.edited.onnx",
        "external.a.edited.bin",
        "external.b.edited.bin",
    ]
    .map(file);
    assert_eq!(files, twins);
    assert!(!resizes);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn a_checksum_that_was_wrong_before_is_left_and_reported() {
    let (files, _, notes) = edit_all(&load("external_stale"));
    assert_eq!(files[0], file("external_stale.onnx"));
    assert_eq!(files[1], file("external.a.edited.bin"));
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("external.a.bin: a checksum in the model file did not match"));
}

#[test]
fn bytes_that_overlap_another_tensor_are_shared() {
    let overlap = "the bytes of its γ bn1.weight overlap those of bn1.bias";
    assert_eq!(
        summary(&load("overlap")),
        [("bn1", overlap, true), ("bn2", "", false)]
    );
}

#[test]
fn a_location_outside_the_models_directory_is_refused() {
    for (name, location) in [
        ("outside", "../external.a.bin"),
        ("absolute", "/external.a.bin"),
    ] {
        let message = refusal(&format!("invalid_{name}"));
        let expected = format!("found the location {location:?}");
        assert!(message.contains(r#"tensor "bn1.weight""#) && message.contains(&expected));
    }
    assert!(refusal("invalid_itself").contains("found the model file itself"));
}

#[test]
fn a_missing_data_file_is_named_with_its_tensor() {
    let message = refusal("invalid_missing");
    assert!(
        message.contains(r#"tensor "bn1.weight": expected its data in"#),
        "{message}"
    );
    assert!(
        message.contains("external.c.bin, found no such file"),
        "{message}"
    );
}

#[test]
fn a_data_file_that_is_too_short_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("external.onnx"), file("external.onnx")).unwrap();
    fs::write(
        dir.path().join("external.a.bin"),
        &file("external.a.bin")[..31],
    )
    .unwrap();
    let message = try_open(dir.path().join("external.onnx"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("expected data within the 31 bytes of"),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn links_to_data_files_are_noted_and_links_out_of_the_directory_refused() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("external.onnx"), file("external.onnx")).unwrap();
    symlink(
        models().join("external.a.bin"),
        model.join("external.a.bin"),
    )
    .unwrap();
    fs::write(dir.path().join("b"), file("external.b.bin")).unwrap();
    fs::hard_link(dir.path().join("b"), model.join("external.b.bin")).unwrap();
    let notes = try_open(model.join("external.onnx")).unwrap().notes;
    assert_eq!(notes.len(), 2);
    assert!(notes[0].contains("external.a.bin is a symbolic link"));
    assert!(notes[1].contains("external.b.bin has 2 hard links"));

    let renamed = replace(&file("external.onnx"), b"external.a.bin", b"out/rnal.a.bin");
    fs::write(model.join("renamed.onnx"), renamed).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("rnal.a.bin"), file("external.a.bin")).unwrap();
    symlink(&elsewhere, model.join("out")).unwrap();
    let message = try_open(model.join("renamed.onnx"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("found a link out of it"), "{message}");
}

#[test]
fn two_spellings_of_a_location_are_one_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), file("external.a.bin")).unwrap();
    let model = replace(&file("external.onnx"), b"external.a.bin", b"./////////data");
    let model = replace(&model, b"external.b.bin", b"././././//data");
    fs::write(dir.path().join("model.onnx"), model).unwrap();
    let opened = try_open(dir.path().join("model.onnx")).unwrap();
    assert_eq!(opened.sources.len(), 2);
    assert_eq!(summary(&opened), [("bn1", "", false), ("bn2", "", false)]);
}

fn replace(bytes: &[u8], from: &[u8; 14], to: &[u8; 14]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for i in 0..=bytes.len() - from.len() {
        if bytes[i..].starts_with(from) {
            bytes[i..i + to.len()].copy_from_slice(to);
        }
    }
    bytes
}
