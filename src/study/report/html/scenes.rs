//! Of segmentation: IoU by class as bars, and a few scenes with their labels and predictions.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use png::ColorType;

use super::{Report, Run};
use crate::render::canvas::{Anchor, Canvas, Figure, Frame, Type};
use crate::render::page::{color, key};
use crate::render::{GRID, INK, MUTED, escaped};
use crate::study::scenes::{colored, legend};
use crate::train::SceneSample;
use crate::train::data::encode;

/// Heights of a bar, and of what lies between two classes, in pixels.
const BAR: f64 = 9.0;
const GAP: f64 = 7.0;
/// Room for names and for numbers, in pixels.
const NAMES: f64 = 120.0;
const NUMBERS: f64 = 44.0;
/// Letters of a name that fit there.
const LETTERS: usize = 17;

pub(super) fn section(report: &Report) -> String {
    if !report.is_of_scenes() {
        return String::new();
    }
    let mut out = "<section>\n<h2>Classes</h2>\n".to_owned();
    out += &bars(report);
    out += "<h2>Scenes</h2>\n";
    out += &format!("<div>{}</div>\n", legend(&report.classes, 900.0).svg());
    for run in report.runs.iter().filter(|run| !run.samples.is_empty()) {
        out += &pictures(run);
    }
    out + "</section>\n"
}

/// IoU of every class after the last epoch, a bar a run.
fn bars(report: &Report) -> String {
    let keys = key(report.runs.iter().map(|run| &run.name[..]));
    let drawn = |width: f64| {
        let runs = report.runs.iter().filter(|run| run.iou.is_some()).count() as f64;
        let height = report.classes.len() as f64 * (runs * BAR + GAP);
        Figure::draw((width, height), "IoU by class", |canvas, frame| {
            draw(report, canvas, frame);
            frame
        })
        .svg
    };
    format!(
        "<h3>IoU by class</h3><p>After the last epoch: pixels of the class that were found, by those that are of it \
         or were taken for it.</p>{keys}\n<div class=\"chart\"><div class=\"wide\">{}</div>\n<div class=\"narrow\">{}</div></div>\n",
        drawn(crate::render::page::WIDE),
        drawn(crate::render::page::NARROW),
    )
}

fn draw(report: &Report, canvas: &Canvas, frame: Frame) {
    let room = frame.width - NAMES - NUMBERS;
    let runs = report.runs.iter().filter(|run| run.iou.is_some());
    let group = runs.count() as f64 * BAR - 1.0;
    let mut top = frame.top;
    for (class, name) in report.classes.iter().enumerate() {
        let name: String = name.chars().take(LETTERS).collect();
        let at = (frame.left + NAMES - 8.0, top + group / 2.0);
        canvas.text(&name, at, Anchor::End, Type::new(11.0, INK));
        for (number, run) in report.runs.iter().enumerate() {
            let Some(iou) = run.iou.as_ref().and_then(|iou| iou.get(class)) else {
                continue;
            };
            let bar = |share: f64| Frame {
                left: frame.left + NAMES,
                top,
                width: room * share / 100.0,
                height: BAR - 1.0,
            };
            canvas.fill(bar(100.0), GRID);
            canvas.fill(bar(*iou), color(number));
            let at = (frame.left + NAMES + room + 6.0, top + (BAR - 1.0) / 2.0);
            canvas.text(
                &format!("{iou:.1} %"),
                at,
                Anchor::Start,
                Type::new(10.0, MUTED),
            );
            top += BAR;
        }
        top += GAP;
    }
}

/// Image, labels and prediction of each sample of a run.
fn pictures(run: &Run) -> String {
    let mut out = format!(
        "<h3>{}</h3><p>Test images; their labels (black does not count); what the network of the best epoch says of \
         them.</p>\n",
        escaped(&run.name)
    );
    for sample in &run.samples {
        let SceneSample {
            image,
            labels,
            predicted,
        } = sample;
        let size = (image.width(), image.height());
        let all = [
            (
                "image",
                encode::png(size, ColorType::Rgb, None, image.pixels()),
            ),
            ("labels", colored(size.0, size.1, labels)),
            ("prediction", colored(size.0, size.1, predicted)),
        ];
        out += "<div class=\"scene\">";
        for (what, picture) in all {
            if let Ok(bytes) = picture {
                out += &format!(
                    "<img alt=\"{what}\" title=\"{what}\" width=\"{}\" height=\"{}\" src=\"data:image/png;base64,{}\">",
                    size.0,
                    size.1,
                    BASE64_STANDARD.encode(bytes)
                );
            }
        }
        out += "</div>\n";
    }
    out
}
