//! Archives that NumPy wrote (`fixtures/npz`), and hostile ones.

use std::fs;
use std::path::PathBuf;

use ckpt_regen::Checkpoint;
use ckpt_regen::checkpoint::Dtype;
use ckpt_regen::edit::{self, Destination, Request};

use crate::common::repository;

fn fixture(name: &str) -> PathBuf {
    repository(&format!("fixtures/npz/{name}.npz"))
}

/// The message of `apply` on a copy of a fixture, or of these bytes.
fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.npz");
    fs::write(&file, bytes).unwrap();
    let result = edit::apply(
        &file,
        &Request::default(),
        &Destination::default(),
        &edit::ignore,
    );
    assert_eq!(fs::read(&file).unwrap(), bytes, "nothing is written");
    result.unwrap_err().to_string()
}

#[test]
fn an_edited_archive_is_what_numpy_would_save_and_undo_gives_it_back() {
    for dialect in ["keras", "torch", "flax"] {
        for in_place in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("model.npz");
            fs::copy(fixture(dialect), &file).unwrap();
            let destination = Destination {
                in_place,
                ..Destination::default()
            };
            let applied =
                edit::apply(&file, &Request::default(), &destination, &edit::ignore).unwrap();
            assert_eq!(applied.planned.unwrap().plan.regenerated(), 4, "{dialect}");
            let after = fs::read(fixture(&format!("{dialect}_after"))).unwrap();
            assert_eq!(fs::read(&file).unwrap(), after, "{dialect}");
            edit::undo(&file, &destination, &edit::ignore).unwrap();
            assert_eq!(
                fs::read(&file).unwrap(),
                fs::read(fixture(dialect)).unwrap(),
                "{dialect}"
            );
        }
    }
}

#[test]
fn arrays_are_listed_in_their_order_with_type_and_shape() {
    let checkpoint = Checkpoint::open(fixture("keras")).unwrap();
    assert_eq!(checkpoint.format().name(), "npz");
    let tensors = &checkpoint.dicts()[0].tensors;
    assert_eq!(tensors[0].name, "bn_1/gamma");
    let find = |name: &str| tensors.iter().find(|t| t.name == name).unwrap();
    assert_eq!(
        (find("step").dtype, &find("step").shape[..]),
        (Dtype::I64, &[][..])
    );
    let weights = checkpoint.weights(0);
    let kernel = weights.iter().find(|w| w.tensor.name == "head/kernel");
    let values = Dtype::F32.decode(&checkpoint.elements(kernel.unwrap()).unwrap());
    let wanted: Vec<f64> = (0..12_u8).map(f64::from).collect();
    assert_eq!(values, wanted, "row by row, whatever the order in the file");
    assert!(
        tensors.iter().all(|t| t.name != "labels"),
        "text is no tensor"
    );
    let notes = edit::plan(&checkpoint, &Request::default()).unwrap().notes;
    assert!(
        notes.contains(&"not read: 1 of 11 entries, such as labels (<U3)".to_owned()),
        "{notes:?}"
    );
}

#[test]
fn what_cannot_be_edited_in_place_is_refused_with_what_to_do() {
    for (name, wanted) in [
        ("deflated", "numpy.savez, which does not compress"),
        ("big_endian", "big-endian (>f4)"),
        (
            "objects",
            "bn/gamma: expected an array of numbers, found Python objects",
        ),
    ] {
        let message = refusal(&fs::read(fixture(name)).unwrap());
        assert!(message.contains(wanted), "{name}: {message}");
    }
}

#[test]
fn damaged_archives_are_refused_or_read_and_never_trusted() {
    let whole = fs::read(fixture("keras")).unwrap();
    for len in (0..whole.len()).step_by(37) {
        refusal(&whole[..len]);
    }
    // The header of the first array says that it is larger, or of another type.
    let at = whole.windows(4).position(|w| w == b"(5,)").unwrap();
    for (text, wanted) in [
        (&b"(9,)"[..], "the elements of <f4 [9]"),
        (b"(-5)", "a dict with descr"),
        (b"{5,)", "a dict with descr"),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(text);
        let message = refusal(&bytes);
        assert!(
            message.contains("array bn_1/gamma") && message.contains(wanted),
            "{message}"
        );
    }
}
