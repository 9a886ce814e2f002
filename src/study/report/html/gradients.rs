//! The gradients of a layer, channel by channel and epoch by epoch (Figure 7 of the paper).

use super::histograms::raster;
use super::{Report, places};
use crate::render::chart::Raster;
use crate::render::{LINE, escaped, plain};

/// Decades that the shades tell apart.
const DECADES: f64 = 4.0;
/// A gradient above 0 is seen.
const FAINTEST: f64 = 0.08;

pub(super) fn section(report: &Report) -> String {
    let Some(layer) = &report.gradients else {
        return String::new();
    };
    let all = layer.gradient.iter().flatten().flatten().flatten();
    let top = all.copied().filter(|g| g.is_finite()).fold(0.0, f32::max);
    let top = if top > 0.0 { f64::from(top) } else { 1.0 };
    let shade = |gradient: &Option<f32>| {
        let gradient = f64::from((*gradient)?);
        if gradient <= 0.0 {
            return Some(0);
        }
        let part = (1.0 + (gradient / top).log10() / DECADES).clamp(FAINTEST, 1.0);
        Some((255.0 * part).round() as u8)
    };
    let columns = places(report);
    let most = plain(top);
    let mut out = format!(
        "<section>\n<h2>Gradients of {}</h2>\n<p class=\"note\">A row for each of its {} channels: the \
         mean |gradient| of the channel’s filter in each epoch, the darker the larger, by the \
         logarithm over four decades, on one scale for all runs (Figure 7 of the paper). A row that \
         turns pale has stopped learning.</p>\n",
        escaped(&layer.layer),
        layer.channels
    );
    let height = (3.0 * layer.channels as f64).clamp(200.0, 520.0) + 64.0;
    let every = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
        .into_iter()
        .find(|every| layer.channels / every <= 9)
        .unwrap_or(1024);
    let labels = (0..layer.channels).step_by(every);
    let labels: Vec<(f64, String)> = labels
        .map(|channel| (channel as f64 + 0.5, channel.to_string()))
        .collect();
    for (number, (run, gradients)) in report.runs.iter().zip(&layer.gradient).enumerate() {
        if gradients.is_empty() {
            continue;
        }
        let drawn = Raster {
            shades: gradients.iter().flatten().map(shade).collect(),
            rows: layer.channels,
            columns: &columns,
            x_name: "finished epochs",
            y_name: "channel",
            labels: labels.clone(),
            ends: ("0", &most),
            line: Vec::new(),
            color: LINE,
        };
        let said = run.regeneration.as_deref().unwrap_or("no regeneration");
        let caption = format!("<h3>{}</h3><p>{}</p>", escaped(&run.name), escaped(said));
        let attributes = format!(
            "data-values=\"/gradients/gradient/{number}\" data-name=\"channel\" \
             data-term=\"mean |gradient|\""
        );
        let label = "gradients of a layer by channel and epoch";
        out += &raster((&attributes, &caption, label), (&drawn, height));
    }
    out + "</section>\n"
}
