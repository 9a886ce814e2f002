//! The charts of a training run.

use serde_json::{Value, json};

use super::unit;
use crate::inspect::track::{Chosen, LayerSeries, Order, SETTLED, Series, Survival, Trajectory};
use crate::render::canvas::Figure;
use crate::render::chart::{Heat, Line, Lines};
use crate::render::page::{LinesFigure, figure};
use crate::render::{ALARM, INK, LINE, MUTED, Rgb, escaped};

const COLORS: [Rgb; 3] = [LINE, ALARM, INK];

fn x_name(series: &Series) -> &'static str {
    match series.order {
        Order::Epoch => "finished epochs",
        Order::Name => "number in the name",
    }
}

fn places(series: &Series) -> Vec<f64> {
    series.saves.iter().map(|save| save.at as f64).collect()
}

/// What the dashed lines are, where there are any.
fn dashed(series: &Series) -> &'static str {
    if series.regenerations.is_empty() {
        ""
    } else {
        " Dashed: a regeneration."
    }
}

/// Lines over the saves.
struct OverTime<'t> {
    y_name: &'t str,
    lines: Vec<Line>,
    level: Option<f64>,
    told: Vec<Value>,
    caption: String,
    label: &'t str,
}

impl OverTime<'_> {
    fn html(self, series: &Series) -> String {
        let events = series.regenerations.iter().map(|r| &series.saves[r.save]);
        let lines = Lines {
            x: &places(series),
            x_name: x_name(series),
            y_name: self.y_name,
            lines: self.lines,
            level: self.level,
            events: events.map(|save| save.at as f64).collect(),
            marks: Vec::new(),
        };
        LinesFigure {
            lines: &lines,
            at: "/saves",
            unit: unit(series),
            told: &self.told,
            caption: &self.caption,
            label: self.label,
        }
        .html()
    }
}

pub(super) fn inhibited(series: &Series) -> String {
    let all = &series.network;
    let share = |save| Some(100.0 * all.inhibited_share(save));
    OverTime {
        y_name: "% of all channels",
        lines: vec![Line {
            name: "inhibited".to_owned(),
            values: (0..series.saves.len()).map(share).collect(),
            color: ALARM,
        }],
        level: None,
        told: vec![json!({"name": "inhibited channels", "at": "/network/inhibited"})],
        caption: format!(
            "<h3>Inhibited channels</h3><p>With |γ| &lt; 0.01.{}</p>",
            dashed(series)
        ),
        label: "share of inhibited channels over time",
    }
    .html(series)
}

pub(super) fn trajectories(series: &Series) -> String {
    let name = |t: &Trajectory| {
        let channel = format!("{}:{}", series.short_name(&t.layer), t.channel);
        match t.chosen {
            Chosen::Asked => channel,
            Chosen::Weakest => format!("weakest {channel}"),
            Chosen::Strongest => format!("strongest {channel}"),
        }
    };
    let mut lines = vec![Line {
        name: "median of all".to_owned(),
        values: series.network.median.clone(),
        color: MUTED,
    }];
    let mut told = vec![json!({"name": "median of all", "at": "/network/median"})];
    for (i, trajectory) in series.trajectories.iter().enumerate() {
        lines.push(Line {
            name: name(trajectory),
            values: trajectory.gamma.clone(),
            // The weakest is the one to worry about.
            color: match trajectory.chosen {
                Chosen::Weakest => ALARM,
                Chosen::Strongest => LINE,
                Chosen::Asked => COLORS[i % COLORS.len()],
            },
        });
        let at = format!("/trajectories/{i}/gamma");
        told.push(json!({"name": name(trajectory), "at": at}));
    }
    let chosen = match series.trajectories.first().map(|t| t.chosen) {
        Some(Chosen::Asked) => "",
        _ => "Those whose |γ| has the smallest and the largest mean over time.",
    };
    OverTime {
        y_name: "γ",
        lines,
        level: None,
        told,
        caption: format!("<h3>Single channels</h3><p>{chosen}{}</p>", dashed(series)),
        label: "γ of single channels over time",
    }
    .html(series)
}

pub(super) fn masks(series: &Series) -> String {
    if series.saves.len() < 2 {
        return String::new();
    }
    let share = |distance: &Option<f64>| distance.map(|distance| 100.0 * distance);
    OverTime {
        y_name: "% of all channels",
        lines: vec![Line {
            name: "changed sides".to_owned(),
            values: series.network.hamming.iter().map(share).collect(),
            color: LINE,
        }],
        level: Some(100.0 * SETTLED),
        told: vec![json!({"name": "share of channels", "at": "/network/hamming"})],
        caption: format!(
            "<h3>Changed sides of the median</h3><p>Channels at or below the network’s median that were \
             not so one checkpoint earlier, and the other way round. Below the line, at 10 %, a network \
             has settled (You et al., Early-Bird tickets, 2020).{}</p>",
            dashed(series)
        ),
        label: "distance of successive masks over time",
    }
    .html(series)
}

/// How regenerated channels fared, by saves since.
pub(super) fn survival(series: &Series) -> String {
    let x: Vec<f64> = series.survival.iter().map(|p| p.after as f64).collect();
    let alive = |p: &Survival| Some(100.0 * p.alive as f64 / p.regenerated.max(1) as f64);
    let lines = Lines {
        x: &x,
        x_name: "checkpoints later",
        y_name: "% of regenerated channels",
        lines: vec![Line {
            name: "alive".to_owned(),
            values: series.survival.iter().map(alive).collect(),
            color: LINE,
        }],
        level: None,
        events: Vec::new(),
        marks: Vec::new(),
    };
    LinesFigure {
        lines: &lines,
        at: "/survival",
        unit: "saves later:",
        told: &[
            json!({"name": "alive", "at": "/survival", "key": "alive"}),
            json!({"name": "of", "at": "/survival", "key": "regenerated"}),
        ],
        caption: "<h3>Regenerated channels that stay alive</h3><p>Those that are not inhibited, of \
                  all regenerations that were followed so long; each up to the next.</p>",
        label: "share of regenerated channels that stay alive",
    }
    .html()
}

pub(super) fn heat(series: &Series) -> String {
    let columns = places(series);
    let shares = |layer: &LayerSeries| -> Vec<f64> {
        (0..columns.len())
            .map(|save| layer.inhibited_share(save))
            .collect()
    };
    let rows: Vec<(&str, Vec<f64>)> = series
        .layers
        .iter()
        .map(|layer| (series.short_name(&layer.name), shares(layer)))
        .collect();
    let top = rows
        .iter()
        .flat_map(|(_, shares)| shares)
        .copied()
        .fold(0.0, f64::max);
    let top = if top > 0.0 { top } else { 1.0 };
    let heat = Heat {
        rows,
        columns: &columns,
        x_name: x_name(series),
        top,
        most: format!("{:.1} % inhibited", 100.0 * top),
        color: ALARM,
    };
    let terms = json!([
        {"name": "inhibited", "key": "inhibited", "of": "channels"},
        {"name": "median γ", "key": "median"},
        {"name": "changed sides", "key": "hamming"},
        {"name": "regenerated", "key": "regenerated"},
    ]);
    let attributes = format!(
        "data-chart=\"heat\" data-x=\"/saves\" data-unit=\"{}\" data-rows=\"/layers\" \
         data-terms=\"{}\"",
        unit(series),
        escaped(&terms.to_string())
    );
    let caption = "<h3>Inhibited, layer by layer</h3><p>The share of each layer’s channels with \
                   |γ| &lt; 0.01; a column for each checkpoint.</p>";
    figure(&attributes, caption, |width| {
        let label = "share of inhibited channels by layer and checkpoint";
        Figure::draw((width, heat.height()), label, |canvas, frame| {
            heat.draw(canvas, frame)
        })
    })
}
