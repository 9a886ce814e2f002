use std::collections::HashMap;

use super::super::checksum::patches;
use super::*;

/// The edits that `generate.py` made between `before.pth` and `after.pth`.
fn edits(source: &Source, opened: &Opened) -> Vec<Patch> {
    let model = dict(opened, "model");
    let last = tensor(model, "3.weight");
    vec![
        edit(source, tensor(model, "1.weight"), 1, 0.25),
        edit(source, last, 0, 1e-44),
        edit(source, last, 1, -0.5),
        edit(source, last, 2, 2.0),
    ]
}

#[test]
fn edited_bytes_and_checksums_are_what_torch_saves_after_the_same_change() {
    let path = fixture("before.pth");
    let (source, opened) = open_path(&path).unwrap();
    let mut all = edits(&source, &opened);
    let extra = patches(&source, opened.zip.as_ref().unwrap(), &all).unwrap();
    // Two entries and serialization_id, each in descriptor and central directory, and the fold.
    assert_eq!(extra.len(), 7);
    all.extend(extra);
    assert_eq!(
        patched(&path, &all),
        std::fs::read(fixture("after.pth")).unwrap()
    );
}

#[test]
fn an_edit_taken_back_gives_the_old_file() {
    let after = fixture("after.pth");
    let (source, opened) = open_path(&after).unwrap();
    let (old_source, old) = open_path(&fixture("before.pth")).unwrap();
    let back = edits(&old_source, &old);
    let mut all: Vec<Patch> = back
        .into_iter()
        .map(|Patch { offset, old, new }| Patch {
            offset,
            old: new,
            new: old,
        })
        .collect();
    let extra = patches(&source, opened.zip.as_ref().unwrap(), &all).unwrap();
    all.extend(extra);
    assert_eq!(
        patched(&after, &all),
        std::fs::read(fixture("before.pth")).unwrap()
    );
}

#[test]
fn an_edit_that_changes_nothing_needs_no_checksum() {
    let (source, opened) = open_path(&fixture("before.pth")).unwrap();
    let gamma = tensor(dict(&opened, "model"), "1.weight");
    let old = bytes_of(&source, gamma);
    let same = Patch {
        offset: gamma.offset,
        old: old.clone(),
        new: old,
    };
    assert_eq!(
        patches(&source, opened.zip.as_ref().unwrap(), &[same]).unwrap(),
        []
    );
}

#[test]
fn a_checksum_that_was_wrong_before_is_left_alone() {
    let mut bytes = std::fs::read(fixture("before.pth")).unwrap();
    let (source, opened) = open_path(&fixture("before.pth")).unwrap();
    let edits = edits(&source, &opened);
    let zip = opened.zip.unwrap();
    let entry = |name: &str| zip.find(name).unwrap();
    let gamma = zip
        .entries()
        .iter()
        .find(|e| e.offset == edits[0].offset / 64 * 64)
        .unwrap();
    let id = entry("archive/.data/serialization_id");
    bytes[gamma.crcs[0].offset as usize] ^= 1;
    bytes[id.offset as usize + 39] ^= 1;

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (source, opened) = open_path(file.path()).unwrap();
    let extra = patches(&source, opened.zip.as_ref().unwrap(), &edits).unwrap();
    let changed: HashMap<u64, usize> = extra.iter().map(|p| (p.offset, p.new.len())).collect();
    assert!(!changed.contains_key(&gamma.crcs[0].offset));
    assert!(changed.contains_key(&gamma.crcs[1].offset));
    assert!(!changed.contains_key(&(id.offset + 20)));
    assert!(id.crcs.iter().all(|crc| !changed.contains_key(&crc.offset)));
    assert_eq!(extra.len(), 3);
}

#[test]
fn edits_outside_entry_data_or_on_other_bytes_are_refused() {
    let (source, opened) = open_path(&fixture("before.pth")).unwrap();
    let zip = opened.zip.as_ref().unwrap();
    let header = Patch {
        offset: 0,
        old: vec![b'P'],
        new: vec![b'Q'],
    };
    assert!(message(patches(&source, zip, &[header])).contains("within the data of one zip entry"));
    let mut stale = edits(&source, &opened).remove(0);
    stale.old[0] ^= 1;
    assert!(message(patches(&source, zip, &[stale])).contains("when the change was planned"));
}
