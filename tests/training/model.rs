//! `ckpt-regen model`.

use std::collections::BTreeSet;

use crate::common::*;
use ckpt_regen::engine::cpu::Isa;
use serde_json::{Value, json};

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
fn an_auxiliary_head_is_shown_and_counts() {
    let name = "mobilenetv2dilated-c1_deepsup";
    let asked = ["--classes", "20", "--resolution", "65x97"];
    let json = [&["model", name, "--json"][..], &asked].concat();
    let network = ok_json(&json);
    let head = json!({ "node": "decoder.conv_last_deepsup", "loss_weight": 0.4 });
    assert_eq!(network["auxiliary"], head);
    assert_eq!(network["output_node"], "decoder.conv_last");
    assert_eq!(network["output"], json!([20, 9, 13]));
    let nodes = network["nodes"].as_array().unwrap();
    let sum = |key: &str, of: &dyn Fn(&str) -> bool| -> u64 {
        let wanted = nodes
            .iter()
            .filter(|node| of(node["name"].as_str().unwrap()));
        wanted.map(|node| node[key].as_u64().unwrap()).sum()
    };
    for key in ["parameters", "multiply_adds"] {
        assert_eq!(network[key], json!(sum(key, &|_| true)));
    }
    // Of 160 channels to 80, and of those to the classes.
    let parameters = sum("parameters", &|name| name.contains("_deepsup"));
    assert_eq!(parameters, 160 * 80 * 9 + 2 * 80 + 80 * 20 + 20);
    let macs = sum("multiply_adds", &|name| name.contains("_deepsup"));
    assert_eq!(macs, (160 * 80 * 9 + 80 * 20) * 9 * 13);
    let shown = ok(&[&["model", name][..], &asked].concat());
    let line = "auxiliary output decoder.conv_last_deepsup, its loss × 0.4\n";
    assert!(shown.contains(line), "{shown}");
    let others = ok_json(&["model", "resnet20", "--json"]);
    assert_eq!(others["auxiliary"], Value::Null);
    assert_eq!(others["output_node"], "linear");
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
        (&["resnet20", "--dot", "--plan"], "cannot be used with"),
        (&["resnet20", "--plan", "--batch", "0"], "--batch"),
        (&["resnet20", "--batch", "2"], "--plan|--profile"),
        (
            &["resnet20", "--plan", "--steps", "2"],
            "cannot be used with",
        ),
        (&["resnet20", "--steps", "2"], "--profile"),
        (&["resnet20", "--profile", "--isa", "sse"], "avx512"),
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

#[test]
fn the_plan_fits_80_columns_and_computes_every_node() {
    for entry in ok_json(&["model", "--json"]).as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        for args in [&[][..], &["--evaluate"]] {
            let shown = ok(&[&["model", name, "--plan", "--batch", "2"], args].concat());
            for line in shown.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
        let network = ok_json(&["model", name, "--json"]);
        let plan = ok_json(&["model", name, "--plan", "--batch", "2", "--json"]);
        let steps = plan["steps"].as_array().unwrap();
        let nodes = steps
            .iter()
            .flat_map(|step| step["nodes"].as_array().unwrap());
        let planned: BTreeSet<&str> = nodes.map(|node| node.as_str().unwrap()).collect();
        let nodes = network["nodes"].as_array().unwrap().iter().skip(1);
        let nodes: BTreeSet<&str> = nodes.map(|node| node["name"].as_str().unwrap()).collect();
        assert_eq!(planned, nodes, "{name}");
    }
}

#[test]
fn the_bytes_of_a_plan_add_up() {
    for name in ["shufflenet_v2_x0_5", "mobilenet_v3_small"] {
        let plan = ok_json(&["model", name, "--plan", "--batch", "3", "--json"]);
        let bytes = |key: &str| plan["bytes"][key].as_u64().unwrap();
        let parts = [
            "shared",
            "blocks",
            "weights",
            "weight_gradients",
            "optimizer_slot",
            "scratch",
        ];
        assert_eq!(parts.map(bytes).iter().sum::<u64>(), bytes("total"));
        let args = ["--plan", "--batch", "3", "--json", "--threads"];
        let threads = ["1", "3"].map(|threads| {
            ok_json(&[&["model", name], &args[..], &[threads]].concat())["bytes"]["blocks"].as_u64()
        });
        let [one, three] = threads.map(Option::unwrap);
        assert!(one > 0 && three == 3 * one, "{name}: {one} and {three}");
        let steps = plan["steps"].as_array().unwrap().iter();
        let mut unshared = plan["input"]["bytes"].as_u64().unwrap();
        for of in steps.map(|step| &step["output"]) {
            let size = of["bytes"].as_u64().unwrap();
            let in_memory = of["in_memory"].as_array().unwrap().iter();
            let numbers: u64 = in_memory.map(|n| n.as_u64().unwrap()).product();
            assert_eq!(size, 3 * 4 * numbers);
            unshared += size;
            if !of["gradient_at"].is_null() {
                unshared += size;
            }
            for place in [&of["at"], &of["gradient_at"]] {
                if let Some(before) = place.as_u64() {
                    assert!(before + size <= bytes("shared"));
                }
            }
        }
        assert_eq!(unshared, bytes("unshared"));
        assert!(bytes("shared") < unshared / 2);
    }
}

#[test]
fn the_plan_says_what_is_fused_folded_and_framed() {
    let line = |shown: &str, name: &str| {
        let mut lines = shown.lines().map(|line| line.split_whitespace().collect());
        let found = lines.find(|words: &Vec<&str>| words[0] == name);
        found
            .unwrap_or_else(|| panic!("{name} in {shown}"))
            .join(" ")
    };
    let shown = ok(&["model", "mobilenet_v2", "--plan", "--batch", "1"]);
    // 1 × 226 × 226 × 3 and 112 × 112 × 32 numbers of 4 bytes.
    let images = line(&shown, "input");
    assert!(
        images.starts_with("input images, framed 3×224×224 226×226×3 0.6 ")
            && images.ends_with(" -"),
        "{images}"
    );
    let norm = line(&shown, "features.0.1");
    assert!(
        norm.starts_with("features.0.1 norm + ReLU6 32×112×112 112×112×32 1.5 "),
        "{norm}"
    );
    let padded = line(&shown, "classifier.1");
    assert!(
        padded.starts_with("classifier.1 linear 1000×1×1 1×1×1008 "),
        "{padded}"
    );
    let shown = ok(&["model", "shufflenet_v2_x1_0", "--plan"]);
    assert!(shown.contains(" copy: concat, shuffle, slice "), "{shown}");
}

#[test]
fn the_plan_of_an_evaluation_has_no_gradients() {
    let plan = ok_json(&["model", "resnet20", "--plan", "--evaluate", "--json"]);
    assert_eq!(plan["training"], json!(false));
    assert_eq!(plan["images"], json!(128));
    let segments = plan["segments"].as_array().unwrap();
    assert!(segments.iter().all(|segment| segment["backward"] == false));
    for step in plan["steps"].as_array().unwrap() {
        assert_eq!(step["output"]["gradient_at"], json!(null));
    }
}

#[test]
fn a_profile_has_the_time_of_every_step() {
    let size = ["--width", "0.25", "--resolution", "64", "--batch", "2"];
    let run = ["--profile", "--steps", "1", "--threads", "2", "--json"];
    for way in [&[][..], &["--evaluate"]] {
        let args = [&["model", "mobilenet_v2"], &size[..], &run, way].concat();
        let profile = ok_json(&args);
        let plan = [
            &["model", "mobilenet_v2"],
            &size[..],
            &["--plan", "--json"],
            way,
        ]
        .concat();
        let names = |of: &Value| -> Vec<Value> {
            let steps = of["steps"].as_array().unwrap().iter();
            steps.map(|step| step["name"].clone()).collect()
        };
        assert_eq!(names(&profile), names(&ok_json(&plan)));
        let sum = |of: &str, key: &str| -> f64 {
            let all = profile[of].as_array().unwrap().iter();
            all.map(|one| one[key].as_f64().unwrap()).sum()
        };
        let number = |key: &str| profile[key].as_f64().unwrap();
        let (forward, backward) = (sum("steps", "forward_ms"), sum("steps", "backward_ms"));
        assert!((sum("kinds", "forward_ms") - forward).abs() < 1e-6);
        assert!((sum("kinds", "backward_ms") - backward).abs() < 1e-6);
        assert_eq!(sum("kinds", "steps"), names(&profile).len() as f64);
        // One batch, so that its median is its mean.
        let parts = forward + backward + number("update_ms") + number("rest_ms");
        assert!((parts - number("median_ms")).abs() < 1e-6, "{profile}");
        assert!((number("images_per_s") * number("median_ms") - 2000.0).abs() < 1e-6);
        assert!(forward > 0.0);
        assert_eq!(backward > 0.0, way.is_empty());
        assert_eq!(number("update_ms") > 0.0, way.is_empty());
        assert_eq!(sum("steps", "multiply_adds"), number("multiply_adds"));
        assert_eq!(profile["threads"], json!(2));
    }
}

#[test]
fn a_profile_shows_the_slowest_steps_first_with_the_instructions_asked_for() {
    for isa in Isa::ALL {
        let run = ["--batch", "2", "--steps", "1", "--isa", isa.name()];
        let args = [&["model", "resnet20", "--profile"], &run[..]].concat();
        if !isa.is_available() {
            let text = fails(1, &args);
            assert!(text.contains("this processor has no "), "{text}");
            continue;
        }
        let shown = ok(&args);
        let mut lines = shown.lines();
        let first = lines.next().unwrap();
        let expected = format!("resnet20: 2 images of 3×32×32, training, {}, ", isa.name());
        assert!(first.starts_with(&expected), "{first}");
        let table = lines
            .skip_while(|line| !line.starts_with("slowest"))
            .skip(1);
        let shares = table.map(|line| {
            assert!(line.chars().count() <= 80, "{line}");
            let share = line.split_whitespace().last().unwrap();
            share.trim_end_matches('%').parse().unwrap()
        });
        let shares: Vec<f64> = shares.collect();
        assert_eq!(shares.len(), 10);
        assert!(shares.is_sorted_by(|a, b| a >= b), "{shown}");
    }
}

#[test]
fn a_batch_that_cannot_be_run_is_refused() {
    let huge = ["model", "resnet20", "--plan", "--batch", "1000000000000"];
    let text = fails(1, &huge);
    assert!(text.contains("more memory than there is"), "{text}");
    let single = ["model", "mobilenet_v2", "--profile", "--resolution", "32"];
    let text = fails(1, &[&single[..], &["--batch", "1"]].concat());
    assert!(text.contains("BatchNorm needs a larger batch"), "{text}");
}
