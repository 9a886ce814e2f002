//! A network as a table: one line a layer.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::super::BOLD;
use super::{SHORTEST_NAME, end, grouped, heading, normalisations, short};
use crate::error::Result;
use crate::net::{Cost, Graph, Layer, Op, layers};
use crate::render::percent;
use crate::text::printable;

const MACS: usize = "999.9 M".len();
const SHARE: usize = "share".len();

struct Row {
    name: String,
    what: String,
    output: String,
    cost: Cost,
}

/// Every layer that has tensors or changes the size of the map, and the whole; `width` columns wide
/// where that is possible.
pub(super) fn render(graph: &Graph, width: usize) -> Result<String> {
    let costs = graph.costs()?;
    let total = graph.cost()?;
    let rows: Vec<Row> = layers(graph)
        .iter()
        .filter(|layer| is_shown(graph, layer))
        .map(|layer| Row {
            name: printable(&layer.first(graph).name),
            what: layer.describe(graph),
            output: layer.last(graph).shape.to_string(),
            cost: (layer.nodes.iter().map(|index| costs[*index]))
                .fold(Cost::default(), Cost::saturating_add),
        })
        .collect();
    let column = |text: fn(&Row) -> &str, heading: &str| {
        let longest = rows.iter().map(|row| text(row).width()).max();
        longest.unwrap_or(0).max(heading.width())
    };
    let what = column(|row| &row.what, "what");
    let output = column(|row| &row.output, "output");
    let parameters = grouped(total.parameters).len().max("params".len());
    let others = what + output + parameters + MACS + SHARE + 5;
    let room = width.saturating_sub(others).max(SHORTEST_NAME);
    let name = column(|row| &row.name, "layer").min(room);

    let (from, result) = (graph.input_shape(), graph.output_shape());
    let to = match result.pixels() {
        1 => result.channels.to_string(),
        _ => result.to_string(),
    };
    let mut facts = vec![format!("{from} to {to}")];
    facts.extend(normalisations(graph));
    if let Some(auxiliary) = graph.auxiliary() {
        let head = printable(&graph.nodes()[auxiliary.value.index()].name);
        facts.push(format!(
            "auxiliary output {head}, its loss × {}",
            auxiliary.weight
        ));
    }
    let mut out = heading(graph.name(), &facts, width);
    let _ = writeln!(
        out,
        "{:<name$} {:<what$} {:>output$} {:>parameters$} {:>MACS$} share",
        "layer", "what", "output", "params", "MACs"
    );
    for row in &rows {
        let _ = writeln!(
            out,
            "{} {:<what$} {:>output$} {:>parameters$} {:>MACS$} {:>SHARE$}",
            end(&row.name, name),
            row.what,
            row.output,
            grouped(row.cost.parameters),
            short(row.cost.multiply_adds),
            percent(row.cost.multiply_adds, total.multiply_adds),
        );
    }
    let _ = writeln!(
        out,
        "{BOLD}{:<name$}{BOLD:#} {:<what$} {:>output$} {:>parameters$} {:>MACS$}",
        "total",
        "",
        "",
        grouped(total.parameters),
        short(total.multiply_adds),
    );
    Ok(out)
}

fn is_shown(graph: &Graph, layer: &Layer) -> bool {
    let first = layer.first(graph);
    let pixels = |index: usize| graph.nodes()[index].shape.pixels();
    let resized = first
        .inputs
        .iter()
        .any(|input| pixels(input.index()) != first.shape.pixels());
    let has_tensors = |index: &usize| !graph.nodes()[*index].op.tensors().is_empty();
    layer.nodes.iter().any(has_tensors) || (resized && first.op != Op::Gate)
}
