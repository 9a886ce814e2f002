//! `ckpt-regen prune`.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use super::apply::{EditReport, destination, precise, refuse_report, write_most};
use super::args::{Layers, PruneArgs};
use super::inspect::{self, read_schema};
use super::output::{self, plural};
use super::progress::Bytes;
use super::{BOLD, undo};
use crate::batchnorm::Filter;
use crate::edit::{self, Convolution, PruneRequest, Pruned};
use crate::error::{Error, Result};
use crate::regen::Method;
use crate::text::printable;

/// Layers that are named of those that were spared.
const NAMED: usize = 4;

pub(super) fn run(args: &PruneArgs) -> Result<()> {
    let begin = Instant::now();
    let request = request(args)?;
    if args.to.dry_run {
        inspect::warn_if_pending(&args.path)?;
    }
    if let Some(file) = &args.to.report {
        refuse_report(&args.path, &args.to, &[&args.mask_out, &args.schema], file)?;
    }
    let progress = Bytes::new("copying");
    let pruned = edit::prune(&args.path, &request, &destination(&args.to), &|event| {
        progress.on(event)
    })?;
    drop(progress);
    if !args.json {
        pruned
            .warnings
            .iter()
            .for_each(|warning| output::warn(warning));
        pruned.notes.iter().for_each(|note| output::note(note));
    }
    // Without anyone to read it, the report is written all the same.
    let printed = if args.json {
        let json = pruned.to_json(&args.path, &pruned.warnings);
        output::data(|out| writeln!(out, "{json}"))
    } else {
        output::text(|out| summary(out, args, &pruned))
    };
    if let Some(file) = &args.to.report {
        let report = EditReport {
            path: if args.to.dry_run {
                &args.path
            } else {
                &pruned.output
            },
            schema: &request.schema,
            edit: Some((&pruned.network.root, &pruned.plan)),
            done: !args.to.dry_run,
            masks: [&pruned.before, &pruned.mask],
            summary: pruned.to_json(&args.path, &pruned.warnings),
            rule: method(args, &pruned),
            warnings: pruned.warnings.clone(),
        };
        report.write(file)?;
    }
    printed?;
    if args.verbose {
        output::note_reading();
        undo::note_time(begin, pruned.syncs);
    }
    Ok(())
}

fn request(args: &PruneArgs) -> Result<PruneRequest> {
    if args.method == Method::Slimming {
        let of_fpgm = [
            ("--norm-ratio", args.norm_ratio != 0.0),
            ("--filters-only", args.filters_only),
            ("--layers", args.layers != Layers::Default),
            ("--model", args.model.is_some()),
        ];
        if let Some((option, _)) = of_fpgm.into_iter().find(|(_, given)| *given) {
            let message = format!("{option} goes with --method fpgm");
            return Err(Error::Usage(message));
        }
    }
    Ok(PruneRequest {
        schema: read_schema(args.schema.as_deref())?,
        root: args.root.clone(),
        filter: Filter {
            include: args.include.clone(),
            exclude: args.exclude.clone(),
            iternorm: false,
        },
        method: args.method,
        ratio: args.ratio,
        norm_ratio: args.norm_ratio,
        min_channels: args.min_channels,
        filters_only: args.filters_only,
        all_layers: args.layers == Layers::All,
        convolutions: match args.method {
            Method::Slimming => Vec::new(),
            Method::Fpgm => convolutions(args)?,
        },
        mask_out: args.mask_out.clone(),
    })
}

/// Which convolution is behind which BatchNorm, as the network's graph says.
#[cfg(feature = "train")]
fn convolutions(args: &PruneArgs) -> Result<Vec<Convolution>> {
    use crate::net::{self, Choice, FilterKind};

    let own = args.path.to_string_lossy();
    let own = net::onnx::is_onnx(&args.path).then_some(&own[..]);
    let Some(model) = args.model.as_deref().or(own) else {
        return Ok(Vec::new());
    };
    // The size of the images decides nothing here; some files leave it open.
    let is_open = net::is_file(model) && net::onnx::resolution(Path::new(model))?.is_none();
    let choice = Choice {
        resolution: is_open.then(|| 224.into()),
        ..Choice::default()
    };
    let graph = net::open(model, &choice)?.graph;
    let all = graph.filters().into_iter();
    Ok(all
        .map(|(norm, filters)| Convolution {
            layer: norm.layer.to_owned(),
            left_alone: (filters.as_ref()).is_ok_and(|f| f.kind != FilterKind::Plain),
            weight: filters.map(|filters| graph.tensor(filters.weight).name.clone()),
        })
        .collect())
}

/// # Errors
/// Always: networks as graphs are a part of the feature `train`.
#[cfg(not(feature = "train"))]
fn convolutions(_: &PruneArgs) -> Result<Vec<Convolution>> {
    let message = "--method fpgm needs to know which convolution is behind which BatchNorm, and this \
                   build knows no networks: it was made without the feature train";
    Err(Error::Usage(message.to_owned()))
}

fn summary(out: &mut dyn Write, args: &PruneArgs, pruned: &Pruned) -> io::Result<()> {
    let shown = |path: &Path| printable(&path.to_string_lossy());
    let name = match args.to.output {
        Some(_) => shown(&pruned.output),
        None => shown(&args.path),
    };
    let verb = if args.to.dry_run {
        "would prune"
    } else {
        "pruned"
    };
    let layers = || pruned.mask.layers();
    let touched = layers().filter(|(.., pruned)| !pruned.is_empty()).count();
    writeln!(
        out,
        "{BOLD}{name}{BOLD:#}: {verb} {} of {} channels, in {touched} of {} layers",
        pruned.mask.count(),
        pruned.network.channels(),
        pruned.network.layers.len()
    )?;
    writeln!(out, "  method   {}", method(args, pruned))?;
    write_most(
        out,
        layers().map(|(name, _, pruned)| (name.to_owned(), pruned.len())),
    )?;
    if !pruned.spared.is_empty() {
        let named = pruned.spared.iter().take(NAMED);
        let named: Vec<String> = named
            .map(|(layer, kept)| format!("{} ({kept})", printable(layer)))
            .collect();
        let more = match pruned.spared.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let layers = plural(pruned.spared.len(), "layer");
        let spared = match args.min_channels {
            1 => format!("the strongest of {layers}, which would be empty"),
            n => format!("the {n} strongest of {layers}, of which fewer would be left"),
        };
        writeln!(out, "  spared   {spared}: {}{more}", named.join(", "))?;
    }
    if let Some(file) = &args.mask_out {
        writeln!(out, "  mask     {}", shown(file))?;
    }
    match &pruned.record {
        Some(record) => writeln!(
            out,
            "  record   {} (for ckpt-regen undo, and apply)",
            shown(record)
        ),
        None if args.to.dry_run => writeln!(out, "  nothing was written"),
        None => writeln!(
            out,
            "  nothing changed: file and record are left as they were"
        ),
    }
}

/// The method with its numbers, in a line.
fn method(args: &PruneArgs, pruned: &Pruned) -> String {
    let ratio = args.ratio;
    match pruned.method {
        Method::Slimming => {
            let threshold = precise(pruned.plan.threshold.unwrap_or(0.0));
            format!("slimming: |γ| ≤ {threshold} (ratio {ratio}) and its β become 0")
        }
        Method::Fpgm => {
            let norm = match args.norm_ratio {
                0.0 => String::new(),
                norm => format!("the {norm} of the smallest norm, then "),
            };
            let what = if args.filters_only {
                "filters"
            } else {
                "filters, γ and β"
            };
            format!("fpgm: {norm}the {ratio} nearest the geometric median; {what} become 0")
        }
    }
}
