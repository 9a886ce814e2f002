//! What users' files showed: which network is edited, when it is due, and which channels must not
//! be.

use std::fs;
use std::path::PathBuf;

use crate::common::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with a checkpoint of these layers in it.
fn made(layers: &[(&str, &[f32])]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    fs::write(&file, network(layers)).unwrap();
    (dir, file)
}

/// γ that are different in each of eight channels; the median is 0.4.
const EIGHT: &[f32] = &[0.7, 0.1, 0.6, 0.3, 0.5, 0.2, 0.4, 0.8];

// Which network.

#[test]
fn a_teacher_behind_a_wrapper_is_left_alone() {
    let (_dir, file) = made(&[("module.student.bn", EIGHT), ("module.teacher.bn", EIGHT)]);
    let output = run(&["apply", text(&file), "--json"]);
    let applied: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&applied["counted"], &applied["regenerated"]),
        (&json!(8), &json!(3))
    );
    assert_eq!(gamma(&file, "module.teacher.bn")[1], f64::from(0.1_f32));
    assert_eq!(gamma(&file, "module.student.bn")[1], f64::from(0.4_f32));
}

#[test]
fn what_an_averaged_model_counts_is_left_alone_whatever_it_is_called() {
    for (names, root) in [
        (["net.bn", "averaged.module.bn"], "averaged"),
        (["net.bn", "smooth.module.bn"], "smooth"),
    ] {
        let mut tensors: Vec<(String, Vec<f32>)> = Vec::new();
        for name in names {
            tensors.push((format!("{name}.weight"), EIGHT.to_vec()));
            tensors.push((format!("{name}.running_mean"), vec![0.0; 8]));
            tensors.push((format!("{name}.running_var"), vec![1.0; 8]));
        }
        let counter = format!("{root}.n_averaged");
        let shape = [8_u64];
        let mut entries: Vec<Entry<'_>> = tensors
            .iter()
            .map(|(name, values)| (&name[..], "F32", &shape[..], f32s(values)))
            .collect();
        entries.push((&counter, "I64", &[], 5_i64.to_le_bytes().to_vec()));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.safetensors");
        fs::write(&file, safetensors_file(&entries)).unwrap();
        let report = ok_json(&["inspect", text(&file), "--json"]);
        let networks = report["networks"].as_array().unwrap();
        let found: Vec<_> = networks.iter().map(|n| (&n["root"], &n["role"])).collect();
        assert_eq!(
            found,
            [(&json!(""), &json!("raw")), (&json!(root), &json!("ema"))]
        );
        assert_eq!(ok_json(&["apply", text(&file), "--json"])["counted"], 8);
    }
}

/// A generator of two layers with large γ, a discriminator of two with small ones.
fn gan() -> (TempDir, PathBuf) {
    made(&[
        ("generator.a", &[1.0, 2.0]),
        ("generator.b", &[3.0, 4.0]),
        ("discriminator.a", &[0.1, 0.2]),
        ("discriminator.b", &[0.3, 0.4]),
    ])
}

#[test]
fn two_networks_under_one_median_are_named() {
    let (_dir, file) = gan();
    let line = "one median for: discriminator (2 layers), generator (2)";
    for args in [
        &["inspect", text(&file)][..],
        &["apply", text(&file), "--dry-run"],
    ] {
        let shown = ok(args);
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
    let shown = ok(&["apply", text(&file), "--dry-run", "--each"]);
    assert!(!shown.contains("one median"), "{shown}");
}

#[test]
fn each_module_has_its_own_median() {
    let (_dir, file) = gan();
    let applied = ok_json(&["apply", text(&file), "--each", "--json"]);
    assert!(applied["threshold"].is_null() && applied["target"].is_null());
    let thresholds: Vec<f64> = applied["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["threshold"].as_f64().unwrap())
        .collect();
    let small = f64::from(0.2_f32);
    assert_eq!(thresholds, [small, small, 2.0, 2.0]);
    assert_eq!(applied["regenerated"], 2);
    // Twice is once.
    assert_eq!(
        ok_json(&["apply", text(&file), "--each", "--json"])["regenerated"],
        0
    );
    let scope = fails(2, &["apply", text(&file), "--each", "--scope", "layer"]);
    assert!(scope.contains("cannot be used with"), "{scope}");
}

#[test]
fn a_prefix_of_names_is_a_root() {
    let (dir, file) = gan();
    let original = state(dir.path());
    let plan = dir.path().join("plan.json");
    let output = run(&[
        "apply",
        text(&file),
        "--root",
        "generator.",
        "--plan-out",
        text(&plan),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("2 other layers of the network are left"),
        "{said}"
    );
    assert_eq!(gamma(&file, "generator.a"), [2.0, 2.0]);
    assert_eq!(gamma(&file, "discriminator.a")[0], f64::from(0.1_f32));
    ok(&["undo", text(&file)]);
    assert_eq!(fs::read(&file).unwrap(), original["m.safetensors"]);
    // The plan is for that part.
    ok(&["apply", text(&file), "--plan", text(&plan)]);
    assert_eq!(gamma(&file, "generator.a"), [2.0, 2.0]);
}

#[test]
fn the_report_of_an_edit_of_a_part_is_of_that_part() {
    let (dir, file) = gan();
    let page = dir.path().join("r.html");
    ok(&[
        "apply",
        text(&file),
        "--root",
        "generator",
        "--report",
        text(&page),
    ]);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("generator.a") && !page.contains("discriminator.a"));
}

#[test]
fn the_schema_of_averages_under_several_names_finds_them_again() {
    let layers = [
        "encoder.bn",
        "decoder.bn",
        "encoder_ema.bn",
        "decoder_ema.bn",
    ];
    let (dir, file) = made(&layers.map(|name| (name, EIGHT)));
    let schema = dir.path().join("s.toml");
    fs::write(&schema, ok(&["schema", text(&file)])).unwrap();
    let applied =
        |args: &[&str]| ok_json(&[&["apply", text(&file), "--dry-run", "--json"], args].concat());
    assert_eq!(applied(&[])["counted"], 16);
    assert_eq!(applied(&["--schema", text(&schema)])["counted"], 16);
}

#[test]
fn a_prefix_that_holds_a_network_and_its_average_means_the_one_in_training() {
    let (_dir, file) = made(&[
        ("module.net.bn", EIGHT),
        ("module.net_ema.bn", EIGHT),
        ("other.bn", EIGHT),
        ("other.bn2", EIGHT),
    ]);
    let applied = ok_json(&["apply", text(&file), "--root", "module", "--json"]);
    assert_eq!(
        (&applied["root"], &applied["counted"]),
        (&json!("module"), &json!(8))
    );
    assert_eq!(gamma(&file, "module.net_ema.bn")[1], f64::from(0.1_f32));
    let applied = ok_json(&["apply", text(&file), "--root", "module.net_ema.", "--json"]);
    assert_eq!(applied["regenerated"], 3);
    ok(&["undo", text(&file)]);
    let applied = ok_json(&[
        "apply",
        text(&file),
        "--root",
        "module.net_ema.bn",
        "--json",
    ]);
    assert_eq!(applied["regenerated"], 3);
}

// When.

fn epochs() -> PathBuf {
    repository("fixtures/epochs")
}

#[test]
fn the_finished_epochs_are_those_that_each_program_counts() {
    let expected = fs::read_to_string(epochs().join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&expected).unwrap();
    assert!(expected.len() >= 19);
    for (name, wanted) in expected {
        let (dir, file) = copy_of(&epochs().join(&name));
        let args = ["apply", text(&file), "--every", "5"];
        let Some(wanted) = wanted.as_u64() else {
            let before = state(dir.path());
            let said = fails(2, &args);
            assert!(said.contains(wanted.as_str().unwrap()), "{name}: {said}");
            assert_eq!(state(dir.path()), before, "{name}");
            continue;
        };
        let applied = ok_json(&[&args[..], &["--json"]].concat());
        assert_eq!(applied["epoch"], wanted, "{name}");
        assert_eq!(applied["due"], wanted % 5 == 0, "{name}");
        let place = applied["epoch_read_from"].as_str().unwrap();
        let line = ok(&[&args[..], &["--dry-run"]].concat());
        let line = line.lines().next().unwrap();
        assert!(
            line.ends_with(&format!("(read from {place})")),
            "{name}: {line}"
        );
    }
}

#[test]
fn a_key_says_the_epoch_where_the_file_does_not_say_which_number_it_is() {
    let (_dir, file) = copy_of(&epochs().join("tensor.pth"));
    let epoch = |key: &str| {
        let args = ["apply", text(&file), "--every", "5", "--dry-run", "--json"];
        ok_json(&[&args[..], &["--epoch-key", key]].concat())["epoch"].clone()
    };
    assert_eq!(epoch("meta.finished_epochs"), 7);
    assert_eq!(epoch("meta.finished_epochs+1"), 8);
    let refused = |file: &str, key: &str| {
        let (_dir, file) = copy_of(&epochs().join(file));
        fails(
            2,
            &["apply", text(&file), "--every", "5", "--epoch-key", key],
        )
    };
    assert!(
        refused("tensor.pth", "meta.finished_epoch").contains("did you mean meta.finished_epochs?")
    );
    assert!(refused("silent.pth", "epoch").contains("no numbers beside the weights"));
    assert!(refused("float.pth", "epoch").contains("has 4.97 there, which is no count"));
    let both = [
        "apply",
        text(&file),
        "--every",
        "5",
        "--epoch-key",
        "x",
        "--epoch",
        "3",
    ];
    assert!(fails(2, &both).contains("cannot be used with"));
}

#[test]
fn an_epoch_that_the_file_contradicts_is_a_warning() {
    let (_dir, file) = copy_of(&epochs().join("timm-2.pth"));
    let said = |args: &[&str]| {
        let output = run(&[&["apply", text(&file), "--every", "5", "--dry-run"], args].concat());
        assert!(output.status.success());
        stderr(&output)
    };
    assert!(said(&["--epoch", "5"]).contains("--epoch says 5 finished epochs, and"));
    assert!(said(&["--epoch-key", "epoch"]).contains("says 6 (read from epoch + 1)"));
    assert!(!said(&["--epoch", "6"]).contains("finished epochs"));
}

#[test]
fn an_epoch_beside_the_named_file_is_shown() {
    let (dir, file) = made(&[("bn", EIGHT)]);
    let model = dir.path().join("model.safetensors");
    fs::rename(file, &model).unwrap();
    let trainer =
        r#"{"epoch": 4.97, "global_step": 155, "max_steps": 620, "num_train_epochs": 20}"#;
    fs::write(dir.path().join("trainer_state.json"), trainer).unwrap();
    let said = fails(2, &["apply", text(&model), "--every", "5"]);
    assert!(said.contains("Beside it stands 5 (global_step"), "{said}");
    let applied = ok_json(&["apply", text(dir.path()), "--every", "5", "--json"]);
    assert_eq!(
        (&applied["epoch"], &applied["due"]),
        (&json!(5), &json!(true))
    );
}

// Which channels.

/// Three live channels are negative, and more than half of all are dead.
const DYING: &[f32] = &[-0.9, -0.8, -0.7, 6e-41, 6e-41, 0.5, 0.6, 0.7];

#[test]
fn an_edit_that_kills_more_than_it_brings_back_is_refused() {
    let (dir, file) = made(&[("bn", DYING)]);
    let before = state(dir.path());
    for args in [
        &[][..],
        &["--dry-run"],
        &["--scope", "layer"],
        &["--in-place"],
    ] {
        let said = fails(1, &[&["apply", text(&file)], args].concat());
        for part in [
            "3 channels fall below |γ| = 0.01 by the threshold 6.0e-41, and 0 rise above it",
            "--to quantile:0.75",
            "--rule keep-sign",
            "--keep-zeros",
            "--allow-dying",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(state(dir.path()), before);
    }
    // The ways out.
    let lifted = ok_json(&["apply", text(&file), "--to", "quantile:0.75", "--json"]);
    assert_eq!(lifted["regenerated"], 5);
    ok(&["undo", text(&file)]);
    ok(&["apply", text(&file), "--rule", "keep-sign"]);
    ok(&["undo", text(&file)]);
    let output = run(&["apply", text(&file), "--allow-dying"]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("3 channels fall"),
        "{}",
        stderr(&output)
    );
    assert_eq!(gamma(&file, "bn")[0], f64::from(6e-41_f32));
}

#[test]
fn a_saved_plan_that_kills_is_refused_too() {
    let (dir, file) = made(&[("bn", DYING)]);
    let plan = dir.path().join("plan.json");
    let saved = [
        "apply",
        text(&file),
        "--dry-run",
        "--allow-dying",
        "--plan-out",
        text(&plan),
    ];
    ok(&saved);
    let said = fails(1, &["apply", text(&file), "--plan", text(&plan)]);
    assert!(said.contains("3 channels fall"), "{said}");
    ok(&["apply", text(&file), "--plan", text(&plan), "--allow-dying"]);
}

#[test]
fn fewer_that_die_than_come_back_are_a_warning_with_both_counts() {
    let (_dir, file) = made(&[
        ("a", &[-0.5, 0.005, 0.6]),
        ("b", &[0.001, 0.002, 0.5, 0.6, 0.7]),
    ]);
    let output = run(&["apply", text(&file), "--scope", "layer"]);
    assert!(output.status.success());
    let said = stderr(&output);
    assert!(
        said.contains(
            "1 channel falls below |γ| = 0.01 by the threshold 0.0050, and 2 rise above it"
        ),
        "{said}"
    );
    assert!(
        said.contains("in 1 layer the threshold is below 0.01"),
        "{said}"
    );
}

#[test]
fn a_low_threshold_and_mostly_zeros_are_pointed_out() {
    let (_dir, file) = made(&[("bn", &[0.001, 0.002, 0.003, 0.5])]);
    let said = stderr(&run(&["apply", text(&file)]));
    assert!(
        said.contains("the threshold 0.0020 is below 0.01: little is brought back"),
        "{said}"
    );
    let (_dir, file) = made(&[("bn", &[0.0, 0.0, 0.0, 0.5, 0.6])]);
    for rule in ["paper", "reference"] {
        let output = run(&["apply", text(&file), "--rule", rule]);
        assert!(output.status.success());
        let said = stderr(&output);
        assert!(
            said.contains("3 of 5 γ are exactly 0, more than half"),
            "{said}"
        );
        assert!(said.contains("--keep-zeros"), "{said}");
    }
}

#[test]
fn strong_negative_gamma_that_only_weaken_are_counted() {
    let (_dir, file) = made(&[("bn", &[-13.3, -0.5, -0.3, -0.3, 0.2, 0.4, 0.6])]);
    let said = stderr(&run(&["apply", text(&file)]));
    assert!(
        said.contains("2 channels with a strong negative γ (down to -13.3000) become weaker"),
        "{said}"
    );
}

// Which file.

#[test]
fn of_a_file_and_a_shard_index_the_file_is_taken_as_transformers_does() {
    let dir = copy_of_dir(&repository(FIXTURE).join("sharded"));
    fs::write(
        dir.path().join("model.safetensors"),
        network(&[("bn", EIGHT)]),
    )
    .unwrap();
    for args in [&["inspect"][..], &["apply", "--dry-run"]] {
        let output = run(&[args, &[text(dir.path())]].concat());
        assert!(output.status.success());
        let said = stderr(&output);
        assert!(
            said.contains("model.safetensors is taken, as transformers does")
                && said.contains("it also holds model.safetensors.index.json"),
            "{said}"
        );
    }
    let applied = ok_json(&["apply", text(dir.path()), "--json"]);
    assert_eq!(applied["counted"], 8);
    assert!(
        applied["warnings"][0]
            .as_str()
            .unwrap()
            .contains("it also holds")
    );
}

#[test]
fn the_best_checkpoint_of_transformers_is_edited_with_a_warning() {
    let runs = tempfile::tempdir().unwrap();
    for (best, warned) in [("out/checkpoint-20", true), ("out/checkpoint-10", false)] {
        let dir = runs.path().join("checkpoint-20");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("model.safetensors"), network(&[("bn", EIGHT)])).unwrap();
        let trainer = json!({"epoch": 5.0, "best_model_checkpoint": best});
        fs::write(dir.join("trainer_state.json"), trainer.to_string()).unwrap();
        for path in [dir.clone(), dir.join("model.safetensors")] {
            let said = stderr(&run(&["apply", text(&path), "--dry-run"]));
            assert_eq!(
                said.contains("is the best checkpoint so far"),
                warned,
                "{said}"
            );
        }
        let out = dir.join("copy.safetensors");
        let said = stderr(&run(&["apply", text(&dir), "-o", text(&out)]));
        assert!(!said.contains("is the best checkpoint"), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn a_followed_link_to_one_of_the_best_is_said() {
    let (dir, file) = made(&[("bn", EIGHT)]);
    let last = dir.path().join("last.ckpt");
    std::os::unix::fs::symlink(&file, &last).unwrap();
    assert!(fails(1, &["apply", text(&last)]).contains("is a symbolic link"));
    let output = run(&["apply", text(&last), "--follow-symlinks"]);
    assert!(output.status.success());
    let said = stderr(&output);
    assert!(
        said.contains("last.ckpt is a link to") && said.contains("one of the best"),
        "{said}"
    );
}

// What the optimizer keeps.

/// The directory of a run: one layer of four channels with γ 0.1 to 0.4, another of two.
fn with_optimizer(slots: &[(&str, &[f32], &[f32])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let weights = network(&[("a", &[0.1, 0.2, 0.3, 0.4]), ("b", &[0.05, 0.01])]);
    fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    let (four, two) = ([4_u64], [2_u64]);
    let names: Vec<[String; 2]> = slots
        .iter()
        .map(|(slot, ..)| ["a", "b"].map(|layer| format!("{layer}.weight.{slot}")))
        .collect();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for ((_, a, b), [in_a, in_b]) in slots.iter().zip(&names) {
        entries.push((in_a, "F32", &four, f32s(a)));
        entries.push((in_b, "F32", &two, f32s(b)));
    }
    fs::write(
        dir.path().join("optimizer.safetensors"),
        safetensors_file(&entries),
    )
    .unwrap();
    let state = json!({"written_by": "ckpt-regen 0.1.0", "epoch": 5});
    fs::write(dir.path().join("state.json"), state.to_string()).unwrap();
    dir
}

/// What is kept for γ of `layer` afterwards.
fn kept(dir: &TempDir, layer: &str, slot: &str) -> Vec<f64> {
    let path = dir.path().join("optimizer.safetensors");
    let checkpoint = ckpt_regen::Checkpoint::open(&path).unwrap();
    let tensors = &checkpoint.dicts()[0].tensors;
    let name = format!("{layer}.weight.{slot}");
    let tensor = tensors.iter().find(|t| t.name == name).unwrap();
    tensor.dtype.decode(&checkpoint.read(tensor).unwrap())
}

#[test]
fn second_moments_become_the_median_of_the_others_and_first_ones_0() {
    // The threshold is 0.2: both of b and the first of a are regenerated.
    let dir = with_optimizer(&[
        ("exp_avg", &[0.5, 1.0, 2.0, 3.0], &[4.0, 5.0]),
        ("exp_avg_sq", &[0.5, 4.0, 2.0, 3.0], &[0.25, 8.0]),
        ("square_avg", &[9.0, 4.0, 2.0, 3.0], &[0.0, 0.0]),
    ]);
    let before = state(dir.path());
    let args = [
        "apply",
        text(dir.path()),
        "--below",
        "quantile:0.5",
        "--optimizer",
        "reset",
    ];
    ok(&args);
    assert_eq!(kept(&dir, "a", "exp_avg"), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(kept(&dir, "b", "exp_avg"), [0.0, 0.0]);
    assert_eq!(kept(&dir, "a", "exp_avg_sq"), [3.0, 4.0, 2.0, 3.0]);
    assert_eq!(kept(&dir, "b", "exp_avg_sq"), [3.0, 8.0]);
    assert_eq!(kept(&dir, "a", "square_avg"), [9.0, 4.0, 2.0, 3.0]);
    assert_eq!(kept(&dir, "b", "square_avg"), [3.0, 3.0]);
    ok(&["undo", text(dir.path())]);
    assert_eq!(state(dir.path()), before);
}

#[test]
fn what_an_optimizer_keeps_and_is_not_known_is_named() {
    let dir = with_optimizer(&[("exp_avg_sq_row", &[0.5; 4], &[0.5; 2])]);
    let before = state(dir.path());
    let said = fails(1, &["apply", text(dir.path()), "--optimizer", "reset"]);
    assert!(said.contains("a.weight.exp_avg_sq_row"), "{said}");
    assert_eq!(state(dir.path()), before);
}

// Files as programs really write them.

fn unusual(name: &str) -> (TempDir, PathBuf) {
    copy_of(&repository("fixtures/unusual").join(name))
}

#[test]
fn a_network_pickled_among_its_hyperparameters_is_no_second_one() {
    let (dir, file) = unusual("hyperparameters.ckpt");
    let before = state(dir.path());
    let report = ok_json(&["inspect", text(&file), "--json"]);
    assert_eq!(report["networks"].as_array().unwrap().len(), 1);
    assert_eq!(report["networks"][0]["root"], "state_dict");
    let args = [
        "apply",
        text(&file),
        "--every",
        "5",
        "--optimizer",
        "reset",
        "--json",
    ];
    let applied = ok_json(&args);
    assert_eq!(
        (&applied["counted"], &applied["regenerated"]),
        (&json!(4), &json!(1))
    );
    ok(&["undo", text(&file)]);
    assert_eq!(state(dir.path()), before);
}

#[test]
fn zeros_behind_an_archive_are_read_past_and_kept() {
    let (_plain_dir, plain) = unusual("plain.pth");
    let (_dir, file) = unusual("trailing.pth");
    for path in [&plain, &file] {
        assert_eq!(ok_json(&["apply", text(path), "--json"])["regenerated"], 1);
    }
    let (plain, padded) = (fs::read(plain).unwrap(), fs::read(file).unwrap());
    assert!(padded[..plain.len()] == plain && padded[plain.len()..] == [0; 512]);
}

#[test]
fn an_optimizer_pickled_as_an_object_does_not_stop_an_edit() {
    let (_dir, file) = unusual("optimizer-object.pth");
    assert_eq!(ok_json(&["apply", text(&file), "--json"])["regenerated"], 1);
    let said = fails(
        1,
        &["apply", text(&file), "--to", "0.5", "--optimizer", "reset"],
    );
    assert!(said.contains("--optimizer keep"), "{said}");
}

#[test]
fn a_pruned_layer_is_listed_with_what_to_do() {
    let (dir, file) = unusual("pruned.pth");
    let before = state(dir.path());
    let shown = ok(&["inspect", text(&file)]);
    assert!(
        shown.contains("bn") && shown.contains("not editable: it is the product of weight_orig")
    );
    let said = fails(1, &["apply", text(&file)]);
    assert!(
        said.contains("weight_orig cannot be edited") && said.contains("prune.remove"),
        "{said}"
    );
    assert_eq!(state(dir.path()), before);
    assert!(!ok(&["schema", text(&file)]).contains("weight_orig"));
}

#[test]
fn a_tied_gamma_is_one_tensor_of_no_other_kind_in_a_difference() {
    let (_dir_a, a) = unusual("tied.pth");
    let (_dir_b, b) = unusual("tied.pth");
    ok(&["apply", text(&b)]);
    let diff = ok_json(&["diff", text(&a), text(&b), "--json"]);
    assert_eq!(diff["tensors"]["changed"], json!([]));
    assert_eq!(diff["networks"][0]["moved"], 1, "{diff}");
}

#[test]
fn scales_and_statistics_that_lie_elsewhere_are_pointed_out() {
    for (name, wanted) in [
        ("scale-elsewhere.pth", "every γ is exactly 1"),
        (
            "statistics-folded.pth",
            "running means are 0 and variances 1 throughout",
        ),
    ] {
        let (_dir, file) = unusual(name);
        let said = stderr(&run(&["apply", text(&file), "--dry-run"]));
        assert!(said.contains(wanted), "{said}");
    }
    let (_dir, file) = unusual("plain.pth");
    assert_eq!(stderr(&run(&["apply", text(&file), "--dry-run"])), "");
}

#[test]
fn parts_of_distributed_checkpoints_say_how_to_make_them_one() {
    for (name, wanted) in [
        ("dtensor.pth", "full_state_dict=True"),
        ("dcp/__0_0.distcp", "dcp_to_torch"),
        ("dcp", "dcp_to_torch"),
    ] {
        let path = repository("fixtures/unusual").join(name);
        let said = fails(1, &["inspect", text(&path)]);
        assert!(said.contains(wanted), "{name}: {said}");
    }
}

#[test]
fn a_file_of_another_kind_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    for (bytes, wanted) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n"[..],
            "git lfs pull",
        ),
        (b"<!DOCTYPE html>\n<html></html>", "HTML page"),
        (b"\x89HDF\r\n\x1a\n0000", "HDF5"),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09",
            "the file begins with [01, 02",
        ),
    ] {
        fs::write(&file, bytes).unwrap();
        for args in [&["inspect"][..], &["apply"], &["apply", "--dry-run"]] {
            let said = fails(1, &[args, &[text(&file)]].concat());
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[cfg(unix)]
#[test]
fn behind_a_link_a_model_finds_its_data_beside_the_link() {
    use std::os::unix::fs::symlink;
    let cache = copy_of_dir(&repository(FIXTURE).join("external"));
    let snapshot = cache.path().join("snapshot");
    fs::create_dir(&snapshot).unwrap();
    fs::create_dir(cache.path().join("blobs")).unwrap();
    for (n, name) in ["model.onnx", "model.onnx.data"].into_iter().enumerate() {
        let blob = cache.path().join(format!("blobs/{n}"));
        fs::rename(cache.path().join(name), &blob).unwrap();
        symlink(format!("../blobs/{n}"), snapshot.join(name)).unwrap();
    }
    let model = snapshot.join("model.onnx");
    let before = state(cache.path());
    for in_place in [&[][..], &["--in-place"]] {
        let with = |command| [&[command, text(&model), "--follow-symlinks"], in_place].concat();
        ok(&with("apply"));
        assert!(model.is_symlink() && snapshot.join("model.onnx.data").is_symlink());
        assert_ne!(state(cache.path())["blobs/0"], before["blobs/0"]);
        ok(&with("undo"));
        assert_eq!(state(cache.path()), before);
    }
    let said = fails(1, &["undo", text(&model)]);
    assert!(
        said.contains("--follow-symlinks") && !said.contains("--output"),
        "{said}"
    );
}

// Several checkpoints, and a driver for them.

/// A directory of checkpoints as transformers lays them out.
fn checkpoints(epochs: &[u64]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("weights"), network(&[("bn", EIGHT)])).unwrap();
    fs::write(dir.path().join("train.sh"), TRAIN).unwrap();
    for epoch in epochs {
        let args = ["train.sh", "0", &epoch.to_string()];
        let status = std::process::Command::new("sh")
            .args(args)
            .current_dir(dir.path())
            .status();
        assert!(status.unwrap().success());
    }
    let _ = fs::remove_file(dir.path().join("log"));
    dir
}

/// Notes its arguments, and saves a checkpoint of the epoch that its second names.
const TRAIN: &str = r#"
echo "$@" >> log
mkdir -p out/checkpoint-$2
cp weights out/checkpoint-$2/model.safetensors
echo '{"epoch": '$2'}' > out/checkpoint-$2/trainer_state.json
"#;

/// Runs `ckpt-regen` in a directory.
fn run_in(dir: &TempDir, args: &[&str]) -> std::process::Output {
    command(args).current_dir(dir.path()).output().unwrap()
}

const LOOP: [&str; 8] = [
    "loop",
    "--every",
    "2",
    "--epochs",
    "5",
    "--checkpoint",
    "out",
    "--",
];

fn loop_in(dir: &TempDir, child: &[&str]) -> std::process::Output {
    run_in(dir, &[&LOOP[..], child].concat())
}

fn first_gamma(dir: &TempDir, epoch: u64) -> f64 {
    gamma(
        &dir.path()
            .join(format!("out/checkpoint-{epoch}/model.safetensors")),
        "bn",
    )[1]
}

#[test]
fn of_a_directory_of_checkpoints_the_newest_is_meant() {
    let dir = checkpoints(&[9, 10, 2]);
    let before = state(dir.path());
    let shown = run_in(&dir, &["inspect", "out"]);
    assert!(shown.status.success());
    assert!(stderr(&shown).contains("out/checkpoint-10 is the newest checkpoint in out"));
    let refused = run_in(&dir, &["apply", "out"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused)
            .contains("out/checkpoint-10 is the newest: name that one, or use --newest")
    );
    assert_eq!(state(dir.path()), before);
    assert!(run_in(&dir, &["apply", "--newest", "out"]).status.success());
    assert_eq!(first_gamma(&dir, 10), f64::from(0.4_f32));
    assert_eq!(first_gamma(&dir, 9), f64::from(0.1_f32));
    // What is a checkpoint itself is meant as ever.
    assert!(
        run_in(&dir, &["apply", "--newest", "out/checkpoint-9"])
            .status
            .success()
    );
    let empty = run_in(&dir, &["apply", "."]);
    assert_eq!(empty.status.code(), Some(2), "{}", stderr(&empty));
}

/// Lightning with `save_last="link"`.
#[cfg(unix)]
#[test]
fn the_newest_that_is_a_link_is_followed_with_a_warning() {
    let link = |dir: &TempDir| {
        let out = dir.path().join("out");
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("epoch=4.safetensors"), network(&[("bn", EIGHT)])).unwrap();
        std::os::unix::fs::symlink("epoch=4.safetensors", out.join("last.safetensors")).unwrap();
        out.join("epoch=4.safetensors")
    };
    let dir = tempfile::tempdir().unwrap();
    let file = link(&dir);
    let applied = run_in(&dir, &["apply", "--newest", "out"]);
    let said = stderr(&applied);
    assert!(
        said.contains("out/last.safetensors is a link to") && said.contains("best"),
        "{said}"
    );
    assert_eq!(gamma(&file, "bn")[1], f64::from(0.4_f32));
    assert!(dir.path().join("out/last.safetensors").is_symlink());
    assert!(
        dir.path()
            .join("out/.ckpt-regen/epoch=4.safetensors.json")
            .exists()
    );
    // A link in the way of an output is no checkpoint that was meant.
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    link(&dir);
    let link_out = dir.path().join("copy");
    std::os::unix::fs::symlink("elsewhere", &link_out).unwrap();
    let refused = run_in(&dir, &["apply", "--newest", "out", "-o", "copy"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(link_out.is_symlink() && !dir.path().join("elsewhere").exists());
}

/// As the last one, in a loop that is run again: with another target a second edit would show.
#[cfg(unix)]
#[test]
fn a_loop_edits_what_a_link_leads_to_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir_all(&out).unwrap();
    let file = out.join("epoch=4.ckpt");
    fs::copy(
        repository("fixtures/epochs/lightning-end-of-epoch.ckpt"),
        &file,
    )
    .unwrap();
    std::os::unix::fs::symlink("epoch=4.ckpt", out.join("last.ckpt")).unwrap();
    let before = fs::read(&file).unwrap();
    let mut looped = vec!["loop", "--every", "5", "--epochs", "10", "--to", "max"];
    looped.extend(["--checkpoint", "out", "--", "sh", "-c", "exit 7"]);
    let first = run_in(&dir, &looped);
    assert_eq!(first.status.code(), Some(7), "{}", stderr(&first));
    assert!(
        stderr(&first).contains("out/last.ckpt is a link to"),
        "{}",
        stderr(&first)
    );
    let edited = fs::read(&file).unwrap();
    assert!(edited != before && out.join("last.ckpt").is_symlink());
    let again = run_in(&dir, &looped);
    assert_eq!(again.status.code(), Some(7), "{}", stderr(&again));
    assert!(fs::read(&file).unwrap() == edited);
}

#[test]
fn inspect_takes_patterns() {
    let dir = checkpoints(&[1, 2]);
    let shown = run_in(&dir, &["inspect", "out/checkpoint-*", "--json"]);
    assert_eq!(String::from_utf8(shown.stdout).unwrap().lines().count(), 2);
    let none = run_in(&dir, &["inspect", "out/nothing-*"]);
    assert_eq!(none.status.code(), Some(1));
}

#[test]
fn the_loop_trains_in_rounds_and_edits_between_them() {
    let dir = checkpoints(&[]);
    let child = [
        "sh",
        "train.sh",
        "{total}",
        "{epochs}",
        "{start}",
        "{round}",
        "[{checkpoint}]",
    ];
    let output = loop_in(&dir, &child);
    assert!(output.status.success(), "{}", stderr(&output));
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let wanted = [
        "5 2 0 1",
        "5 4 2 2 out/checkpoint-2",
        "5 5 4 3 out/checkpoint-4",
    ];
    assert_eq!(log.lines().collect::<Vec<_>>(), wanted);
    let gammas = [2, 4, 5].map(|epoch| first_gamma(&dir, epoch));
    assert_eq!(
        gammas,
        [0.4_f32, 0.4, 0.1].map(f64::from),
        "the last one is not edited"
    );
    let said = stderr(&output);
    let rounds: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("round "))
        .collect();
    let wanted = [
        "round 1: 2 of 5 epochs; regenerated 3 of 8 channels in out/checkpoint-2",
        "round 2: 4 of 5 epochs; regenerated 3 of 8 channels in out/checkpoint-4",
        "round 3: 5 of 5 epochs",
    ];
    assert_eq!(rounds, wanted);
    // All is done.
    let again = loop_in(&dir, &["false"]);
    assert!(again.status.success() && again.stderr.is_empty());
}

#[test]
fn the_checkpoint_that_mmengine_calls_the_last_is_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    for name in ["epoch_1.safetensors", "epoch_2.safetensors"] {
        fs::write(out.join(name), network(&[("bn", EIGHT)])).unwrap();
    }
    let newest = |named: &[u8]| {
        fs::write(out.join("last_checkpoint"), named).unwrap();
        let shown = run_in(&dir, &["inspect", "out"]);
        assert!(shown.status.success(), "{}", stderr(&shown));
        stderr(&shown)
    };
    // Also where the directory was moved, or copied, since.
    let original = dir.path().join("epoch_1.safetensors");
    fs::write(&original, network(&[("bn", EIGHT)])).unwrap();
    let said = newest(text(&original).as_bytes());
    assert!(
        said.contains("out/epoch_1.safetensors is the newest"),
        "{said}"
    );
    for named in [
        "out/epoch_1.safetensors",
        "/elsewhere/epoch_1.safetensors\n",
    ] {
        let said = newest(named.as_bytes());
        assert!(
            said.contains("out/epoch_1.safetensors is the newest"),
            "{said}"
        );
    }
    // What names nothing is passed over.
    let long = vec![b'x'; 1 << 20];
    for named in [&b""[..], b"gone.pth", b"\xff\xfe", b"..", &long] {
        let said = newest(named);
        assert!(said.contains("is the newest checkpoint in out"), "{said}");
    }
}

/// The optimizer of `fixtures/trainer`, whose parameters have positions only.
#[test]
fn a_named_order_of_parameters_resets_the_same_slots_as_the_one_that_is_found() {
    let reset = |order: Option<&str>| {
        let dir = copy_of_dir(&repository("fixtures/trainer"));
        let mut args = vec!["apply", text(dir.path()), "--optimizer", "reset"];
        let file = dir.path().join("order.txt");
        if let Some(order) = order {
            fs::write(&file, order).unwrap();
            args.extend(["--param-order", text(&file)]);
        }
        let output = run(&args);
        let optimizer = fs::read(dir.path().join("optimizer.pt")).unwrap();
        (output.status.code(), optimizer, stderr(&output))
    };
    let before = fs::read(repository("fixtures/trainer/optimizer.pt")).unwrap();
    let found = reset(None);
    assert!(found.0 == Some(0) && found.1 != before, "{}", found.2);
    let checkpoint = ckpt_regen::Checkpoint::open(repository("fixtures/trainer")).unwrap();
    let is_buffer = |name: &str| name.contains("running_") || name.ends_with("num_batches_tracked");
    let tensors = checkpoint.dicts()[0].tensors.iter();
    let names: Vec<&str> = tensors
        .map(|t| &t.name[..])
        .filter(|n| !is_buffer(n))
        .collect();
    let named = reset(Some(&names.join("\n")));
    assert_eq!(named.0, Some(0), "{}", named.2);
    assert!(named.1 == found.1);
    let mut twice = names.clone();
    twice[1] = twice[0];
    for (order, said) in [
        (names[1..].join("\n"), "names, and the optimizer"),
        (twice.join("\n"), "twice"),
        (
            names.join("\n").replace(names[0], "other"),
            "names a parameter other",
        ),
        (String::new(), "has 0 names"),
    ] {
        let refused = reset(Some(&order));
        assert_eq!(refused.0, Some(1), "{}", refused.2);
        assert!(
            refused.2.contains(said) && refused.1 == before,
            "{}",
            refused.2
        );
    }
}

#[test]
fn a_loop_goes_on_from_the_newest_checkpoint_alone() {
    let child = [
        "sh", "train.sh", "{total}", "{epochs}", "{start}", "{round}",
    ];
    // Its run ended before the edit; after it; in the middle of a round.
    for (finished, edited, first) in [
        (2, false, "5 4 2 2"),
        (2, true, "5 4 2 2"),
        (3, false, "5 4 3 2"),
    ] {
        let dir = checkpoints(&[finished]);
        let path = format!("out/checkpoint-{finished}");
        if edited {
            // With another target than the threshold a second edit would change more.
            assert!(
                run_in(&dir, &["apply", &path, "--to", "max"])
                    .status
                    .success()
            );
        }
        let record = dir
            .path()
            .join(&path)
            .join(".ckpt-regen/model.safetensors.json");
        let before = fs::read(&record).ok();
        let args = [&LOOP[..7], &["--to", "max", "--"], &child].concat();
        let output = run_in(&dir, &args);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(
            fs::read_to_string(dir.path().join("log"))
                .unwrap()
                .starts_with(first)
        );
        assert_eq!(record.exists(), finished == 2);
        if edited {
            assert_eq!(fs::read(&record).ok(), before);
        }
    }
}

#[test]
fn a_loop_ends_as_its_command_does() {
    let dir = checkpoints(&[2]);
    for (child, code, said) in [
        (&["true"][..], 1, "2 epochs are finished as before"),
        (&["sh", "-c", "exit 7"], 7, ""),
        (&["sh", "-c", "kill -9 $$"], 137, ""),
        (&["no-such-program"], 1, "no-such-program: cannot run"),
        (&["x", "--resume", "{checkpoint}"], 2, "put it in brackets"),
    ] {
        let output = loop_in(&dir, child);
        assert_eq!(output.status.code(), Some(code), "{child:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let silent = made(&[("bn", EIGHT)]).0;
    let args = [
        "loop",
        "--every",
        "1",
        "--epochs",
        "3",
        "--checkpoint",
        "m.safetensors",
        "--",
        "true",
    ];
    let output = run_in(&silent, &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("does not say how many epochs"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_edit_that_is_refused_does_not_end_the_training() {
    let dir = checkpoints(&[]);
    fs::write(dir.path().join("weights"), network(&[("bn", DYING)])).unwrap();
    let output = loop_in(&dir, &["sh", "train.sh", "{total}", "{epochs}"]);
    assert!(output.status.success());
    let said = stderr(&output);
    assert!(
        said.contains("more harm than good") && said.contains("training goes on"),
        "{said}"
    );
    assert!(
        said.contains("round 2: 4 of 5 epochs; out/checkpoint-4 is left as it is"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn signals_reach_the_command_and_end_the_loop() {
    let dir = checkpoints(&[2]);
    for (signal, code, exit) in [("TERM", 3, "exit 3"), ("INT", 130, "exit 0")] {
        let child = format!("trap '{exit}' {signal}; echo > ready; while :; do sleep 0.05; done");
        let mut running = command(&[&LOOP[..], &["sh", "-c", &child]].concat())
            .current_dir(dir.path())
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let ready = dir.path().join("ready");
        while !ready.exists() {
            assert!(running.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        fs::remove_file(ready).unwrap();
        let kill = ["-s", signal, &running.id().to_string()];
        assert!(
            std::process::Command::new("kill")
                .args(kill)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(running.wait().unwrap().code(), Some(code), "{signal}");
    }
}
