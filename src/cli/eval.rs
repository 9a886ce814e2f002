//! `ckpt-regen eval`.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::args::{EvalArgs, ExamineArgs};
use super::progress::Images;
use super::train::{network_flags, put, recipe, workers};
use super::{BOLD, output};
use crate::checkpoint::directory::run::AVERAGE;
use crate::error::{Error, Result};
use crate::storage::replace_file;
use crate::text::printable;
use crate::train::{self, Evaluation, Examination, Machine, Request, open_engine};
use crate::weights::LoadOptions;

/// What opens a checkpoint to measure it.
pub(super) fn request(args: &ExamineArgs) -> Request {
    let mut flags = network_flags(&args.network);
    put(&mut flags, "batch_size", &args.batch_size);
    Request {
        load: LoadOptions {
            root: args.root.clone(),
            partial: false,
        },
        recipe: recipe(&args.network),
        changes: vec![flags],
        workers: workers(&args.machine),
        ..Request::default()
    }
}

pub(super) fn run(args: &EvalArgs) -> Result<()> {
    let request = request(&args.examine);
    let machine = Machine::from(&args.examine.machine);
    let new = |graph, task| open_engine(graph, task, &machine);
    let Examination {
        mut engine,
        mut test,
        weights,
        notes,
        ..
    } = train::examine(&args.path, &request, &new)?;
    notes.iter().for_each(|note| output::note(note));
    if weights != args.path && weights.ends_with(AVERAGE) {
        output::note(&format!("{}: averaged weights", weights.display()));
    }
    let mut progress = Images::new("testing", test.dataset().len());
    let found = train::evaluate(&mut *engine, &mut test, &mut |done| progress.update(done))?;
    drop(progress);
    let classes = test.dataset().classes();
    if let Some(file) = &args.confusion {
        replace_file(
            file,
            &to_csv(&found, classes).map_err(Error::io("write", file))?,
        )?;
    }
    if args.json {
        output::data(|out| writeln!(out, "{}", to_json(&found, classes)))
    } else {
        output::text(|out| table(out, &weights, &found, args.per_class.then_some(classes)))
    }
}

fn table(
    out: &mut dyn Write,
    weights: &Path,
    found: &Evaluation,
    classes: Option<&[String]>,
) -> io::Result<()> {
    let name = printable(&weights.display().to_string());
    writeln!(
        out,
        "{BOLD}{name}{BOLD:#}: top-1 {:.2} %, top-5 {:.2} %, loss {:.4}, {}",
        found.percent(found.top1),
        found.percent(found.top5),
        found.loss,
        output::plural(found.images, "image")
    )?;
    let Some(classes) = classes else {
        return Ok(());
    };
    let width = classes
        .iter()
        .map(|class| unicode_width::UnicodeWidthStr::width(&class[..]));
    let width = width.max().unwrap_or(0).clamp(5, 40);
    writeln!(out, "{:width$} images  top-1  mostly taken for", "class")?;
    for (class, (images, right)) in found.per_class().enumerate() {
        let others = found.confusion[class].iter().enumerate();
        let taken = others.filter(|(other, _)| *other != class);
        // Of equals the first.
        let taken = taken.rev().max_by_key(|(_, count)| **count);
        let taken = match taken {
            Some((other, count)) if *count > 0 => {
                format!("{} ({count})", printable(&classes[other]))
            }
            _ => String::new(),
        };
        let share = match images {
            0 => "-".to_owned(),
            _ => format!("{:.1} %", 100.0 * right as f64 / images as f64),
        };
        let name = printable(&classes[class]);
        let line = format!("{name:width$} {images:6} {share:>7} {taken}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn to_json(found: &Evaluation, classes: &[String]) -> Value {
    let class = |(name, (images, right)): (&String, (usize, usize))| {
        let top1 = (images > 0).then(|| 100.0 * right as f64 / images as f64);
        json!({ "name": name, "images": images, "top1": top1 })
    };
    json!({
        "top1": found.percent(found.top1),
        "top5": found.percent(found.top5),
        "loss": found.loss,
        "images": found.images,
        "classes": classes.iter().zip(found.per_class()).map(class).collect::<Vec<_>>(),
        "confusion": found.confusion,
    })
}

fn to_csv(found: &Evaluation, classes: &[String]) -> io::Result<Vec<u8>> {
    let mut rows = csv::Writer::from_writer(Vec::new());
    let head = std::iter::once("").chain(classes.iter().map(|class| &class[..]));
    rows.write_record(head)?;
    for (class, row) in classes.iter().zip(&found.confusion) {
        let counts = row.iter().map(|count| count.to_string());
        rows.write_record(std::iter::once(class.clone()).chain(counts))?;
    }
    rows.into_inner().map_err(|err| err.into_error())
}
