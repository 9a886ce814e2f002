//! `ckpt-regen report`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::args::ReportArgs;
use super::pictures::write;
use super::{output, paths};
use crate::error::{Error, Result};
use crate::inspect::{Html, Json, Render as _, Terminal};
use crate::study::report::{ReportOptions, report};

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let page = match (&args.html, args.json) {
        (Some(page), _) => Some(page.as_path()),
        (None, true) => None,
        (None, false) => Some(Path::new("report.html")),
    };
    if let Some(page) = page {
        refuse_other_files(page)?;
    }
    let options = ReportOptions {
        layer: args.layer.clone(),
        channels: args.channel.clone(),
    };
    let report = report(&paths::expand(&args.runs)?, &options)?;
    report.notes.iter().for_each(|note| output::note(note));
    if let Some(page) = page {
        write(&Html, &report, page)?;
    }
    if args.json {
        output::data(|out| Json.render(&report, out))
    } else {
        let width = output::width();
        output::text(|out| Terminal { width }.render(&report, out))
    }
}

/// A page replaces pages only: a run's files are not to be had again.
pub(super) fn refuse_other_files(page: &Path) -> Result<()> {
    let mut begin = [0; 9];
    let Ok(mut file) = File::open(page) else {
        return Ok(());
    };
    match file.read_exact(&mut begin) {
        Ok(()) if begin.eq_ignore_ascii_case(b"<!doctype") => Ok(()),
        _ if file.metadata().is_ok_and(|about| about.len() == 0) => Ok(()),
        _ => Err(Error::Usage(format!(
            "--html {}: there is a file that is no page",
            page.display()
        ))),
    }
}
