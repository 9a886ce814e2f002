//! `ckpt-regen model`.
#![cfg(feature = "train")]

mod common;

use common::*;
use serde_json::json;

#[test]
fn the_table_fits_80_columns_and_names_every_layer_once() {
    for entry in ok_json(&["model", "--json"]).as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let shown = ok(&["model", name]);
        let mut names = Vec::new();
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            names.extend(line.split_whitespace().next());
        }
        let lines = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), lines, "{name}");
    }
}

#[test]
fn the_lines_of_the_table_add_up_to_the_total() {
    let shown = ok(&["model", "mobilenet_v2"]);
    let mut sum: u64 = 0;
    let mut total = 0;
    for line in shown.lines().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The last of the words with a comma or of digits only, before MACs, unit and share.
        let number = |word: &str| word.replace(',', "").parse::<u64>().ok();
        match words[0] {
            "total" => total = number(words[1]).unwrap(),
            _ => {
                let output = words.iter().rposition(|word| word.contains('×')).unwrap();
                sum += number(words[output + 1]).unwrap();
            }
        }
    }
    assert_eq!((sum, total), (3_504_872, 3_504_872));
}

#[test]
fn json_has_every_node_and_every_tensor() {
    let args = ["model", "resnet20", "--classes", "100", "--json"];
    let network = ok_json(&args);
    assert_eq!(network["name"], "resnet20");
    assert_eq!(network["input"], json!([3, 32, 32]));
    assert_eq!(network["output"], json!([100, 1, 1]));
    let tensors = network["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 19 + 19 * 5 + 2);
    assert_eq!(
        tensors[0],
        json!({ "name": "conv1.weight", "shape": [16, 3, 3, 3], "parameter": true })
    );
    let nodes = network["nodes"].as_array().unwrap();
    let sum = |key: &str| {
        nodes
            .iter()
            .map(|node| node[key].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(sum("parameters"), network["parameters"].as_u64().unwrap());
    assert_eq!(
        sum("multiply_adds"),
        network["multiply_adds"].as_u64().unwrap()
    );
    let pad = nodes.iter().find(|node| node["op"] == "pad_channels");
    assert_eq!(
        *pad.unwrap(),
        json!({
            "name": "layer2.0.shortcut.pad",
            "op": "pad_channels",
            "inputs": ["layer2.0.shortcut.subsample"],
            "before": 8,
            "after": 8,
            "shape": [32, 16, 16],
            "parameters": 0,
            "multiply_adds": 0,
        })
    );
}

#[test]
fn the_drawing_has_an_edge_for_every_input_of_a_layer() {
    let drawing = ok(&["model", "resnet20", "--dot"]);
    let count = |part: &str| drawing.matches(part).count();
    // 19 convolutions with what follows, 9 sums, 2 × 2 shortcuts, pooling, linear; and the input.
    let layers = 19 + 9 + 4 + 2;
    assert_eq!(count("label="), layers + 1);
    assert_eq!(count(" -> "), layers + 9);
    assert!(drawing.starts_with("digraph \"resnet20\" {"));
    assert!(
        drawing.contains("layer1.0.add\\nadd ReLU\\n16×32×32"),
        "{drawing}"
    );
}

#[test]
fn the_cifar_stem_and_the_cifar_resnets_are_shown_at_32_pixels() {
    let shown = |args: &[&str]| ok(args).lines().next().unwrap().to_owned();
    let stem = shown(&["model", "mobilenet_v2", "--stem", "cifar"]);
    assert!(stem.starts_with("mobilenet_v2: 3×32×32 to 1000"), "{stem}");
    let own = shown(&["model", "resnet56"]);
    assert!(own.starts_with("resnet56: 3×32×32 to 10, "), "{own}");
    let asked = shown(&["model", "resnet56", "--resolution", "48", "--classes", "2"]);
    assert!(asked.starts_with("resnet56: 3×48×48 to 2, "), "{asked}");
}

#[test]
fn wrong_usage_says_what_is_wrong() {
    for (args, expected) in [
        (&["mobilenetv2"][..], "did you mean mobilenet_v2"),
        (&["resnet18", "--resolution", "0"], "resnet18: conv1: "),
        (&["resnet18", "--classes", "0"], "0 classes"),
        (&["resnet18", "--width", "2"], "no width multiplier"),
        (&["mobilenet_v2", "--width", "-1"], "above 0"),
        (&["mobilenet_v2", "--width", "nan"], "above 0"),
        (&["regnet_x_400mf", "--stem", "cifar"], "no CIFAR stem"),
        (&["resnet20", "--stem", "cifar"], "for CIFAR already"),
        (&["--resolution", "64"], "NAME"),
        (&["resnet20", "--dot", "--json"], "cannot be used with"),
        (
            &["mobilenet_v2", "--resolution", "18446744073709551615"],
            "too large",
        ),
    ] {
        let args: Vec<&str> = ["model"].iter().chain(args).copied().collect();
        let text = fails(2, &args);
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}
