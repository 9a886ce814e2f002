//! `ckpt-regen ablate`.

use super::args::AblateArgs;
use super::eval::request;
use super::output;
use super::paths;
use super::pictures::{refuse_checkpoints, write};
use super::progress::Images;
use super::report::refuse_other_files;
use crate::error::Result;
use crate::inspect::{Html, Json, Render as _, Terminal};
use crate::study::ablate::{AblateOptions, ablate};
use crate::train::{Machine, open_engine};

pub(super) fn run(args: &AblateArgs) -> Result<()> {
    let paths = paths::expand(&args.checkpoints)?;
    if let Some(page) = &args.html {
        refuse_checkpoints(&paths, "--html", page)?;
        refuse_other_files(page)?;
    }
    let request = request(&args.examine);
    let machine = Machine::from(&args.examine.machine);
    let new = |graph, task| open_engine(graph, task, &machine);
    let options = AblateOptions {
        layer: args.layer.clone(),
        points: args.points.clone(),
    };
    let mut bar: Option<Images> = None;
    let ablation = ablate(&paths, &request, &new, &options, &mut |done, total| {
        let bar = bar.get_or_insert_with(|| Images::new("testing", total));
        bar.update(done);
    });
    drop(bar);
    let ablation = ablation?;
    if let Some(page) = &args.html {
        write(&Html, &ablation, page)?;
    }
    if args.json {
        output::data(|out| Json.render(&ablation, out))
    } else {
        let width = output::width();
        output::text(|out| Terminal { width }.render(&ablation, out))
    }
}
