//! Runs that prune: what is pruned stays at 0, and a run in pieces ends as one that was not.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::common::*;

/// A very small network on the digits that are built in.
const NETWORK: [&str; 8] = [
    "--model",
    "mobilenet_v2",
    "--width",
    "0.1",
    "--data",
    "digits",
    "--batch-size",
    "256",
];

fn train(out: &Path, more: &[&str]) -> String {
    let out = ["train", "--out", text(out)];
    ok(&[&out[..], &NETWORK, more].concat())
}

/// Trains one epoch, and returns the weights.
fn weights(dir: &Path) -> String {
    let run = dir.join("base");
    train(&run, &["--epochs", "1", "--sparsity", "1e-3"]);
    text(&run.join("last/model.safetensors")).to_owned()
}

fn state_of(checkpoint: &Path) -> Value {
    serde_json::from_slice(&fs::read(checkpoint.join("state.json")).unwrap()).unwrap()
}

/// The pruned channels by layer, of `mask` or `filters`.
fn pruned(checkpoint: &Path, by: &str) -> HashMap<String, Vec<usize>> {
    let state = state_of(checkpoint);
    let layers = state["pruning"][by].as_array().cloned().unwrap_or_default();
    let layers = layers.iter().map(|layer| {
        let pruned = layer["pruned"].as_array().unwrap().iter();
        let pruned = pruned.map(|channel| channel.as_u64().unwrap() as usize);
        (layer["name"].as_str().unwrap().to_owned(), pruned.collect())
    });
    layers.collect()
}

/// The numbers of the tensors of a file, by name.
fn tensors(file: &Path) -> HashMap<String, Vec<f64>> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let floats = tensors
        .iter()
        .filter(|(_, tensor)| tensor.dtype() == Dtype::F32);
    let decoded = floats.map(|(name, tensor)| {
        let (numbers, _) = tensor.data().as_chunks();
        let values = numbers
            .iter()
            .map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
        (name.to_owned(), values.collect())
    });
    decoded.collect()
}

#[test]
fn slimmed_channels_stay_at_0_in_every_array_and_out_of_the_median() {
    let dir = tempfile::tempdir().unwrap();
    let weights = weights(dir.path());
    let run = dir.path().join("fine");
    let more = [
        "--epochs",
        "3",
        "--prune-ratio",
        "0.3",
        "--regen-every",
        "1",
        "--ema",
        "0.9",
    ];
    train(&run, &[&["--resume", &weights[..]], &more[..]].concat());
    let mask = pruned(&run.join("last"), "mask");
    let count: usize = mask.values().map(Vec::len).sum();
    // Of 3616 channels floor(3616 · 0.3) + 1, and those of the same |γ|.
    assert!((1085..1100).contains(&count), "{count}");
    let [values, averages, kept] = ["model", "ema", "optimizer"]
        .map(|name| tensors(&run.join(format!("last/{name}.safetensors"))));
    let mut alive = 0;
    for (layer, pruned) in &mask {
        for leaf in ["weight", "bias"] {
            let name = format!("{layer}.{leaf}");
            for channel in pruned {
                assert_eq!(values[&name][*channel], 0.0, "{name} {channel}");
                assert_eq!(averages[&name][*channel], 0.0, "{name} {channel}");
                assert_eq!(kept[&format!("{name}.momentum_buffer")][*channel], 0.0);
            }
        }
        alive += values[&format!("{layer}.weight")]
            .iter()
            .filter(|v| **v != 0.0)
            .count();
    }
    assert_eq!(alive, 3616 - count);
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["pruned"], &first["inhibited"]),
        (&count.into(), &0.into())
    );
    // The lower median of those that are left, and not of all.
    assert!((1..=(3616 - count) / 2).contains(&(first["regenerated"].as_u64().unwrap() as usize)));
}

#[test]
fn pruned_channels_that_are_regenerated_as_the_public_code_does_are_pruned_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let weights = weights(dir.path());
    let run = dir.path().join("public");
    let more = [
        "--epochs",
        "2",
        "--prune-ratio",
        "0.3",
        "--regen-every",
        "1",
        "--pruned-as-public",
    ];
    train(&run, &[&["--resume", &weights[..]], &more[..]].concat());
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let counts: Vec<u64> = lines
        .map(|line| line["pruned"].as_u64().unwrap_or(0))
        .collect();
    assert!(counts[0] >= 1085 && counts[1] == 0, "{counts:?}");
}

#[test]
fn fpgm_prunes_a_share_of_every_layer_softly_or_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let weights = weights(dir.path());
    let soft = dir.path().join("soft");
    train(&soft, &["--epochs", "2", "--soft", "fpgm:0.4"]);
    let hard = dir.path().join("hard");
    let more = [
        "--epochs",
        "2",
        "--prune-method",
        "fpgm",
        "--prune-ratio",
        "0.4",
    ];
    train(&hard, &[&["--resume", &weights[..]], &more[..]].concat());
    // MobileNetV2's 52 convolutions without the 17 that are depthwise.
    for (run, by) in [(&soft, "filters"), (&hard, "mask")] {
        let pruned = pruned(&run.join("last"), by);
        assert_eq!(pruned["features.0.1"].len(), 3, "{by}");
        assert_eq!(pruned.len(), 35, "{by}");
        let values = tensors(&run.join("last/model.safetensors"));
        let filters = &values["features.0.0.weight"];
        for channel in 0..8 {
            let zero = filters[27 * channel..][..27]
                .iter()
                .all(|value| *value == 0.0);
            assert_eq!(
                zero,
                pruned["features.0.1"].contains(&channel),
                "{by} {channel}"
            );
            let gamma = values["features.0.1.weight"][channel];
            assert_eq!(gamma == 0.0, zero && by == "mask", "{by} {channel}");
        }
    }
}

#[test]
fn a_search_for_a_ticket_in_pieces_ends_with_the_bits_of_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    for how in ["inherit", "reinit"] {
        let [whole, pieces] = ["whole", "pieces"].map(|name| dir.path().join(name).join(how));
        let more = [
            "--epochs",
            "9",
            "--lr",
            "0.01",
            "--early-bird",
            "0.3",
            "--continue",
            how,
        ];
        let more = [
            &more[..],
            &["--sparsity", "1e-5", "--ema", "0.9", "--keep", "2"],
        ]
        .concat();
        let shown = run(&[&["train", "--out", text(&whole)][..], &NETWORK, &more[..]].concat());
        let shown = stderr(&shown);
        assert!(
            shown.contains("an Early-Bird ticket is found after"),
            "{shown}"
        );
        for epoch in 0..9 {
            let stop = epoch.to_string();
            let stop = ["--stop-after", &stop];
            if epoch == 0 {
                train(&pieces, &[&more[..], &stop].concat());
            } else {
                ok(&[&["train", "--resume", text(&pieces)], &stop[..]].concat());
            }
        }
        ok(&["train", "--resume", text(&pieces)]);
        for checkpoint in ["ticket", "last"] {
            let [a, b] = [&whole, &pieces].map(|run| state(&run.join(checkpoint)));
            assert!(a == b, "{how}: {checkpoint} differs");
        }
        let ticket = pruned(&whole.join("ticket"), "mask");
        assert_eq!(ticket, pruned(&whole.join("last"), "mask"));
        assert_eq!(ticket.values().map(Vec::len).sum::<usize>(), 1085);
    }
}

#[test]
fn a_search_that_stops_at_its_ticket_can_go_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let more = ["--epochs", "9", "--lr", "0.01", "--early-bird", "0.3"];
    let shown = train(&out, &more);
    let last = shown.lines().last().unwrap();
    assert!(
        last.contains("ticket found, 1085 of 3616 channels pruned: "),
        "{last}"
    );
    // Nothing is left to do.
    let again = ok(&["train", "--resume", text(&out)]);
    assert_eq!(again.lines().count(), 1, "{again}");
    let copies = ["inherit", "reinit"].map(|how| {
        let copy = dir.path().join(how);
        ok(&[
            "train",
            "--resume",
            text(&out),
            "--out",
            text(&copy),
            "--continue",
            how,
        ]);
        copy
    });
    for how in ["inherit", "reinit"] {
        let whole = dir.path().join("whole").join(how);
        train(&whole, &[&more[..], &["--continue", how]].concat());
        let [a, b] =
            [&whole, &dir.path().join(how)].map(|run| tensors(&run.join("last/model.safetensors")));
        assert!(a == b, "{how}");
    }
    assert!(
        tensors(&copies[0].join("last/model.safetensors"))
            != tensors(&copies[1].join("last/model.safetensors"))
    );
}

#[test]
fn what_cannot_be_pruned_is_refused_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let weights = weights(dir.path());
    for (more, said) in [
        (&["--prune-ratio", "1"][..], "prune-ratio: expected a share"),
        (&["--early-bird", "1.5"], "early-bird: expected a share"),
        (
            &["--prune-ratio", "0.3"],
            "all γ of a network that begins are equal",
        ),
        (&["--soft", "fpgm:1.5"], "expected none, or fpgm:"),
        (
            &["--sparsity", "nan"],
            "sparsity: expected a number from 0 up",
        ),
        (&["--continue", "inherit"], "continue: is for early-bird"),
        (
            &[
                "--early-bird",
                "0.3",
                "--prune-ratio",
                "0.3",
                "--resume",
                &weights,
            ],
            "prune-ratio: early-bird prunes by itself",
        ),
        (
            &["--norm-ratio", "0.2"],
            "norm-ratio: is for prune-method fpgm or soft",
        ),
    ] {
        let args = [&["train", "--out", text(&out)][..], &NETWORK, more].concat();
        let message = fails(2, &args);
        assert!(message.contains(said), "{more:?}: {message}");
        assert!(!out.exists(), "{more:?}");
    }
    for more in [
        &["--norm", "itn", "--soft", "fpgm:0.4"][..],
        &["--norm", "itn", "--early-bird", "0.3"],
    ] {
        let args = [&["train", "--out", text(&out)][..], &NETWORK, more].concat();
        let message = stderr(&run(&args));
        assert!(message.contains("to prune"), "{more:?}: {message}");
        assert!(!out.exists(), "{more:?}");
    }
    let begun = dir.path().join("base");
    let late = fails(
        2,
        &[
            "train",
            "--resume",
            text(&begun),
            "--epochs",
            "2",
            "--prune-ratio",
            "0.3",
        ],
    );
    assert!(late.contains("a run prunes as it begins"), "{late}");
}

#[test]
fn a_run_and_its_edited_checkpoint_know_of_each_others_pruned_channels() {
    let dir = tempfile::tempdir().unwrap();
    let weights = weights(dir.path());
    // A file pruned beside its record is fine-tuned; an apply on the run's checkpoint leaves them out.
    ok(&["prune", &weights, "--ratio", "0.3", "--min-channels", "0"]);
    let fine = dir.path().join("fine");
    let more = ["--resume", &weights, "--epochs", "2", "--stop-after", "1"];
    train(&fine, &more);
    let mask = pruned(&fine.join("last"), "mask");
    let count: usize = mask.values().map(Vec::len).sum();
    assert!(count >= 1085, "{count}");
    let last = fine.join("last");
    let json = ok_json(&["apply", text(&last), "--json"]);
    assert_eq!(json["counted"], 3616 - count);
    let json = ok_json(&["inspect", text(&last), "--json"]);
    assert_eq!(json["networks"][0]["pruned"], count);
    ok(&["train", "--resume", text(&fine)]);
    assert_eq!(pruned(&last, "mask"), mask);

    // A run's checkpoint pruned in between goes on pruned; lifted again, its channels are not.
    let other = dir.path().join("other");
    train(&other, &["--epochs", "3", "--stop-after", "1"]);
    ok(&["prune", text(&other.join("last")), "--ratio", "0.3"]);
    ok(&["train", "--resume", text(&other), "--stop-after", "2"]);
    let mask = pruned(&other.join("last"), "mask");
    assert!(mask.values().map(Vec::len).sum::<usize>() >= 1085);
    ok(&["apply", text(&other.join("last")), "--pruned-as-public"]);
    ok(&["train", "--resume", text(&other)]);
    let left = pruned(&other.join("last"), "mask");
    assert!(left.values().all(Vec::is_empty), "{left:?}");

    // Where another program has trained pruned channels, the mask is not used, and that is said.
    fs::copy(other.join("last/model.safetensors"), &weights).unwrap();
    let stale = dir.path().join("stale");
    let more = [
        "train",
        "--out",
        text(&stale),
        "--resume",
        &weights,
        "--epochs",
        "1",
    ];
    let shown = stderr(&run(&[&more[..], &NETWORK].concat()));
    assert!(
        shown.contains("of them is not 0 any more: its mask is not used"),
        "{shown}"
    );
    assert!(pruned(&stale.join("last"), "mask").is_empty());
}

#[test]
fn a_state_with_a_mask_of_another_network_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--epochs", "2", "--stop-after", "1"]);
    let file = run.join("last/state.json");
    let begun: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for (pruning, said) in [
        (
            r#"{"mask": [{"name": "features.0.1", "channels": 900, "pruned": [899]}]}"#,
            "the mask is for 900 channels, and there are 8",
        ),
        (
            r#"{"filters": [{"name": "features.0.2", "channels": 8, "pruned": [0]}]}"#,
            "the mask names the layer features.0.2, which is not there",
        ),
    ] {
        let mut state = begun.clone();
        state["pruning"] = serde_json::from_str(pruning).unwrap();
        fs::write(&file, state.to_string()).unwrap();
        let message = fails(
            1,
            &["train", "--resume", text(&run.join("last")), "--out", "x"],
        );
        assert!(message.contains(said), "{message}");
    }
}
