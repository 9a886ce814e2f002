//! `train` and `eval`, with a very small network on few images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::common::*;
use serde_json::Value;

/// A very small network for very small images.
const NETWORK: [&str; 8] = [
    "--model",
    "mobilenet_v2",
    "--width",
    "0.1",
    "--recipe",
    "cifar",
    "--resolution",
    "8",
];

/// Few images in CIFAR-10's format: 125 to train on and 50 for tests, of one colour a class and
/// noise.
fn images() -> &'static str {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
        let set = dir.join("cifar-10-batches-bin");
        fs::create_dir_all(&set).unwrap();
        let mut noise = 1_u32;
        for (name, count) in [
            ("data_batch_1", 25),
            ("data_batch_2", 25),
            ("data_batch_3", 25),
            ("data_batch_4", 25),
            ("data_batch_5", 25),
            ("test_batch", 50),
        ] {
            let mut bytes = Vec::new();
            for image in 0..count {
                let class = image % 10;
                bytes.push(class);
                for place in 0..3072_u32 {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let colour = (u32::from(class) >> (place / 1024)) % 2 * 90;
                    bytes.push((colour + (noise >> 25)) as u8);
                }
            }
            fs::write(set.join(format!("{name}.bin")), bytes).unwrap();
        }
        let names: Vec<String> = (0..10).map(|class| format!("colour {class}")).collect();
        fs::write(set.join("batches.meta.txt"), names.join("\n")).unwrap();
        dir
    };
    text(IMAGES.get_or_init(write))
}

/// The arguments of a run in `out`: three epochs, unless `more` says otherwise.
fn args<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "--out", text(out), "--batch-size", "32"];
    args.extend(NETWORK);
    args.extend(["--data", images()]);
    if !more.contains(&"--epochs") {
        args.extend(["--epochs", "3"]);
    }
    args.extend(more);
    args
}

fn train(out: &Path, more: &[&str]) -> String {
    ok(&args(out, more))
}

fn resume(run: &Path, more: &[&str]) -> String {
    ok(&[&["train", "--resume", text(run)], more].concat())
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The tensors of a checkpoint: all of its files but the state.
fn tensors(checkpoint: &Path) -> Vec<(String, Vec<u8>)> {
    let files = state(checkpoint).into_iter();
    files
        .filter(|(name, _)| name.ends_with(".safetensors"))
        .collect()
}

#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (tensors(a), tensors(b));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{name} differs");
    }
}

#[test]
fn a_run_leaves_checkpoints_settings_and_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("runs/a");
    let shown = train(&run, &["--regen-every", "1", "--tensorboard"]);
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(shown.starts_with("epoch 1/3  loss "), "{shown}");
    assert!(
        shown
            .lines()
            .all(|line| line.len() <= 80 || line.contains("/best"))
    );

    let lines = metrics(&run);
    let epochs: Vec<u64> = lines
        .iter()
        .map(|line| line["epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(epochs, [1, 2, 3]);
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    let mut expected = vec![
        "epoch",
        "train_loss",
        "train_top1",
        "test_loss",
        "test_top1",
        "images_per_s",
        "lr",
        "regenerated",
        "inhibited",
        "median_gamma",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    // Not after the last epoch: the final network is never a freshly edited one.
    let regenerated = lines
        .iter()
        .map(|line| line["regenerated"].as_u64().unwrap() > 0);
    assert_eq!(regenerated.collect::<Vec<_>>(), [true, true, false]);

    let files: Vec<String> = state(&run.join("last")).into_keys().collect();
    let expected = ["model.safetensors", "optimizer.safetensors", "state.json"];
    assert_eq!(files, expected);
    let report = ok_json(&["inspect", "--json", text(&run.join("last"))]);
    assert_eq!(report["training"]["layout"], "ckpt-regen");
    assert_eq!(report["training"]["epoch"], 3);
    assert_eq!(report["training"]["optimizer"], "SGD");
    let events = fs::read_dir(run.join("tensorboard")).unwrap();
    assert_eq!(events.count(), 1);
}

#[test]
fn the_settings_of_a_run_make_the_same_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    train(&a, &["--seed", "7", "--ema", "0.5", "--accumulate", "2"]);
    let settings = a.join("settings.toml");
    ok(&["train", "--out", text(&b), "--config", text(&settings)]);
    assert_same(&a.join("last"), &b.join("last"));
    assert!(b.join("last/ema.safetensors").is_file());
}

#[test]
fn threads_decide_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    train(&a, &["--threads", "1", "--epochs", "1"]);
    train(&b, &["--threads", "3", "--epochs", "1"]);
    assert_same(&a.join("last"), &b.join("last"));
}

#[test]
fn apply_between_two_epochs_equals_regeneration_in_memory() {
    for (state, slots) in [("keep", "keep"), ("reset", "reset")] {
        let dir = tempfile::tempdir().unwrap();
        let (memory, file) = (dir.path().join("memory"), dir.path().join("file"));
        let at = [
            "--regen-every",
            "2",
            "--rule",
            "reference",
            "--regen-state",
            state,
        ];
        train(&memory, &at);
        train(&file, &["--stop-after", "2"]);
        let last = file.join("last");
        let shown = ok(&[
            "apply",
            text(&last),
            "--every",
            "2",
            "--rule",
            "reference",
            "--optimizer",
            slots,
        ]);
        assert!(shown.starts_with("epoch 2, every 2: due"), "{shown}");
        let regenerated = format!("regenerated {} of", metrics(&memory)[1]["regenerated"]);
        assert!(shown.contains(&regenerated), "{shown} {regenerated}");
        assert_eq!(shown.contains("reset    the"), state == "reset", "{shown}");
        resume(&file, &[]);
        assert_same(&memory.join("last"), &last);
    }
}

#[test]
fn a_run_in_parts_equals_a_run_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let more = [
        "--optimizer",
        "adamw",
        "--lr",
        "0.01",
        "--ema",
        "0.9",
        "--schedule",
        "one-cycle",
        "--regen-every",
        "1",
        "--recalibrate",
        "1",
        "--keep",
        "2",
    ];
    train(&whole, &more);
    let shown = train(&parts, &[&more[..], &["--stop-after", "1"]].concat());
    assert!(shown.contains("1 of 3 epochs"), "{shown}");
    resume(&parts.join("last"), &["--stop-after", "2"]);
    resume(&parts, &[]);
    for checkpoint in ["last", "best", "epoch-2"] {
        assert_same(&whole.join(checkpoint), &parts.join(checkpoint));
    }
    assert!(!parts.join("epoch-1").exists());
    let without_speed = |run: &Path| {
        let mut lines = metrics(run);
        for line in &mut lines {
            line["images_per_s"] = Value::Null;
        }
        lines
    };
    assert_eq!(without_speed(&whole), without_speed(&parts));
}

/// What a run has got to, as its directory shows it.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// It has a directory, and trains.
    Begun,
    /// It has written this epoch's metrics, and saves.
    Tested(usize),
    /// It has saved this epoch, and trains on, ends, or is edited.
    Saved(u64),
    /// The record of an edit is written, the edit not yet.
    Edited,
}

impl Moment {
    fn has_come(self, run: &Path) -> bool {
        let read = |file: &str| fs::read_to_string(run.join(file)).unwrap_or_default();
        match self {
            Moment::Begun => run.exists(),
            Moment::Tested(epochs) => read("metrics.jsonl").lines().count() >= epochs,
            Moment::Saved(epochs) => serde_json::from_str(&read("last/state.json"))
                .is_ok_and(|state: Value| state["epoch"].as_u64().unwrap() >= epochs),
            Moment::Edited => run.join("last/.ckpt-regen/model.safetensors.json").exists(),
        }
    }
}

/// Kills a run, and what it has started, at this moment or when it ends before.
#[cfg(unix)]
fn killed(args: &[&str], run: &Path, moment: Moment) {
    use std::os::unix::process::CommandExt as _;
    let mut child = command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    while !moment.has_come(run) && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let group = format!("-{}", child.id());
    let killed = Command::new("kill").args(["-KILL", "--", &group]).output();
    killed.unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn killed_at_any_moment_a_run_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let more = ["--regen-every", "1", "--keep", "2", "--ema", "0.9"];
    train(&whole, &more);
    for moment in [
        Moment::Begun,
        Moment::Tested(1),
        Moment::Saved(1),
        Moment::Tested(2),
        Moment::Saved(2),
        Moment::Tested(3),
    ] {
        let run = dir.path().join(format!("{moment:?}"));
        killed(&args(&run, &more), &run, moment);
        assert!(moment.has_come(&run), "{moment:?}");
        if run.join("last/state.json").exists() {
            resume(&run, &[])
        } else {
            // Nothing had been saved yet.
            train(&run, &more)
        };
        for checkpoint in ["last", "best", "epoch-2"] {
            assert_same(&whole.join(checkpoint), &run.join(checkpoint));
        }
        assert_eq!(metrics(&run).len(), 3);
    }
}

/// The loop, with its own training as the command; killed with it while it trains, saves, ends, or is
/// edited, and run again each time.
#[cfg(unix)]
#[test]
fn the_loop_killed_in_every_phase_equals_regeneration_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("memory");
    let more = ["--epochs", "4", "--rule", "reference"];
    let at = ["--regen-every", "1", "--regen-state", "reset"];
    train(&memory, &[&more[..], &at].concat());
    let run = dir.path().join("run");
    let mut all = vec!["loop", "--every", "1", "--epochs", "4"];
    all.extend(["--checkpoint", text(&run), "--rule", "reference"]);
    all.extend([
        "--optimizer",
        "reset",
        "--",
        env!("CARGO_BIN_EXE_ckpt-regen"),
    ]);
    let own = ["--epochs", "{total}", "--stop-after", "{epochs}"];
    let last = format!("{}]", text(&run));
    all.extend(args(&run, &own));
    all.extend(["[--resume", &last]);
    for moment in [
        Moment::Begun,
        Moment::Tested(1),
        Moment::Saved(1),
        Moment::Edited,
        Moment::Tested(2),
        Moment::Saved(2),
        Moment::Tested(3),
        Moment::Saved(3),
    ] {
        killed(&all, &run, moment);
        assert!(moment.has_come(&run), "{moment:?}");
    }
    ok(&all);
    assert_same(&memory.join("last"), &run.join("last"));
    assert_same(&memory.join("best"), &run.join("best"));
}

/// Resumed again and again, and killed each time.
#[cfg(unix)]
#[test]
fn a_run_that_is_killed_often_still_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, run) = (dir.path().join("whole"), dir.path().join("run"));
    train(&whole, &["--epochs", "4"]);
    train(&run, &["--epochs", "4", "--stop-after", "1"]);
    for moment in [
        Moment::Saved(1),
        Moment::Tested(2),
        Moment::Saved(2),
        Moment::Tested(3),
    ] {
        killed(&["train", "--resume", text(&run)], &run, moment);
        ok(&["inspect", text(&run.join("last"))]);
    }
    resume(&run, &[]);
    assert_same(&whole.join("last"), &run.join("last"));
}

/// A limit on the size of files stands for a full disk.
#[cfg(unix)]
#[test]
fn a_save_that_fails_ends_the_run_and_leaves_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--stop-after", "1"]);
    let before = state(&run.join("last"));
    let program = env!("CARGO_BIN_EXE_ckpt-regen");
    // In units of 512 bytes or 1 KiB: less than a model, more than a line of metrics.
    let script = format!(
        "trap '' XFSZ; ulimit -f 16; exec {program} train --resume {}",
        text(&run)
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(message.contains("cannot write"), "{message}");
    assert!(state(&run.join("last")) == before);
    let whole = dir.path().join("whole");
    train(&whole, &[]);
    resume(&run, &[]);
    assert_same(&whole.join("last"), &run.join("last"));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_names_the_layer() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--stop-after", "1"]);
    let before = state(&run.join("last"));
    let message = fails(
        1,
        &[
            "train",
            "--resume",
            text(&run),
            "--lr",
            "1e38",
            "--schedule",
            "constant",
        ],
    );
    assert!(message.contains("error: mobilenet_v2: "), "{message}");
    assert!(
        message.contains("the first layer that is not finite"),
        "{message}"
    );
    assert!(message.contains("of epoch 2"), "{message}");
    assert!(state(&run.join("last")) == before);
}

#[test]
fn regeneration_has_a_first_and_a_last_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let due = |more: &[&str]| {
        let run = dir.path().join(more.join(""));
        train(&run, &[&["--epochs", "4"], more].concat());
        let lines = metrics(&run).into_iter();
        let due = lines.filter(|line| line["regenerated"] != 0);
        due.map(|line| line["epoch"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(due(&["--regen-every", "2", "--regen-start", "1"]), [1, 3]);
    assert_eq!(due(&["--regen-every", "2", "--regen-until", "2"]), [2]);
    assert!(due(&[]).is_empty());
}

#[test]
fn patience_ends_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    // Nothing is learned: the first epoch stays the best.
    let shown = train(
        &run,
        &["--epochs", "9", "--patience", "2", "--weight-decay", "0"],
    );
    assert!(
        shown.contains("no better test accuracy for 2 epochs"),
        "{shown}"
    );
    let lines = metrics(&run);
    let best = lines.iter().map(|line| line["test_top1"].as_f64().unwrap());
    let best = best.enumerate().fold(
        (0, -1.0),
        |best, (n, top1)| {
            if top1 > best.1 { (n, top1) } else { best }
        },
    );
    assert_eq!(lines.len(), best.0 + 3);
    assert!(resume(&run, &[]).contains("no better test accuracy"));
}

#[test]
fn recalibration_changes_statistics_only() {
    let dir = tempfile::tempdir().unwrap();
    let (with, without) = (dir.path().join("with"), dir.path().join("without"));
    train(&with, &["--recalibrate", "2"]);
    train(&without, &[]);
    let diff = ok_json(&[
        "diff",
        "--json",
        text(&with.join("last")),
        text(&without.join("last")),
    ]);
    let changed: Vec<&str> = diff["tensors"]["changed"]
        .as_array()
        .map(|all| all.iter().filter_map(|t| t["name"].as_str()).collect())
        .unwrap_or_default();
    assert!(changed.len() > 100, "{changed:?}");
    for name in changed {
        let end = name.rsplit('.').next().unwrap();
        let statistics = ["running_mean", "running_var", "num_batches_tracked"];
        assert!(statistics.contains(&end), "{name}");
    }
}

#[test]
fn training_begins_with_the_weights_of_any_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    for name in ["model.safetensors", "model.pth", "external/model.onnx"] {
        let file = repository(FIXTURE).join(name);
        let mut args = args(&run, &["--lr", "1e-30", "--stop-after", "1"]);
        let at = args.iter().position(|arg| *arg == "0.1").unwrap();
        args[at] = "0.25";
        args.extend(["--resume", text(&file)]);
        let message = fails(1, &args);
        assert!(message.contains("100 classes"), "{message}");
        assert!(!run.exists());

        args.push("--partial");
        let said = stderr(&crate::common::run(&args));
        let taken = "260 of 262 tensors fit, others are drawn; the whole does not fit mobilenet_v2";
        assert!(said.contains(taken), "{said}");
        let misfit = "classifier.1.bias: expected [10], found [100]";
        assert!(said.contains(misfit), "{said}");
        let diff = ok_json(&["diff", "--json", text(&file), text(&run.join("last"))]);
        assert_eq!(diff["networks"][0]["moved"], 0, "{name}");
        fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn several_paths_to_go_on_from_are_files_of_weights() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--stop-after", "1"]);
    let (other, last) = (dir.path().join("other"), run.join("last"));
    let file = last.join("model.safetensors");
    let both = |second: &Path| fails_of(&other, &[text(&file), text(second)]);
    let (code, message) = both(&run);
    assert!(
        code == 2 && message.contains("a run goes on alone"),
        "{message}"
    );
    let (code, message) = both(&file);
    assert!(code == 1, "{message}");
    assert!(
        message.contains("holds features.0.0.weight, as "),
        "{message}"
    );
    assert!(!other.exists());
}

/// Exit code and message of a new run that begins with these weights.
fn fails_of(out: &Path, weights: &[&str]) -> (i32, String) {
    let mut args = args(out, &[]);
    weights
        .iter()
        .for_each(|path| args.extend(["--resume", path]));
    let output = crate::common::run(&args);
    (output.status.code().unwrap(), stderr(&output))
}

#[test]
fn the_momentum_of_batchnorm_moves_the_running_statistics_alone() {
    let dir = tempfile::tempdir().unwrap();
    let once = |name: &str, more: &[&str]| {
        let run = dir.path().join(name);
        train(&run, &[&["--stop-after", "1"], more].concat());
        let line = metrics(&run).remove(0);
        let settings = fs::read_to_string(run.join("settings.toml")).unwrap();
        (
            line["train_loss"].clone(),
            line["test_loss"].clone(),
            settings,
        )
    };
    let own = once("own", &[]);
    let same = once("same", &["--bn-momentum", "0.1"]);
    let slow = once("slow", &["--bn-momentum", "0.001"]);
    assert!(!own.2.contains("bn-momentum"), "{}", own.2);
    assert!(slow.2.contains("bn-momentum = 0.001"), "{}", slow.2);
    assert_eq!((&own.0, &own.1), (&same.0, &same.1));
    assert_eq!(own.0, slow.0);
    assert_ne!(own.1, slow.1);
    let run = dir.path().join("none");
    for wrong in ["0", "1.5"] {
        let message = fails(2, &args(&run, &["--bn-momentum", wrong]));
        assert!(
            message.contains("bn-momentum: expected a number above 0"),
            "{message}"
        );
    }
    let without = args(&run, &["--bn-momentum", "0.1", "--norm", "itn"]);
    let message = fails(2, &without);
    assert!(message.contains("has no BatchNorm"), "{message}");
}

#[test]
fn a_segmentation_network_needs_a_label_for_each_pixel() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut args = args(&run, &[]);
    let at = |args: &[&str], wanted: &str| args.iter().position(|arg| *arg == wanted).unwrap();
    let model = at(&args, "mobilenet_v2");
    args[model] = "mobilenetv2dilated-c1_deepsup";
    let width = at(&args, "0.1");
    args[width] = "1";
    let resolution = at(&args, "8");
    args[resolution] = "32";
    let message = fails(1, &args);
    let expected = "decoder.conv_last: the network's output is 10×4×4, not a vector of classes";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn eval_measures_what_training_measured() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--ema", "0.8"]);
    let top1 = |line: &Value| line["test_top1"].as_f64().unwrap();
    let lines = metrics(&run).into_iter().rev();
    // Of equals the first.
    let best = lines.max_by(|a, b| top1(a).total_cmp(&top1(b))).unwrap();
    let csv = dir.path().join("confusion.csv");
    let found = ok_json(&["eval", text(&run), "--json", "--confusion", text(&csv)]);
    for key in ["top1", "loss"] {
        assert_eq!(found[key], best[&format!("test_{key}")], "{key}");
    }
    let rows: Vec<Vec<u64>> = serde_json::from_value(found["confusion"].clone()).unwrap();
    assert_eq!(
        rows.iter().flatten().sum::<u64>(),
        found["images"].as_u64().unwrap()
    );
    let right: u64 = rows.iter().enumerate().map(|(n, row)| row[n]).sum();
    let top1 = 100.0 * right as f64 / found["images"].as_f64().unwrap();
    assert_eq!(found["top1"], top1);
    let lines = fs::read_to_string(csv).unwrap();
    assert_eq!(lines.lines().count(), 11);
    assert!(lines.starts_with(",colour 0,colour 1,"), "{lines}");

    // The same file by itself, and by hand.
    let ema = run.join("best/ema.safetensors");
    let copy = dir.path().join("copy.safetensors");
    fs::copy(&ema, &copy).unwrap();
    let by_hand = [
        &["eval", text(&copy), "--json", "--data", images()],
        &NETWORK[..],
    ]
    .concat();
    assert_eq!(ok_json(&by_hand)["top1"], found["top1"]);
    let shown = ok(&["eval", text(&ema), "--per-class"]);
    assert_eq!(shown.lines().count(), 12, "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn wrong_settings_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let usage = |more: &[&str]| {
        let message = fails(2, &[&args(&run, &[])[..], more].concat());
        assert!(!run.exists(), "{message}");
        message
    };
    assert!(usage(&["--momentum", "1.5"]).contains("momentum: expected a number from 0"));
    assert!(
        usage(&["--include", "nothing"]).contains("matches no BatchNorm layer of mobilenet_v2")
    );
    assert!(usage(&["--exclude", "."]).contains("52 BatchNorm layers, and none passes"));
    assert!(usage(&["--schedule", "sawtooth"]).contains("multi-step"));
    assert!(usage(&["--mean", "1,2"]).contains("mean"));
    let config = dir.path().join("config.toml");
    fs::write(&config, "epochs = 3\nlearning-rate = 0.1\n").unwrap();
    let message = usage(&["--config", text(&config)]);
    assert!(message.contains("line 2, column 1"), "{message}");
    assert!(
        message.contains("unknown field `learning-rate`"),
        "{message}"
    );

    let out = ["train", "--out", text(&run)];
    let refused = |code, more: &[&str]| fails(code, &[&out[..], more].concat());
    let digits = ["--data", "digits"];
    assert!(refused(2, &digits).contains("--model: expected an ONNX file, or one of mobilenet_v2"));
    assert!(refused(2, &["--model", "resnet20"]).contains("--recipe: expected one of cifar"));
    let nowhere = dir.path().join("nowhere");
    let data = [
        "--model",
        "resnet20",
        "--recipe",
        "cifar",
        "--data",
        text(&nowhere),
    ];
    assert!(refused(1, &data).contains("nowhere"));
    assert!(!run.exists());
}

#[test]
fn one_directory_is_for_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let (run, other) = (dir.path().join("run"), dir.path().join("other"));
    train(&run, &["--stop-after", "1"]);
    let message = fails(2, &args(&run, &[]));
    assert!(message.contains("there is a run already"), "{message}");
    let message = fails(2, &["train", "--resume", text(&run), "--recipe", "digits"]);
    assert!(
        message.contains("a run that goes on has its settings"),
        "{message}"
    );
    // A copy goes on elsewhere, and the run stays as it is.
    let before = state(&run.join("last"));
    ok(&["train", "--resume", text(&run), "--out", text(&other)]);
    assert!(state(&run.join("last")) == before);
    let (all, rest) = (dir.path().join("all"), metrics(&other).len());
    train(&all, &[]);
    assert_same(&all.join("last"), &other.join("last"));
    assert_eq!(rest, 2);
}

/// The losses of all epochs of a run, in training and in tests.
fn losses(run: &Path) -> Vec<f64> {
    let losses = ["train_loss", "test_loss"];
    let lines = metrics(run);
    let of = |line: &Value| losses.map(|key| line[key].as_f64().unwrap());
    lines.iter().flat_map(of).collect()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], limit: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < limit,
            "{found}, expected {expected}"
        );
    }
}

/// The digits, all of an epoch in one batch, so that rounding has no steps to grow in.
const WHOLE: [&str; 10] = [
    "train",
    "--model",
    "mobilenet_v2",
    "--width",
    "0.1",
    "--data",
    "digits",
    "--batch-size",
    "2000",
    "--epochs=3",
];

#[test]
fn a_run_moves_between_the_engines_and_learns_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| dir.path().join(name);
    let train = |name: &str, engine: &str, more: &[&str]| {
        let run = run(name);
        let args = [
            "--precision",
            "f64",
            "--engine",
            engine,
            "--out",
            text(&run),
        ];
        ok(&[&WHOLE[..], &args, more].concat());
    };
    train("plain", "plain", &[]);
    train("candle", "candle", &[]);
    let expected = losses(&run("plain"));
    assert_eq!(expected.len(), 6);
    assert_near(&losses(&run("candle")), &expected, 1e-8);

    train("both", "candle", &["--stop-after", "1"]);
    for (engine, epochs) in [("plain", "2"), ("candle", "3")] {
        let more = [
            "--precision",
            "f64",
            "--engine",
            engine,
            "--stop-after",
            epochs,
        ];
        resume(&run("both"), &more);
    }
    assert_near(&losses(&run("both")), &expected, 1e-8);
}

#[test]
fn the_first_loss_of_every_engine_in_f32_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let first = |engine: &str| {
        let run = dir.path().join(engine);
        let args = ["--engine", engine, "--out", text(&run), "--stop-after", "1"];
        ok(&[&WHOLE[..], &args].concat());
        losses(&run)[0]
    };
    let (fast, candle) = (first("fast"), first("candle"));
    assert!((fast - candle).abs() < 1e-5, "{fast}, candle {candle}");
}
