//! `ckpt-regen export`.

use std::path::{Path, PathBuf};

use super::args::ExportArgs;
use super::progress::Bytes;
use super::{BOLD, output};
use crate::edit;
use crate::error::Result;
use crate::text::printable;
use crate::train::{self, Trained};

pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let Trained {
        graph,
        origin,
        values,
        weights,
    } = train::trained(&args.path, args.model.as_deref())?;
    origin.notes().iter().for_each(|note| output::note(note));
    let changes = origin.encoded(&graph, &values)?;
    let tensors = output::plural(changes.len(), "tensor");
    let progress = Bytes::new("copying");
    let written = edit::replace(origin.checkpoint(), &changes, &args.output, &|event| {
        progress.on(event)
    });
    drop(progress);
    let (file, warnings): (PathBuf, Vec<String>) = written?;
    warnings.iter().for_each(|warning| output::warn(warning));
    let shown = |path: &Path| printable(&path.display().to_string());
    let (file, weights) = (shown(&file), shown(&weights));
    output::text(|out| writeln!(out, "{BOLD}{file}{BOLD:#}: {tensors} of {weights}"))
}
