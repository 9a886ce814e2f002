//! FPGM: filters nearest the geometric median of their convolution.

use super::*;

/// ResNet-20 by its own names, with numbers drawn anew.
fn resnet20() -> (tempfile::TempDir, PathBuf) {
    use ckpt_regen::net::zoo;
    let graph = zoo::build("resnet20", &zoo::defaults("resnet20").unwrap()).unwrap();
    let mut state: u64 = 5;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 24) as f32 + 0.05
    };
    let mut all = Vec::new();
    for tensor in graph.tensors() {
        let count: usize = tensor.shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| next()).collect();
        let shape: Vec<u64> = tensor.shape.iter().map(|n| *n as u64).collect();
        if tensor.shape.is_empty() {
            continue;
        }
        all.push((format!("module.{}", tensor.name), shape, f32s(&values)));
    }
    let entries: Vec<Entry<'_>> = all
        .iter()
        .map(|(name, shape, bytes)| (&name[..], "F32", &shape[..], bytes.clone()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("r.safetensors");
    fs::write(&file, safetensors_file(&entries)).unwrap();
    (dir, file)
}

const FPGM: [&str; 4] = ["--method", "fpgm", "--model", "resnet20"];

#[test]
fn filters_with_their_gamma_and_beta_become_0_in_every_convolution() {
    let (dir, file) = resnet20();
    let original = fs::read(&file).unwrap();
    let before = tensors(&file);
    let out = dir.path().join("mask.json");
    let arguments = [
        "prune",
        text(&file),
        "--ratio",
        "0.4",
        "--mask-out",
        text(&out),
    ];
    ok(&[&arguments[..], &FPGM].concat());
    let mask = mask(&out);
    assert_eq!(mask.len(), 19);
    for (layer, pruned) in &mask {
        let channels = before[&format!("{layer}.weight")].len();
        assert_eq!(pruned.len(), channels * 2 / 5, "{layer}");
    }
    // The nearest to the median of the stem's filters, by their distances.
    let stem = &before["module.conv1.weight"];
    let filters: Vec<&[f64]> = stem.chunks(27).collect();
    let apart = |a: &[f64], b: &[f64]| -> f64 {
        let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        squares.sqrt()
    };
    let sum = |a: &&[f64]| filters.iter().map(|b| apart(a, b)).sum::<f64>();
    let mut order: Vec<(f64, usize)> = filters.iter().map(sum).zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut nearest: Vec<usize> = order[..6].iter().map(|(_, n)| *n).collect();
    nearest.sort_unstable();
    assert_eq!(mask["module.bn1"], nearest);
    let after = tensors(&file);
    for (n, filter) in after["module.conv1.weight"].chunks(27).enumerate() {
        let is_pruned = nearest.contains(&n);
        assert_eq!(filter.iter().all(|value| *value == 0.0), is_pruned);
        assert_eq!(is_pruned, after["module.bn1.weight"][n] == 0.0);
        assert_eq!(is_pruned, after["module.bn1.bias"][n] == 0.0);
    }
    assert_eq!(
        after["module.bn1.running_mean"],
        before["module.bn1.running_mean"]
    );
    // The record keeps what changed of a filter, not all of it.
    let recorded = fs::metadata(dir.path().join(".ckpt-regen/r.safetensors.json")).unwrap();
    assert!(recorded.len() < fs::metadata(&file).unwrap().len());
    let applied = ok_json(&["apply", text(&file), "--json"]);
    assert_eq!(applied["pruned"], 264);
    for _ in 0..2 {
        ok(&["undo", text(&file)]);
    }
    assert!(fs::read(&file).unwrap() == original);
}

#[test]
fn filters_alone_and_a_share_by_norm_are_pruned_as_the_public_code_does() {
    let (_dir, file) = resnet20();
    let before = tensors(&file);
    let more = ["--filters-only", "--norm-ratio", "0.1", "--json"];
    let arguments = ["prune", text(&file), "--ratio", "0.3"];
    let pruned = ok_json(&[&arguments[..], &FPGM, &more].concat());
    // 1 + 4 of 16, 3 + 9 of 32, 6 + 19 of 64.
    assert_eq!(pruned["pruned"], 7 * 5 + 6 * 12 + 6 * 25);
    let after = tensors(&file);
    for (name, values) in &before {
        let changed = *values != after[name];
        assert_eq!(changed, name.contains("conv"), "{name}");
    }
    // γ of a filter of zeros is no part of a median either.
    assert_eq!(
        ok_json(&["apply", text(&file), "--dry-run", "--json"])["pruned"],
        pruned["pruned"]
    );
}

#[test]
fn what_has_no_convolution_of_its_own_is_refused() {
    let (_dir, file) = resnet20();
    let arguments = ["prune", text(&file), "--ratio", "0.4", "--method", "fpgm"];
    let err = fails(1, &arguments);
    assert!(
        err.contains("which convolution is behind which BatchNorm: --model"),
        "{err}"
    );
    let other = [&arguments[..], &["--model", "mobilenet_v2"]].concat();
    let err = fails(1, &other);
    assert!(
        err.contains("layer module.bn1: the network given has no such BatchNorm"),
        "{err}"
    );
    let sum = [
        &arguments[..],
        &["--model", "resnet20", "--norm-ratio", "0.6"],
    ]
    .concat();
    let err = fails(2, &sum);
    assert!(
        err.contains("--norm-ratio") && err.contains("below 1 together"),
        "{err}"
    );
}

#[test]
fn an_onnx_file_says_itself_which_convolution_is_behind_which_norm() {
    let (_dir, file) = copy_of(&repository(FIXTURE).join("preserve.onnx"));
    let original = fs::read(&file).unwrap();
    let arguments = [
        "prune",
        text(&file),
        "--ratio",
        "0.4",
        "--method",
        "fpgm",
        "--json",
    ];
    let pruned = ok_json(&arguments);
    let layers = pruned["layers"].as_array().unwrap();
    let none = layers.iter().filter(|layer| layer["pruned"] == 0);
    assert_eq!(none.count(), 17, "depthwise convolutions are left alone");
    ok(&["undo", text(&file)]);
    assert!(fs::read(&file).unwrap() == original);
    let all = ok_json(&[&arguments[..], &["--layers", "all"]].concat());
    assert!(
        all["layers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|layer| layer["pruned"] != 0)
    );
}

#[test]
fn a_layer_that_follows_a_concatenation_is_refused_by_name_and_can_be_left_alone() {
    let (_dir, file) = copy_of(&repository("fixtures/onnx/layouts.onnx"));
    let original = fs::read(&file).unwrap();
    let arguments = ["prune", text(&file), "--ratio", "0.4", "--method", "fpgm"];
    let err = fails(1, &arguments);
    for part in [
        text(&file),
        "layer mix.bn: it follows ",
        "(concat), and not one convolution",
        "--exclude",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(fs::read(&file).unwrap() == original);
    let without = [&arguments[..], &["--exclude", "^mix", "--json"]].concat();
    assert_ne!(ok_json(&without)["pruned"], 0);
}
