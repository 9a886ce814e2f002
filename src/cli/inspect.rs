//! `ckpt-regen inspect`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::args::InspectArgs;
use super::{BOLD, output, paths};
use crate::batchnorm::{self, Schema};
use crate::checkpoint::{Checkpoint, model_file, newest};
use crate::error::{Error, Result};
use crate::inspect::{self, Json, Render, Terminal};
use crate::record::MaskFile;
use crate::regen::Mask;
use crate::storage::{journal_path, pending};
use crate::text::printable;

pub(super) fn run(args: &InspectArgs) -> Result<ExitCode> {
    let paths = paths::expand(&args.paths)?;
    args.pictures.check(paths.len())?;
    let schema = read_schema(args.schema.as_deref())?;
    let mask = read_mask(args.mask.as_deref())?;
    let [path] = &paths[..] else {
        let mut code = ExitCode::SUCCESS;
        for (number, path) in paths.iter().enumerate() {
            if number > 0 && !args.json {
                output::text(|out| writeln!(out))?;
            }
            match run_one(args, &schema, mask.as_ref(), path) {
                Ok(()) => {}
                Err(err) if super::is_closed_pipe(&err) => return Err(err),
                // The others can still be shown.
                Err(err) => {
                    super::report(&err);
                    code = ExitCode::from(err.exit_code());
                }
            }
        }
        note_reading(args);
        return Ok(code);
    };
    run_one(args, &schema, mask.as_ref(), path)?;
    note_reading(args);
    Ok(ExitCode::SUCCESS)
}

fn note_reading(args: &InspectArgs) {
    if args.verbose {
        output::note_reading();
    }
}

fn run_one(args: &InspectArgs, schema: &Schema, mask: Option<&Mask>, path: &Path) -> Result<()> {
    let shown = |layer: &str| {
        args.layer
            .as_ref()
            .is_none_or(|regex| regex.is_match(layer))
    };
    let newest = newest(path)?;
    if let Some(newest) = &newest {
        let (path, newest) = (path.display(), newest.display());
        output::note(&format!("{newest} is the newest checkpoint in {path}"));
    }
    let path = newest.as_deref().unwrap_or(path);
    let checkpoint = Checkpoint::open(path)?;
    if args.explain {
        return explain(&checkpoint, schema, &shown);
    }
    checkpoint
        .warnings()
        .iter()
        .for_each(|warning| output::warn(warning));
    let mut report = inspect::inspect_masked(&checkpoint, schema, mask)?;
    warn_if_pending(path)?;
    report.keep_layers(shown);
    if report.networks.iter().all(|n| n.layers.is_empty()) {
        let found = "none whose name matches";
        return Err(Error::malformed(path, "--layer", "BatchNorm layers", found));
    }
    args.pictures.write(&checkpoint, &report)?;
    if args.pictures.any() && !args.json {
        return Ok(());
    }
    if args.json {
        return output::data(|out| Json.render(&report, out));
    }
    let width = output::width();
    output::text(|out| Terminal { width }.render(&report, out))
}

/// Says so when an interrupted edit waits to be completed.
pub(super) fn warn_if_pending(path: &Path) -> Result<()> {
    let anchor = model_file(path)?;
    if pending(&anchor) {
        output::warn(&format!(
            "an interrupted edit waits in {}; the next apply or undo completes it",
            journal_path(&anchor).display()
        ));
    }
    Ok(())
}

/// The schema of `--schema`, or the built-in dialects.
pub(super) fn read_schema(path: Option<&Path>) -> Result<Schema> {
    path.map_or_else(|| Ok(Schema::default()), Schema::read)
}

/// The mask of `--mask`.
pub(super) fn read_mask(path: Option<&Path>) -> Result<Option<Mask>> {
    path.map(MaskFile::read).transpose()
}

fn explain(checkpoint: &Checkpoint, schema: &Schema, shown: &dyn Fn(&str) -> bool) -> Result<()> {
    let verdicts = batchnorm::explain(checkpoint, schema);
    let gammas = verdicts.iter().filter(|verdict| verdict.gamma).count();
    let print = |out: &mut dyn Write| -> io::Result<()> {
        let path = printable(&checkpoint.path().to_string_lossy());
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
                format!("{}: ", printable(&verdict.root))
            };
            writeln!(
                out,
                "{mark} {style}{root}{}{style:#} {}: {}",
                printable(&verdict.tensor),
                verdict.shape,
                printable(&verdict.reason)
            )?;
        }
        Ok(())
    };
    output::text(print)?;
    if gammas > 0 {
        output::note(
            "InstanceNorm with running statistics has exactly BatchNorm's tensors and is taken for \
             it; --exclude or a schema leaves it out",
        );
    }
    Ok(())
}
