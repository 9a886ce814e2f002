//! `ckpt-regen diff`.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use super::args::DiffArgs;
use super::inspect::{read_mask, read_schema, warn_if_pending};
use super::output;
use super::pictures::{refuse_checkpoints, write};
use super::progress::Bytes;
use crate::error::{Error, Result};
use crate::inspect::diff::{Diff, DiffOptions, diff};
use crate::inspect::{Html, Json, Render as _, Terminal};

/// What a difference and trouble exit with under --exit-code, as git and diff have it.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

pub(super) fn run(args: &DiffArgs) -> Result<ExitCode> {
    let compared = compare(args).and_then(|diff| match show(args, &diff) {
        // Whoever reads has seen enough; whoever asks for the exit code has not.
        Err(err) if !super::is_closed_pipe(&err) => Err(err),
        _ => Ok(diff.equal),
    });
    match compared {
        Ok(false) if args.exit_code => Ok(ExitCode::from(DIFFERENT)),
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(err) if args.exit_code => {
            super::report(&err);
            Ok(ExitCode::from(TROUBLE))
        }
        Err(err) => Err(err),
    }
}

fn compare(args: &DiffArgs) -> Result<Diff> {
    let options = DiffOptions {
        schema: read_schema(args.schema.as_deref())?,
        gamma_only: args.gamma_only,
        record: args.record.clone(),
        mask: read_mask(args.mask.as_deref())?,
    };
    if let Some(page) = &args.html {
        refuse_checkpoints(&[args.a.clone(), args.b.clone()], "--html", page)?;
    }
    let progress = Bytes::new("comparing");
    let mut diff = diff(&args.a, &args.b, &options, &|done, total| {
        progress.update(done, total);
        ControlFlow::Continue(())
    })?;
    drop(progress);
    if args.verbose {
        output::note_reading();
    }
    for path in [&args.a, &args.b] {
        warn_if_pending(path)?;
    }
    if let Some(layer) = &args.layer {
        diff.keep_layers(|name| layer.is_match(name));
        let none = |n: &crate::inspect::diff::NetworkDiff| {
            n.layers.is_empty()
                && n.only_in_a.is_empty()
                && n.only_in_b.is_empty()
                && n.incompatible.is_empty()
        };
        if diff.networks.iter().all(none) {
            let found = "none whose name matches";
            return Err(Error::malformed(
                Path::new(&args.a),
                "--layer",
                "BatchNorm layers",
                found,
            ));
        }
    }
    Ok(diff)
}

fn show(args: &DiffArgs, diff: &Diff) -> Result<()> {
    if let Some(page) = &args.html {
        write(&Html, diff, page)?;
        if !args.json {
            return Ok(());
        }
    }
    if args.json {
        return output::data(|out| Json.render(diff, out));
    }
    let width = output::width();
    output::text(|out| Terminal { width }.render(diff, out))
}
