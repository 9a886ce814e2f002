//! One checkpoint as a page.

use std::io;

use super::{drawn, ends, histogram, names_begin_with, ridge};
use crate::batchnorm::Role;
use crate::inspect::charts::{histogram_figure, ridge_figure};
use crate::inspect::json::to_json;
use crate::inspect::{Html, LayerReport, NetworkReport, Preview, Render, Report};
use crate::regen::Rule;
use crate::render::page::{
    Column, Page, alarming, breakable, count_and_share, facts, figure, or_dash, table,
};
use crate::render::{escaped, grouped, typeset};
use crate::text::file_name;

impl Render<Report> for Html {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        let mut body = header(report, "");
        for (i, network) in report.networks.iter().enumerate() {
            body += &section(report, i, network);
        }
        Page {
            title: &format!("γ of {}", file_name(&report.path)),
            data: &to_json(report),
            body: &body,
        }
        .write(out)
    }
}

/// File, format and training; `more` is HTML.
pub(super) fn header(report: &Report, more: &str) -> String {
    let mut said = vec![report.format.to_string()];
    said.extend(report.training_facts());
    if report.pending {
        said.push("an interrupted edit waits to be completed".to_owned());
    }
    let path = report.path.to_string_lossy();
    let name = file_name(&report.path);
    let path = if path == name {
        String::new()
    } else {
        format!("<p class=\"path\">{}</p>\n", escaped(&path))
    };
    format!(
        "<header>\n<p class=\"kind\">BatchNorm scales γ</p>\n<h1>{}</h1>\n{path}\
         <p class=\"said\">{}</p>\n{more}</header>\n",
        escaped(&name),
        escaped(&said.join(" · "))
    )
}

fn section(report: &Report, i: usize, network: &NetworkReport) -> String {
    let at = format!("/networks/{i}");
    let mut out = format!("<section>\n{}", heading(report, network));
    out += &network_facts(network);
    out += &match network.rules() {
        Ok(rules) => rule_table(network, rules),
        Err(reason) => format!(
            "<p class=\"alarm\">No rule can be applied as it stands: {}</p>\n",
            escaped(reason)
        ),
    };
    out += &names_begin_with(&network.names_begin_with);
    let is_apart = network.drawn_edges.is_some();
    let bins = format!("{at}/{}", drawn(is_apart));
    let attributes = histogram(&bins, &bins);
    out += &figure(&attributes, "<h3>All channels</h3>", |width| {
        histogram_figure(network, None, width)
    });
    let attributes = ridge(&bins, &format!("{at}/layers"), drawn(is_apart));
    let caption = format!(
        "<h3>Layer by layer</h3><p>On one axis; each layer has its own height. The short stroke is its \
         median, the long line the network's; the dashed ones are |γ| = 0.01.{}</p>",
        ends(is_apart)
    );
    out += &figure(&attributes, &caption, |width| {
        ridge_figure(network, None, width)
    });
    out += "<h3>Numbers</h3>\n";
    out += &table(
        "Layers",
        &columns(&at, network),
        network.layers.iter().map(|l| cells(network, l)),
    );
    out + "</section>\n"
}

/// The network's name, where there is more to say than the file's.
pub(super) fn heading(report: &Report, network: &NetworkReport) -> String {
    if report.networks.len() == 1 && network.root.is_empty() && network.role == Role::Raw {
        return String::new();
    }
    let root = match &network.root[..] {
        "" => "network".to_owned(),
        root => escaped(root),
    };
    format!("<h2>{root} <small>{}</small></h2>\n", network.role)
}

fn network_facts(network: &NetworkReport) -> String {
    let total = &network.total;
    let mut pairs = vec![
        ("layers", grouped(network.layer_count as u64)),
        ("channels", grouped(total.channels as u64)),
        ("median γ", or_dash(network.median())),
        (
            "inhibited, |γ| &lt; 0.01",
            count_and_share(total.inhibited, total.channels),
        ),
        ("negative", count_and_share(total.negative, total.channels)),
    ];
    if total.pruned > 0 {
        pairs.push(("pruned", count_and_share(total.pruned, total.channels)));
    }
    if total.non_finite > 0 {
        pairs.push(("NaN or infinite", grouped(total.non_finite as u64)));
    }
    let fixed = network.layers.iter().filter(|layer| layer.fixed.is_some());
    let fixed = fixed.count();
    if fixed > 0 {
        pairs.push(("layers not editable", grouped(fixed as u64)));
    }
    facts(&pairs)
}

fn rule_table(network: &NetworkReport, rules: &[Preview; 3]) -> String {
    let mut out = String::from(
        "<h3>What each rule would change</h3>\n<div class=\"scroll\"><table class=\"rules\">\n\
         <thead><tr><th scope=\"col\" class=\"text\">rule</th>\
         <th scope=\"col\" class=\"text\">does</th><th scope=\"col\">t</th>\
         <th scope=\"col\">selects</th><th scope=\"col\">changes</th>\
         <th scope=\"col\">in layers</th></tr></thead>\n<tbody>\n",
    );
    for preview in rules {
        let does = match preview.rule {
            Rule::Paper => "γ ≤ t becomes t",
            Rule::Reference => "|γ| &lt; t becomes t",
            Rule::KeepSign => "|γ| &lt; t becomes ±t",
        };
        out += &format!(
            "<tr><th scope=\"row\" class=\"text\">{}<small>{does}</small></th><td class=\"text\">{does}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>\n",
            preview.rule,
            typeset(preview.threshold),
            grouped(preview.total.selected as u64),
            count_and_share(preview.total.regenerated, network.total.channels),
            grouped(preview.layers_touched as u64),
        );
    }
    out + "</tbody></table></div>\n<p class=\"note\">t is the median of γ for paper, of |γ| for \
           the others, over all layers. Selected γ that have the new value already do not \
           change.</p>\n"
}

fn columns(at: &str, network: &NetworkReport) -> Vec<Column> {
    let column = |heading, key: &str| Column {
        heading,
        at: format!("{at}/layers/*/{key}"),
        text: key == "name",
    };
    let mut columns = vec![
        column("layer", "name"),
        column("channels", "channels"),
        column("min", "min"),
        column("median", "median"),
        column("max", "max"),
        column("inhibited", "inhibited"),
        column("≤ median", "at_or_below_median"),
        column("negative", "negative"),
        column("paper", "rules/paper/regenerated"),
        column("reference", "rules/reference/regenerated"),
        column("keep-sign", "rules/keep-sign/regenerated"),
    ];
    if network.total.pruned > 0 {
        columns.insert(2, column("pruned", "pruned"));
    }
    columns
}

/// The name of a layer, with what is wrong with it.
pub(super) fn layer_name(network: &NetworkReport, layer: &LayerReport) -> String {
    let mut name = breakable(network.short_name(layer));
    if let Some(reason) = &layer.fixed {
        name += &format!("<em>not editable: {}</em>", escaped(reason));
    }
    if layer.statistics.non_finite > 0 {
        name += &format!("<em>{} NaN or infinite</em>", layer.statistics.non_finite);
    }
    name
}

fn cells(network: &NetworkReport, layer: &LayerReport) -> Vec<String> {
    let s = &layer.statistics;
    let count = |count: usize| grouped(count as u64);
    let rule = |rule: Rule| match network.rules_in(layer) {
        Some(effects) => count(effects[rule as usize].regenerated),
        None => "–".to_owned(),
    };
    let mut cells = vec![
        layer_name(network, layer),
        count(s.channels),
        or_dash(s.range.map(|range| range.min)),
        or_dash(s.range.map(|range| range.median)),
        or_dash(s.range.map(|range| range.max)),
        alarming(s.inhibited),
        count(s.at_or_below_median),
        count(s.negative),
        rule(Rule::Paper),
        rule(Rule::Reference),
        rule(Rule::KeepSign),
    ];
    if network.total.pruned > 0 {
        cells.insert(2, count(s.pruned));
    }
    cells
}
