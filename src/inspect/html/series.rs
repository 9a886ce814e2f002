//! A training run as a page.

use std::io;

use plotters::style::RGBColor;
use serde_json::{Value, json};

use super::Html;
use super::page::{Column, Page, facts, figure, table};
use super::report::{count_and_share, gamma};
use crate::inspect::Render;
use crate::inspect::chart::{self, Figure, Frame, Heat, Line, Lines, escaped, grouped};
use crate::inspect::track::{Chosen, LayerSeries, Order, SETTLED, Series, Source};

/// Height of a chart of lines.
const HEIGHT: f64 = 250.0;
const COLORS: [RGBColor; 3] = [chart::LINE, chart::ALARM, chart::INK];

impl Render<Series> for Html {
    fn render(&self, series: &Series, out: &mut dyn io::Write) -> io::Result<()> {
        let mut body = header(series);
        body += "<section>\n";
        body += &run_facts(series);
        for chart in [inhibited(series)?, trajectories(series)?, heat(series)?] {
            body += &chart;
        }
        body += &masks(series)?;
        body += &survival(series)?;
        body += "<h3>Numbers</h3>\n";
        body += &table(&columns(series), series.layers.iter().map(cells));
        body += &saves(series);
        body += "</section>\n";
        Page {
            title: &format!("γ over {} checkpoints", series.saves.len()),
            data: &serde_json::to_value(series)?,
            body: &body,
        }
        .write(out)
    }
}

fn unit(series: &Series) -> &'static str {
    match series.order {
        Order::Epoch => "epoch",
        Order::Name => "number",
    }
}

fn x_name(series: &Series) -> &'static str {
    match series.order {
        Order::Epoch => "finished epochs",
        Order::Name => "number in the name",
    }
}

fn header(series: &Series) -> String {
    let count = series.saves.len();
    let (first, last) = (&series.saves[0], &series.saves[count - 1]);
    let mut out = format!(
        "<header>\n<p class=\"kind\">BatchNorm scales γ over a training run</p>\n\
         <h1>{} checkpoint{}</h1>\n<p class=\"said\">{} {} to {}</p>\n\
         <p class=\"path\">{} … {}</p>\n",
        grouped(count as u64),
        if count == 1 { "" } else { "s" },
        unit(series),
        first.at,
        last.at,
        escaped(&first.path),
        escaped(&last.path),
    );
    for warning in &series.warnings {
        out += &format!("<p class=\"alarm\">{}</p>\n", escaped(warning));
    }
    out + "</header>\n"
}

/// A share as the numbers around it are written.
fn percent(share: f64) -> String {
    count_and_share((share * 1e6).round() as usize, 1_000_000)
        .split_once("<small>")
        .map_or_else(String::new, |(_, share)| share.replace("</small>", ""))
}

fn run_facts(series: &Series) -> String {
    let (all, last) = (&series.network, series.saves.len() - 1);
    let mut pairs = vec![
        ("layers", grouped(series.layer_count as u64)),
        ("channels", grouped(all.channels as u64)),
        (
            "median γ",
            format!("{} → {}", gamma(all.median[0]), gamma(all.median[last])),
        ),
        (
            "inhibited, |γ| &lt; 0.01",
            format!(
                "{} → {}",
                grouped(all.inhibited[0] as u64),
                count_and_share(all.inhibited[last], all.channels)
            ),
        ),
    ];
    if let Some(distance) = all.hamming[last] {
        pairs.push(("changed sides last", percent(distance)));
        let settled = series.settled.map(|save| series.saves[save].at);
        pairs.push((
            "settled from",
            settled.map_or_else(|| "–".to_owned(), |at| format!("{} {at}", unit(series))),
        ));
    }
    let regenerated: usize = series.regenerations.iter().map(|r| r.regenerated).sum();
    if regenerated > 0 {
        let times = series.regenerations.len();
        pairs.push((
            "regenerated",
            format!("{} <small>in {times}</small>", grouped(regenerated as u64)),
        ));
    }
    facts(&pairs)
}

fn places(series: &Series) -> Vec<f64> {
    series.saves.iter().map(|save| save.at as f64).collect()
}

fn events(series: &Series) -> Vec<f64> {
    let saves = series.regenerations.iter().map(|r| &series.saves[r.save]);
    saves.map(|save| save.at as f64).collect()
}

fn draw(lines: &Lines<'_>, label: &str, width: f64) -> io::Result<Figure> {
    let frame = Frame {
        left: 0.0,
        top: 0.0,
        width,
        height: HEIGHT,
    };
    let (svg, plot) = chart::draw((width, HEIGHT), label, |canvas| lines.draw(canvas, frame))?;
    Ok(Figure { svg, plot })
}

/// The attributes of a chart of lines, each a name and a pointer into the data.
fn attributes(series: &Series, lines: &[Value]) -> String {
    format!(
        "data-chart=\"lines\" data-x=\"/saves\" data-unit=\"{}\" data-lines=\"{}\"",
        unit(series),
        escaped(&Value::from(lines).to_string())
    )
}

/// What the dashed lines are, where there are any.
fn told(series: &Series) -> &'static str {
    match series.regenerations.is_empty() {
        true => "",
        false => " Dashed: a regeneration.",
    }
}

fn inhibited(series: &Series) -> io::Result<String> {
    let all = &series.network;
    let share = |save| Some(100.0 * all.inhibited_share(save));
    let x = places(series);
    let lines = Lines {
        x: &x,
        x_name: x_name(series),
        y_name: "% of all channels",
        lines: vec![Line {
            name: "inhibited".to_owned(),
            values: (0..x.len()).map(share).collect(),
            color: chart::ALARM,
        }],
        level: None,
        events: events(series),
        marks: Vec::new(),
    };
    let pointers = [json!({"name": "inhibited channels", "at": "/network/inhibited"})];
    let caption = format!(
        "<h3>Inhibited channels</h3><p>With |γ| &lt; 0.01.{}</p>",
        told(series)
    );
    figure(&attributes(series, &pointers), &caption, |width| {
        draw(&lines, "share of inhibited channels over time", width)
    })
}

fn trajectories(series: &Series) -> io::Result<String> {
    let name = |t: &crate::inspect::track::Trajectory| {
        let channel = format!("{}:{}", t.layer, t.channel);
        match t.chosen {
            Chosen::Asked => channel,
            Chosen::Weakest => format!("weakest {channel}"),
            Chosen::Strongest => format!("strongest {channel}"),
        }
    };
    let x = places(series);
    let mut lines = vec![Line {
        name: "median of all".to_owned(),
        values: series.network.median.clone(),
        color: chart::MUTED,
    }];
    let mut pointers = vec![json!({"name": "median of all", "at": "/network/median"})];
    for (i, trajectory) in series.trajectories.iter().enumerate() {
        lines.push(Line {
            name: name(trajectory),
            values: trajectory.gamma.clone(),
            // The weakest is the one to worry about.
            color: match trajectory.chosen {
                Chosen::Weakest => chart::ALARM,
                Chosen::Strongest => chart::LINE,
                Chosen::Asked => COLORS[i % COLORS.len()],
            },
        });
        let at = format!("/trajectories/{i}/gamma");
        pointers.push(json!({"name": name(trajectory), "at": at}));
    }
    let lines = Lines {
        x: &x,
        x_name: x_name(series),
        y_name: "γ",
        lines,
        level: None,
        events: events(series),
        marks: Vec::new(),
    };
    let chosen = match series.trajectories.first().map(|t| t.chosen) {
        Some(Chosen::Asked) => "",
        _ => "Those whose |γ| has the smallest and the largest mean over time.",
    };
    let caption = format!("<h3>Single channels</h3><p>{chosen}{}</p>", told(series));
    figure(&attributes(series, &pointers), &caption, |width| {
        draw(&lines, "γ of single channels over time", width)
    })
}

fn heat(series: &Series) -> io::Result<String> {
    let columns = places(series);
    let shares = |layer: &LayerSeries| -> Vec<f64> {
        (0..columns.len())
            .map(|save| layer.inhibited_share(save))
            .collect()
    };
    let rows: Vec<(&str, Vec<f64>)> = series
        .layers
        .iter()
        .map(|layer| (&layer.name[..], shares(layer)))
        .collect();
    let top = rows
        .iter()
        .flat_map(|(_, shares)| shares)
        .copied()
        .fold(0.0, f64::max);
    let heat = Heat {
        rows,
        columns: &columns,
        x_name: x_name(series),
        top: if top > 0.0 { top } else { 1.0 },
    };
    let attributes = format!(
        "data-chart=\"heat\" data-x=\"/saves\" data-unit=\"{}\" data-rows=\"/layers\"",
        unit(series)
    );
    let caption = "<h3>Inhibited, layer by layer</h3><p>The share of each layer’s channels with \
                   |γ| &lt; 0.01; a column for each checkpoint.</p>";
    figure(&attributes, caption, |width| {
        let height = heat.height();
        let frame = Frame {
            left: 0.0,
            top: 0.0,
            width,
            height,
        };
        let label = "share of inhibited channels by layer and checkpoint";
        let (svg, plot) = chart::draw((width, height), label, |canvas| heat.draw(canvas, frame))?;
        Ok(Figure { svg, plot })
    })
}

fn masks(series: &Series) -> io::Result<String> {
    if series.saves.len() < 2 {
        return Ok(String::new());
    }
    let x = places(series);
    let share = |distance: &Option<f64>| distance.map(|distance| 100.0 * distance);
    let lines = Lines {
        x: &x,
        x_name: x_name(series),
        y_name: "% of all channels",
        lines: vec![Line {
            name: "changed sides".to_owned(),
            values: series.network.hamming.iter().map(share).collect(),
            color: chart::LINE,
        }],
        level: Some(100.0 * SETTLED),
        events: events(series),
        marks: Vec::new(),
    };
    let pointers = [json!({"name": "share of channels", "at": "/network/hamming"})];
    let caption = format!(
        "<h3>Changed sides of the median</h3><p>Channels at or below the network’s median that were \
         not so one checkpoint earlier, and the other way round. Below the line, at 10 %, a network \
         has settled (You et al., Early-Bird tickets, 2020).{}</p>",
        told(series)
    );
    figure(&attributes(series, &pointers), &caption, |width| {
        draw(&lines, "distance of successive masks over time", width)
    })
}

fn survival(series: &Series) -> io::Result<String> {
    let known = &series.survival;
    if known.is_empty() {
        return Ok(String::new());
    }
    let sources = [
        (Source::Record, "by its record"),
        (Source::Mark, "by the mark in the file"),
    ];
    let rows: String = series
        .regenerations
        .iter()
        .map(|r| {
            let source = sources.iter().find(|(source, _)| *source == r.source);
            format!(
                "<tr><th scope=\"row\" class=\"text\">{} {}</th><td class=\"text\">{}</td>\
                 <td>{}</td><td>{}</td><td>{}</td></tr>\n",
                unit(series),
                series.saves[r.save].at,
                source.map_or("", |(_, said)| said),
                grouped(r.regenerated as u64),
                r.alive
                    .last()
                    .map_or_else(String::new, |n| count_and_share(*n, r.regenerated)),
                r.alive.len() - 1,
            )
        })
        .collect();
    let list = format!(
        "<div class=\"scroll\"><table class=\"rules\">\n<thead><tr>\
         <th scope=\"col\" class=\"text\">regeneration</th><th scope=\"col\" class=\"text\">known</th>\
         <th scope=\"col\">channels</th><th scope=\"col\">alive</th>\
         <th scope=\"col\">saves later</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    );
    let x: Vec<f64> = known.iter().map(|point| point.after as f64).collect();
    let alive = |p: &crate::inspect::track::Survival| {
        Some(100.0 * p.alive as f64 / p.regenerated.max(1) as f64)
    };
    let lines = Lines {
        x: &x,
        x_name: "checkpoints later",
        y_name: "% of regenerated channels",
        lines: vec![Line {
            name: "alive".to_owned(),
            values: known.iter().map(alive).collect(),
            color: chart::LINE,
        }],
        level: None,
        events: Vec::new(),
        marks: Vec::new(),
    };
    let pointers = json!([
        {"name": "alive", "at": "/survival", "key": "alive"},
        {"name": "of", "at": "/survival", "key": "regenerated"},
    ]);
    let attributes = format!(
        "data-chart=\"lines\" data-x=\"/survival\" data-unit=\"saves later:\" data-lines=\"{}\"",
        escaped(&pointers.to_string())
    );
    let caption = "<h3>Regenerated channels that stay alive</h3><p>Those that are not inhibited, of \
                   all regenerations that were followed so long; each up to the next.</p>";
    let drawn = figure(&attributes, caption, |width| {
        draw(
            &lines,
            "share of regenerated channels that stay alive",
            width,
        )
    })?;
    Ok(drawn + &list)
}

fn columns(series: &Series) -> Vec<Column> {
    let last = series.saves.len() - 1;
    let column = |heading, key: String| Column {
        heading,
        text: key == "name",
        at: format!("/layers/*/{key}"),
    };
    vec![
        column("layer", "name".to_owned()),
        column("channels", "channels".to_owned()),
        column("inhibited first", "inhibited/0".to_owned()),
        column("last", format!("inhibited/{last}")),
        column("median first", "median/0".to_owned()),
        column("last", format!("median/{last}")),
        column("min last", format!("min/{last}")),
        column("max last", format!("max/{last}")),
        column("changed sides last", format!("hamming/{last}")),
    ]
}

fn cells(layer: &LayerSeries) -> Vec<String> {
    let last = layer.inhibited.len() - 1;
    let count = |count: usize| match count {
        0 => "0".to_owned(),
        count => format!("<b>{}</b>", grouped(count as u64)),
    };
    vec![
        escaped(&layer.name).replace('.', "<wbr>."),
        grouped(layer.channels as u64),
        count(layer.inhibited[0]),
        count(layer.inhibited[last]),
        gamma(layer.median[0]),
        gamma(layer.median[last]),
        gamma(layer.min[last]),
        gamma(layer.max[last]),
        layer.hamming[last].map_or_else(|| "–".to_owned(), percent),
    ]
}

/// Which file stands for which point.
fn saves(series: &Series) -> String {
    let row = |save: &crate::inspect::track::Save| {
        format!(
            "<tr><td>{}</td><td class=\"text\">{}</td></tr>\n",
            save.at,
            escaped(&save.path)
        )
    };
    let rows: String = series.saves.iter().map(row).collect();
    format!(
        "<h3>Checkpoints</h3>\n<div class=\"scroll\"><table class=\"rules\">\n<tbody>\n{rows}</tbody>\
         </table></div>\n"
    )
}
