//! Directories of checkpoints, and `loop`.

use std::fs;

use tempfile::TempDir;

use super::{DYING, EIGHT, made};
use crate::common::*;

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
