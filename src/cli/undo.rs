//! `ckpt-regen undo`.

use std::io::Write;
use std::time::Instant;

use super::BOLD;
use super::args::UndoArgs;
use super::output::{self, plural};
use super::progress::Bytes;
use crate::edit::{self, Destination};
use crate::error::Result;
use crate::storage::Syncs;
use crate::text::printable;

pub(super) fn run(args: &UndoArgs) -> Result<()> {
    let begin = Instant::now();
    let destination = Destination {
        in_place: args.in_place,
        follow_symlinks: args.follow_symlinks,
        record: args.record.clone(),
        ..Destination::default()
    };
    let progress = Bytes::new("copying");
    let undone = edit::undo(&args.path, &destination, &|event| progress.on(event))?;
    drop(progress);
    if !args.json {
        undone
            .warnings
            .iter()
            .for_each(|warning| output::warn(warning));
    }
    let summary = |out: &mut dyn Write| {
        let left = match undone.left {
            0 => "as before the first edit".to_owned(),
            left => format!("{} can still be taken back", plural(left, "earlier edit")),
        };
        let what = match undone.restored {
            Some((channels, layers)) => {
                format!(
                    "{} in {} restored",
                    plural(channels, "channel"),
                    plural(layers, "layer")
                )
            }
            None => "the interrupted undo is complete".to_owned(),
        };
        let path = printable(&args.path.to_string_lossy());
        writeln!(out, "{BOLD}{path}{BOLD:#}: {what}; {left}")
    };
    if args.json {
        output::data(|out| writeln!(out, "{}", undone.to_json(&args.path)))?
    } else {
        output::text(summary)?
    }
    if args.verbose {
        output::note_reading();
        note_time(begin, undone.syncs);
    }
    Ok(())
}

/// How long a run took since `begin`, and the disk's share of it.
pub(super) fn note_time(begin: Instant, syncs: Syncs) {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    output::note(&format!(
        "{:.1} ms in all, {:.1} ms of it in {}",
        ms(begin.elapsed()),
        ms(syncs.time),
        plural(syncs.count as usize, "sync")
    ));
}
