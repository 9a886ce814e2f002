use std::fs;

use super::{edit_all, load, models, patch, read, try_open};

/// The edit gives the very file that onnx writes after the same edit.
fn same_as_onnx(name: &str) -> bool {
    let (files, resizes, notes) = edit_all(&load(name));
    let twin = fs::read(models().join(format!("{name}.edited.onnx"))).unwrap();
    assert_eq!(files, [twin], "{name}");
    assert_eq!(notes, [""; 0], "{name}");
    resizes
}

#[test]
fn an_edit_gives_the_bytes_that_onnx_writes() {
    for name in [
        "merged",
        "identity",
        "constant",
        "bodies",
        "functions",
        "unusual",
        "training",
    ] {
        assert!(!same_as_onnx(name), "{name}");
    }
}

#[test]
fn float_data_and_double_data_are_patched_packed_or_not() {
    for name in ["float_data", "double_data", "unpacked"] {
        assert!(!same_as_onnx(name), "{name}");
    }
}

#[test]
fn sixteen_bit_floats_in_varints_resize_every_length_around_them() {
    for name in ["float16", "bfloat16"] {
        assert!(same_as_onnx(name), "{name}");
    }
}

#[test]
fn an_edit_that_changes_nothing_has_no_patches() {
    for name in ["merged", "unpacked", "float16", "external"] {
        let opened = load(name);
        for tensor in &opened.tensors {
            let bytes = read(&opened, tensor);
            let edits = patch(&opened, &[(tensor, &bytes)]).unwrap();
            assert!(
                edits.files.iter().all(Vec::is_empty),
                "{name} {}",
                tensor.name
            );
            assert!(!edits.resizes);
        }
    }
}

#[test]
fn sixteen_bit_floats_of_as_many_varint_bytes_resize_nothing() {
    let opened = load("float16");
    let tensor = &opened.tensors[opened.declared.norms[0].gamma.unwrap()];
    let mut bytes = read(&opened, tensor);
    // The second element is from 0.1 to 0.9: two bytes as a varint, like 1.5.
    bytes[2..4].copy_from_slice(&0x3e00_u16.to_le_bytes());
    let edits = patch(&opened, &[(tensor, &bytes)]).unwrap();
    assert!(!edits.resizes);
    assert_eq!(edits.files.concat().len(), 1);
}

#[test]
fn bytes_of_another_length_are_refused() {
    let opened = load("training");
    let error = patch(&opened, &[(&opened.tensors[0], &[0; 12])]).unwrap_err();
    assert!(error.to_string().contains("has 16 bytes, not 12"));
}

#[test]
fn a_length_with_room_for_more_keeps_its_width() {
    let whole = fs::read(models().join("float16.onnx")).unwrap();
    // ir_version, an empty producer_name, then the graph with a length of two bytes.
    assert_eq!(whole[..5], [8, 8, 0x12, 0, 0x3a]);
    let roomy = |whole: &[u8]| {
        let length = [whole[5] | 0x80, whole[6] | 0x80, 0x80, 0x80, 0];
        [&whole[..5], &length, &whole[7..]].concat()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    fs::write(&path, roomy(&whole)).unwrap();
    let (files, ..) = edit_all(&try_open(&path).unwrap());
    let twin = fs::read(models().join("float16.edited.onnx")).unwrap();
    assert_eq!(files, [roomy(&twin)]);
}
