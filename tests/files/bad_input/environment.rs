//! Disks that are full or cannot be written, and files that change while they are worked on.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ckpt_regen::edit::{self, Destination, Request};
use ckpt_regen::{Checkpoint, inspect};

use crate::common::skip;
use crate::sandbox::*;

/// A small file system of its own in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts one at the directory `name` of `dir`; `None` where that is not allowed.
    fn new(dir: &Dir, name: &str, size: &str) -> Option<Mount> {
        let path = dir.path(name);
        fs::create_dir_all(&path).unwrap();
        mount(
            &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"],
            &path,
        )
        .then_some(Mount(path))
    }

    fn make_read_only(&self) -> bool {
        mount(&["-o", "remount,ro"], &self.0)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

fn mount(args: &[&str], path: &Path) -> bool {
    let done = Command::new("mount").args(args).arg(path).output();
    done.is_ok_and(|output| output.status.success())
}

/// The network, with a convolution of 40 kB.
fn large() -> Vec<u8> {
    let mut entries = network();
    entries.push(("large".to_owned(), "U8", vec![40_000], vec![7; 40_000]));
    safetensors(&entries)
}

#[test]
fn a_read_only_directory_is_refused_and_can_be_read() {
    let test = "a read-only directory";
    let dir = Dir::new();
    let mounted = Mount::new(&dir, "run", "256k");
    dir.write("run/model.safetensors", &safetensors(&network()));
    match &mounted {
        Some(mounted) if mounted.make_read_only() => {}
        _ => fs::set_permissions(dir.path("run"), fs::Permissions::from_mode(0o555)).unwrap(),
    }
    if fs::write(dir.path("run/probe"), "").is_ok() {
        return skip(test, "cannot mount, and no permission stops this user");
    }
    for path in ["run", "run/model.safetensors"] {
        dir.refuses(&["apply", path], 1, &["run/model.safetensors", "cannot"]);
        dir.refuses(
            &["apply", path, "--in-place"],
            1,
            &["run/model.safetensors", "cannot"],
        );
        dir.refuses(&["undo", path], 1, &["run/model.safetensors", "cannot"]);
        dir.succeeds(&["inspect", path]);
        dir.succeeds(&["apply", path, "--dry-run"]);
    }
    dir.refuses(
        &["apply", "run", "--dry-run", "--plan-out", "run/p"],
        1,
        &["run/p", "cannot"],
    );
    dir.succeeds(&["apply", "run", "-o", "out.safetensors"]);
    dir.refuses(
        &["apply", "out.safetensors", "-o", "run/out"],
        1,
        &["run/out", "cannot"],
    );
    if mounted.is_none() {
        fs::set_permissions(dir.path("run"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let dir = Dir::new();
    let Some(_mounted) = Mount::new(&dir, "run", "64k") else {
        return skip("a full disk", "cannot mount");
    };
    dir.write("run/model.safetensors", &large());
    let full = ["run/", "cannot write", "No space left"];
    dir.refuses(&["apply", "run"], 1, &full);
    dir.refuses(&["apply", "run", "-o", "run/out.safetensors"], 1, &full);
    // Until not one block is left, even for a journal.
    let filler = dir.path("run/filler");
    fs::write(&filler, vec![0; 64 << 10]).unwrap_err();
    dir.refuses(&["apply", "run", "--in-place"], 1, &full);
    dir.refuses(
        &["apply", "run", "--dry-run", "--plan-out", "run/plan"],
        1,
        &full,
    );
    fs::remove_file(filler).unwrap();
    dir.succeeds(&["apply", "run", "--in-place"]);
    dir.succeeds(&["undo", "run", "--in-place"]);
    assert!(dir.read("run/model.safetensors") == large());
}

#[test]
fn a_limit_on_the_size_of_files_leaves_everything_as_it_was() {
    let dir = Dir::with_model(&large());
    let before = dir.state();
    for (limit, extra) in [("8", ""), ("0", ""), ("0", "--in-place"), ("0", "-o out")] {
        let program = env!("CARGO_BIN_EXE_ckpt-regen");
        // The limit is the program's alone: what takes its words is a file as well.
        let script = format!(
            "(ulimit -f {limit}; trap '' XFSZ; exec {program:?} apply {MODEL} {extra}) 2>&1 | \
             cat >&2; exit ${{PIPESTATUS[0]}}"
        );
        let mut bash = Command::new("bash");
        bash.arg("-c").arg(script).current_dir(dir.path("."));
        let outcome = finish(bash);
        let message = ["cannot write", "File too large"];
        assert_clean_error(&outcome, &[limit, extra], 1, &message);
        assert!(dir.state() == before, "{limit} {extra}: {:?}", dir.names());
    }
    dir.succeeds(&["apply", MODEL]);
}

#[test]
fn output_that_nobody_can_take_is_an_error() {
    let dir = Dir::with_network();
    let program = env!("CARGO_BIN_EXE_ckpt-regen");
    let mut bash = Command::new("bash");
    let script = format!("exec {program:?} inspect {MODEL} > /dev/full");
    bash.arg("-c").arg(script).current_dir(dir.path("."));
    assert_clean_error(
        &finish(bash),
        &["> /dev/full"],
        1,
        &["stdout", "cannot write"],
    );
}

/// Applies the paper's rule while `meanwhile` happens to the source after it was copied; the edit
/// is refused, and what `meanwhile` left is all there is.
fn refused_when(meanwhile: fn(&Path)) {
    for undo in [false, true] {
        let dir = Dir::with_network();
        if undo {
            dir.succeeds(&["apply", MODEL]);
        }
        let names = dir.names();
        let path = dir.path(MODEL);
        let (request, destination) = (Request::default(), Destination::default());
        let copied = |_| {
            meanwhile(&path);
            ControlFlow::Continue(())
        };
        let err = if undo {
            edit::undo(&path, &destination, &copied)
                .map(|_| ())
                .unwrap_err()
        } else {
            edit::apply(&path, &request, &destination, &copied)
                .map(|_| ())
                .unwrap_err()
        };
        let text = err.to_string();
        assert!(
            text.contains(MODEL) && text.contains("changed it meanwhile"),
            "{text}"
        );
        assert_eq!(dir.names(), names, "undo: {undo}");
        let other = Dir::with_network();
        meanwhile(&other.path(MODEL));
        if !undo {
            assert!(dir.read(MODEL) == other.read(MODEL));
        }
    }
}

#[test]
fn a_file_that_is_replaced_meanwhile_is_left_as_it_is() {
    refused_when(|path| {
        let other = path.with_extension("new");
        fs::write(&other, safetensors(&batchnorm("bn", &[1.0, 2.0]))).unwrap();
        fs::rename(other, path).unwrap();
    });
}

#[test]
fn a_file_that_is_replaced_by_an_equal_one_meanwhile_is_left_as_it_is() {
    refused_when(|path| {
        let other = path.with_extension("new");
        fs::copy(path, &other).unwrap();
        fs::rename(other, path).unwrap();
    });
}

#[test]
fn a_file_that_is_truncated_meanwhile_is_left_as_it_is() {
    refused_when(|path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(100).unwrap();
    });
}

#[test]
fn a_file_that_is_removed_meanwhile_does_not_come_back() {
    let dir = Dir::with_network();
    let path = dir.path(MODEL);
    let remove = |_| {
        let _ = fs::remove_file(&path);
        ControlFlow::Continue(())
    };
    let err = edit::apply(&path, &Request::default(), &Destination::default(), &remove);
    let text = err.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("changed it meanwhile"), "{text}");
    assert!(dir.names().is_empty(), "{:?}", dir.names());
}

#[test]
fn an_edit_that_is_stopped_leaves_everything_as_it_was() {
    for undo in [false, true] {
        let dir = Dir::with_network();
        if undo {
            dir.succeeds(&["apply", MODEL]);
        }
        let (names, before) = (dir.names(), dir.read(MODEL));
        let path = dir.path(MODEL);
        let (request, destination) = (Request::default(), Destination::default());
        let stop = |_| ControlFlow::Break(());
        let err = if undo {
            edit::undo(&path, &destination, &stop).map(|_| ())
        } else {
            edit::apply(&path, &request, &destination, &stop).map(|_| ())
        };
        assert!(err.unwrap_err().is_interrupted(), "undo: {undo}");
        assert_eq!(dir.names(), names, "undo: {undo}");
        assert!(dir.read(MODEL) == before, "undo: {undo}");
    }
}

#[test]
fn one_shard_that_is_replaced_meanwhile_stops_the_edit_of_all() {
    let dir = Dir::with_shards();
    let before = dir.names();
    let (first, second) = (dir.read("1.safetensors"), dir.path("2.safetensors"));
    let replace = |_| {
        fs::write(&second, safetensors(&[])).unwrap();
        ControlFlow::Continue(())
    };
    let path = dir.path(INDEX);
    let err = edit::apply(
        &path,
        &Request::default(),
        &Destination::default(),
        &replace,
    );
    let text = err.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("2.safetensors"), "{text}");
    assert_eq!(dir.names(), before);
    assert!(dir.read("1.safetensors") == first);
}

#[test]
fn a_file_that_is_truncated_between_header_and_gamma_is_reported() {
    let dir = Dir::with_network();
    let checkpoint = Checkpoint::open(dir.path(MODEL)).unwrap();
    let file = fs::File::options()
        .write(true)
        .open(dir.path(MODEL))
        .unwrap();
    file.set_len(8).unwrap();
    let text = inspect::inspect(&checkpoint, &Default::default())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(MODEL) && text.contains("truncated meanwhile"),
        "{text}"
    );
}
