//! An edit as a page: γ before and after.

use std::io;

use super::report::{header, heading, layer_name};
use super::{drawn, ends, histogram, names_begin_with, ridge};
use crate::inspect::charts::{Past, histogram_figure, ridge_figure};
use crate::inspect::{Edited, Html, LayerReport, NetworkReport, Render};
use crate::render::page::{Column, Page, alarming, count_and_share, facts, figure, or_dash, table};
use crate::render::{escaped, grouped};
use crate::text::file_name;

impl Render<Edited> for Html {
    fn render(&self, edited: &Edited, out: &mut dyn io::Write) -> io::Result<()> {
        let (before, after) = edited.networks();
        let past = Some(Past {
            network: before,
            regenerated: &edited.regenerated,
        });
        let mut body = header(&edited.after, &headline(edited));
        body += "<section>\n";
        body += &heading(&edited.after, after);
        body += &edit_facts(edited);
        body += &names_begin_with(&after.names_begin_with);
        let is_apart = after.drawn_edges.is_some();
        let part = drawn(is_apart);
        let bins = format!("/after/networks/0/{part}");
        let attributes = format!(
            "{} data-before=\"/before/networks/0/{part}\"",
            histogram(&bins, &bins)
        );
        let caption = "<h3>All channels</h3><p>Filled: after; outline: before.</p>";
        body += &figure(&attributes, caption, |w| histogram_figure(after, past, w));
        let attributes = format!(
            "{} data-before=\"/before/networks/0/layers\"",
            ridge(&bins, "/after/networks/0/layers", part)
        );
        let caption = format!(
            "<h3>Layer by layer</h3><p>On one axis; each layer has its own height, at which a bin that \
             towers over the others is cut. Filled: after; outline: before. The short stroke is the \
             layer's median after, the long line the network's; the dashed ones are |γ| = 0.01.{}</p>",
            ends(is_apart)
        );
        body += &figure(&attributes, &caption, |w| ridge_figure(after, past, w));
        body += "<h3>Numbers</h3>\n";
        let layers = before.layers.iter().zip(&after.layers);
        let rows = layers.zip(&edited.regenerated);
        body += &table(
            "Layers",
            &columns(edited),
            rows.map(|((b, a), n)| cells(after, (b, a), *n)),
        );
        body += "</section>\n";
        Page {
            title: &format!("γ of {}, before and after", file_name(&edited.after.path)),
            data: &edited.to_json(),
            body: &body,
        }
        .write(out)
    }
}

fn headline(edited: &Edited) -> String {
    let mut out = format!("<p class=\"rule\">{}</p>\n", escaped(&edited.rule));
    if !edited.done {
        out += "<p class=\"alarm\">A dry run: nothing was written, “after” is what would be.</p>\n";
    }
    for warning in &edited.warnings {
        out += &format!("<p class=\"alarm\">{}</p>\n", escaped(warning));
    }
    out
}

fn edit_facts(edited: &Edited) -> String {
    let (before, after) = edited.networks();
    let total: usize = edited.regenerated.iter().sum();
    let touched = edited.regenerated.iter().filter(|n| **n > 0).count();
    let layers = format!(
        "{} <small>of {}</small>",
        grouped(touched as u64),
        grouped(after.layer_count as u64)
    );
    let of_all = |inhibited| count_and_share(inhibited, after.total.channels);
    let mut pairs = vec![
        ("channels", grouped(after.total.channels as u64)),
        (verb(edited), of_all(total)),
        ("in layers", layers),
        (
            "median γ",
            format!("{} → {}", or_dash(before.median()), or_dash(after.median())),
        ),
        (
            "inhibited, |γ| &lt; 0.01",
            format!(
                "{} → {}",
                grouped(before.total.inhibited as u64),
                grouped(after.total.inhibited as u64)
            ),
        ),
    ];
    if after.total.pruned > 0 && verb(edited) == REGENERATED {
        let before = grouped(before.total.pruned as u64);
        let now = of_all(after.total.pruned);
        pairs.push(("pruned", format!("{before} → {now}")));
    }
    facts(&pairs)
}

const REGENERATED: &str = "regenerated";

/// What became of the channels that changed.
fn verb(edited: &Edited) -> &'static str {
    let (before, after) = edited.networks();
    if after.total.pruned > before.total.pruned {
        "pruned"
    } else {
        REGENERATED
    }
}

fn columns(edited: &Edited) -> Vec<Column> {
    let column = |heading, at: &str| Column {
        heading,
        at: at.to_owned(),
        text: at.ends_with("name"),
    };
    vec![
        column("layer", "/after/networks/0/layers/*/name"),
        column("channels", "/after/networks/0/layers/*/channels"),
        column(verb(edited), "/regenerated/*"),
        column("min before", "/before/networks/0/layers/*/min"),
        column("after", "/after/networks/0/layers/*/min"),
        column("median before", "/before/networks/0/layers/*/median"),
        column("after", "/after/networks/0/layers/*/median"),
        column("inhibited before", "/before/networks/0/layers/*/inhibited"),
        column("after", "/after/networks/0/layers/*/inhibited"),
    ]
}

fn cells(
    network: &NetworkReport,
    (before, after): (&LayerReport, &LayerReport),
    regenerated: usize,
) -> Vec<String> {
    let (b, a) = (&before.statistics, &after.statistics);
    vec![
        layer_name(network, after),
        grouped(a.channels as u64),
        grouped(regenerated as u64),
        or_dash(b.range.map(|range| range.min)),
        or_dash(a.range.map(|range| range.min)),
        or_dash(b.range.map(|range| range.median)),
        or_dash(a.range.map(|range| range.median)),
        alarming(b.inhibited),
        alarming(a.inhibited),
    ]
}
