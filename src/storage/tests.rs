//! Every change of the disk is made to fail, or to be the last thing a process did, one after the
//! other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use super::disk::Disk;
use super::journal::{self, Action, Range};
use super::*;
use crate::error::Result;
use crate::file::Source;

/// A progress that nobody stops.
fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Lets a number of changes through, then fails one, or that and all that follow (a dead process).
#[derive(Debug, Default)]
pub(super) struct Fault {
    steps: Rc<Cell<u32>>,
    fail_at: Option<u32>,
    dies: bool,
}

impl Fault {
    pub(super) fn step(&self) -> io::Result<()> {
        let step = self.steps.get();
        self.steps.set(step + 1);
        let fails = |at| step == at || (self.dies && step > at);
        if self.fail_at.is_some_and(fails) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

/// Writes in small pieces, to be interrupted between them.
fn disk(fail_at: Option<u32>, dies: bool) -> Disk {
    Disk {
        piece: 5,
        fault: Fault {
            fail_at,
            dies,
            ..Fault::default()
        },
        ..Disk::default()
    }
}

type State = BTreeMap<String, Vec<u8>>;

/// The files of a directory and of those in it, by their paths there.
fn state(dir: &Path) -> State {
    let mut state = State::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        match fs::read(entry.path()) {
            Ok(bytes) => drop(state.insert(name, bytes)),
            Err(_) => {
                let inside = self::state(&entry.path()).into_iter();
                state.extend(inside.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
            }
        }
    }
    state
}

fn lay_out(dir: &Path, files: &State) {
    for (name, bytes) in files {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// An edit of some files, as its caller stages it, with the state before and after.
struct Case {
    before: State,
    after: State,
    stage: fn(&mut Transaction, &Path) -> Result<()>,
}

fn files(list: &[(&str, &str)]) -> State {
    list.iter()
        .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
        .collect()
}

const PATCH: (u64, &[u8], &[u8]) = (4, b"old-old-old", b"new-new-new");

fn patch() -> Vec<Patch> {
    vec![Patch {
        offset: PATCH.0,
        old: PATCH.1.to_vec(),
        new: PATCH.2.to_vec(),
    }]
}

fn cases() -> [(&'static str, Case); 4] {
    let (old, new) = ("headold-old-oldtail", "headnew-new-newtail");
    [
        (
            "one file replaced",
            Case {
                before: files(&[("a", old)]),
                after: files(&[("a", new), ("a.regen.json", "record")]),
                stage: |transaction, dir| {
                    let a = Source::open(&dir.join("a"))?;
                    transaction.replace(&a, &dir.join("a"), &patch(), &go_on)?;
                    transaction.write(&dir.join("a.regen.json"), b"record", &a)
                },
            },
        ),
        (
            "three shards replaced, an older record too",
            Case {
                before: files(&[
                    ("a", "index"),
                    ("1", old),
                    ("2", old),
                    ("3", old),
                    ("a.regen.json", "one"),
                ]),
                after: files(&[
                    ("a", "index"),
                    ("1", new),
                    ("2", new),
                    ("3", new),
                    ("a.regen.json", "two"),
                ]),
                stage: |transaction, dir| {
                    for name in ["1", "2", "3"] {
                        let shard = Source::open(&dir.join(name))?;
                        transaction.replace(&shard, &dir.join(name), &patch(), &go_on)?;
                    }
                    transaction.write(
                        &dir.join("a.regen.json"),
                        b"two",
                        &Source::open(&dir.join("a"))?,
                    )
                },
            },
        ),
        (
            "two files patched in place",
            Case {
                before: files(&[("a", old), ("b", old)]),
                after: files(&[("a", new), ("b", new), ("a.regen.json", "record")]),
                stage: |transaction, dir| {
                    for name in ["a", "b"] {
                        let path = dir.join(name);
                        transaction.patch_in_place(&Source::open(&path)?, &path, &patch())?;
                    }
                    transaction.write(
                        &dir.join("a.regen.json"),
                        b"record",
                        &Source::open(&dir.join("a"))?,
                    )
                },
            },
        ),
        (
            "the last edit taken back",
            Case {
                before: files(&[("a", old), ("a.regen.json", "record")]),
                after: files(&[("a", new)]),
                stage: |transaction, dir| {
                    let a = Source::open(&dir.join("a"))?;
                    transaction.replace(&a, &dir.join("a"), &patch(), &go_on)?;
                    transaction.remove(&dir.join("a.regen.json"))
                },
            },
        ),
    ]
}

fn run(disk: Disk, dir: &Path, case: &Case) -> Result<()> {
    let mut transaction = Transaction::begin_on(disk, &dir.join("a"))?;
    (case.stage)(&mut transaction, dir)?;
    transaction.commit(Purpose::Apply)?.finish()?;
    Ok(())
}

/// Number of changes that an undisturbed run makes.
fn steps_of(case: &Case) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), &case.before);
    let counting = disk(None, false);
    let steps = Rc::clone(&counting.fault.steps);
    run(counting, dir.path(), case).unwrap();
    assert_eq!(state(dir.path()), case.after);
    steps.get()
}

#[test]
fn a_process_that_dies_at_any_step_leaves_the_old_or_the_new_state_after_recovery() {
    for (name, case) in cases() {
        let (mut old, mut new) = (0, 0);
        for step in 0..steps_of(&case) {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path(), &case.before);
            assert!(
                run(disk(Some(step), true), dir.path(), &case).is_err(),
                "{name}, step {step}"
            );
            let decided = pending(&dir.path().join("a"));
            drop(Transaction::begin(&dir.path().join("a")).unwrap());
            let found = state(dir.path());
            if decided || found == case.after {
                assert_eq!(found, case.after, "{name}, dead at step {step}");
                new += 1;
            } else {
                assert_eq!(found, case.before, "{name}, dead at step {step}");
                old += 1;
            }
        }
        assert!(old > 2 && new > 2, "{name}: {old} old, {new} new");
    }
}

#[test]
fn a_recovery_that_dies_is_completed_by_the_next() {
    for (name, case) in cases() {
        for step in 0..steps_of(&case) {
            for second in 0..8 {
                let dir = tempfile::tempdir().unwrap();
                lay_out(dir.path(), &case.before);
                run(disk(Some(step), true), dir.path(), &case).unwrap_err();
                let decided = pending(&dir.path().join("a"));
                drop(Transaction::begin_on(
                    disk(Some(second), true),
                    &dir.path().join("a"),
                ));
                drop(Transaction::begin(&dir.path().join("a")).unwrap());
                let found = state(dir.path());
                let expected = if decided || found == case.after {
                    &case.after
                } else {
                    &case.before
                };
                assert_eq!(
                    &found, expected,
                    "{name}, dead at step {step} and then at {second}"
                );
            }
        }
    }
}

#[test]
fn a_step_that_fails_leaves_everything_as_it_was_or_says_that_a_journal_has_the_rest() {
    for (name, case) in cases() {
        for step in 0..steps_of(&case) {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path(), &case.before);
            // Some steps may fail without harm: removing what is not there.
            let Err(err) = run(disk(Some(step), false), dir.path(), &case) else {
                continue;
            };
            if pending(&dir.path().join("a")) {
                drop(Transaction::begin(&dir.path().join("a")).unwrap());
                assert_eq!(state(dir.path()), case.after, "{name}, step {step}: {err}");
            } else if state(dir.path()) != case.after {
                assert_eq!(state(dir.path()), case.before, "{name}, step {step}: {err}");
            }
        }
    }
}

#[test]
fn a_file_that_another_program_rewrote_after_the_crash_is_left_as_it_is() {
    for (name, case) in cases() {
        for step in 0..steps_of(&case) {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path(), &case.before);
            run(disk(Some(step), true), dir.path(), &case).unwrap_err();
            let model = if case.before.contains_key("1") {
                "1"
            } else {
                "a"
            };
            fs::write(
                dir.path().join(model),
                "a fresh checkpoint, of another length",
            )
            .unwrap();
            drop(Transaction::begin(&dir.path().join("a")).unwrap());
            let found = state(dir.path());
            assert_eq!(
                found[model], b"a fresh checkpoint, of another length",
                "{name}, step {step}"
            );
            let stray = found
                .keys()
                .find(|name| name.ends_with(".tmp") || name.contains("journal"));
            assert_eq!(stray, None, "{name}, step {step}");
        }
    }
}

#[test]
fn an_edit_that_is_given_up_half_way_leaves_the_record_of_what_it_replaced() {
    let (_, case) = &cases()[1];
    let mut kept = 0;
    for step in 0..steps_of(case) {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path(), &case.before);
        run(disk(Some(step), true), dir.path(), case).unwrap_err();
        fs::write(dir.path().join("3"), "a fresh shard").unwrap();
        let transaction = Transaction::begin(&dir.path().join("a")).unwrap();
        let given_up = matches!(transaction.recovery(), Some(Recovery::GivenUp(_)));
        drop(transaction);
        let found = state(dir.path());
        if given_up && found["1"] == case.after["1"] {
            assert_eq!(found["a.regen.json"], b"two", "step {step}");
            kept += 1;
        } else if given_up {
            assert_eq!(found["a.regen.json"], b"one", "step {step}");
        }
    }
    assert!(kept > 0);
}

#[cfg(unix)]
#[test]
fn a_journal_reaches_nothing_through_a_link_and_nothing_beyond_what_it_checks() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("elsewhere");
    fs::write(&target, "precious").unwrap();
    let home = dir.path().join("download");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("a"), "precious").unwrap();
    std::os::unix::fs::symlink(&target, home.join("link")).unwrap();
    let patch = |path: &str, old: &[u8]| Action::Patch {
        path: path.into(),
        len: 8,
        ranges: vec![Range {
            offset: 0,
            old: old.to_vec(),
            new: b"stolen".to_vec(),
        }],
    };
    fs::create_dir(home.join(".ckpt-regen")).unwrap();
    for action in [patch("link", b"precio"), patch("a", b"")] {
        let plain = Disk::default();
        journal::write(
            &plain,
            &home.join("a"),
            &home.join("t"),
            Purpose::Apply,
            &[action],
        )
        .unwrap();
        let err = Transaction::begin(&home.join("a")).unwrap_err();
        assert!(err.to_string().contains("expected a journal"), "{err}");
    }
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert_eq!(fs::read(home.join("a")).unwrap(), b"precious");
}

#[test]
fn two_runs_at_once_exclude_each_other_and_the_lock_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "x").unwrap();
    let first = Transaction::begin(&dir.path().join("a")).unwrap();
    let err = Transaction::begin(&dir.path().join("a")).unwrap_err();
    assert!(err.to_string().contains("another ckpt-regen"), "{err}");
    drop(first);
    drop(Transaction::begin(&dir.path().join("a")).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn only_temporary_files_of_the_same_checkpoint_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let own = [
        ".ckpt-regen/a.0.tmp",
        ".ckpt-regen/a.17.tmp",
        ".a.0.regen-tmp",
        ".a.17.regen-tmp",
    ];
    let foreign = [
        "a",
        ".ckpt-regen/a.b.0.tmp",
        ".ckpt-regen/a..tmp",
        ".ckpt-regen/b.0.tmp",
        ".ckpt-regen/a.x.tmp",
        "a.0.tmp",
        ".a.b.0.regen-tmp",
        ".a..regen-tmp",
        ".b.0.regen-tmp",
        "a.0.regen-tmp",
        ".a.x.regen-tmp",
    ];
    fs::create_dir(dir.path().join(".ckpt-regen")).unwrap();
    for name in own.iter().chain(&foreign) {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    drop(Transaction::begin(&dir.path().join("a")).unwrap());
    let mut left: Vec<String> = state(dir.path()).into_keys().collect();
    left.sort();
    let mut expected = foreign.map(str::to_owned);
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_source_that_changed_since_it_was_read_stops_the_edit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "headold-old-oldtail").unwrap();
    let source = Source::open(&path).unwrap();
    let mut transaction = Transaction::begin(&path).unwrap();
    transaction
        .replace(&source, &path, &patch(), &go_on)
        .unwrap();
    fs::write(dir.path().join("b"), "headold-old-oldtail").unwrap();
    fs::rename(dir.path().join("b"), &path).unwrap();
    let err = transaction.commit(Purpose::Apply).unwrap_err();
    assert!(err.to_string().contains("changed it meanwhile"), "{err}");
    assert_eq!(state(dir.path()), files(&[("a", "headold-old-oldtail")]));
}

#[test]
fn a_journal_that_names_a_path_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["../x", "/etc/x"] {
        let json = format!(
            r#"{{"version":1,"purpose":"apply","actions":[{{"patch":{{"path":"{path}","len":1,"ranges":[]}}}}]}}"#
        );
        let sum = {
            use sha2::{Digest, Sha256};
            crate::text::hex(&Sha256::digest(&json))
        };
        fs::write(
            dir.path().join("a.regen.journal"),
            format!("{sum}\n{json}\n"),
        )
        .unwrap();
        let err = Transaction::begin(&dir.path().join("a")).unwrap_err();
        assert!(err.to_string().contains(path), "{err}");
    }
    fs::write(dir.path().join("a.regen.journal"), "garbage").unwrap();
    let err = Transaction::begin(&dir.path().join("a")).unwrap_err();
    assert!(err.to_string().contains("a.regen.journal"), "{err}");
}
