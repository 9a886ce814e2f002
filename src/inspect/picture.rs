//! The report as a picture for a paper: each network's histogram above those of its layers.

use std::io;

use super::charts::{HISTOGRAM_HEIGHT, network_histogram, network_line, network_ridge};
use super::{NetworkReport, Render, Report, Svg};
use crate::render::canvas::{Anchor, Canvas, Drawing, Frame, Type};
use crate::render::chart::Ridge;
use crate::render::{INK, MUTED, PAPER, shortened};
use crate::text::file_name;

/// Width of a picture in pixels: 7.5 inches, a text block in two columns.
const WIDTH: f64 = 720.0;
const MARGIN: f64 = 16.0;
const TITLE: f64 = 44.0;

impl Render<Report> for Svg {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(picture(report).svg().as_bytes())
    }
}

#[cfg(feature = "png")]
impl Render<Report> for super::Png {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        super::Png::write(&picture(report), out)
    }
}

fn picture(report: &Report) -> Drawing {
    let ridges: Vec<Ridge<'_>> = report
        .networks
        .iter()
        .map(|network| Ridge {
            note: names_begin_with(&network.names_begin_with),
            ..network_ridge(network, None, false)
        })
        .collect();
    let part = |ridge: &Ridge<'_>| TITLE + HISTOGRAM_HEIGHT + ridge.height();
    let height = MARGIN + ridges.iter().map(|r| part(r) + MARGIN).sum::<f64>();
    let label = format!("BatchNorm γ of {}", report.path.display());
    let (drawing, ()) = Drawing::new((WIDTH, height), &label, |canvas| {
        let sheet = Frame {
            left: 0.0,
            top: 0.0,
            width: WIDTH,
            height,
        };
        canvas.fill(sheet, PAPER);
        let mut top = MARGIN;
        for (network, ridge) in report.networks.iter().zip(&ridges) {
            title(canvas, report, network, top);
            let frame = Frame {
                left: MARGIN,
                top: top + TITLE,
                width: WIDTH - 2.0 * MARGIN,
                height: HISTOGRAM_HEIGHT,
            };
            network_histogram(network, None).draw(canvas, frame);
            let below = Frame {
                top: top + TITLE + HISTOGRAM_HEIGHT,
                height: ridge.height(),
                ..frame
            };
            ridge.draw(canvas, below);
            top += part(ridge) + MARGIN;
        }
    });
    drawing
}

fn names_begin_with(beginning: &str) -> Option<String> {
    (!beginning.is_empty()).then(|| format!("names begin with {beginning}"))
}

fn title(canvas: &Canvas, report: &Report, network: &NetworkReport, top: f64) {
    let bold = Type {
        size: 14.0,
        color: INK,
        bold: true,
    };
    let name = file_name(&report.path);
    let text = match &network.root[..] {
        "" => name,
        root => format!("{name}, {root}"),
    };
    let text = shortened(&text, 70);
    canvas.text(&text, (MARGIN, top + 8.0), Anchor::Start, bold);
    let font = Type::new(11.0, MUTED);
    canvas.text(
        &network_line(network),
        (MARGIN, top + 26.0),
        Anchor::Start,
        font,
    );
}
