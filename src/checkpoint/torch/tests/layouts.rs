use super::super::super::epochs::Value as At;
use super::super::Layout;
use super::build::{dict, float, global, int, list, saved, tensor, text, tuple};
use super::*;
use crate::checkpoint::Role;
use crate::checkpoint::optimizer::Slot;

/// Weight and bias of one layer, a convolution's weight and a classifier's bias.
pub(super) fn weights(first: i32) -> Vec<u8> {
    dict(&[
        ("conv.weight", tensor(first, &[2, 1])),
        ("bn.weight", tensor(first + 2, &[2])),
        ("bn.bias", tensor(first + 4, &[2])),
        ("bn.running_mean", tensor(first + 6, &[2])),
        ("bn.running_var", tensor(first + 8, &[2])),
        ("fc.weight", tensor(first + 10, &[1, 2])),
        ("fc.bias", tensor(first + 12, &[1])),
    ])
}

/// SGD with these shapes in these groups, in the order of its positions.
pub(super) fn sgd(groups: &[&[&[i32]]]) -> Vec<u8> {
    let mut position = 0;
    let (mut state, mut param_groups) = (Vec::new(), Vec::new());
    for group in groups {
        let mut params = Vec::new();
        for shape in *group {
            params.push(int(position));
            state.push(
                [
                    int(position),
                    dict(&[("momentum_buffer", tensor(40, shape))]),
                ]
                .concat(),
            );
            position += 1;
        }
        param_groups.push(dict(&[("params", list(&params))]));
    }
    let state = [b"}(", &state.concat()[..], b"u"].concat();
    dict(&[("state", state), ("param_groups", list(&param_groups))])
}

pub(super) fn opened(entries: &[(&str, Vec<u8>)]) -> Opened {
    open_bytes(&saved(&dict(entries))).unwrap()
}

fn roles(opened: &Opened) -> Vec<(&str, Role)> {
    opened
        .dicts
        .iter()
        .map(|dict| (&dict.root[..], dict.role))
        .collect()
}

#[test]
fn timm_stores_the_index_of_the_last_epoch_since_version_2() {
    let file = |version| {
        opened(&[
            ("epoch", int(7)),
            ("arch", text("resnet18")),
            ("state_dict", weights(0)),
            ("version", int(version)),
            ("state_dict_ema", weights(20)),
        ])
    };
    let now = file(2);
    assert_eq!((now.layout, now.finished()), (Layout::Timm, Some(8)));
    assert_eq!(
        roles(&now),
        [("state_dict", Role::Raw), ("state_dict_ema", Role::Ema)]
    );
    assert_eq!(file(1).finished(), Some(7));
}

#[test]
fn what_timm_stores_without_a_version_is_the_count() {
    let file = opened(&[
        ("epoch", int(5)),
        ("arch", text("r")),
        ("state_dict", weights(0)),
        ("args", int(1)),
    ]);
    assert_eq!((file.layout, file.finished()), (Layout::Timm, Some(5)));
}

#[test]
fn the_schedule_of_torchvision_tells_an_index_from_a_count() {
    let file = |last_epoch: Option<i32>, args: bool| {
        let schedule = last_epoch.map(|n| ("last_epoch", int(n)));
        let mut entries = vec![
            ("model", weights(0)),
            ("optimizer", sgd(&[&[&[2, 1]]])),
            ("lr_scheduler", dict(schedule.as_slice())),
            ("epoch", int(5)),
        ];
        entries.extend(args.then(|| ("args", int(1))));
        opened(&entries).finished()
    };
    assert_eq!(file(Some(6), true), Some(6));
    assert_eq!(file(Some(5), true), Some(5));
    // Stepped after every update, 208 or 250 of them an epoch.
    assert_eq!(file(Some(6 * 208), true), Some(6));
    assert_eq!(file(Some(5 * 250), true), Some(5));
    for last_epoch in [Some(1249), Some(5 * 6 * 41), Some(4), Some(0), None] {
        assert_eq!(file(last_epoch, true), None, "{last_epoch:?}");
    }
    // Anybody's own file may have the other keys.
    assert_eq!(file(Some(6), false), None);
}

/// Lightning's progress through epochs.
fn progress(processed: i32, started: i32, is_last_batch: bool) -> (&'static str, Vec<u8>) {
    let last = if is_last_batch { b"\x88" } else { b"\x89" }.to_vec();
    let current = dict(&[("processed", int(processed)), ("started", int(started))]);
    let fit = dict(&[
        ("epoch_progress", dict(&[("current", current)])),
        (
            "epoch_loop.batch_progress",
            dict(&[("is_last_batch", last)]),
        ),
    ]);
    ("loops", dict(&[("fit_loop", fit)]))
}

#[test]
fn lightning_counts_processed_epochs_and_one_whose_last_batch_is_done() {
    let file = |progress| {
        let version = ("pytorch-lightning_version", text("2.6.0"));
        opened(&[
            ("epoch", int(5)),
            ("state_dict", weights(0)),
            version,
            progress,
        ])
        .finished()
    };
    // After a finished fit; at the end of an epoch; from validation inside one; in the middle.
    assert_eq!(file(progress(5, 5, true)), Some(5));
    assert_eq!(file(progress(6, 6, true)), Some(6));
    assert_eq!(file(progress(4, 5, true)), Some(5));
    assert_eq!(file(progress(4, 5, false)), Some(4));
}

#[test]
fn before_version_1_6_lightning_stored_the_count() {
    let file = |version: Option<&str>| {
        let mut entries = vec![
            ("epoch", int(5)),
            ("state_dict", weights(0)),
            ("optimizer_states", b"]".to_vec()),
        ];
        entries.extend(version.map(|version| ("pytorch-lightning_version", text(version))));
        opened(&entries).finished()
    };
    assert_eq!(file(Some("1.5.10")), Some(5));
    assert_eq!(file(Some("1.6.0")), Some(6));
    assert_eq!(file(Some("2.0.9.post0")), Some(6));
    assert_eq!(file(Some("nightly")), None);
    assert_eq!(file(None), None);
}

/// A scalar of NumPy as protocol 2 has it: its bytes are Latin-1 text.
fn numpy(kind: &str, bytes: &str) -> Vec<u8> {
    let dtype = [
        global("numpy", "dtype"),
        tuple(&[text(kind), b"\x89".to_vec(), b"\x88".to_vec()]),
        b"R".to_vec(),
        tuple(&[int(3), text("<")]),
        b"b".to_vec(),
    ];
    let encoded = [
        global("_codecs", "encode"),
        tuple(&[text(bytes), text("latin1")]),
        b"R".to_vec(),
    ];
    [
        global("numpy._core.multiarray", "scalar"),
        tuple(&[dtype.concat(), encoded.concat()]),
        b"R".to_vec(),
    ]
    .concat()
}

#[test]
fn numbers_of_python_numpy_and_torch_are_found_by_their_keys() {
    let file = opened(&[
        ("epoch", int(5)),
        ("at", float(4.5)),
        ("count", numpy("i8", "\u{7}\0\0\0\0\0\0\0")),
        ("small", numpy("f4", "\0\0\u{80}\u{3f}")),
        ("steps", tensor(3, &[])),
        ("meta", dict(&[("epoch", int(9)), ("name", text("x"))])),
        ("optimizer", sgd(&[&[&[2, 1]]])),
        ("net", weights(0)),
    ]);
    let found: Vec<String> = file
        .scalars
        .iter()
        .map(|scalar| match &scalar.value {
            At::Number(number) => format!("{} {number}", scalar.key),
            At::Tensor(tensor) => format!("{} at {}", scalar.key, tensor.offset % 256),
        })
        .collect();
    let place = found.iter().find(|line| line.starts_with("steps at"));
    assert!(place.is_some());
    let numbers: Vec<&String> = found.iter().filter(|line| !line.contains(" at ")).collect();
    assert_eq!(
        numbers,
        ["epoch 5", "at 4.5", "count 7", "small 1", "meta.epoch 9"]
    );
}

#[test]
fn mmengine_counts_epochs_and_swaps_the_average_and_the_weights() {
    let meta = || dict(&[("epoch", int(12)), ("iter", int(99))]);
    let with = opened(&[
        ("meta", meta()),
        ("state_dict", weights(0)),
        ("ema_state_dict", weights(20)),
    ]);
    assert_eq!((with.layout, with.finished()), (Layout::Mmengine, Some(12)));
    assert_eq!(
        roles(&with),
        [("state_dict", Role::Ema), ("ema_state_dict", Role::Raw)]
    );
    let without = opened(&[("meta", meta()), ("state_dict", weights(0))]);
    assert_eq!(roles(&without), [("state_dict", Role::Raw)]);
}

#[test]
fn lightning_keeps_the_raw_weights_aside_when_it_averages() {
    let states = || ("optimizer_states", list(&[sgd(&[&[&[2, 1]]])]));
    let plain = opened(&[("epoch", int(0)), ("state_dict", weights(0)), states()]);
    // Which version wrote it is not said.
    assert_eq!((plain.layout, plain.finished()), (Layout::Lightning, None));
    assert_eq!(roles(&plain), [("state_dict", Role::Raw)]);
    assert_eq!(
        plain.optimizers[0].as_ref().unwrap().root,
        "optimizer_states.0"
    );
    let callback = dict(&[("current_model_state", weights(20))]);
    let averaged = opened(&[
        ("state_dict", weights(0)),
        states(),
        ("callbacks", dict(&[("Averaging", callback)])),
    ]);
    assert_eq!(
        roles(&averaged),
        [
            ("state_dict", Role::Ema),
            ("callbacks.Averaging.current_model_state", Role::Raw)
        ]
    );
}

#[test]
fn an_unknown_layout_says_no_epoch() {
    let file = opened(&[
        ("epoch", int(3)),
        ("net", weights(0)),
        ("teacher", weights(20)),
    ]);
    assert_eq!((file.layout, file.finished()), (Layout::Other, None));
    assert_eq!(
        roles(&file),
        [("net", Role::Raw), ("teacher", Role::Teacher)]
    );
}

#[test]
fn an_optimizer_alone_is_no_state_dict() {
    let file = open_bytes(&saved(&sgd(&[&[&[2, 1], &[2]]]))).unwrap();
    assert!(file.dicts.is_empty());
    let optimizer = file.optimizers[0].as_ref().unwrap();
    assert_eq!((&optimizer.root[..], optimizer.kind()), ("", "SGD"));
    assert_eq!(optimizer.parameters[1].slots[0].0, Slot::MomentumBuffer);
    assert_eq!(optimizer.parameters[1].slots[0].1.shape, [2]);
}
