//! How many channels have which γ over time, as shades.

use super::{Report, places};
use crate::render::canvas::Figure;
use crate::render::chart::{Axis, Raster};
use crate::render::page::figure;
use crate::render::{LINE, escaped, grouped};

pub(super) fn section(report: &Report) -> String {
    let all = report.runs.iter().filter_map(|run| run.histogram.as_ref());
    let counts = all.flatten().flatten().flatten();
    let Some(top) = counts.copied().max() else {
        return String::new();
    };
    let top = top.max(1);
    let axis = Axis::new(&report.edges);
    let bins = report.edges.len().saturating_sub(1);
    let down = |value: f64| axis.place(value).map(|place| bins as f64 - place);
    let labels = axis.ticks(6).into_iter();
    let labels: Vec<(f64, String)> = labels
        .map(|(place, label)| (bins as f64 - place, label))
        .collect();
    // From one channel to all of a network, by its logarithm.
    let shade = |count: &Option<u64>| {
        let part = (1.0 + (*count)? as f64).ln() / (1.0 + top as f64).ln();
        Some((255.0 * part).round() as u8)
    };
    let columns = places(report);
    let most = format!("{} channels", grouped(top));
    let mut out = String::from(
        "<section>\n<h2>γ of all channels over time</h2>\n<p class=\"note\">How many channels have \
         which γ at the end of each epoch, before any regeneration: the darker the more, by the \
         logarithm; the outermost rows also count what lies beyond. The line is the median.</p>\n",
    );
    for (number, run) in report.runs.iter().enumerate() {
        let Some(counts) = &run.histogram else {
            continue;
        };
        let shades = counts.iter().rev().flatten().map(shade).collect();
        let median = run.median_gamma.iter().map(|gamma| gamma.and_then(down));
        let drawn = Raster {
            shades,
            rows: bins,
            columns: &columns,
            x_name: "finished epochs",
            y_name: "γ",
            labels: labels.clone(),
            ends: ("0", &most),
            line: median.collect(),
            color: LINE,
        };
        let said = run.regeneration.as_deref().unwrap_or("no regeneration");
        let caption = format!("<h3>{}</h3><p>{}</p>", escaped(&run.name), escaped(said));
        let attributes = format!(
            "data-values=\"/runs/{number}/histogram\" data-ranges=\"/edges\" data-symbol=\"γ\" data-term=\"channels\""
        );
        let label = "histogram of γ over the epochs";
        out += &raster((&attributes, &caption, label), (&drawn, 320.0));
    }
    out + "</section>\n"
}

/// A raster over epochs.
pub(super) fn raster(
    (attributes, caption, label): (&str, &str, &str),
    (raster, height): (&Raster<'_>, f64),
) -> String {
    let attributes =
        format!("data-chart=\"cells\" data-x=\"/epochs\" data-unit=\"epoch\" {attributes}");
    figure(&attributes, caption, |width| {
        Figure::draw((width, height), label, |canvas, frame| {
            raster.draw(canvas, frame)
        })
    })
}
