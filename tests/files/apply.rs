//! What `apply` and `undo` promise about files, records, plans and time.

use std::fs;

use crate::common::*;
use serde_json::{Value, json};

const SMALL: &[(&str, &[f32])] = &[("a.bn", &[-0.9, 0.05, 0.1, 0.4]), ("b.bn", &[-0.2, 0.8])];

fn small() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    fs::write(&file, network(SMALL)).unwrap();
    (dir, file)
}

#[test]
fn the_json_of_apply_has_every_promised_field() {
    let (_dir, file) = small();
    let applied = ok_json(&["apply", text(&file), "--json"]);
    let record = file.with_file_name(".ckpt-regen/m.safetensors.json");
    let record = text(&record);
    assert_eq!(applied["path"], text(&file));
    assert_eq!(applied["output"], text(&file));
    assert_eq!(applied["due"], true);
    assert_eq!(applied["rule"], "paper");
    assert_eq!(
        (&applied["threshold"], &applied["target"]),
        (&json!(f64::from(0.05_f32)), &json!(f64::from(0.05_f32)))
    );
    assert_eq!(
        (&applied["counted"], &applied["regenerated"]),
        (&json!(6), &json!(2))
    );
    assert_eq!(applied["layers_touched"], 2);
    let layer = json!({
        "name": "a.bn",
        "threshold": f64::from(0.05_f32),
        "target": f64::from(0.05_f32),
        "regenerated": 1,
    });
    assert_eq!(applied["layers"][0], layer);
    assert_eq!(applied["record"], record);
    assert!(
        applied["warnings"].as_array().unwrap()[0]
            .as_str()
            .unwrap()
            .contains("negative")
    );
}

#[test]
fn by_layer_there_is_no_threshold_of_the_network() {
    let (_dir, file) = small();
    let applied = ok_json(&[
        "apply",
        text(&file),
        "--scope",
        "layer",
        "--dry-run",
        "--json",
    ]);
    assert!(applied["threshold"].is_null() && applied["target"].is_null());
    assert_eq!(applied["layers"][1]["threshold"], f64::from(-0.2_f32));
    assert!(applied["record"].is_null() && applied["output"].is_null());
}

#[test]
fn an_apply_that_changes_nothing_touches_neither_file_nor_record() {
    let (dir, file) = small();
    ok(&["apply", text(&file)]);
    let modified = |name: &str| {
        fs::metadata(dir.path().join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let names = ["m.safetensors", ".ckpt-regen/m.safetensors.json"];
    let (before, times) = (state(dir.path()), names.map(modified));
    let second = ok_json(&["apply", text(&file), "--json"]);
    assert_eq!(second["regenerated"], 0);
    assert!(second["record"].is_null());
    assert_eq!(state(dir.path()), before);
    assert_eq!(names.map(modified), times);
}

#[test]
fn edits_are_taken_back_one_by_one() {
    let (dir, file) = small();
    let original = state(dir.path());
    ok(&["apply", text(&file)]);
    let first = fs::read(&file).unwrap();
    ok(&[
        "apply",
        text(&file),
        "--below",
        "quantile:0.75",
        "--in-place",
    ]);
    assert_eq!(gamma(&file, "b.bn")[0], f64::from(0.4_f32));
    assert!(ok(&["undo", text(&file)]).contains("1 earlier edit can still be taken back"));
    assert_eq!(fs::read(&file).unwrap(), first);
    ok(&["undo", text(&file), "--in-place"]);
    assert_eq!(state(dir.path()), original);
    assert!(fails(1, &["undo", text(&file)]).contains("no record"));
}

#[test]
fn where_training_went_on_the_record_begins_anew_without_a_word() {
    let (_dir, file) = small();
    ok(&["apply", text(&file)]);
    let resumed = network(&[("a.bn", &[0.05, 0.3, 0.1, 0.4]), ("b.bn", &[0.5, 0.8])]);
    fs::write(&file, &resumed).unwrap();
    assert!(fails(1, &["undo", text(&file)]).contains("training went on"));
    let output = run(&["apply", text(&file)]);
    assert!(output.status.success());
    assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
    assert!(ok(&["undo", text(&file)]).contains("as before the first edit"));
    assert_eq!(fs::read(&file).unwrap(), resumed);
}

#[test]
fn nothing_that_an_edit_leaves_has_a_name_like_the_checkpoints() {
    let (dir, file) = small();
    let last = dir.path().join("last.ckpt");
    fs::rename(file, &last).unwrap();
    ok(&["apply", text(&last)]);
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, [".ckpt-regen", "last.ckpt"]);
    let names: Vec<String> = state(dir.path()).into_keys().collect();
    assert_eq!(names, [".ckpt-regen/last.ckpt.json", "last.ckpt"]);
    let record: Value = serde_json::from_slice(&state(dir.path())[&names[0]]).unwrap();
    assert_eq!(record["file"], "../last.ckpt");
    ok(&["undo", text(&last)]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_record_of_an_earlier_version_is_read_and_taken_over() {
    let (dir, file) = small();
    let original = state(dir.path());
    let earlier = dir.path().join("m.safetensors.regen.json");
    let as_earlier = || {
        ok(&["apply", text(&file)]);
        fs::rename(dir.path().join(".ckpt-regen/m.safetensors.json"), &earlier).unwrap();
        fs::remove_dir(dir.path().join(".ckpt-regen")).unwrap();
    };
    as_earlier();
    ok(&["undo", text(&file)]);
    assert_eq!(state(dir.path()), original);
    as_earlier();
    ok(&["apply", text(&file), "--below", "quantile:0.75"]);
    assert!(!earlier.exists());
    assert!(ok(&["undo", text(&file)]).contains("1 earlier edit"));
    ok(&["undo", text(&file)]);
    assert_eq!(state(dir.path()), original);
}

#[test]
fn a_record_can_be_kept_elsewhere() {
    let (dir, file) = small();
    let original = state(dir.path());
    let other = tempfile::tempdir().unwrap();
    let inside = dir.path().join("records/m.json");
    fs::create_dir(dir.path().join("records")).unwrap();
    let outside = other.path().join("m.json");
    for record in [&inside, &outside] {
        for in_place in [&[][..], &["--in-place"]] {
            let with = |args: &[&str]| {
                ok(&[args, &[text(&file), "--record", text(record)], in_place].concat())
            };
            let shown = with(&["apply"]);
            assert!(shown.contains(text(record)), "{shown}");
            assert!(fails(1, &["undo", text(&file)]).contains("no record"));
            with(&["apply", "--below", "quantile:0.75"]);
            assert!(!dir.path().join(".ckpt-regen").exists());
            with(&["undo"]);
            with(&["undo"]);
            assert_eq!(state(dir.path()), original);
            assert!(!record.exists());
        }
    }
    let nowhere = other.path().join("no/folder/m.json");
    fails(1, &["apply", text(&file), "--record", text(&nowhere)]);
    assert_eq!(state(dir.path()), original);
}

#[test]
fn an_edit_that_was_noted_and_not_carried_out_does_not_cost_the_earlier_ones() {
    let (dir, file) = small();
    let original = fs::read(&file).unwrap();
    ok(&["apply", text(&file)]);
    let first = fs::read(&file).unwrap();
    ok(&["apply", text(&file), "--below", "quantile:0.75"]);
    // As if the second had been killed between its record and its file.
    fs::write(&file, first).unwrap();
    ok(&["apply", text(&file), "--below", "quantile:0.9"]);
    assert!(ok(&["undo", text(&file)]).contains("1 earlier edit"));
    ok(&["undo", text(&file)]);
    assert_eq!(fs::read(&file).unwrap(), original);
    assert!(!dir.path().join(".ckpt-regen").exists());
}

#[test]
fn an_output_leaves_the_original_alone_and_has_its_own_record() {
    let (dir, file) = small();
    let original = fs::read(&file).unwrap();
    let out = dir.path().join("out.safetensors");
    ok(&["apply", text(&file), "-o", text(&out)]);
    let mut names: Vec<String> = state(dir.path()).into_keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            ".ckpt-regen/out.safetensors.json",
            "m.safetensors",
            "out.safetensors",
        ]
    );
    assert_eq!(fs::read(&file).unwrap(), original);
    ok(&["undo", text(&out)]);
    assert_eq!(fs::read(&out).unwrap(), original);
}

#[test]
fn an_output_is_written_also_when_nothing_is_due_or_changes() {
    let (dir, file) = small();
    let original = fs::read(&file).unwrap();
    let out = dir.path().join("out.safetensors");
    fs::write(
        dir.path().join("out.safetensors.regen.json"),
        "of an older file",
    )
    .unwrap();
    let not_due = [
        "apply",
        text(&file),
        "-o",
        text(&out),
        "--every",
        "5",
        "--epoch",
        "3",
        "--json",
    ];
    let applied = ok_json(&not_due);
    assert_eq!(
        (&applied["due"], &applied["regenerated"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(
        (&applied["output"], &applied["next"]),
        (&json!(text(&out)), &json!(5))
    );
    assert_eq!(fs::read(&out).unwrap(), original);
    assert!(!dir.path().join("out.safetensors.regen.json").exists());
    ok(&["apply", text(&file), "-o", text(&out), "--below", "-5"]);
    assert_eq!(fs::read(&out).unwrap(), original);
}

#[test]
fn an_output_directory_takes_a_whole_shard_set() {
    let source = repository(FIXTURE).join("sharded");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new");
    let applied = ok_json(&["apply", text(&source), "-o", text(&out), "--json"]);
    assert_eq!(
        applied["output"],
        text(&out.join("model.safetensors.index.json"))
    );
    let (old, new) = (state(&source), state(&out));
    assert_eq!(new.len(), old.len() + 1);
    assert_eq!(
        new["model.safetensors.index.json"],
        old["model.safetensors.index.json"]
    );
    assert_ne!(
        new["model-00002-of-00003.safetensors"],
        old["model-00002-of-00003.safetensors"]
    );
    ok(&["undo", text(&out)]);
    assert!(state(&out) == old);
}

#[test]
fn the_checkpoint_itself_is_no_output() {
    let (dir, file) = small();
    let before = state(dir.path());
    let other_spelling = format!(
        "{}/../{}/m.safetensors",
        text(dir.path()),
        dir.path().file_name().unwrap().to_str().unwrap()
    );
    for out in [text(&file), &other_spelling, text(dir.path())] {
        assert!(fails(2, &["apply", text(&file), "-o", out]).contains("is the checkpoint itself"));
    }
    let err = fails(2, &["apply", text(&file), "-o", "x", "--in-place"]);
    assert!(err.contains("cannot be used with"), "{err}");
    assert_eq!(state(dir.path()), before);
}

#[test]
fn a_dry_run_writes_nothing_but_the_plan_asked_for() {
    let (dir, file) = small();
    let plan = dir.path().join("plan.json");
    let before = fs::read(&file).unwrap();
    let shown = ok(&["apply", text(&file), "--dry-run", "--plan-out", text(&plan)]);
    assert!(
        shown.contains("would regenerate 2 of 6 channels") && shown.contains("nothing was written")
    );
    let mut names: Vec<String> = state(dir.path()).into_keys().collect();
    names.sort();
    assert_eq!(names, ["m.safetensors", "plan.json"]);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_saved_plan_gives_the_same_file_as_the_rule_and_fits_the_same_network_elsewhere() {
    let (dir, one) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let (_other, two) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let plan = dir.path().join("plan.json");
    let rule = [
        "--rule",
        "keep-sign",
        "--below",
        "quantile:0.6",
        "--to",
        "mean",
    ];
    ok(&[&["apply", text(&one), "--plan-out", text(&plan)], &rule[..]].concat());
    ok(&["apply", text(&two), "--plan", text(&plan)]);
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    let sharded = copy_of_dir(&repository(FIXTURE).join("sharded"));
    ok(&["apply", text(sharded.path()), "--plan", text(&plan)]);
    let networks = |path| ok_json(&["inspect", path, "--json"])["networks"].clone();
    assert_eq!(networks(text(&one)), networks(text(sharded.path())));
    let err = fails(1, &["apply", text(&one), "--plan", text(&plan)]);
    assert!(
        err.contains("not the file that the plan was made for"),
        "{err}"
    );
}

#[test]
fn channels_left_out_leave_the_list_before_the_median() {
    let (_dir, file) = small();
    let plan =
        |flags: &[&str]| ok_json(&[&["apply", text(&file), "--dry-run", "--json"], flags].concat());
    let only = plan(&["--include", "^a"]);
    assert_eq!(
        (&only["counted"], &only["threshold"]),
        (&json!(4), &json!(f64::from(0.05_f32)))
    );
    let without = plan(&["--exclude", "^a"]);
    assert_eq!(
        (&without["counted"], &without["threshold"]),
        (&json!(2), &json!(f64::from(-0.2_f32)))
    );
    fs::write(
        &file,
        network(&[("a.bn", &[0.0, 0.1]), ("b.bn", &[0.2, 0.3])]),
    )
    .unwrap();
    let nonzero = plan(&["--keep-zeros"]);
    assert_eq!(
        (&nonzero["counted"], &nonzero["threshold"]),
        (&json!(3), &json!(f64::from(0.2_f32)))
    );
    let shown = stderr(&run(&["apply", text(&file), "--dry-run", "--keep-zeros"]));
    assert!(
        shown.contains("1 channels were left out of the count"),
        "{shown}"
    );
}

#[test]
fn when_it_is_not_due_nothing_changes_and_the_next_epoch_is_said() {
    let (dir, file) = small();
    let before = state(dir.path());
    let at = |flags: &[&str]| ok(&[&["apply", text(&file), "--every", "5"], flags].concat());
    assert_eq!(
        at(&["--epoch", "4"]),
        "epoch 4, every 5: not due, nothing regenerated; next at epoch 5\n"
    );
    assert_eq!(
        at(&["--epoch", "25", "--until", "20"]),
        "epoch 25, every 5: not due, nothing regenerated; never again\n"
    );
    assert!(at(&["--epoch", "5", "--start", "2"]).contains("next at epoch 7"));
    assert_eq!(state(dir.path()), before);
    assert!(
        at(&["--epoch", "1", "--start", "1"])
            .starts_with("epoch 1, every 5: due; next at epoch 6\n")
    );
    assert_ne!(state(dir.path()), before);
}

#[test]
fn an_average_or_a_teacher_is_left_alone_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    let (raw, ema): (&[f32], &[f32]) = (&[0.1, 0.2, 0.3], &[0.4, 0.5, 0.6]);
    fs::write(&file, network(&[("bn", raw), ("ema.bn", ema)])).unwrap();
    let report = ok_json(&["inspect", text(&file), "--json"]);
    let roles = |n: usize| {
        (
            report["networks"][n]["root"].clone(),
            report["networks"][n]["role"].clone(),
        )
    };
    assert_eq!(
        (roles(0), roles(1)),
        ((json!(""), json!("raw")), (json!("ema"), json!("ema")))
    );
    let output = run(&["apply", text(&file)]);
    assert!(
        stderr(&output).contains("the averaged weights under \"ema\" are left"),
        "{}",
        stderr(&output)
    );
    assert_eq!(gamma(&file, "ema.bn"), ema.map_f64());
    assert_eq!(gamma(&file, "bn")[0], f64::from(0.2_f32));
    ok(&["apply", text(&file), "--root", "ema"]);
    assert_eq!(gamma(&file, "ema.bn")[0], 0.5);
}

trait MapF64 {
    fn map_f64(&self) -> Vec<f64>;
}

impl MapF64 for [f32] {
    fn map_f64(&self) -> Vec<f64> {
        self.iter().map(|value| f64::from(*value)).collect()
    }
}

#[test]
fn a_schema_names_what_names_do_not_say() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    let layer_norm: Entry<'_> = ("block.0.norm.weight", "F32", &[3], f32s(&[0.5, 0.1, 0.9]));
    fs::write(&file, safetensors_file(&[layer_norm])).unwrap();
    assert!(fails(1, &["inspect", text(&file)]).contains("running_mean"));
    let schema = dir.path().join("s.toml");
    let written = "version = 1\n[[batchnorm]]\ngamma = \"{layer}.weight\"\nlayers = 'norm$'\n";
    fs::write(&schema, written).unwrap();
    let applied = ok_json(&["apply", text(&file), "--schema", text(&schema), "--json"]);
    assert_eq!(
        (&applied["counted"], &applied["regenerated"]),
        (&json!(3), &json!(1))
    );
    fs::write(
        &schema,
        "version = 1\n[[batchnorm]]\ngamma = \"{layer}.weight\"\n",
    )
    .unwrap();
    assert!(
        fails(1, &["inspect", text(&file), "--schema", text(&schema)]).contains("needs `layers`")
    );
}

#[test]
fn the_schema_written_for_a_file_finds_the_same_layers() {
    let file = repository(FIXTURE).join("model.safetensors");
    let dir = tempfile::tempdir().unwrap();
    let schema = dir.path().join("s.toml");
    fs::write(&schema, ok(&["schema", text(&file)])).unwrap();
    let with = ok_json(&["inspect", text(&file), "--json", "--schema", text(&schema)]);
    assert_eq!(
        with["networks"],
        ok_json(&["inspect", text(&file), "--json"])["networks"]
    );
}

#[test]
fn a_name_cannot_end_its_comment_in_a_schema() {
    let dir = tempfile::tempdir().unwrap();
    let (file, schema) = (dir.path().join("m.safetensors"), dir.path().join("s.toml"));
    let (scale, ones) = ("ln\n[[batchnorm]]\ngamma = 3\n.weight", f32s(&[1.0]));
    let layer = ["weight", "bias", "running_mean", "running_var"].map(|leaf| format!("bn.{leaf}"));
    let mut tensors: Vec<Entry<'_>> = layer
        .iter()
        .map(|name| (&name[..], "F32", &[1_u64][..], ones.clone()))
        .collect();
    tensors.push((scale, "F32", &[1], ones.clone()));
    fs::write(&file, safetensors_file(&tensors)).unwrap();
    let written = ok(&["schema", text(&file)]);
    assert!(written.contains("#   ln"), "{written}");
    fs::write(&schema, written).unwrap();
    ok(&["inspect", text(&file), "--schema", text(&schema)]);
}

#[test]
fn every_dialect_is_found() {
    let dialects: [[&str; 4]; 6] = [
        [
            "a.bn.weight",
            "a.bn.bias",
            "a.bn.running_mean",
            "a.bn.running_var",
        ],
        [
            "a/bn/gamma",
            "a/bn/beta",
            "a/bn/moving_mean",
            "a/bn/moving_variance",
        ],
        [
            "a.bn.gamma",
            "a.bn.beta",
            "a.bn.running_mean",
            "a.bn.running_var",
        ],
        [
            "params/a/bn/scale",
            "params/a/bn/bias",
            "batch_stats/a/bn/mean",
            "batch_stats/a/bn/var",
        ],
        [
            "params.a.bn.scale",
            "params.a.bn.bias",
            "batch_stats.a.bn.mean",
            "batch_stats.a.bn.var",
        ],
        ["weight", "bias", "running_mean", "running_var"],
    ];
    let dir = tempfile::tempdir().unwrap();
    for names in dialects {
        let file = dir.path().join("m.safetensors");
        let entries = names.map(|name| (name, "F32", &[2][..], f32s(&[0.5, 1.0])));
        fs::write(&file, safetensors_file(&entries)).unwrap();
        let report = ok_json(&["inspect", text(&file), "--json"]);
        let layer = names[0].rfind(['.', '/']).map_or("", |at| &names[0][..at]);
        assert_eq!(
            report["networks"][0]["layers"][0]["name"], layer,
            "{names:?}"
        );
        // Without running statistics it is a LayerNorm.
        fs::write(&file, safetensors_file(&entries[..2])).unwrap();
        fails(1, &["inspect", text(&file)]);
    }
}

#[test]
fn frozen_layers_and_zero_layers_are_pointed_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (names, gamma) in [
        (["a.weight", "a.running_mean", "a.running_var"], [0.1, 0.9]),
        (["b.weight", "b.running_mean", "b.running_var"], [0.0, 0.0]),
    ] {
        entries.extend(names.map(|name| (name, "F32", &[2][..], f32s(&gamma))));
    }
    entries.push((
        "a.num_batches_tracked",
        "I64",
        &[],
        7_i64.to_le_bytes().to_vec(),
    ));
    fs::write(&file, safetensors_file(&entries)).unwrap();
    let warnings = ok_json(&["apply", text(&file), "--dry-run", "--json"])["warnings"].to_string();
    assert!(
        warnings.contains("γ is exactly 0 throughout b"),
        "{warnings}"
    );
    assert!(
        warnings.contains("1 of 2 layers lack the batch counter"),
        "{warnings}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn mode_owner_and_extended_attributes_are_kept() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let (_dir, file) = small();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let owner = chown(&file, Some(12345), Some(23456)).is_ok();
    let flags = rustix::fs::XattrFlags::empty();
    let attributes = rustix::fs::setxattr(&file, "user.origin", b"run 7", flags).is_ok();
    let before = fs::metadata(&file).unwrap();
    ok(&["apply", text(&file)]);
    let after = fs::metadata(&file).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(after.mode() & 0o7777, 0o640);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    if attributes {
        let mut value = [0_u8; 16];
        let len = rustix::fs::getxattr(&file, "user.origin", &mut value[..]).unwrap();
        assert_eq!(&value[..len], b"run 7");
    }
    for (what, is_set) in [("an owner", owner), ("attributes", attributes)] {
        if !is_set {
            skip(what, "they cannot be set here");
        }
    }
}

#[test]
fn output_that_nobody_reads_on_is_no_error() {
    let file = repository(FIXTURE).join("model.safetensors");
    let mut child = command(&["inspect", text(&file)])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_table_fits_80_columns_and_shows_colour_only_on_a_terminal() {
    let layers: Vec<(String, Vec<f32>)> = (0..160)
        .map(|n| {
            let gamma = (0..n + 1)
                .map(|c| (c as f32 - 3.0) * 10_f32.powi(n % 9 - 6))
                .collect();
            (
                format!(
                    "backbone.stage{}.block{n}.depthwise_separable.normalization",
                    n / 40
                ),
                gamma,
            )
        })
        .collect();
    let layers: Vec<(&str, &[f32])> = layers.iter().map(|(n, g)| (&n[..], &g[..])).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    fs::write(&file, network(&layers)).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ckpt-regen"))
        .args(["inspect", "m.safetensors"])
        .current_dir(dir.path())
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown.lines().count(), 164);
    assert!(!shown.contains('\u{1b}'));
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn explain_says_why_each_tensor_is_or_is_not_gamma() {
    let shown = ok(&[
        "inspect",
        text(&repository(FIXTURE).join("model.safetensors")),
        "--explain",
    ]);
    let line = |name: &str| shown.lines().find(|l| l.contains(name)).unwrap().to_owned();
    assert!(line(" features.0.1.weight ").starts_with("γ "));
    assert!(line(" features.0.1.bias ").ends_with("β of features.0.1"));
    assert!(line(" features.0.1.running_var ").ends_with("the running variance of features.0.1"));
    assert!(line(" classifier.1.bias ").starts_with("- "));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            ok(&["completions", shell]).contains("keep-zeros"),
            "{shell}"
        );
    }
}

#[test]
fn every_command_has_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    let man = dir.path().join("share/man1");
    ok(&["man", text(&man)]);
    let page = |name: &str| fs::read_to_string(man.join(name)).unwrap();
    assert!(page("ckpt-regen.1").contains("ckpt\\-regen\\-undo(1)"));
    assert!(page("ckpt-regen-apply.1").contains("keep\\-zeros"));
}

#[test]
fn a_dry_run_refuses_what_the_run_would_refuse() {
    let (dir, file) = small();
    let before = state(dir.path());
    for flags in [
        &["--optimizer", "reset"][..],
        &["-o", text(&file)],
        &["-o", "/dev/null"],
    ] {
        let run_code = run(&[&["apply", text(&file)], flags].concat())
            .status
            .code();
        let dry = run(&[&["apply", text(&file), "--dry-run"], flags].concat())
            .status
            .code();
        assert_ne!(dry, Some(0), "{flags:?}");
        assert_eq!(dry, run_code, "{flags:?}");
    }
    let out = dir.path().join("new/");
    ok(&[
        "apply",
        text(&file),
        "--dry-run",
        "-o",
        &format!("{}/", text(&out)),
    ]);
    assert!(!out.exists());
    assert_eq!(state(dir.path()), before);
}

#[test]
fn a_plan_goes_to_the_network_that_it_was_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    let plan = dir.path().join("plan.json");
    // A wrapper puts the names of both under prefixes, and the average was just made.
    fs::write(
        &file,
        network(&[("bn", &[0.1, 0.2, 0.3]), ("ema.bn", &[0.1, 0.2, 0.3])]),
    )
    .unwrap();
    ok(&[
        "apply",
        text(&file),
        "--root",
        "ema",
        "--dry-run",
        "--plan-out",
        text(&plan),
    ]);
    assert_eq!(
        ok_json(&["apply", text(&file), "--plan", text(&plan), "--json"])["root"],
        "ema"
    );
}

#[test]
fn shards_of_another_output_are_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let source = repository(FIXTURE).join("sharded");
    let out = |name: &str| dir.path().join(name);
    ok(&["apply", text(&source), "-o", text(&out("a.index.json"))]);
    let before = state(dir.path());
    let err = fails(
        2,
        &["apply", text(&source), "-o", text(&out("b.index.json"))],
    );
    assert!(err.contains("which another checkpoint may need"), "{err}");
    assert!(state(dir.path()) == before);
    // The same output again is another matter.
    ok(&["apply", text(&source), "-o", text(&out("a.index.json"))]);
}

#[test]
fn of_several_paths_the_readable_ones_are_shown() {
    let (_dir, file) = small();
    let output = run(&["inspect", "nowhere", text(&file), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nowhere: cannot open"));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[cfg(unix)]
#[test]
fn pipes_in_the_place_of_our_files_are_refused() {
    let (_dir, file) = small();
    ok(&["apply", text(&file)]);
    for suffix in ["lock", "journal", "json"] {
        let (dir, file) = small();
        fs::create_dir(dir.path().join(".ckpt-regen")).unwrap();
        let pipe = dir
            .path()
            .join(format!(".ckpt-regen/m.safetensors.{suffix}"));
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let err = fails(1, &["apply", text(&file)]);
        assert!(
            err.contains(suffix) && err.contains("no regular file"),
            "{err}"
        );
    }
}
