//! Needs `CKPT_REGEN_MATERIAL`, a folder with fixtures, checkpoints and suites.

use std::fs;
use std::path::PathBuf;

use super::{Opened, edit_all, editable, read, try_open};
use crate::checkpoint::Checkpoint;
use crate::dtype::Dtype;

fn material() -> Option<PathBuf> {
    crate::skip::material_folder("real ONNX files")
}

fn channels(opened: &Opened) -> usize {
    editable(opened)
        .iter()
        .map(|tensor| tensor.channels().unwrap() as usize)
        .sum()
}

fn gammas(opened: &Opened) -> Vec<f64> {
    let each = editable(opened)
        .into_iter()
        .flat_map(|t| t.dtype.decode(&read(opened, t)));
    let mut gammas: Vec<f64> = each.collect();
    gammas.sort_by(f64::total_cmp);
    gammas
}

#[test]
fn both_exports_of_a_network_have_the_layers_and_bytes_of_its_safetensors() {
    let Some(folder) = material() else { return };
    let folder = folder.join("fixtures/mobilenet_v2_025");
    let reference = Checkpoint::open(folder.join("model.safetensors")).unwrap();
    for name in ["preserve.onnx", "external/model.onnx"] {
        let opened = try_open(folder.join(name)).unwrap();
        assert_eq!(
            (opened.declared.norms.len(), channels(&opened)),
            (52, 5328),
            "{name}"
        );
        assert_eq!(opened.notes, [""; 0]);
        for norm in &opened.declared.norms {
            let tensor = &opened.tensors[norm.gamma.unwrap()];
            assert_eq!(tensor.name, format!("{}.weight", norm.layer));
            let tensors = &reference.dicts()[0].tensors;
            let same = tensors
                .iter()
                .find(|other| other.name == tensor.name)
                .unwrap();
            assert_eq!(
                read(&opened, tensor),
                reference.read(same).unwrap(),
                "{}",
                tensor.name
            );
        }
    }
}

#[test]
fn an_edit_of_two_files_changes_nothing_but_gammas() {
    let Some(folder) = material() else { return };
    let folder = folder.join("fixtures/mobilenet_v2_025/external");
    let opened = try_open(folder.join("model.onnx")).unwrap();
    let (files, resizes, _) = edit_all(&opened);
    assert!(!resizes);
    assert_eq!(files.len(), 2);
    let dir = tempfile::tempdir().unwrap();
    for (file, name) in files.iter().zip(["model.onnx", "model.onnx.data"]) {
        fs::write(dir.path().join(name), file).unwrap();
        let before = fs::read(folder.join(name)).unwrap();
        assert_eq!(file.len(), before.len());
        assert_ne!(*file, before);
    }
    let after = try_open(dir.path().join("model.onnx")).unwrap();
    assert_eq!(after.tensors.len(), opened.tensors.len());
    let gamma = editable(&opened);
    for (old, new) in opened.tensors.iter().zip(&after.tensors) {
        let mut expected = read(&opened, old);
        if gamma.iter().any(|tensor| tensor.name == old.name) {
            expected = super::edited(Dtype::F32, &expected);
        }
        assert_eq!(read(&after, new), expected, "{}", old.name);
    }
}

#[test]
fn ultraface_has_25_layers_with_a_median_of_0_1166() {
    let Some(folder) = material() else { return };
    let folder = folder.join("checkpoints/ultraface-slim");
    let opened = try_open(folder.join("version-slim-320.onnx")).unwrap();
    assert_eq!((opened.declared.norms.len(), channels(&opened)), (25, 2272));
    let gammas = gammas(&opened);
    assert_eq!((gammas[(gammas.len() - 1) / 2] * 1e4).round(), 1166.0);
}

#[test]
fn simplified_and_default_exports_are_folded() {
    let Some(folder) = material() else { return };
    for name in [
        "fixtures/mobilenet_v2_025/folded.onnx",
        "checkpoints/ultraface-slim/version-slim-320_simplified.onnx",
    ] {
        let opened = try_open(folder.join(name)).unwrap();
        assert!(
            opened.declared.folded && opened.declared.norms.is_empty(),
            "{name}"
        );
    }
}

#[test]
fn of_onnx_node_tests_those_with_an_initializer_are_editable() {
    let Some(folder) = material() else { return };
    let mut count = [0, 0];
    for entry in fs::read_dir(folder.join("suites/onnx")).unwrap() {
        let path = entry.unwrap().path().join("model.onnx");
        if !path.exists() {
            continue;
        }
        let name = path.to_string_lossy().into_owned();
        let opened = try_open(&path).unwrap();
        assert_eq!(opened.declared.norms.len(), 1, "{name}");
        let norm = &opened.declared.norms[0];
        assert_eq!(
            norm.editable.is_ok(),
            name.contains("test_BatchNorm"),
            "{name}"
        );
        assert_eq!(norm.gamma.is_some(), norm.editable.is_ok(), "{name}");
        count[usize::from(norm.editable.is_ok())] += 1;
    }
    assert_eq!(count, [4, 5]);
}
