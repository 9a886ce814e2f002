use super::super::super::epochs::Value as At;
use super::super::optimizer::Slot;
use super::super::{Layout, map_optimizer};
use super::build::{dict, float, global, int, list, saved, tensor, text, tuple};
use super::*;
use crate::checkpoint::Role;

/// Weight and bias of one layer, a convolution's weight and a classifier's bias.
fn weights(first: i32) -> Vec<u8> {
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
fn sgd(groups: &[&[&[i32]]]) -> Vec<u8> {
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

fn opened(entries: &[(&str, Vec<u8>)]) -> Opened {
    open_bytes(&saved(&dict(entries))).unwrap()
}

/// The names that an optimizer with these groups maps to, in its order.
fn mapped(groups: &[&[&[i32]]]) -> std::result::Result<Vec<String>, String> {
    let opened = opened(&[("model", weights(0)), ("optimizer", sgd(groups))]);
    let optimizer = opened.optimizers[0].as_ref().unwrap();
    let mapped = map_optimizer(optimizer, &opened.dicts[0], None, &mut Vec::new())?;
    Ok(mapped.into_iter().map(|m| m.name).collect())
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

#[test]
fn positions_map_in_each_known_order_of_groups() {
    let in_order: &[&[i32]] = &[&[2, 1], &[2], &[2], &[1, 2], &[1]];
    let names = [
        "conv.weight",
        "bn.weight",
        "bn.bias",
        "fc.weight",
        "fc.bias",
    ];
    assert_eq!(mapped(&[in_order]).unwrap(), names);
    let timm = mapped(&[&[&[2], &[2], &[1]], &[&[2, 1], &[1, 2]]]).unwrap();
    assert_eq!(
        timm,
        [
            "bn.weight",
            "bn.bias",
            "fc.bias",
            "conv.weight",
            "fc.weight"
        ]
    );
    let norm_first = mapped(&[&[&[2], &[2]], &[&[2, 1], &[1, 2], &[1]]]).unwrap();
    assert_eq!(
        norm_first,
        [
            "bn.weight",
            "bn.bias",
            "conv.weight",
            "fc.weight",
            "fc.bias"
        ]
    );
    let norm_last = mapped(&[&[&[2, 1], &[1, 2], &[1]], &[&[2], &[2]]]).unwrap();
    assert_eq!(
        norm_last,
        [
            "conv.weight",
            "fc.weight",
            "fc.bias",
            "bn.weight",
            "bn.bias"
        ]
    );
}

#[test]
fn the_rest_of_a_network_whose_beginning_is_frozen_is_found() {
    let head = mapped(&[&[&[1, 2], &[1]]]).unwrap();
    assert_eq!(head, ["fc.weight", "fc.bias"]);
    let beginning = mapped(&[&[&[2, 1], &[2]]]).unwrap();
    assert_eq!(beginning, ["conv.weight", "bn.weight"]);
    // The BatchNorm layer alone is frozen.
    let rest = mapped(&[&[&[2, 1], &[1, 2], &[1]]]).unwrap();
    assert_eq!(rest, ["conv.weight", "fc.weight", "fc.bias"]);
    // And in groups by decay.
    let groups = mapped(&[&[&[1]], &[&[1, 2]]]).unwrap();
    assert_eq!(groups, ["fc.bias", "fc.weight"]);
}

#[test]
fn groups_by_decay_stand_in_either_order() {
    let decayed_first = mapped(&[&[&[2, 1], &[1, 2]], &[&[2], &[2], &[1]]]).unwrap();
    assert_eq!(
        decayed_first,
        [
            "conv.weight",
            "fc.weight",
            "bn.weight",
            "bn.bias",
            "fc.bias"
        ]
    );
    // transformers: biases apart, γ with the other weights.
    let biases_last = mapped(&[&[&[2, 1], &[2], &[1, 2]], &[&[2], &[1]]]).unwrap();
    assert_eq!(
        biases_last,
        [
            "conv.weight",
            "bn.weight",
            "fc.weight",
            "bn.bias",
            "fc.bias"
        ]
    );
}

#[test]
fn an_order_of_names_decides_and_has_to_fit() {
    let shapes: &[&[i32]] = &[&[1], &[2], &[2, 1]];
    let opened = opened(&[("model", weights(0)), ("optimizer", sgd(&[shapes]))]);
    let optimizer = opened.optimizers[0].as_ref().unwrap();
    let map = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mapped = map_optimizer(optimizer, &opened.dicts[0], Some(&names), &mut Vec::new())?;
        Ok::<_, String>(mapped.into_iter().map(|m| m.name).collect::<Vec<_>>())
    };
    let names = ["fc.bias", "bn.bias", "conv.weight"];
    assert_eq!(map(&names).unwrap(), names);
    for (names, wanted) in [
        (&names[..2], "has 2 names, and the optimizer 3 parameters"),
        (
            &["fc.bias", "bn.biass", "conv.weight"],
            "did you mean bn.bias",
        ),
        (
            &["fc.bias", "fc.bias", "conv.weight"],
            "names the parameter fc.bias twice",
        ),
        (
            &["bn.bias", "fc.bias", "conv.weight"],
            "state of bn.bias has another shape",
        ),
    ] {
        let error = map(names).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn what_other_optimizers_keep_is_known_or_named() {
    let kept = |slots: &[&str]| {
        let slots: Vec<_> = slots.iter().map(|slot| (*slot, tensor(40, &[2]))).collect();
        let steps = ("mu_product", tensor(1, &[]));
        let state = [
            &b"}"[..],
            &int(0),
            &dict(&[&slots[..], &[steps]].concat()),
            b"s",
        ]
        .concat();
        let group = dict(&[("params", list(&[int(0)]))]);
        let optimizer = dict(&[("state", state), ("param_groups", list(&[group]))]);
        let opened = opened(&[("model", weights(0)), ("optimizer", optimizer)]);
        let optimizer = opened.optimizers[0].as_ref().unwrap();
        (optimizer.kind(), optimizer.unknown.join(" "))
    };
    for (slots, kind) in [
        (&["momentum_buffer"][..], "SGD"),
        (&["exp_avg", "exp_avg_sq"], "Adam"),
        (&["exp_avg", "exp_avg_sq", "max_exp_avg_sq"], "Adam"),
        (&["square_avg", "momentum_buffer", "grad_avg"], "RMSprop"),
        (&["exp_avg"], "Lion"),
        (&["exp_avg", "exp_inf"], "Adamax"),
        (
            &["momentum_buffer", "exp_avg", "exp_avg_sq"],
            "Muon with Adam",
        ),
    ] {
        assert_eq!(kept(slots), (kind, String::new()), "{slots:?}");
    }
    let (kind, unknown) = kept(&["exp_avg", "exp_avg_sq_row"]);
    assert_eq!(
        (kind, &unknown[..]),
        ("of a kind that is not known here", "exp_avg_sq_row")
    );
}

#[test]
fn an_order_that_shapes_do_not_prove_is_not_believed() {
    let other = mapped(&[&[&[2, 1], &[1], &[2], &[1, 2], &[2]]]).unwrap_err();
    assert!(other.contains("fit no known order"), "{other}");
    let fewer = mapped(&[&[&[2], &[1]]]).unwrap_err();
    assert!(
        fewer
            .starts_with("the optimizer has 2 parameters and the network 5, and the shapes do not"),
        "{fewer}"
    );
    let other = mapped(&[&[&[2, 2], &[2]]]).unwrap_err();
    assert_eq!(other, "the optimizer has 2 parameters and the network 5");
    // All shapes alike in two groups: state-dict order fits, and so does either order of norms.
    let names = ["b.scale", "a.bias", "a.weight", "c.scale"];
    let tensors: Vec<_> = (0..)
        .step_by(2)
        .zip(names)
        .map(|(first, name)| (name, tensor(first, &[2])))
        .collect();
    let shape: &[i32] = &[2];
    let groups = sgd(&[&[shape, shape], &[shape, shape]]);
    let opened = opened(&[("model", dict(&tensors)), ("optimizer", groups)]);
    let optimizer = opened.optimizers[0].as_ref().unwrap();
    let error = map_optimizer(optimizer, &opened.dicts[0], None, &mut Vec::new()).unwrap_err();
    assert!(error.contains("fit 3 orders of parameters"), "{error}");
}

#[test]
fn names_given_to_the_optimizer_decide() {
    let names = ["module.fc.bias", "module.bn.weight"];
    let group = dict(&[
        ("params", list(&[int(0), int(1)])),
        ("param_names", list(&names.map(text))),
    ]);
    let kept = |shape: &[i32]| {
        dict(&[
            ("exp_avg", tensor(40, shape)),
            ("exp_avg_sq", tensor(50, shape)),
        ])
    };
    let state = [
        &b"}"[..],
        &int(0),
        &kept(&[1]),
        b"s",
        &int(1),
        &kept(&[2]),
        b"s",
    ]
    .concat();
    let adam = dict(&[("state", state), ("param_groups", list(&[group]))]);
    let opened = opened(&[("model", weights(0)), ("optimizer", adam)]);
    let optimizer = opened.optimizers[0].as_ref().unwrap();
    assert_eq!(optimizer.kind(), "Adam");
    let mapped = map_optimizer(optimizer, &opened.dicts[0], None, &mut Vec::new()).unwrap();
    let names: Vec<&str> = mapped.iter().map(|m| &m.name[..]).collect();
    assert_eq!(names, ["fc.bias", "bn.weight"]);
    assert_eq!(mapped[1].slots.len(), 2);
}

#[test]
fn flat_parameters_of_fsdp_are_refused() {
    let value = dict(&[("_fsdp_wrapped_module._flat_param", tensor(0, &[60]))]);
    assert!(message(open_bytes(&saved(&value))).contains("FSDP flattened"));
}
