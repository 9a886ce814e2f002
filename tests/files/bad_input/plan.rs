//! Saved plans that were changed by hand, or meet another file.

use serde_json::{Value, json};

use crate::sandbox::*;

const PLAN: &str = "plan.json";

/// A network and a plan for it, in which bn2 loses channels 0, 1 and 3 to the median 0.5.
fn planned() -> Dir {
    let dir = Dir::with_network();
    dir.succeeds(&["apply", MODEL, "--dry-run", "--plan-out", PLAN]);
    dir
}

fn apply_refuses(dir: &Dir, message: &[&str]) {
    for extra in [
        &[][..],
        &["--in-place"],
        &["--dry-run"],
        &["-o", "out.safetensors"],
    ] {
        let args = [&["apply", MODEL, "--plan", PLAN], extra].concat();
        dir.refuses(&args, 1, message);
    }
}

/// A plan after this change of its part for bn2 does not fit the file.
fn refused_after(edit: impl FnOnce(&mut Value), found: &str) {
    let dir = planned();
    dir.edit_json(PLAN, |plan| {
        let layers = plan["layers"].as_array_mut().unwrap();
        edit(
            layers
                .iter_mut()
                .find(|layer| layer["name"] == "bn2")
                .unwrap(),
        );
    });
    apply_refuses(
        &dir,
        &[
            MODEL,
            "plan, layer bn2",
            "expected changes that fit",
            "found",
            found,
        ],
    );
}

#[test]
fn the_plan_that_these_tests_damage_is_a_good_one() {
    let dir = planned();
    dir.succeeds(&["apply", MODEL, "--plan", PLAN]);
    let plan: Value = serde_json::from_slice(&dir.read(PLAN)).unwrap();
    assert_eq!(plan["layers"][1]["name"], "bn2");
    let changes = json!([
        {"channel": 0, "old": 0.0, "new": 0.5},
        {"channel": 1, "old": -0.125, "new": 0.5},
        {"channel": 3, "old": 0.375, "new": 0.5},
    ]);
    assert_eq!(plan["layers"][1]["changes"], changes);
}

#[test]
fn a_plan_for_another_file_is_refused() {
    let dir = planned();
    dir.write(MODEL, &safetensors(&batchnorm("bn1", &[1.0, 2.0, 3.0])));
    apply_refuses(
        &dir,
        &[MODEL, "not the file that the plan was made for", "SHA-256"],
    );
}

#[test]
fn a_plan_that_was_already_carried_out_is_refused() {
    let dir = planned();
    dir.succeeds(&["apply", MODEL, "--plan", PLAN]);
    apply_refuses(&dir, &[MODEL, "not the file that the plan was made for"]);
}

#[test]
fn a_plan_with_a_channel_out_of_range_is_refused() {
    refused_after(
        |layer| layer["changes"][2]["channel"] = 6.into(),
        "channel 6",
    );
}

#[test]
fn a_plan_with_the_largest_number_as_channel_is_refused() {
    let channel = u64::MAX;
    refused_after(
        |layer| layer["changes"][2]["channel"] = channel.into(),
        &format!("channel {channel}"),
    );
}

#[test]
fn a_plan_with_channels_out_of_order_is_refused() {
    refused_after(
        |layer| layer["changes"][2]["channel"] = 0.into(),
        "channel 0 out of order",
    );
}

#[test]
fn a_plan_with_a_channel_twice_is_refused() {
    refused_after(
        |layer| layer["changes"][1] = layer["changes"][0].clone(),
        "channel 0 out of order",
    );
}

#[test]
fn a_plan_with_another_old_value_is_refused() {
    refused_after(
        |layer| layer["changes"][1]["old"] = json!(-0.25),
        "-0.25 for a γ of -0.125",
    );
}

#[test]
fn a_plan_that_takes_minus_zero_for_zero_is_refused() {
    refused_after(
        |layer| layer["changes"][0]["old"] = json!(-0.0),
        "-0 for a γ of 0",
    );
}

#[test]
fn a_plan_with_a_new_value_that_is_not_representable_is_refused() {
    refused_after(
        |layer| layer["changes"][0]["new"] = json!(0.1),
        "0.1, which is no F32",
    );
    refused_after(
        |layer| layer["changes"][0]["new"] = json!(1e39),
        "which is no F32",
    );
}

#[test]
fn a_plan_for_a_layer_that_is_not_there_is_refused() {
    let dir = planned();
    dir.edit_text(PLAN, r#""bn2""#, r#""bn9""#);
    apply_refuses(
        &dir,
        &[
            MODEL,
            "plan, layer bn9",
            "expected",
            "found a layer that it has not",
        ],
    );
}

#[test]
fn a_plan_with_a_layer_twice_is_refused() {
    let dir = planned();
    dir.edit_json(PLAN, |plan| {
        let layers = plan["layers"].as_array_mut().unwrap();
        let mut again = layers[1].clone();
        again["changes"] = json!([{"channel": 2, "old": 0.75, "new": 1.0}]);
        layers.push(again);
    });
    apply_refuses(&dir, &[MODEL, "bn2", "expected", "found"]);
}

#[test]
fn a_plan_that_is_not_json_is_refused_by_its_name() {
    for text in ["", "garbage", "{}", "[]", r#"{"version":1}"#] {
        let dir = planned();
        dir.write(PLAN, text.as_bytes());
        apply_refuses(&dir, &[PLAN, "expected a saved plan", "found"]);
    }
}

#[test]
fn a_plan_that_was_cut_off_is_refused() {
    let dir = planned();
    let whole = dir.read(PLAN);
    dir.write(PLAN, &whole[..whole.len() - 10]);
    apply_refuses(&dir, &[PLAN, "expected a saved plan", "found EOF"]);
}

#[test]
fn a_plan_of_another_version_is_refused() {
    let dir = planned();
    dir.edit_json(PLAN, |plan| plan["version"] = 2.into());
    apply_refuses(&dir, &[PLAN, "expected a saved plan", "found version 2"]);
}

#[test]
fn a_plan_by_an_unknown_rule_is_refused() {
    let dir = planned();
    dir.edit_json(PLAN, |plan| plan["rule"] = "none".into());
    apply_refuses(
        &dir,
        &[PLAN, "expected a saved plan", "found expected paper"],
    );
}

#[test]
fn a_plan_with_null_for_a_number_is_refused() {
    let dir = planned();
    dir.edit_json(PLAN, |plan| {
        plan["layers"][1]["changes"][0]["new"] = Value::Null
    });
    apply_refuses(
        &dir,
        &[PLAN, "expected a saved plan", "found invalid type: null"],
    );
}

#[test]
fn a_plan_that_does_not_exist_is_refused() {
    apply_refuses(&Dir::with_network(), &[PLAN, "cannot read"]);
}

#[test]
fn a_plan_that_cannot_be_saved_stops_the_edit() {
    let dir = Dir::with_network();
    for extra in [&[][..], &["--dry-run"]] {
        let args = [&["apply", MODEL, "--plan-out", "no/such/plan.json"], extra].concat();
        dir.refuses(&args, 1, &["no/such/plan.json", "cannot write"]);
    }
}
