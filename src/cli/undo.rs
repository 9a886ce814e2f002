//! `ckpt-regen undo`.

use std::time::Instant;

use serde_json::json;

use super::BOLD;
use super::args::UndoArgs;
use super::output::{self, plural};
use super::progress::CopyProgress;
use crate::edit::{self, Destination};
use crate::error::Result;
use crate::storage::Syncs;

pub(super) fn run(args: &UndoArgs) -> Result<()> {
    let begin = Instant::now();
    let destination = Destination {
        output: None,
        in_place: args.in_place,
        follow_symlinks: args.follow_symlinks,
    };
    let progress = CopyProgress::new();
    let undone = edit::undo(&args.path, &destination, &|done, total| {
        progress.update(done, total)
    })?;
    drop(progress);
    output::note_recovery(undone.recovery.as_ref());
    if !args.json {
        undone
            .warnings
            .iter()
            .for_each(|warning| output::warn(warning));
    }
    output::data(|out| {
        if args.json {
            let object = json!({
                "path": args.path.to_string_lossy(),
                "restored": undone.restored,
                "layers": undone.layers,
                "edits_left": undone.left,
                "warnings": undone.warnings,
            });
            return writeln!(out, "{object}");
        }
        let left = match undone.left {
            0 => "as before the first edit".to_owned(),
            left => format!("{} can still be taken back", plural(left, "earlier edit")),
        };
        writeln!(
            out,
            "{BOLD}{}{BOLD:#}: {} in {} restored; {left}",
            args.path.display(),
            plural(undone.restored, "channel"),
            plural(undone.layers, "layer")
        )
    })?;
    if args.verbose {
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
