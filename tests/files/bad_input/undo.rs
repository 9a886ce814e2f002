//! Records and journals that are damaged, missing, or of another state.

use std::fs;

use crate::sandbox::*;

const RECORD: &str = ".ckpt-regen/model.safetensors.json";
const JOURNAL: &str = ".ckpt-regen/model.safetensors.journal";

/// A network after one edit.
fn edited() -> Dir {
    let dir = Dir::with_network();
    dir.succeeds(&["apply", MODEL]);
    dir
}

fn undo_refuses(dir: &Dir, message: &[&str]) {
    dir.refuses(&["undo", MODEL], 1, message);
    dir.refuses(&["undo", MODEL, "--in-place"], 1, message);
}

#[test]
fn undo_without_a_record_is_refused() {
    undo_refuses(&Dir::with_network(), &[MODEL, "no record", RECORD]);
}

#[test]
fn a_second_undo_is_refused() {
    let dir = edited();
    dir.succeeds(&["undo", MODEL]);
    undo_refuses(&dir, &[MODEL, "no record", RECORD]);
}

#[test]
fn a_record_that_is_not_json_is_refused_by_undo_and_apply() {
    for text in ["", "garbage", "{}", "[]", r#"{"version":1}"#] {
        let dir = edited();
        dir.write(RECORD, text.as_bytes());
        let message = [RECORD, ": record: expected a record of ckpt-regen", "found"];
        undo_refuses(&dir, &message);
        dir.refuses(&["apply", MODEL, "--below", "0.6"], 1, &message);
    }
}

#[test]
fn a_record_that_was_cut_off_is_refused() {
    let dir = edited();
    let whole = dir.read(RECORD);
    dir.write(RECORD, &whole[..whole.len() / 2]);
    undo_refuses(&dir, &[RECORD, "expected a record", "found EOF"]);
}

#[test]
fn a_record_that_is_not_utf_8_is_refused() {
    let dir = edited();
    dir.write(RECORD, &[0xff; 40]);
    undo_refuses(&dir, &[RECORD]);
}

#[test]
fn a_record_of_another_version_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| record["version"] = 2.into());
    undo_refuses(&dir, &[RECORD, "expected a record", "found version 2"]);
}

#[test]
fn a_record_of_no_edit_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| record["edits"] = serde_json::json!([]));
    undo_refuses(&dir, &[RECORD, "expected a record", "0 edits"]);
}

#[test]
fn a_record_with_old_bytes_of_another_length_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| {
        record["edits"][0]["old"][0]["bytes"] = "AAAAAA==".into();
    });
    undo_refuses(
        &dir,
        &[
            RECORD,
            "expected the bytes that the recorded edit replaced",
            "found",
        ],
    );
}

#[test]
fn a_record_with_old_bytes_that_are_no_base64_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| {
        record["edits"][0]["old"][0]["bytes"] = "???".into();
    });
    undo_refuses(&dir, &[RECORD, "expected a record", "found"]);
}

#[test]
fn a_record_with_other_old_bytes_than_its_checksum_says_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| {
        let bytes = &mut record["edits"][0]["old"][0]["bytes"];
        let text = bytes.as_str().unwrap();
        let other = if text.starts_with('A') { "B" } else { "A" };
        *bytes = format!("{other}{}", &text[1..]).into();
    });
    undo_refuses(&dir, &[RECORD]);
}

#[test]
fn a_record_that_lacks_one_of_the_changed_layers_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| {
        let old = record["edits"][0]["old"].as_array_mut().unwrap();
        assert_eq!(old.len(), 2);
        old.pop();
    });
    undo_refuses(&dir, &[RECORD]);
}

#[test]
fn a_record_with_bytes_for_a_tensor_that_is_no_gamma_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| {
        let old = record["edits"][0]["old"].as_array_mut().unwrap();
        let mut more = old[0].clone();
        more["name"] = "bn1.bias".into();
        old.push(more);
    });
    undo_refuses(&dir, &[RECORD]);
}

#[test]
fn a_record_of_a_tensor_that_is_not_there_is_refused() {
    let dir = edited();
    dir.edit_json(RECORD, |record| {
        record["edits"][0]["gamma"][0]["name"] = "bn9.weight".into();
    });
    undo_refuses(
        &dir,
        &[MODEL, "does not hold the γ that the recorded edit left"],
    );
}

#[test]
fn undo_on_gamma_that_changed_since_is_refused() {
    let dir = edited();
    let mut trained = dir.read(MODEL);
    let gamma = trained
        .windows(4)
        .position(|w| w == 3_f32.to_le_bytes())
        .unwrap();
    trained[gamma..][..4].copy_from_slice(&3.5_f32.to_le_bytes());
    dir.write(MODEL, &trained);
    undo_refuses(
        &dir,
        &[MODEL, "does not hold the γ that the recorded edit left"],
    );
}

#[test]
fn undo_on_the_file_from_before_the_edit_is_refused() {
    let dir = edited();
    dir.write(MODEL, &safetensors(&network()));
    undo_refuses(&dir, &[MODEL, "taken back already"]);
}

#[test]
fn undo_on_a_damaged_file_is_refused() {
    let dir = edited();
    let whole = dir.read(MODEL);
    dir.write(MODEL, &whole[..whole.len() - 1]);
    undo_refuses(&dir, &[MODEL, "bn2.running_var", "expected", "found"]);
}

#[test]
fn a_damaged_journal_stops_apply_and_undo_but_not_inspect() {
    let sum = "0".repeat(64);
    for (text, found) in [
        (&b"garbage"[..], "found one line"),
        (b"", "found one line"),
        (
            format!("{sum}\n{{}}\n").as_bytes(),
            "found a checksum that does not fit",
        ),
    ] {
        let dir = edited();
        dir.write(JOURNAL, text);
        let message = [
            JOURNAL,
            ": journal: expected a journal of ckpt-regen",
            found,
        ];
        undo_refuses(&dir, &message);
        dir.refuses(&["apply", MODEL, "--below", "0.6"], 1, &message);
        dir.refuses(&["apply", MODEL, "-o", "out.safetensors"], 1, &message);
        let before = dir.state();
        let report = dir.succeeds(&["inspect", MODEL, "--json"]);
        assert_eq!(report.json()["pending"], true);
        assert!(report.stderr.contains(JOURNAL), "{report:?}");
        assert!(dir.state() == before);
    }
}

#[test]
fn a_journal_that_is_not_utf_8_is_refused() {
    let dir = edited();
    dir.write(JOURNAL, &[0xff; 80]);
    undo_refuses(&dir, &[JOURNAL]);
}

#[test]
fn a_journal_or_record_that_is_a_directory_is_refused() {
    for name in [JOURNAL, RECORD] {
        let dir = Dir::with_network();
        fs::create_dir_all(dir.path(name)).unwrap();
        undo_refuses(&dir, &[name]);
        dir.refuses(&["apply", MODEL], 1, &[name]);
    }
}

#[test]
fn a_link_or_a_file_in_the_place_of_the_folder_is_refused() {
    let dir = Dir::with_network();
    fs::create_dir(dir.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", dir.path(".ckpt-regen")).unwrap();
    let message = [".ckpt-regen", "expected a directory"];
    dir.refuses(&["apply", MODEL], 1, &message);
    fs::remove_file(dir.path(".ckpt-regen")).unwrap();
    dir.write(".ckpt-regen", b"x");
    dir.refuses(&["apply", MODEL], 1, &message);
}

#[test]
fn a_checkpoint_that_another_run_is_editing_is_refused() {
    let dir = Dir::with_network();
    fs::create_dir(dir.path(".ckpt-regen")).unwrap();
    let lock = fs::File::create(dir.path(".ckpt-regen/model.safetensors.lock")).unwrap();
    lock.lock().unwrap();
    let message = [MODEL, "another ckpt-regen is editing this checkpoint"];
    dir.refuses(&["apply", MODEL], 1, &message);
    undo_refuses(&dir, &message);
    drop(lock);
    dir.succeeds(&["apply", MODEL]);
}
