//! Nothing that is written besides a checkpoint takes the place of one, of a part of one, or of what
//! undo needs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;

/// Every file of a checkpoint that consists of several, or goes by several names; and the checkpoint.
fn checkpoints(dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut all = Vec::new();
    for (folder, model) in [("sharded", ""), ("external", "model.onnx")] {
        fs::create_dir(dir.join(folder)).unwrap();
        for (name, bytes) in state(&repository(FIXTURE).join(folder)) {
            let file = dir.join(folder).join(name);
            fs::write(&file, bytes).unwrap();
            all.push((dir.join(folder).join(model), file));
        }
    }
    let model = dir.join("model.safetensors");
    fs::copy(repository(FIXTURE).join("model.safetensors"), &model).unwrap();
    ok(&["apply", text(&model)]);
    fs::hard_link(&model, dir.join("hard")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&model, dir.join("soft")).unwrap();
    let names = [
        "hard",
        #[cfg(unix)]
        "soft",
        ".ckpt-regen/model.safetensors.json",
    ];
    all.extend(names.map(|name| (model.clone(), dir.join(name))));
    all
}

#[test]
fn a_page_or_plan_never_replaces_a_file_of_a_checkpoint_or_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let other = repository(FIXTURE).join("model.safetensors");
    for (checkpoint, file) in checkpoints(dir.path()) {
        let before = fs::read(&file).unwrap();
        let (path, out) = (text(&checkpoint), text(&file));
        for args in [
            &["inspect", path, "--html", out][..],
            &["inspect", path, "--svg", out],
            &["diff", text(&other), path, "--html", out],
            &["track", path, "--html", out],
            &["apply", path, "--report", out],
            &["apply", path, "--plan-out", out],
            &["apply", path, "--dry-run", "--plan-out", out],
        ] {
            let message = fails(2, args);
            assert!(message.contains(out), "{args:?}: {message}");
            assert!(fs::read(&file).unwrap() == before, "{args:?}");
        }
    }
}

#[test]
fn a_page_or_plan_never_replaces_the_output_of_its_edit() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let new = dir.path().join("new");
    fs::create_dir(&new).unwrap();
    let output = new.join("model.safetensors");
    let roundabout = new.join("../new/model.safetensors");
    for out in [&output, &new] {
        for written in [
            &output,
            &roundabout,
            &new.join(".ckpt-regen/model.safetensors.json"),
        ] {
            for option in ["--report", "--plan-out"] {
                let args = ["apply", text(&file), "-o", text(out), option, text(written)];
                let done = run(&args);
                assert!(!done.status.success(), "{args:?}");
                assert!(stderr(&done).contains(text(written)), "{}", stderr(&done));
                let page_or_plan = |path: &Path| {
                    let bytes = fs::read(path).unwrap_or_default();
                    bytes.starts_with(b"<!") || bytes.windows(15).any(|w| w == b"\"gamma_sha256\":")
                };
                assert!(!page_or_plan(written), "{args:?}");
            }
        }
    }
}

#[test]
fn two_pictures_never_share_a_file_however_it_is_spelled() {
    let (dir, file) = copy_of(&repository(FIXTURE).join("model.safetensors"));
    let (svg, html) = (dir.path().join("x"), dir.path().join("./x"));
    let args = [
        "inspect",
        text(&file),
        "--svg",
        text(&svg),
        "--html",
        text(&html),
    ];
    assert!(fails(2, &args).contains("another picture's"));
    assert!(!svg.exists());
}
