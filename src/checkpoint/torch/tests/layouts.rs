use super::super::optimizer::Slot;
use super::super::{Kind, Layout, map_optimizer, parameters};
use super::build::{dict, int, list, saved, tensor, text};
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
    let mapped = map_optimizer(optimizer, &parameters(&opened.dicts[0]))?;
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
    assert_eq!((now.layout, now.epochs), (Layout::Timm, Some(8)));
    assert_eq!(
        roles(&now),
        [("state_dict", Role::Raw), ("state_dict_ema", Role::Ema)]
    );
    assert_eq!(file(1).epochs, Some(7));
}

#[test]
fn mmengine_counts_epochs_and_swaps_the_average_and_the_weights() {
    let meta = || dict(&[("epoch", int(12)), ("iter", int(99))]);
    let with = opened(&[
        ("meta", meta()),
        ("state_dict", weights(0)),
        ("ema_state_dict", weights(20)),
    ]);
    assert_eq!((with.layout, with.epochs), (Layout::Mmengine, Some(12)));
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
    assert_eq!((plain.layout, plain.epochs), (Layout::Lightning, Some(1)));
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
    assert_eq!((file.layout, file.epochs), (Layout::Other, None));
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
    assert_eq!((&optimizer.root[..], optimizer.kind), ("", Kind::Sgd));
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
fn an_order_that_shapes_do_not_prove_is_not_believed() {
    let other = mapped(&[&[&[2, 1], &[1], &[2], &[1, 2], &[2]]]).unwrap_err();
    assert!(other.contains("fit no known order"), "{other}");
    let fewer = mapped(&[&[&[2, 1], &[2]]]).unwrap_err();
    assert_eq!(fewer, "the optimizer has 2 parameters and the network 5");
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
    let error = map_optimizer(optimizer, &parameters(&opened.dicts[0])).unwrap_err();
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
    assert_eq!(optimizer.kind, Kind::Adam);
    let mapped = map_optimizer(optimizer, &parameters(&opened.dicts[0])).unwrap();
    let names: Vec<&str> = mapped.iter().map(|m| &m.name[..]).collect();
    assert_eq!(names, ["fc.bias", "bn.weight"]);
    assert_eq!(mapped[1].slots.len(), 2);
}

#[test]
fn flat_parameters_of_fsdp_are_refused() {
    let value = dict(&[("_fsdp_wrapped_module._flat_param", tensor(0, &[60]))]);
    assert!(message(open_bytes(&saved(&value))).contains("FSDP flattened"));
}
