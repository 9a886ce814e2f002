//! All networks of the zoo.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::BOLD;
use super::{batch_norms, grouped, short};
use crate::error::Result;
use crate::net::Cost;
use crate::net::zoo::{self, Model, Options};

pub(super) struct Entry {
    model: Model,
    options: Options,
    cost: Cost,
    /// BatchNorm layers and their channels.
    norms: (usize, usize),
}

/// Every network, as it is by default.
pub(super) fn entries() -> Result<Vec<Entry>> {
    let entry = |model: &Model| {
        let options = zoo::defaults(model.name)?;
        let graph = zoo::build(model.name, &options)?;
        Ok(Entry {
            model: *model,
            options,
            cost: graph.cost()?,
            norms: batch_norms(&graph),
        })
    };
    zoo::models().iter().map(entry).collect()
}

pub(super) fn render(entries: &[Entry]) -> String {
    let names = entries.iter().map(|entry| entry.model.name.len());
    let name = names.max().unwrap_or(0);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<name$}     params    MACs at      BNs channels takes",
        "network"
    );
    for Entry {
        model,
        options,
        cost,
        norms,
    } in entries
    {
        let stem = model.cifar_stem.then_some("--stem");
        let width = model.width.then_some("--width");
        let choices: Vec<&str> = [stem, width].into_iter().flatten().collect();
        let line = format!(
            "{BOLD}{:<name$}{BOLD:#} {:>10} {:>7} {:<7} {:>3} {:>8} {}",
            model.name,
            grouped(cost.parameters),
            short(cost.multiply_adds),
            format!("{}×{}", options.resolution.height, options.resolution.width),
            norms.0,
            norms.1,
            choices.join(" ")
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

pub(super) fn to_json(entries: &[Entry]) -> Value {
    let entry = |entry: &Entry| {
        json!({
            "name": entry.model.name,
            "resolution": entry.options.resolution,
            "classes": entry.options.classes,
            "parameters": entry.cost.parameters,
            "multiply_adds": entry.cost.multiply_adds,
            "batchnorm": { "layers": entry.norms.0, "channels": entry.norms.1 },
            "cifar_stem": entry.model.cifar_stem,
            "width": entry.model.width,
        })
    };
    entries.iter().map(entry).collect()
}
