//! γ as charts, for pictures and pages.

use super::{LayerReport, NetworkReport};
use crate::batchnorm::Role;
use crate::regen::INHIBITED;
use crate::render::canvas::Figure;
use crate::render::chart::{Axis, Bars, Histogram, Mark, Ridge, Row};
use crate::render::{ALARM, INK, MUTED, grouped, plain, share, typeset};

pub(super) const HISTOGRAM_HEIGHT: f64 = 246.0;

/// The γ of a network at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'r> {
    pub(super) bars: Bars<'r>,
    pub(super) min: Option<f64>,
    pub(super) median: Option<f64>,
    pub(super) max: Option<f64>,
}

/// What is said of `count` γ at one end beyond the axis.
fn beyond(
    (side, reach): (&str, &str),
    (count, before): (u64, Option<u64>),
    farthest: Option<f64>,
) -> Option<String> {
    let before = before.filter(|before| *before != count);
    let was = before.map_or_else(String::new, |n| format!(" (before: {})", grouped(n)));
    let farthest = farthest.filter(|_| count > 0);
    let reach = farthest.map_or_else(String::new, |value| format!(", {reach} {}", typeset(value)));
    (count > 0 || before.is_some()).then(|| format!("{} {side}{reach}{was}", grouped(count)))
}

/// How many channels have which γ, over what they had before, with the medians and the edge of the
/// inhibited marked.
pub(super) fn histogram<'r>(
    edges: &'r [f64],
    now: Side<'r>,
    before: Option<Side<'r>>,
) -> Histogram<'r> {
    let axis = Axis::new(edges);
    let median = |value: f64, word: &str, color, bold| Mark {
        value,
        text: format!("{word} {}", typeset(value)),
        color,
        bold,
        through: true,
    };
    let old = before
        .and_then(|before| before.median)
        .filter(|old| Some(*old) != now.median);
    let mut edges = [INHIBITED, -INHIBITED].into_iter();
    let edge = edges.find(|edge| axis.place(*edge).is_some());
    let marks = [
        now.median.map(|value| median(value, "median", INK, true)),
        old.map(|value| median(value, "median before", MUTED, false)),
        edge.map(|value| Mark {
            value,
            text: "|γ| = 0.01".to_owned(),
            color: ALARM,
            bold: false,
            through: false,
        }),
    ];
    Histogram {
        axis,
        x_name: "γ, all layers",
        y_name: "channels",
        beyond: [
            beyond(
                ("below", "down to"),
                (now.bars.below, before.map(|before| before.bars.below)),
                now.min,
            ),
            beyond(
                ("above", "up to"),
                (now.bars.above, before.map(|before| before.bars.above)),
                now.max,
            ),
        ],
        now: now.bars,
        before: before.map(|before| before.bars),
        marks: marks.into_iter().flatten().collect(),
        dashed: &[INHIBITED, -INHIBITED],
    }
}

/// The histograms of layers, below each other.
pub(super) fn ridge<'r>(
    edges: &'r [f64],
    rows: Vec<Row<'r>>,
    headings: Vec<&'static str>,
    median: Option<f64>,
) -> Ridge<'r> {
    Ridge {
        axis: Axis::new(edges),
        rows,
        row_name: "layer",
        x_name: "γ",
        headings,
        median,
        dashed: &[-INHIBITED, INHIBITED],
        note: None,
    }
}

/// A ridge as a figure of its own.
pub(super) fn ridge_drawn(ridge: &Ridge<'_>, width: f64) -> Figure {
    let label = "histograms of γ, a row for each layer, on one axis";
    Figure::draw((width, ridge.height()), label, |canvas, frame| {
        ridge.draw(canvas, frame)
    })
}

/// What a network was before an edit, and how many channels of each layer that changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'r> {
    pub(super) network: &'r NetworkReport,
    pub(super) regenerated: &'r [usize],
}

/// The histogram of a network, over what it was.
pub(super) fn network_histogram<'r>(
    network: &'r NetworkReport,
    past: Option<Past<'r>>,
) -> Histogram<'r> {
    let past = past.map(|past| Side::of(past.network));
    histogram(&network.shown().edges, Side::of(network), past)
}

impl<'r> Side<'r> {
    fn of(network: &'r NetworkReport) -> Side<'r> {
        let range = network.total.range;
        Side {
            bars: Bars::from(&network.shown().total),
            min: range.map(|range| range.min),
            median: range.map(|range| range.median),
            max: range.map(|range| range.max),
        }
    }
}

/// The histograms of its layers, over what they were, which have the same order. Where there is
/// little room, only one number stands behind each.
pub(super) fn network_ridge<'r>(
    network: &'r NetworkReport,
    past: Option<Past<'r>>,
    narrow: bool,
) -> Ridge<'r> {
    let row = |(i, layer): (usize, &'r LayerReport)| {
        let s = &layer.statistics;
        let last = match past {
            Some(past) => (grouped(past.regenerated[i] as u64), false),
            None => (share(s.inhibited, s.channels), s.inhibited > 0),
        };
        let channels = (grouped(s.channels as u64), false);
        let bars = |network: &'r NetworkReport| network.shown().layer(layer).map(Bars::from);
        Row {
            name: network.short_name(layer),
            now: bars(network).unwrap_or_default(),
            before: past.and_then(|past| bars(past.network)),
            median: s.range.map(|range| range.median),
            numbers: if narrow {
                vec![last]
            } else {
                vec![channels, last]
            },
        }
    };
    let last = match (past, narrow) {
        (Some(_), _) => "changed",
        (None, true) => "inh.",
        (None, false) => "inhibited",
    };
    let headings = if narrow {
        vec![last]
    } else {
        vec!["channels", last]
    };
    let rows = network.layers.iter().enumerate().map(row).collect();
    ridge(&network.shown().edges, rows, headings, network.median())
}

/// The histogram of a network as a figure of its own.
pub(super) fn histogram_figure(
    network: &NetworkReport,
    past: Option<Past<'_>>,
    width: f64,
) -> Figure {
    let histogram = network_histogram(network, past);
    let label = format!("histogram of γ; {}", network_line(network));
    Figure::draw((width, HISTOGRAM_HEIGHT), &label, |canvas, frame| {
        histogram.draw(canvas, frame)
    })
}

/// The histograms of its layers as a figure of its own.
pub(super) fn ridge_figure(network: &NetworkReport, past: Option<Past<'_>>, width: f64) -> Figure {
    ridge_drawn(&network_ridge(network, past, width < 500.0), width)
}

/// A network in a line: its size, its median, how much of it is inhibited.
pub(super) fn network_line(network: &NetworkReport) -> String {
    let total = &network.total;
    let role = match network.role {
        Role::Raw => String::new(),
        role => format!("{role}; "),
    };
    let median = network.median().map_or_else(
        || "no finite γ".to_owned(),
        |median| format!("median γ {}", plain(median)),
    );
    format!(
        "{role}{} BatchNorm layers, {} channels; {median}; inhibited (|γ| < 0.01): {} ({})",
        network.layer_count,
        grouped(total.channels as u64),
        grouped(total.inhibited as u64),
        share(total.inhibited, total.channels),
    )
}
