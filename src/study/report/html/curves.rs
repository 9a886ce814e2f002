//! Curves over epochs: accuracy, loss, and what of γ is known of every run.

use std::io;

use plotters::style::RGBColor;
use serde_json::{Value, json};

use super::{Report, Run};
use crate::inspect::chart::{self, Figure, Frame, Line, Lines, Marks, SERIES, escaped};
use crate::inspect::html::page::figure;

/// Height of a chart of lines.
const HEIGHT: f64 = 250.0;
/// Height of a row of marks.
const MARKS: f64 = 9.0;
/// Names in a key.
const MOST_NAMES: usize = 12;

/// The colour of run number `run`.
pub(crate) fn color(run: usize) -> RGBColor {
    SERIES[run % SERIES.len()]
}

/// Which colour is whose: HTML, and nothing where there is only one.
pub(crate) fn key<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.len() < 2 {
        return String::new();
    }
    let one = |(i, name): (usize, &&str)| {
        let class = i % SERIES.len();
        format!("<span class=\"key k{class}\">{}</span>", escaped(name))
    };
    let mut keys: String = names.iter().enumerate().take(MOST_NAMES).map(one).collect();
    if names.len() > MOST_NAMES {
        keys += &format!("<span>and {} more</span>", names.len() - MOST_NAMES);
    }
    format!("<p class=\"keys\">{keys}</p>")
}

pub(super) fn run_key(report: &Report) -> String {
    key(report.runs.iter().map(|run| &run.name[..]))
}

/// A line of a chart over epochs, and what is told of it.
pub(crate) struct ChartLine {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
    pub(crate) color: RGBColor,
    /// A pointer into the page's data.
    pub(crate) at: String,
}

/// What a chart of lines is drawn along.
pub(crate) struct Along {
    pub(crate) x: Vec<f64>,
    pub(crate) name: &'static str,
    /// What stands before a point's place when it is told.
    pub(crate) unit: &'static str,
    /// A pointer into the page's data.
    pub(crate) at: &'static str,
}

impl Along {
    /// Along the epochs, which stand at `/epochs`.
    pub(crate) fn epochs(epochs: &[u64]) -> Along {
        Along {
            x: epochs.iter().map(|epoch| *epoch as f64).collect(),
            name: "finished epochs",
            unit: "epoch",
            at: "/epochs",
        }
    }
}

/// A chart of lines. `more` is told under the pointer too, and not drawn.
pub(crate) fn curve(
    along: &Along,
    marks: &[Marks],
    (caption, label, y_name): (&str, &str, &str),
    drawn: &[ChartLine],
    more: &[(String, String)],
) -> io::Result<String> {
    let line = |line: &ChartLine| Line {
        name: String::new(),
        values: line.values.clone(),
        color: line.color,
    };
    let lines = Lines {
        x: &along.x,
        x_name: along.name,
        y_name,
        lines: drawn.iter().map(line).collect(),
        level: None,
        events: Vec::new(),
        marks: marks.to_vec(),
    };
    let drawn = drawn.iter().map(|line| (&line.name, &line.at));
    let told = drawn.chain(more.iter().map(|(name, at)| (name, at)));
    let pointers: Vec<Value> = told
        .map(|(name, at)| json!({"name": name, "at": at}))
        .collect();
    let attributes = format!(
        "data-chart=\"lines\" data-x=\"{}\" data-unit=\"{}\" data-lines=\"{}\"",
        along.at,
        along.unit,
        escaped(&Value::from(pointers).to_string())
    );
    let height = HEIGHT + MARKS * marks.len() as f64;
    figure(&attributes, caption, |width| {
        let frame = Frame {
            left: 0.0,
            top: 0.0,
            width,
            height,
        };
        let (svg, plot) = chart::draw((width, height), label, |canvas| lines.draw(canvas, frame))?;
        Ok(Figure { svg, plot })
    })
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

pub(super) fn section(report: &Report) -> io::Result<String> {
    let (along, marks) = (Along::epochs(&report.epochs), marks(report));
    let told = match marks.is_empty() {
        true => "",
        false => " The strokes above: regenerations.",
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
    let charts: [Chart<'_>; 5] = [
        (
            "Test accuracy",
            format!("Measured before the regeneration of its epoch.{told}"),
            "% put first",
            lines("test_top1", &|run| run.test_top1.clone()),
            more("training", "train_top1"),
        ),
        (
            "Training loss",
            format!("Mean over the epoch, as the images came.{told}"),
            "cross-entropy",
            lines("train_loss", &|run| run.train_loss.clone()),
            more("step size", "lr"),
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
    for (name, said, y_name, lines, more) in charts {
        let caption = format!("<h3>{name}</h3><p>{said}</p>{keys}");
        let label = format!("{} over the epochs", name.to_lowercase());
        out += &curve(&along, &marks, (&caption, &label, y_name), &lines, &more)?;
    }
    Ok(out)
}
