//! `ckpt-regen track`.

use super::args::TrackArgs;
use super::inspect::{read_mask, read_schema, warn_if_pending};
use super::pictures::{refuse_checkpoints, write};
use super::{output, paths};
use crate::error::{Error, Result};
use crate::inspect::track::{Csv, TrackOptions, track};
use crate::inspect::{Html, Json, Render as _, Terminal};

pub(super) fn run(args: &TrackArgs) -> Result<()> {
    let paths = paths::expand(&args.paths)?;
    let options = TrackOptions {
        schema: read_schema(args.schema.as_deref())?,
        root: args.root.clone(),
        channels: args.channel.clone(),
        record: args.record.clone(),
        mask: read_mask(args.mask.as_deref())?,
    };
    if let Some(page) = &args.html {
        refuse_checkpoints(&paths, "--html", page)?;
    }
    let mut series = track(&paths, &options)?;
    for path in &paths {
        warn_if_pending(path)?;
    }
    series
        .warnings
        .iter()
        .for_each(|warning| output::warn(warning));
    if series.saves.len() == 1 {
        output::note("one checkpoint is no series yet: nothing can be compared");
    }
    if let Some(layer) = &args.layer {
        series.keep_layers(|name| layer.is_match(name));
        if series.layers.is_empty() {
            let found = "none whose name matches";
            return Err(Error::malformed(
                &paths[0],
                "--layer",
                "BatchNorm layers",
                found,
            ));
        }
    }
    if let Some(page) = &args.html {
        write(&Html, &series, page)?;
        if !args.json && !args.csv {
            return Ok(());
        }
    }
    if args.json {
        return output::data(|out| Json.render(&series, out));
    }
    if args.csv {
        return output::data(|out| Csv.render(&series, out));
    }
    let width = output::width();
    output::text(|out| Terminal { width }.render(&series, out))
}
