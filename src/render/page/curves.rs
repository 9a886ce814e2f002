//! Charts of lines whose names are in a key above them, told apart by colour.

use serde_json::{Value, json};

use super::super::chart::{Line, Lines, Marks};
use super::super::{Rgb, SERIES, escaped};
use super::LinesFigure;

/// Names in a key.
const MOST_NAMES: usize = 12;

/// The colour of number `i` of several things of one kind.
pub(crate) fn color(i: usize) -> Rgb {
    SERIES[i % SERIES.len()]
}

/// Which colour is whose: HTML, and nothing where there is only one.
pub(crate) fn key<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.len() {
        0..2 => String::new(),
        _ => keys(names.into_iter().enumerate()),
    }
}

/// The same for other colours than the first ones.
pub(crate) fn keys<N: AsRef<str>>(names: impl ExactSizeIterator<Item = (usize, N)>) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let one = |(color, name): (usize, N)| {
        let class = color % SERIES.len();
        format!(
            "<span class=\"key k{class}\">{}</span>",
            escaped(name.as_ref())
        )
    };
    let mut keys: String = names.take(MOST_NAMES).map(one).collect();
    if more > 0 {
        keys += &format!("<span>and {more} more</span>");
    }
    format!("<p class=\"keys\">{keys}</p>")
}

/// A line of a chart, and what is told of it.
pub(crate) struct ChartLine {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
    pub(crate) color: Rgb,
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
) -> String {
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
    let told: Vec<Value> = told
        .map(|(name, at)| json!({"name": name, "at": at}))
        .collect();
    LinesFigure {
        lines: &lines,
        at: along.at,
        unit: along.unit,
        told: &told,
        caption,
        label,
    }
    .html()
}
