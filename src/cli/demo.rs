//! `ckpt-regen demo`: the main job on a checkpoint that is built in.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{BOLD, output};
use crate::error::{Error, Result};

/// torchvision's MobileNetV2 at a quarter of its width, trained on CIFAR-100 for 25 epochs;
/// `fixtures/generate.py` made it.
const CHECKPOINT: &[u8] = include_bytes!("../../fixtures/mobilenet_v2_025/model.safetensors");
const NAME: &str = "model.safetensors";

/// What is shown: a remark, and the command that follows it.
const STEPS: [(&str, &str); 5] = [
    (
        "A MobileNetV2, trained on CIFAR-100. In its wide layers most γ are small:",
        "inspect model.safetensors --layer features\\.1[0-9]",
    ),
    (
        "Every γ at or below the median is lifted to it:",
        "apply model.safetensors",
    ),
    (
        "No channel is below the old median any more, and nothing else has changed:",
        "inspect model.safetensors --layer features\\.1[0-9]",
    ),
    (
        "Once more: there is nothing left to do.",
        "apply model.safetensors",
    ),
    ("And back:", "undo model.safetensors"),
];

pub(super) fn run() -> Result<()> {
    let home = std::env::temp_dir();
    let dir = tempfile::Builder::new()
        .prefix("ckpt-regen-demo-")
        .tempdir()
        .map_err(Error::io("create a directory in", &home))?;
    let file = dir.path().join(NAME);
    fs::write(&file, CHECKPOINT).map_err(Error::io("write", &file))?;
    let before = std::env::current_dir().map_err(Error::io("leave", "."))?;
    std::env::set_current_dir(dir.path()).map_err(Error::io("enter", dir.path()))?;
    let shown = STEPS
        .iter()
        .try_for_each(|(remark, command)| step(remark, command));
    std::env::set_current_dir(&before).map_err(Error::io("enter", &before))?;
    shown?;
    let same = fs::read(&file).map_err(Error::io("read", &file))? == CHECKPOINT;
    if !same {
        return Err(Error::refused(
            Path::new(NAME),
            "the undone file differs from the original",
        ));
    }
    output::text(|out| {
        writeln!(
            out,
            "\nThe file is bit for bit what it was. Now on yours: ckpt-regen inspect PATH"
        )
    })
}

fn step(remark: &str, command: &str) -> Result<()> {
    output::text(|out| writeln!(out, "\n{remark}\n{BOLD}$ ckpt-regen {command}{BOLD:#}"))?;
    let args = ["ckpt-regen"]
        .into_iter()
        .chain(command.split(' '))
        .map(OsString::from);
    super::run(args).map(|_| ())
}
