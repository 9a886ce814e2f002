//! Curves over epochs: accuracy, loss, and what of γ is known of every run.

use super::{Report, Run};
use crate::render::chart::Marks;
use crate::render::page::{Along, ChartLine, color, curve, key};
use crate::study::measure::measure;

pub(super) fn run_key(report: &Report) -> String {
    key(report.runs.iter().map(|run| &run.name[..]))
}

/// The regenerations of every run that has some.
pub(super) fn marks(report: &Report) -> Vec<Marks> {
    let runs = report.runs.iter().enumerate();
    runs.filter(|(_, run)| !run.regenerations.is_empty())
        .map(|(number, run)| of_run(run, number))
        .collect()
}

pub(super) fn of_run(run: &Run, number: usize) -> Marks {
    Marks {
        at: run
            .regenerations
            .iter()
            .map(|epoch| *epoch as f64)
            .collect(),
        color: color(number),
    }
}

/// Heading, what is said below it, name of the axis, lines, and what else is told.
type Chart<'c> = (
    &'c str,
    String,
    &'c str,
    Vec<ChartLine>,
    Vec<(String, String)>,
);

pub(super) fn section(report: &Report) -> String {
    let (along, marks) = (Along::epochs(&report.epochs), marks(report));
    let told = if marks.is_empty() {
        ""
    } else {
        " The strokes above: regenerations."
    };
    let lines = |list: &str, value: &dyn Fn(&Run) -> Vec<Option<f64>>| -> Vec<ChartLine> {
        let runs = report.runs.iter().enumerate();
        runs.map(|(number, run)| ChartLine {
            name: run.name.clone(),
            values: value(run),
            color: color(number),
            at: format!("/runs/{number}/{list}"),
        })
        .collect()
    };
    let more = |word: &str, list: &str| -> Vec<(String, String)> {
        let runs = report.runs.iter().enumerate();
        runs.map(|(number, run)| {
            (
                format!("{word} {}", run.name),
                format!("/runs/{number}/{list}"),
            )
        })
        .collect()
    };
    let keys = run_key(report);
    let share = |run: &Run| -> Vec<Option<f64>> {
        let counts = run.inhibited.iter();
        counts
            .map(|count| count.map(|count| run.share(count)))
            .collect()
    };
    let of_scenes = report.is_of_scenes();
    let scenes: Option<Chart<'_>> = of_scenes.then(|| {
        (
            "Mean IoU",
            format!("Over all classes; the score is its mean with pixel accuracy.{told}"),
            "%",
            lines("test_miou", &|run| run.test_miou.clone()),
            more("score", "test_score"),
        )
    });
    let charts: [Chart<'_>; 5] = [
        (
            "Test accuracy",
            format!("Measured before the regeneration of its epoch.{told}"),
            measure(of_scenes).axis,
            lines("test_top1", &|run| run.test_top1.clone()),
            more("training", "train_top1"),
        ),
        (
            "Training loss",
            format!("Mean over the epoch, as the images came.{told}"),
            "cross-entropy",
            lines("train_loss", &|run| run.train_loss.clone()),
            more("learning rate", "lr"),
        ),
        (
            "Test loss",
            told.trim_start().to_owned(),
            "cross-entropy",
            lines("test_loss", &|run| run.test_loss.clone()),
            Vec::new(),
        ),
        (
            "Inhibited channels",
            format!("With |γ| &lt; 0.01.{told}"),
            "% of all channels",
            lines("inhibited", &share),
            more("regenerated", "regenerated"),
        ),
        (
            "Median γ",
            format!("The lower median of all channels.{told}"),
            "γ",
            lines("median_gamma", &|run| run.median_gamma.clone()),
            Vec::new(),
        ),
    ];
    let mut out = String::new();
    for (name, said, y_name, lines, more) in scenes.into_iter().chain(charts) {
        let caption = format!("<h3>{name}</h3><p>{said}</p>{keys}");
        let label = format!("{} over the epochs", name.to_lowercase());
        out += &curve(&along, &marks, (&caption, &label, y_name), &lines, &more);
    }
    out
}
