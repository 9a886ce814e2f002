use super::super::layout::Layout;
use super::super::uses::Conflict;
use super::build::{dict as pickled_dict, global, int, legacy, on, saved, storage, text, tuple};
use super::*;
use crate::checkpoint::Role;
use crate::checkpoint::optimizer::map_optimizer;
use crate::checkpoint::optimizer::parameters;
use crate::dtype::Dtype;

#[test]
fn a_training_file_gives_its_state_dict_epoch_and_momentum() {
    let (source, opened) = open_path(&fixture("before.pth")).unwrap();
    let roots: Vec<&str> = opened.dicts.iter().map(|dict| &dict.root[..]).collect();
    assert_eq!(roots, ["model"]);
    assert_eq!(opened.dicts[0].role, Role::Raw);
    assert_eq!(
        (opened.layout, opened.finished()),
        (Layout::Torchvision, None)
    );
    let model = dict(&opened, "model");
    let names: Vec<&str> = model.tensors.iter().map(|t| &t.name[..]).take(7).collect();
    assert_eq!(
        names,
        [
            "0.weight",
            "0.bias",
            "1.weight",
            "1.bias",
            "1.running_mean",
            "1.running_var",
            "1.num_batches_tracked"
        ]
    );
    let steps = tensor(model, "1.num_batches_tracked");
    assert_eq!(
        (steps.dtype, &steps.shape[..], steps.len),
        (Dtype::I64, &[][..], 8)
    );
    assert_eq!(bytes_of(&source, steps), 1_i64.to_le_bytes());

    let optimizer = opened.optimizers[0].as_ref().unwrap();
    assert_eq!(
        (&optimizer.root[..], &optimizer.groups[..]),
        ("optimizer", &[8][..])
    );
    let mapped = map_optimizer(optimizer, model, None, &mut Vec::new()).unwrap();
    let names: Vec<&str> = mapped.iter().map(|m| &m.name[..]).collect();
    assert_eq!(
        names,
        [
            "0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.weight", "3.bias"
        ]
    );
    let momentum = &mapped[2].slots[0].1;
    assert_eq!(momentum.shape, [4]);
    assert_eq!(floats(&source, momentum).len(), 4);
}

/// What `state_dict()` of the module that `generate.py` pickles gives.
const MODULE: [(&str, &[u64]); 13] = [
    ("first.kept", &[2]),
    ("first.bn.weight", &[3]),
    ("first.bn.bias", &[3]),
    ("first.bn.running_mean", &[3]),
    ("first.bn.running_var", &[3]),
    ("first.bn.num_batches_tracked", &[]),
    ("first.fc.weight", &[3, 3]),
    ("first.fc.bias", &[3]),
    ("second.1.weight", &[3]),
    ("second.1.bias", &[3]),
    ("second.1.running_mean", &[3]),
    ("second.1.running_var", &[3]),
    ("second.1.num_batches_tracked", &[]),
];

#[test]
fn a_pickled_module_lists_what_its_state_dict_would() {
    for (file, layout) in [("module.pth", Layout::Module), ("legacy.th", Layout::Plain)] {
        let (_, opened) = open_path(&fixture(file)).unwrap();
        assert_eq!(
            (opened.layout, opened.finished(), opened.dicts.len()),
            (layout, None, 1)
        );
        let dict = dict(&opened, "");
        let found: Vec<(&str, &[u64])> = dict
            .tensors
            .iter()
            .map(|t| (&t.name[..], &t.shape[..]))
            .collect();
        assert_eq!(found, MODULE, "{file}");
        // The tied BatchNorm is one set of bytes under two names.
        assert_eq!(
            tensor(dict, "first.bn.weight").offset,
            tensor(dict, "second.1.weight").offset
        );
        assert_eq!(opened.uses.conflicts(&opened.dicts, &[(0, 1), (0, 8)]), []);
        assert_eq!(parameters(dict).len(), 5);
    }
}

#[test]
fn a_gamma_on_bytes_of_another_tensor_is_reported_with_its_name() {
    let (source, opened) = open_path(&fixture("shared.pth")).unwrap();
    let weights: Vec<(usize, usize)> = opened.dicts[0]
        .tensors
        .iter()
        .enumerate()
        .filter(|(_, t)| t.name.ends_with(".weight"))
        .map(|(n, _)| (0, n))
        .collect();
    let conflicts = opened.uses.conflicts(&opened.dicts, &weights);
    let with = "tied_to_beta.bias".to_owned();
    assert_eq!(
        conflicts,
        [Conflict {
            gamma: (0, 0),
            with
        }]
    );
    // Without its other name among the γ, a shared γ is a conflict.
    let one = weights[2];
    let with = "same.weight".to_owned();
    assert_eq!(
        opened.uses.conflicts(&opened.dicts, &[one]),
        [Conflict { gamma: one, with }]
    );

    let dict = dict(&opened, "");
    assert_eq!(
        floats(&source, tensor(dict, "alone.weight")),
        [24.0, 25.0, 26.0, 27.0]
    );
    let strided = tensor(dict, "strided.weight");
    assert_eq!((&strided.shape[..], strided.len), (&[4][..], 28));
    assert_eq!(
        strided.fixed.as_deref(),
        Some("its elements are not contiguous (strides [2])")
    );
}

#[test]
fn overlapping_gammas_at_different_places_are_conflicts_of_each_other() {
    let (_, mut opened) = open_path(&fixture("shared.pth")).unwrap();
    let t = opened.dicts[0]
        .tensors
        .iter()
        .position(|t| t.name == "one.weight")
        .unwrap();
    opened.dicts[0].tensors[t].offset -= 4;
    let same = opened.dicts[0]
        .tensors
        .iter()
        .position(|t| t.name == "same.weight")
        .unwrap();
    let conflicts = opened.uses.conflicts(&opened.dicts, &[(0, t), (0, same)]);
    let with: Vec<&str> = conflicts.iter().map(|c| &c.with[..]).collect();
    assert_eq!(with, ["same.weight", "one.weight"]);
}

#[test]
fn a_legacy_view_begins_inside_its_storage() {
    let view = |first, len| storage(&[tuple(&[text("view"), int(first), int(len)])]);
    let none = storage(&[b"N".to_vec()]);
    let value = pickled_dict(&[
        ("whole", on(none, 1, &[2], &[1])),
        ("part", on(view(8, 4), 1, &[2], &[1])),
    ]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), legacy(&value)).unwrap();
    let (source, opened) = open_path(file.path()).unwrap();
    let dict = dict(&opened, "");
    assert_eq!(floats(&source, tensor(dict, "whole")), [1.0, 2.0]);
    assert_eq!(floats(&source, tensor(dict, "part")), [9.0, 10.0]);
    for (first, len, at) in [(8, 4, 3), (62, 4, 0), (-1, 4, 0)] {
        let value = pickled_dict(&[("part", on(view(first, len), at, &[2], &[1]))]);
        message(open_bytes(&legacy(&value)));
    }
}

#[test]
fn a_legacy_file_of_a_big_endian_machine_or_with_another_count_is_refused() {
    let good = legacy(&pickled_dict(&[("w", on(storage(&[]), 0, &[2], &[1]))]));
    assert!(open_bytes(&good).is_ok());
    let mut big = good.clone();
    let at = big.windows(13).position(|w| w == b"little_endian").unwrap() + 13;
    assert_eq!(big[at], 0x88);
    big[at] = 0x89;
    assert!(message(open_bytes(&big)).contains("big-endian machine"));
    let mut count = good.clone();
    let at = good.len() - 256 - 8;
    count[at] = 63;
    assert!(message(open_bytes(&count)).contains("64 elements, as the object says"));
    message(open_bytes(&good[..good.len() - 1]));
}

#[test]
fn a_gamma_on_a_storage_that_is_used_in_an_unknown_way_is_a_conflict() {
    let quantized = [
        global("torch._utils", "_rebuild_qtensor"),
        tuple(&[storage(&[]), int(0)]),
        b"R".to_vec(),
    ]
    .concat();
    let gamma = on(storage(&[]), 4, &[2], &[1]);
    let value = pickled_dict(&[("bn.weight", gamma), ("packed", quantized)]);
    let opened = open_bytes(&saved(&value)).unwrap();
    assert_eq!(opened.unread, ["packed (_rebuild_qtensor)"]);
    let with = "storage 0 as a whole".to_owned();
    assert_eq!(
        opened.uses.conflicts(&opened.dicts, &[(0, 0)]),
        [Conflict {
            gamma: (0, 0),
            with
        }]
    );
}
