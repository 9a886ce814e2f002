//! A training run as a page.

mod charts;

use std::io;

use super::names_begin_with;
use crate::inspect::track::{LayerSeries, Order, Save, Series, Source};
use crate::inspect::{Html, Render};
use crate::render::page::{
    Column, Page, alarming, breakable, count_and_share, facts, or_dash, table,
};
use crate::render::{escaped, grouped, share_of};

impl Render<Series> for Html {
    fn render(&self, series: &Series, out: &mut dyn io::Write) -> io::Result<()> {
        let mut body = header(series);
        body += "<section>\n";
        body += &run_facts(series);
        body += &names_begin_with(&series.names_begin_with);
        body += &charts::inhibited(series);
        body += &charts::trajectories(series);
        body += &charts::heat(series);
        body += &charts::masks(series);
        if !series.survival.is_empty() {
            body += &charts::survival(series);
            body += &regenerations(series);
        }
        body += "<h3>Numbers</h3>\n";
        body += &table(
            "Layers",
            &columns(series),
            series.layers.iter().map(|layer| cells(series, layer)),
        );
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

fn run_facts(series: &Series) -> String {
    let (all, last) = (&series.network, series.saves.len() - 1);
    let mut pairs = vec![
        ("layers", grouped(series.layer_count as u64)),
        ("channels", grouped(all.channels as u64)),
        (
            "median γ",
            format!("{} → {}", or_dash(all.median[0]), or_dash(all.median[last])),
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
    if all.pruned.iter().any(|pruned| *pruned > 0) {
        let (first, last) = (all.pruned[0], all.pruned[last]);
        let now = count_and_share(last, all.channels);
        pairs.push(("pruned", format!("{} → {now}", grouped(first as u64))));
    }
    if let Some(distance) = all.hamming[last] {
        pairs.push(("changed sides last", share_of(distance)));
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

/// The regenerations, and how many of their channels are alive last.
fn regenerations(series: &Series) -> String {
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
    format!(
        "<div class=\"scroll\"><table class=\"rules\">\n<thead><tr>\
         <th scope=\"col\" class=\"text\">regeneration</th><th scope=\"col\" class=\"text\">known</th>\
         <th scope=\"col\">channels</th><th scope=\"col\">alive</th>\
         <th scope=\"col\">saves later</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
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

fn cells(series: &Series, layer: &LayerSeries) -> Vec<String> {
    let last = layer.inhibited.len() - 1;
    vec![
        breakable(series.short_name(&layer.name)),
        grouped(layer.channels as u64),
        alarming(layer.inhibited[0]),
        alarming(layer.inhibited[last]),
        or_dash(layer.median[0]),
        or_dash(layer.median[last]),
        or_dash(layer.min[last]),
        or_dash(layer.max[last]),
        layer.hamming[last].map_or_else(|| "–".to_owned(), share_of),
    ]
}

/// Which file stands for which point.
fn saves(series: &Series) -> String {
    let row = |save: &Save| {
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
