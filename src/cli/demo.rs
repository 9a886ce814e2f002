//! `ckpt-regen demo`: the main job on a checkpoint that is built in, and training on data that are.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{BOLD, output};
use crate::error::{Error, Result};
use crate::file::directory;

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

/// Small enough for a minute on two cores: 16×16 pixels, a quarter of the width, 8 epochs.
#[cfg(feature = "train")]
const TRAINING: [(&str, &str); 3] = [
    (
        "From nothing: the same network learns handwritten digits, first without regeneration,",
        "train --out plain --model mobilenet_v2 --width 0.25 --stem cifar --data digits \
         --resolution 16 --crop-padding 2 --epochs 8",
    ),
    (
        "then with it, every 2 epochs but the last:",
        "train --out regenerated --model mobilenet_v2 --width 0.25 --stem cifar --data digits \
         --resolution 16 --crop-padding 2 --epochs 8 --regen-every 2",
    ),
    (
        "Which digits does it take for which?",
        "eval regenerated --per-class",
    ),
];

pub(super) fn run() -> Result<()> {
    let home = std::env::temp_dir();
    let dir = tempfile::Builder::new()
        .prefix("ckpt-regen-demo-")
        .tempdir()
        .map_err(Error::io("create a directory in", &home))?;
    let file = dir.path().join(NAME);
    fs::write(&file, CHECKPOINT).map_err(Error::io("write", &file))?;
    show(&file)?;
    output::text(|out| writeln!(out, "\nNow on yours: ckpt-regen inspect PATH"))
}

/// All of it, in the directory of the checkpoint.
fn show(file: &Path) -> Result<()> {
    let directory = directory(file);
    steps(&STEPS, directory)?;
    let same = fs::read(file).map_err(Error::io("read", file))? == CHECKPOINT;
    if !same {
        let reason = "the undone file differs from the original";
        return Err(Error::refused(file, reason));
    }
    output::text(|out| writeln!(out, "\nThe file is bit for bit what it was."))?;
    #[cfg(feature = "train")]
    {
        steps(&TRAINING, directory)?;
        let remark = "So few epochs of so few images say little about regeneration: channels die \
                      over\nthousands of steps under a high learning rate. The paper's recipe \
                      (--recipe cifar)\nhas 200 epochs.";
        output::text(|out| writeln!(out, "\n{remark}"))?;
    }
    Ok(())
}

fn steps(steps: &[(&str, &str)], directory: &Path) -> Result<()> {
    steps
        .iter()
        .try_for_each(|(remark, command)| step(remark, command, directory))
}

/// Runs a command as a person would who stands in that directory.
fn step(remark: &str, command: &str, directory: &Path) -> Result<()> {
    output::text(|out| writeln!(out, "\n{remark}\n{BOLD}$ ckpt-regen {command}{BOLD:#}"))?;
    let program =
        std::env::current_exe().map_err(Error::io("find this program from", directory))?;
    let status = Command::new(&program)
        .args(command.split(' '))
        .current_dir(directory)
        .status()
        .map_err(Error::io("run", &program))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::refused(
            directory,
            format!("ckpt-regen {command}: ended with {status}"),
        ))
    }
}
