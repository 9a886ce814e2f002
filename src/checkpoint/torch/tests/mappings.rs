//! Which of an optimizer's parameters are which of the network's.

use super::build::{dict, int, list, saved, tensor, text};
use super::layouts::{opened, sgd, weights};
use super::*;
use crate::checkpoint::optimizer::map_optimizer;

/// The names that an optimizer with these groups maps to, in its order.
fn mapped(groups: &[&[&[i32]]]) -> std::result::Result<Vec<String>, String> {
    let opened = opened(&[("model", weights(0)), ("optimizer", sgd(groups))]);
    let optimizer = opened.optimizers[0].as_ref().unwrap();
    let mapped = map_optimizer(optimizer, &opened.dicts[0], None, &mut Vec::new())?;
    Ok(mapped.into_iter().map(|m| m.name).collect())
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
