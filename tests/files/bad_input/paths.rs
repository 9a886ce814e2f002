//! Paths that lead to no checkpoint, to several, or there by a detour.

use std::fs;

use crate::sandbox::*;

#[test]
fn a_path_that_does_not_exist_is_refused() {
    let dir = Dir::new();
    for command in ["inspect", "apply", "undo", "schema"] {
        dir.refuses(
            &[command, "no/such.safetensors"],
            1,
            &["no/such.safetensors: cannot open: "],
        );
    }
}

#[test]
fn of_several_paths_the_one_that_does_not_exist_is_named() {
    let dir = Dir::with_network();
    let outcome = dir.run(&["inspect", MODEL, "gone.safetensors"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.starts_with("error: gone.safetensors: "),
        "{outcome:?}"
    );
}

#[test]
fn a_directory_without_a_model_is_refused_with_what_is_there() {
    let dir = Dir::new();
    dir.write("run/notes.txt", b"");
    dir.write("run/logs/1.txt", b"");
    let wanted = ["model.safetensors.index.json", MODEL, "pytorch_model.bin"];
    let message = [
        &["run: ", "expected one of", "found logs/, notes.txt"][..],
        &wanted,
    ]
    .concat();
    dir.refuses(&["inspect", "run"], 1, &message);
    dir.refuses(&["apply", "run"], 1, &message);
    dir.refuses(&["undo", "run"], 1, &message);
}

#[test]
fn an_empty_directory_is_refused() {
    let dir = Dir::new();
    fs::create_dir(dir.path("run")).unwrap();
    let message = ["run: ", "expected one of", "found an empty directory"];
    dir.refuses(&["inspect", "run"], 1, &message);
    dir.refuses(&["apply", "run"], 1, &message);
}

#[test]
fn a_directory_with_safetensors_and_bin_is_refused_with_both_names() {
    for (safetensors_name, bin) in [
        (MODEL, "pytorch_model.bin"),
        (MODEL, "pytorch_model.bin.index.json"),
        (INDEX, "pytorch_model.bin"),
    ] {
        let dir = Dir::new();
        dir.write(&format!("run/{safetensors_name}"), &safetensors(&network()));
        dir.write(&format!("run/{bin}"), b"PK");
        let message = ["run: ", safetensors_name, bin];
        dir.refuses(&["inspect", "run"], 1, &message);
        dir.refuses(&["apply", "run"], 1, &message);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let dir = Dir::new();
    make_pipe(&dir, MODEL);
    let message = [
        MODEL,
        "expected a regular file",
        "found a device, pipe or socket",
    ];
    dir.refuses(&["inspect", MODEL], 1, &message);
    dir.refuses(&["apply", MODEL], 1, &message);
}

#[cfg(unix)]
#[test]
fn a_shard_that_is_a_pipe_is_refused_without_waiting_for_a_writer() {
    let dir = Dir::with_shards();
    fs::remove_file(dir.path("2.safetensors")).unwrap();
    make_pipe(&dir, "2.safetensors");
    let message = [
        "2.safetensors",
        "expected a regular file",
        "found a device, pipe or socket",
    ];
    dir.refuses(&["inspect", INDEX], 1, &message);
}

#[cfg(unix)]
#[test]
fn pipes_among_checkpoints_are_passed_over_without_waiting_for_a_writer() {
    let dir = Dir::new();
    dir.write("out/a.pth/model.safetensors", &safetensors(&network()));
    for name in ["out/last_checkpoint", "out/b.pth", "out/trainer_state.json"] {
        make_pipe(&dir, name);
    }
    let shown = dir.succeeds(&["inspect", "out"]);
    assert!(
        shown.stderr.contains("out/a.pth is the newest"),
        "{shown:?}"
    );
    dir.refuses(&["apply", "out"], 2, &["out/a.pth is the newest"]);
}

#[cfg(unix)]
#[test]
fn an_order_of_parameters_that_is_a_pipe_or_a_directory_is_refused() {
    let dir = Dir::with_network();
    make_pipe(&dir, "pipe");
    fs::create_dir(dir.path("folder")).unwrap();
    for name in ["pipe", "folder"] {
        let args = [
            "apply",
            MODEL,
            "--optimizer",
            "reset",
            "--param-order",
            name,
        ];
        dir.refuses(&args, 1, &[name, "cannot read"]);
    }
}

#[cfg(unix)]
fn make_pipe(dir: &Dir, name: &str) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, dir.path(name), FileType::Fifo, mode, 0).unwrap();
}

#[cfg(unix)]
#[test]
fn a_device_is_refused() {
    let dir = Dir::new();
    for device in ["/dev/null", "/dev/zero"] {
        let message = [
            device,
            "expected a regular file",
            "found a device, pipe or socket",
        ];
        dir.refuses(&["inspect", device], 1, &message);
    }
}

#[cfg(unix)]
#[test]
fn a_socket_is_refused() {
    let dir = Dir::new();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path(MODEL)).unwrap();
    dir.refuses(&["inspect", MODEL], 1, &[MODEL]);
    dir.refuses(&["apply", MODEL], 1, &[MODEL]);
}

/// A model cache: the model is a link to a blob.
#[cfg(unix)]
fn cache() -> Dir {
    let dir = Dir::new();
    dir.write("blobs/c0ffee", &safetensors(&network()));
    fs::create_dir(dir.path("snapshot")).unwrap();
    let link = dir.path("snapshot").join(MODEL);
    std::os::unix::fs::symlink("../blobs/c0ffee", link).unwrap();
    dir
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_refused_with_the_ways_around_it() {
    let dir = cache();
    for path in ["snapshot", "snapshot/model.safetensors"] {
        let message = [
            MODEL,
            "symbolic link to ../blobs/c0ffee",
            "--output",
            "--follow-symlinks",
        ];
        dir.refuses(&["apply", path], 1, &message);
        dir.refuses(&["apply", path, "--in-place"], 1, &message);
        let undo = dir.refuses(&["undo", path], 1, &[MODEL, message[1], message[3]]);
        assert!(!undo.stderr.contains("--output"), "{undo:?}");
        dir.succeeds(&["inspect", path]);
        dir.refuses(&["apply", path, "--dry-run"], 1, &message);
    }
}

#[cfg(unix)]
#[test]
fn follow_symlinks_edits_what_the_link_leads_to_and_keeps_the_link() {
    for extra in [&[][..], &["--in-place"]] {
        let dir = cache();
        let before = dir.read("blobs/c0ffee");
        let follow = |command| [&[command, "snapshot", "--follow-symlinks"], extra].concat();
        dir.succeeds(&follow("apply"));
        assert_ne!(dir.read("blobs/c0ffee"), before);
        let link = fs::read_link(dir.path("snapshot").join(MODEL)).unwrap();
        assert_eq!(link.to_str(), Some("../blobs/c0ffee"));
        assert!(dir.path("blobs/.ckpt-regen/c0ffee.json").exists());
        dir.succeeds(&follow("undo"));
        assert_eq!(dir.read("blobs/c0ffee"), before);
        let names = [
            "blobs",
            "blobs/c0ffee",
            "snapshot",
            "snapshot/model.safetensors",
        ];
        assert_eq!(dir.names(), names);
    }
}

#[cfg(unix)]
#[test]
fn an_output_leaves_a_linked_original_alone() {
    let dir = cache();
    let before = dir.read("blobs/c0ffee");
    dir.succeeds(&["apply", "snapshot", "-o", "out.safetensors"]);
    assert_eq!(dir.read("blobs/c0ffee"), before);
    assert_ne!(dir.read("out.safetensors"), before);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_refused() {
    let dir = Dir::new();
    std::os::unix::fs::symlink("gone", dir.path(MODEL)).unwrap();
    for args in [
        &["inspect", MODEL][..],
        &["apply", MODEL],
        &["apply", MODEL, "--follow-symlinks"],
    ] {
        dir.refuses(args, 1, &[MODEL, "cannot open"]);
    }
}

#[cfg(unix)]
#[test]
fn a_shard_that_is_a_link_is_refused() {
    let dir = Dir::with_shards();
    dir.write("blob", &dir.read("2.safetensors"));
    fs::remove_file(dir.path("2.safetensors")).unwrap();
    std::os::unix::fs::symlink("blob", dir.path("2.safetensors")).unwrap();
    dir.refuses(
        &["apply", INDEX],
        1,
        &["2.safetensors", "symbolic link to blob"],
    );
    dir.succeeds(&["inspect", INDEX]);
}

#[cfg(unix)]
#[test]
fn a_hard_link_is_refused_in_place() {
    let dir = Dir::with_network();
    fs::hard_link(dir.path(MODEL), dir.path("best.safetensors")).unwrap();
    let message = [MODEL, "has 2 hard links", "without --in-place"];
    dir.refuses(&["apply", MODEL, "--in-place"], 1, &message);
}

#[cfg(unix)]
#[test]
fn an_undo_in_place_through_a_hard_link_is_refused() {
    let dir = Dir::with_network();
    dir.succeeds(&["apply", MODEL]);
    fs::hard_link(dir.path(MODEL), dir.path("best.safetensors")).unwrap();
    dir.refuses(
        &["undo", MODEL, "--in-place"],
        1,
        &[MODEL, "has 2 hard links"],
    );
}

#[test]
fn replacing_a_hard_linked_file_leaves_its_other_name_untouched() {
    let dir = Dir::with_network();
    let before = dir.read(MODEL);
    fs::hard_link(dir.path(MODEL), dir.path("best.safetensors")).unwrap();
    dir.succeeds(&["apply", MODEL]);
    assert_ne!(dir.read(MODEL), before);
    assert_eq!(dir.read("best.safetensors"), before);
}

#[test]
fn an_output_that_would_overwrite_a_shard_is_refused() {
    let dir = Dir::with_shards();
    let message = ["1.safetensors"];
    for out in ["./", "sub/.."] {
        fs::create_dir_all(dir.path("sub")).unwrap();
        dir.refuses(&["apply", INDEX, "-o", out], 2, &["--output"]);
    }
    let out = "other.safetensors.index.json";
    dir.refuses(&["apply", INDEX, "-o", out], 2, &message);
}
