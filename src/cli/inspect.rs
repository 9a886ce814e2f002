//! `ckpt-regen inspect`.

use std::io::{self, Write};
use std::path::Path;

use super::args::InspectArgs;
use super::{BOLD, output};
use crate::batchnorm::{self, Schema};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::inspect::{self, terminal, to_json};
use crate::storage::journal_path;

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let schema = read_schema(args.schema.as_deref())?;
    let shown = |layer: &str| {
        args.layer
            .as_ref()
            .is_none_or(|regex| regex.is_match(layer))
    };
    for (number, path) in args.paths.iter().enumerate() {
        let checkpoint = Checkpoint::open(path)?;
        if args.explain {
            explain(&checkpoint, &schema, &shown)?;
            continue;
        }
        let report = inspect::inspect(&checkpoint, &schema)?;
        if report.pending {
            output::warn(&format!(
                "an interrupted edit waits in {}; the next apply or undo completes it",
                journal_path(checkpoint.anchor()).display()
            ));
        }
        let layers = report.networks.iter().flat_map(|network| &network.layers);
        if args.layer.is_some() && !layers.into_iter().any(|layer| shown(&layer.name)) {
            let found = "none whose name matches";
            return Err(Error::malformed(path, "--layer", "BatchNorm layers", found));
        }
        output::data(|out| {
            if args.json {
                return writeln!(out, "{}", to_json(&report, &shown));
            }
            if number > 0 {
                writeln!(out)?;
            }
            write!(
                out,
                "{}",
                terminal::render(&report, output::width(), &shown)
            )
        })?;
    }
    Ok(())
}

/// The schema of `--schema`, or the built-in dialects.
pub(super) fn read_schema(path: Option<&Path>) -> Result<Schema> {
    path.map_or_else(|| Ok(Schema::default()), Schema::read)
}

fn explain(checkpoint: &Checkpoint, schema: &Schema, shown: &dyn Fn(&str) -> bool) -> Result<()> {
    let verdicts = batchnorm::explain(checkpoint, schema);
    let gammas = verdicts.iter().filter(|verdict| verdict.gamma).count();
    let print = |out: &mut dyn Write| -> io::Result<()> {
        let path = checkpoint.path().display();
        let tensors = output::plural(verdicts.len(), "one-dimensional tensor");
        writeln!(out, "{BOLD}{path}{BOLD:#}: {gammas} of {tensors} are γ")?;
        for verdict in verdicts.iter().filter(|verdict| shown(&verdict.tensor)) {
            let mark = if verdict.gamma { "γ" } else { "-" };
            let style = if verdict.gamma {
                BOLD
            } else {
                anstyle::Style::new()
            };
            let root = if verdict.root.is_empty() {
                String::new()
            } else {
                format!("{}: ", verdict.root)
            };
            writeln!(
                out,
                "{mark} {style}{root}{}{style:#} {}: {}",
                verdict.tensor, verdict.shape, verdict.reason
            )?;
        }
        Ok(())
    };
    output::data(print)?;
    if gammas > 0 {
        output::note(
            "InstanceNorm with running statistics has exactly BatchNorm's tensors and is taken for \
             it; --exclude or a schema leaves it out",
        );
    }
    Ok(())
}
