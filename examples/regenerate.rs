//! Open, locate, plan, apply and undo from a program of one's own.
//!
//! `cargo run --example regenerate -- model.safetensors`

#![allow(clippy::print_stdout, reason = "a program may print")]

use std::path::{Path, PathBuf};

use ckpt_regen::batchnorm::{self, Schema};
use ckpt_regen::edit::{self, Change, Destination, Request};
use ckpt_regen::regen::{Options, Rule};
use ckpt_regen::{Checkpoint, Error, Result};

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.ok_or_else(|| Error::Usage("usage: regenerate PATH".to_owned()))?;
    regenerate_and_undo(&path)
}

/// Each step of an edit, with what can be looked at between them.
pub(crate) fn regenerate_and_undo(path: &Path) -> Result<()> {
    // Open: the table of tensors; nothing but headers is read.
    let checkpoint = Checkpoint::open(path)?;

    // Locate: the BatchNorm layers, grouped into networks.
    for network in batchnorm::locate(&checkpoint, &Schema::default())? {
        println!(
            "{:?} ({}): {} layers",
            network.root,
            network.role,
            network.layers.len()
        );
    }

    // Plan: a value that can be looked at, and dropped.
    let options = Options {
        rule: Rule::KeepSign,
        ..Options::default()
    };
    let request = Request {
        change: Change::Rule(options),
        ..Request::default()
    };
    let planned = edit::plan(&checkpoint, &request)?;
    for layer in planned
        .plan
        .layers
        .iter()
        .filter(|layer| !layer.changes.is_empty())
        .take(3)
    {
        println!(
            "{}: {} channels to {}",
            layer.name,
            layer.changes.len(),
            layer.target
        );
    }

    // Apply, atomically, and take it back.
    let destination = Destination::default();
    let applied = edit::apply(path, &request, &destination, &edit::ignore)?;
    if applied.record.is_some() {
        let undone = edit::undo(path, &destination, &edit::ignore)?;
        let (channels, _layers) = undone.restored.unwrap_or_default();
        println!("{channels} channels changed and were restored");
    }
    Ok(())
}
