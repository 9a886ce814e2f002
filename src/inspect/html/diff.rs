//! Two checkpoints beside each other as a page.

use std::io;

use super::{drawn, ends, names_begin_with};
use crate::inspect::charts::{self, HISTOGRAM_HEIGHT, ridge_drawn};
use crate::inspect::diff::{Diff, LayerDiff, NetworkDiff, Side, Sided, TensorName, Tensors};
use crate::inspect::{Html, Render};
use crate::render::canvas::Figure;
use crate::render::chart::{Bars, Histogram, Ridge, Row};
use crate::render::page::{
    Column, Page, alarming, breakable, count_and_share, facts, figure, or_dash, table,
};
use crate::render::{escaped, grouped};
use crate::text::file_name;

/// Names listed of each kind.
const LISTED: usize = 100;

impl Render<Diff> for Html {
    fn render(&self, diff: &Diff, out: &mut dyn io::Write) -> io::Result<()> {
        let mut body = header(diff);
        for (i, network) in diff.networks.iter().enumerate() {
            body += &section(i, network);
        }
        body += &only_networks(diff);
        body += &match &diff.tensors {
            Some(tensors) => other_tensors(tensors),
            None => "<h3>Other tensors</h3>\n<p class=\"note\">Not compared.</p>\n".to_owned(),
        };
        Page {
            title: &format!("{} and {}", name(&diff.a), name(&diff.b)),
            data: &serde_json::to_value(diff)?,
            body: &body,
        }
        .write(out)
    }
}

fn name(side: &Side) -> String {
    file_name(std::path::Path::new(&side.path))
}

fn header(diff: &Diff) -> String {
    let side = |mark: &str, side: &Side| {
        let epoch = side
            .epoch
            .map_or_else(String::new, |n| format!(" · {n} epochs finished"));
        format!(
            "<p class=\"path\">{mark}: {} · {}{epoch}</p>\n",
            escaped(&side.path),
            side.format
        )
    };
    let verdict = if diff.equal {
        "Nothing differs."
    } else {
        "They differ."
    };
    format!(
        "<header>\n<p class=\"kind\">Two checkpoints beside each other</p>\n<h1>{} → {}</h1>\n{}{}\
         <p class=\"said\">{verdict}</p>\n</header>\n",
        escaped(&name(&diff.a)),
        escaped(&name(&diff.b)),
        side("A", &diff.a),
        side("B", &diff.b),
    )
}

fn section(i: usize, network: &NetworkDiff) -> String {
    let at = format!("/networks/{i}");
    let mut out = "<section>\n".to_owned();
    if !(network.root_a.is_empty() && network.root_b.is_empty()) {
        let root = match (&network.root_a[..], &network.root_b[..]) {
            (a, b) if a == b => escaped(a),
            (a, b) => format!("{} → {}", escaped(a), escaped(b)),
        };
        out += &format!("<h2>{root} <small>{}</small></h2>\n", network.role);
    }
    if let Some(regeneration) = &network.regeneration {
        let scope = match &regeneration.scope[..] {
            "network" => String::new(),
            scope => format!(" --scope {scope}"),
        };
        out += &format!(
            "<p class=\"rule\">The γ of B are those of A after apply --rule {}{scope}</p>\n",
            regeneration.rule
        );
    }
    out += &network_facts(network);
    out += &missing(network);
    out += &names_begin_with(&network.names_begin_with);
    let is_apart = network.histogram.drawn.is_some();
    let part = drawn(is_apart);
    let edges = format!("{at}/{part}");
    let attributes = format!(
        "{} data-before=\"{at}/a/{part}\"",
        super::histogram(&edges, &format!("{at}/b/{part}"))
    );
    let caption = "<h3>All channels</h3><p>Filled: B; outline: A.</p>";
    out += &figure(&attributes, caption, |width| {
        let histogram = histogram(network);
        let size = (width, HISTOGRAM_HEIGHT);
        Figure::draw(size, "histogram of γ", |canvas, frame| {
            histogram.draw(canvas, frame)
        })
    });
    let attributes = format!(
        "{} data-part=\"b\" data-before=\"{at}/layers\" data-before-part=\"a\"",
        super::ridge(&edges, &format!("{at}/layers"), part)
    );
    let caption = format!(
        "<h3>Layer by layer</h3><p>On one axis; each layer has its own height. Filled: B; outline: A. \
         The short stroke is the layer’s median in B, the long line the network’s; the dashed ones are \
         |γ| = 0.01.{}</p>",
        ends(is_apart)
    );
    out += &figure(&attributes, &caption, |width| {
        ridge_drawn(&ridge(network, width < 500.0), width)
    });
    out += "<h3>Numbers</h3>\n";
    out += &table(
        "Layers",
        &columns(&at, network),
        network.layers.iter().map(|layer| cells(network, layer)),
    );
    out + "</section>\n"
}

fn histogram(network: &NetworkDiff) -> Histogram<'_> {
    let (a, b) = (side(&network.a), side(&network.b));
    charts::histogram(edges(network), b, Some(a))
}

fn edges(network: &NetworkDiff) -> &[f64] {
    let drawn = network.histogram.drawn.as_ref();
    drawn.map_or(&network.histogram.fine_edges, |drawn| &drawn.fine_edges)
}

fn side(side: &Sided) -> charts::Side<'_> {
    charts::Side {
        bars: bars(side),
        min: side.summary.min,
        median: side.summary.median,
        max: side.summary.max,
    }
}

fn bars(side: &Sided) -> Bars<'_> {
    match &side.histogram.drawn {
        Some(drawn) => Bars {
            counts: &drawn.fine_counts,
            below: drawn.below,
            above: drawn.above,
        },
        None => Bars {
            counts: &side.histogram.fine_counts,
            below: 0,
            above: 0,
        },
    }
}

fn ridge(network: &NetworkDiff, narrow: bool) -> Ridge<'_> {
    let row = |layer: &'_ LayerDiff| -> Vec<(String, bool)> {
        let moved = (grouped(layer.gamma.moved as u64), false);
        let channels = (grouped(layer.gamma.channels as u64), false);
        if narrow {
            vec![moved]
        } else {
            vec![channels, moved]
        }
    };
    let rows = network.layers.iter().map(|layer| Row {
        name: network.short_name(layer),
        now: bars(&layer.b),
        before: Some(bars(&layer.a)),
        median: layer.b.summary.median,
        numbers: row(layer),
    });
    let headings = if narrow {
        vec!["moved"]
    } else {
        vec!["channels", "moved"]
    };
    let median = network.b.summary.median;
    charts::ridge(edges(network), rows.collect(), headings, median)
}

fn network_facts(network: &NetworkDiff) -> String {
    let (total, a, b) = (&network.total, &network.a.summary, &network.b.summary);
    let of = |count| count_and_share(count, total.channels);
    let mut pairs = vec![
        ("channels", grouped(total.channels as u64)),
        ("γ moved", of(total.moved)),
        ("layers that differ", grouped(network.layers_changed as u64)),
        (lifted(network), of(total.regenerated)),
        (
            "median γ",
            format!("{} → {}", or_dash(a.median), or_dash(b.median)),
        ),
        (
            "inhibited, |γ| &lt; 0.01",
            format!("{} → {}", grouped(a.inhibited as u64), of(b.inhibited)),
        ),
        ("died", grouped(total.died as u64)),
        ("came back", grouped(total.revived as u64)),
    ];
    if a.pruned + b.pruned > 0 {
        let before = grouped(a.pruned as u64);
        pairs.push(("pruned", format!("{before} → {}", of(b.pruned))));
    }
    facts(&pairs)
}

/// Layers that cannot be laid beside each other.
fn missing(network: &NetworkDiff) -> String {
    let mut out = String::new();
    for (side, layers) in [("A", &network.only_in_a), ("B", &network.only_in_b)] {
        for layer in layers {
            let (name, channels) = (escaped(&layer.name), layer.channels);
            out += &format!("<p class=\"alarm\">Only in {side}: {name}, {channels} channels</p>\n");
        }
    }
    for layer in &network.incompatible {
        let (name, reason) = (escaped(&layer.name), escaped(&layer.reason));
        out += &format!("<p class=\"alarm\">Not comparable: {name}: {reason}</p>\n");
    }
    out
}

/// What the field `regenerated` counts here.
fn lifted(network: &NetworkDiff) -> &'static str {
    match network.regeneration {
        Some(_) => "regenerated",
        None => "rose past A’s median",
    }
}

fn columns(at: &str, network: &NetworkDiff) -> Vec<Column> {
    let column = |heading, key: &str| Column {
        heading,
        at: format!("{at}/layers/*/{key}"),
        text: key == "name",
    };
    vec![
        column("layer", "name"),
        column("channels", "channels"),
        column("moved", "moved"),
        column("rose", "rose"),
        column("fell", "fell"),
        column("farthest", "largest/delta"),
        column("died", "died"),
        column("came back", "revived"),
        column(lifted(network), "regenerated"),
        column("median A", "a/median"),
        column("median B", "b/median"),
    ]
}

fn cells(network: &NetworkDiff, layer: &LayerDiff) -> Vec<String> {
    let count = |count: usize| grouped(count as u64);
    let g = &layer.gamma;
    vec![
        breakable(network.short_name(layer)),
        count(g.channels),
        count(g.moved),
        count(g.rose),
        count(g.fell),
        or_dash(g.largest.as_ref().map(|largest| largest.delta)),
        alarming(g.died),
        count(g.revived),
        count(g.regenerated),
        or_dash(layer.a.summary.median),
        or_dash(layer.b.summary.median),
    ]
}

fn only_networks(diff: &Diff) -> String {
    let mut out = String::new();
    for (side, networks) in [
        ("A", &diff.networks_only_in_a),
        ("B", &diff.networks_only_in_b),
    ] {
        for network in networks {
            let (root, role) = (escaped(&network.root), network.role);
            out += &format!("<p class=\"alarm\">Only in {side}: the network {root} ({role})</p>\n");
        }
    }
    out
}

fn other_tensors(tensors: &Tensors) -> String {
    let count = |count: usize| grouped(count as u64);
    let mut out = "<section>\n<h3>Other tensors</h3>\n".to_owned();
    out += &facts(&[
        ("equal", count(tensors.equal)),
        ("changed", count(tensors.changed.len())),
        ("only in A", count(tensors.only_in_a.len())),
        ("only in B", count(tensors.only_in_b.len())),
        (
            "of another type or shape",
            count(tensors.incompatible.len()),
        ),
        ("not compared", count(tensors.not_compared.len())),
    ]);
    let name = |tensor: &TensorName| match &tensor.root[..] {
        "" => tensor.name.clone(),
        root => format!("{root}: {}", tensor.name),
    };
    let kinds = tensors.incompatible.iter();
    let kinds = kinds.map(|m| format!("{}: {} in A, {} in B", name(&m.tensor), m.a, m.b));
    let reasons = tensors.not_compared.iter();
    let reasons = reasons.map(|n| format!("{}: {}", name(&n.tensor), n.reason));
    for (what, names) in [
        (
            "Changed",
            tensors.changed.iter().map(name).collect::<Vec<_>>(),
        ),
        ("Only in A", tensors.only_in_a.iter().map(name).collect()),
        ("Only in B", tensors.only_in_b.iter().map(name).collect()),
        ("Of another type or shape", kinds.collect()),
        ("Not compared", reasons.collect()),
    ] {
        if names.is_empty() {
            continue;
        }
        let shown = names.iter().take(LISTED).map(|name| escaped(name));
        let shown = shown.collect::<Vec<_>>().join("<br>\n");
        let more = match names.len().saturating_sub(LISTED) {
            0 => String::new(),
            more => format!("<br>\nand {more} more"),
        };
        out += &format!(
            "<details><summary>{what}</summary>\n<p class=\"path\">{shown}{more}</p></details>\n"
        );
    }
    out + "</section>\n"
}
