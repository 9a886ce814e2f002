//! The report as a picture for a paper: each network's histogram above those of its layers.

use std::io;

use super::chart::{
    self, Anchor, Axis, Canvas, Drawn, Figure, Frame, Histogram, PAPER, Ridge, Row, Type,
};
use super::{NetworkReport, Render, Report};

/// Width of a picture in pixels: 7.5 inches, a text block in two columns.
const WIDTH: f64 = 720.0;
const MARGIN: f64 = 16.0;
const HISTOGRAM: f64 = 246.0;
const TITLE: f64 = 44.0;

/// An SVG document, with text as text.
#[derive(Debug, Clone, Copy)]
pub struct Svg;

impl Render<Report> for Svg {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        let ridges: Vec<Ridge<'_>> = report
            .networks
            .iter()
            .map(|n| ridge(n, None, false))
            .collect();
        let part = |ridge: &Ridge<'_>| TITLE + HISTOGRAM + ridge.height();
        let height = MARGIN + ridges.iter().map(|r| part(r) + MARGIN).sum::<f64>();
        let label = format!("BatchNorm γ of {}", report.path.display());
        let paint = |canvas: &Canvas<'_>| {
            let sheet = Frame {
                left: 0.0,
                top: 0.0,
                width: WIDTH,
                height,
            };
            canvas.fill(sheet, PAPER)?;
            let mut top = MARGIN;
            for (network, ridge) in report.networks.iter().zip(&ridges) {
                title(canvas, report, network, top)?;
                let frame = Frame {
                    left: MARGIN,
                    top: top + TITLE,
                    width: WIDTH - 2.0 * MARGIN,
                    height: HISTOGRAM,
                };
                histogram(network, None).draw(canvas, frame)?;
                let below = Frame {
                    top: top + TITLE + HISTOGRAM,
                    height: ridge.height(),
                    ..frame
                };
                ridge.draw(canvas, below)?;
                top += part(ridge) + MARGIN;
            }
            Ok(())
        };
        let (svg, ()) = chart::draw((WIDTH, height), &label, paint)?;
        out.write_all(svg.as_bytes())
    }
}

fn title(canvas: &Canvas<'_>, report: &Report, network: &NetworkReport, top: f64) -> Drawn {
    let name = report.path.file_name().unwrap_or(report.path.as_os_str());
    let bold = Type {
        size: 14.0,
        color: chart::INK,
        bold: true,
    };
    let text = match &network.root[..] {
        "" => name.to_string_lossy().into_owned(),
        root => format!("{}, {root}", name.to_string_lossy()),
    };
    let text = chart::shortened(&text, 70);
    canvas.text(&text, (MARGIN, top + 8.0), Anchor::Start, bold)?;
    let font = Type::new(11.0, chart::MUTED);
    canvas.text(
        &network_line(network),
        (MARGIN, top + 26.0),
        Anchor::Start,
        font,
    )
}

/// A network in a line: its size, its median, how much of it is inhibited.
pub(super) fn network_line(network: &NetworkReport) -> String {
    let total = &network.total;
    let role = match network.role {
        crate::batchnorm::Role::Raw => String::new(),
        role => format!("{role}; "),
    };
    let median = total.range.map_or_else(
        || "no finite γ".to_owned(),
        |range| format!("median γ {}", super::number(range.median).trim()),
    );
    format!(
        "{role}{} BatchNorm layers, {} channels; {median}; inhibited (|γ| < 0.01): {} ({})",
        network.layer_count,
        chart::grouped(total.channels as u64),
        chart::grouped(total.inhibited as u64),
        share(total.inhibited, total.channels),
    )
}

/// A share as the table in a terminal has it.
pub(super) fn share(count: usize, of: usize) -> String {
    let text = super::terminal::percent(count as u64, of as u64);
    match text.trim() {
        "0" => "0 %".to_owned(),
        text => text.replace("<.1", "< 0.1").replace('%', "\u{202F}%"),
    }
}

/// What a network was before an edit, and how many channels of each layer that changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'r> {
    pub(super) network: &'r NetworkReport,
    pub(super) regenerated: &'r [usize],
}

/// The histogram of a network, over what it was.
pub(super) fn histogram<'r>(network: &'r NetworkReport, before: Option<Past<'r>>) -> Histogram<'r> {
    Histogram {
        axis: Axis::new(network.fine_edges()),
        counts: network.fine_counts(),
        median: network.median(),
        before: before.map(|past| past.network.fine_counts()),
        median_before: before
            .and_then(|past| past.network.median())
            .filter(|old| Some(*old) != network.median()),
    }
}

/// The histograms of its layers, over what they were, which have the same order. Where there is
/// little room, only one number stands behind each.
pub(super) fn ridge<'r>(
    network: &'r NetworkReport,
    before: Option<Past<'r>>,
    narrow: bool,
) -> Ridge<'r> {
    let row = |(i, layer): (usize, &'r super::LayerReport)| {
        let s = &layer.statistics;
        let last = match before {
            Some(past) => (chart::grouped(past.regenerated[i] as u64), false),
            None => (share(s.inhibited, s.channels), s.inhibited > 0),
        };
        let channels = (chart::grouped(s.channels as u64), false);
        Row {
            name: &layer.name,
            counts: network.fine_counts_in(layer),
            median: s.range.map(|range| range.median),
            before: before
                .and_then(|past| Some(past.network.fine_counts_in(past.network.layers.get(i)?))),
            numbers: if narrow {
                vec![last]
            } else {
                vec![channels, last]
            },
        }
    };
    let last = match (before, narrow) {
        (Some(_), _) => "changed",
        (None, true) => "inh.",
        (None, false) => "inhibited",
    };
    Ridge {
        axis: Axis::new(network.fine_edges()),
        rows: network.layers.iter().enumerate().map(row).collect(),
        headings: if narrow {
            vec![last]
        } else {
            vec!["channels", last]
        },
        median: network.median(),
    }
}

/// A histogram as a figure of its own.
pub(super) fn histogram_figure(
    network: &NetworkReport,
    before: Option<Past<'_>>,
    width: f64,
) -> io::Result<Figure> {
    let frame = Frame {
        left: 0.0,
        top: 0.0,
        width,
        height: HISTOGRAM,
    };
    let histogram = histogram(network, before);
    let label = format!("histogram of γ; {}", network_line(network));
    let (svg, plot) = chart::draw((width, HISTOGRAM), &label, |c| histogram.draw(c, frame))?;
    Ok(Figure { svg, plot })
}

/// The histograms of the layers as a figure of its own.
pub(super) fn ridge_figure(
    network: &NetworkReport,
    before: Option<Past<'_>>,
    width: f64,
) -> io::Result<Figure> {
    let ridge = ridge(network, before, width < 500.0);
    let height = ridge.height();
    let frame = Frame {
        left: 0.0,
        top: 0.0,
        width,
        height,
    };
    let label = "histograms of γ, a row for each layer, on one axis";
    let (svg, plot) = chart::draw((width, height), label, |c| ridge.draw(c, frame))?;
    Ok(Figure { svg, plot })
}
