//! `kill -9` at random moments, over edits of one file, of a shard set, of a model with data files or
//! with its optimizer, in place, and their undo.
//!
//! After each kill the files are the old or the new state of the whole set, or a journal is there
//! and the next run completes it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::*;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

type State = BTreeMap<String, Vec<u8>>;

/// The state without records, journals, locks and temporary files.
fn models(state: &State) -> State {
    let ours = |name: &str| name.starts_with(".ckpt-regen/");
    state
        .iter()
        .filter(|(name, _)| !ours(name))
        .map(|(n, b)| (n.clone(), b.clone()))
        .collect()
}

/// Runs a command and kills it after `delay`; `true` if it was still running.
fn killed_after(args: &[&str], delay: Duration) -> bool {
    let mut child = command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while begin.elapsed() < delay {
        std::hint::spin_loop();
    }
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

/// What an undisturbed command makes of `before`, and how long it takes at its fastest.
fn undisturbed(before: &State, name: &str, args: &[&str]) -> (State, Duration) {
    let mut after = State::new();
    let times = (0..3).map(|_| {
        let dir = laid_out(before);
        let path = dir.path().join(name);
        let begin = Instant::now();
        ok(&[&[args[0], text(&path)], &args[1..]].concat());
        let time = begin.elapsed();
        after = state(dir.path());
        time
    });
    let fastest = times.min().unwrap();
    (after, fastest)
}

fn laid_out(files: &State) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

/// One kill of `args` on `before`, whose undisturbed result is `after`. Returns whether it hit.
fn kill_once(before: &State, after: &State, name: &str, args: &[&str], delay: Duration) -> bool {
    let dir = laid_out(before);
    let path = dir.path().join(name);
    let args = [&[args[0], text(&path)], &args[1..]].concat();
    let hit = killed_after(&args, delay);
    let left = state(dir.path());
    let journal = left.keys().any(|name| name.ends_with(".journal"));
    let found = models(&left);
    let whole = found == models(before) || found == models(after);
    assert!(
        whole || journal,
        "{args:?} after {delay:?}: neither old nor new, and no journal"
    );
    // A reader that knows nothing of a pending edit still reads the checkpoint.
    ok(&["inspect", text(&path)]);
    settle(dir.path(), &path, before, after, &args, journal);
    hit
}

/// The next run completes or clears up what the dead one left.
fn settle(dir: &Path, path: &Path, before: &State, after: &State, args: &[&str], journal: bool) {
    let nothing = ["apply", text(path), "--below", "-1000000"];
    ok(&nothing);
    let settled = state(dir);
    assert!(
        settled == *after || (!journal && settled == *before),
        "{args:?}: the next run left {:?}",
        settled.keys().collect::<Vec<_>>()
    );
}

#[test]
fn nothing_is_lost_by_a_kill_at_any_moment() {
    let kills: u64 = if is_thorough() { 240 } else { 80 };
    let file = |name: &str| state(copy_of(&repository(FIXTURE).join(name)).0.path());
    let folder = |name: &str| state(&repository(name));
    let checkpoints: [(State, &str, &[&str]); 5] = [
        (file("model.safetensors"), "model.safetensors", &[]),
        (folder(&format!("{FIXTURE}/sharded")), "", &[]),
        (file("model.pth"), "model.pth", &[]),
        (folder(&format!("{FIXTURE}/external")), "model.onnx", &[]),
        (folder("fixtures/trainer"), "", &["--optimizer", "reset"]),
    ];
    let mut edits: Vec<(State, State, &str, Vec<&str>, Duration)> = Vec::new();
    for (files, name, options) in checkpoints {
        for flags in [&[][..], &["--in-place"]] {
            let apply = [&["apply"], flags, options].concat();
            let undo = [&["undo"], flags].concat();
            let (edited, time) = undisturbed(&files, name, &apply);
            edits.push((files.clone(), edited.clone(), name, apply, time));
            let (_, time) = undisturbed(&edited, name, &undo);
            edits.push((edited, files.clone(), name, undo, time));
        }
    }
    let mut random = Random(0x5eed_cafe);
    let mut hits = 0;
    for number in 0..kills {
        let (before, after, name, args, time) = &edits[number as usize % edits.len()];
        let delay = Duration::from_micros(random.below(time.as_micros() as u64 * 11 / 10));
        hits += u64::from(kill_once(before, after, name, args, delay));
    }
    println!("{kills} kills, {hits} of them hit a running process");
    assert!(
        hits >= kills / 4,
        "only {hits} of {kills} kills came in time"
    );
}
