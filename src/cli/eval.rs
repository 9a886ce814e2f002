//! `ckpt-regen eval`.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{EvalArgs, ExamineArgs};
use super::progress::Images;
use super::train::{network_flags, put, recipe, workers};
use super::{BOLD, output};
use crate::checkpoint::directory::run::AVERAGE;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::storage::replace_file;
use crate::study::scenes;
use crate::text::printable;
use crate::train::data::{Dataset, Loader};
use crate::train::{self, Evaluation, Examination, Machine, Request, TaskName, open_engine};
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
        settings,
        notes,
    } = train::examine(&args.path, &request, &new)?;
    notes.iter().for_each(|note| output::note(note));
    if weights != args.path && weights.ends_with(AVERAGE) {
        output::note(&format!("{}: averaged weights", weights.display()));
    }
    let mut progress = Images::new("testing", test.dataset().len());
    let mut on = |done| progress.update(done);
    let found = match (&args.save_predictions, settings.task) {
        (None, _) => train::evaluate(&mut *engine, &mut test, &mut on)?,
        (Some(folder), TaskName::Segmentation) => {
            save_predictions(&mut *engine, &mut test, folder, &mut on)?
        }
        (Some(_), TaskName::Classification) => {
            let message =
                "--save-predictions: a classifier has one class for an image and no map of them";
            return Err(Error::Usage(message.to_owned()));
        }
    };
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

/// Measures, and writes a picture of each prediction, and the legend.
fn save_predictions(
    engine: &mut dyn Engine,
    test: &mut Loader,
    folder: &Path,
    progress: &mut dyn FnMut(usize),
) -> Result<Evaluation> {
    std::fs::create_dir_all(folder).map_err(Error::io("create the directory", folder))?;
    let (name, legend) =
        scenes::legend_file(test.dataset().classes()).map_err(Error::io("draw", folder))?;
    replace_file(&folder.join(name), &legend)?;
    let files = prediction_files(test.dataset(), folder);
    train::evaluate_scenes(engine, test, progress, &mut |found| {
        let file = &files[found.index];
        let picture = scenes::colored(found.width, found.height, found.classes);
        replace_file(file, &picture.map_err(Error::io("draw", file))?)
    })
}

/// A file for each image, named as the image; with a number, where that name is taken.
fn prediction_files(images: &dyn Dataset, folder: &Path) -> Vec<PathBuf> {
    let mut taken = HashSet::from(["legend".to_owned()]);
    let file = |index: usize| {
        let name = images.name(index);
        let stem = name.file_stem().unwrap_or_default().to_string_lossy();
        let numbered = (index..).map(|number| format!("{stem}-{number}"));
        let mut names = std::iter::once(stem.clone().into_owned()).chain(numbered);
        let name = names
            .find(|name| taken.insert(name.clone()))
            .unwrap_or_default();
        folder.join(format!("{name}.png"))
    };
    (0..images.len()).map(file).collect()
}

fn table(
    out: &mut dyn Write,
    weights: &Path,
    found: &Evaluation,
    classes: Option<&[String]>,
) -> io::Result<()> {
    let name = printable(&weights.display().to_string());
    let top1 = found.percent(found.top1);
    let accuracy = match found.top5 {
        Some(top5) => format!("top-1 {top1:.2} %, top-5 {:.2} %", found.percent(top5)),
        None => format!(
            "pixel accuracy {top1:.2} %, mean IoU {:.2} %, score {:.2} %",
            found.mean_iou(),
            found.score()
        ),
    };
    writeln!(
        out,
        "{BOLD}{name}{BOLD:#}: {accuracy}, loss {:.4}, {}",
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
    let of_scenes = found.is_of_scenes();
    let (count, shares) = if of_scenes {
        ("   pixels", "top-1     IoU")
    } else {
        ("images", "top-1")
    };
    writeln!(
        out,
        "{:width$} {count}  {shares}  mostly taken for",
        "class"
    )?;
    let iou = found.iou();
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
        let line = if of_scenes {
            let iou = iou[class];
            format!("{name:width$} {images:9} {share:>7} {iou:>5.1} % {taken}")
        } else {
            format!("{name:width$} {images:6} {share:>7} {taken}")
        };
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn to_json(found: &Evaluation, classes: &[String]) -> Value {
    let (count, iou) = if found.is_of_scenes() {
        ("pixels", Some(found.iou()))
    } else {
        ("images", None)
    };
    let named = classes.iter().zip(found.per_class());
    let classes = named.enumerate().map(|(class, (name, (images, right)))| {
        let top1 = (images > 0).then(|| 100.0 * right as f64 / images as f64);
        let mut entry = json!({ "name": name, count: images, "top1": top1 });
        if let Some(iou) = &iou {
            entry["iou"] = iou[class].into();
        }
        entry
    });
    let mut all = json!({
        "top1": found.percent(found.top1),
        "loss": found.loss,
        "images": found.images,
        "classes": classes.collect::<Vec<_>>(),
        "confusion": found.confusion,
    });
    match found.top5 {
        Some(top5) => all["top5"] = found.percent(top5).into(),
        None => {
            all["miou"] = found.mean_iou().into();
            all["score"] = found.score().into();
        }
    }
    all
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
