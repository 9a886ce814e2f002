//! How the engine computes a batch: one line a step.

use std::fmt::Write as _;

use anstyle::Style;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::super::BOLD;
use super::super::output::plural;
use super::steps::{name, what};
use super::{SHORTEST_NAME, end, heading};
use crate::engine::cpu::{Place, PlanReport, PlannedStep, PlannedValue};
use crate::net::Graph;

const MIB: usize = "1234.5".len();
const VALUE: usize = "1234".len();
const GRADIENT: usize = "grad".len();
const TOTAL: usize = "their gradients".len();

struct Row {
    name: String,
    what: String,
    output: String,
    layout: String,
    value: PlannedValue,
    segment: usize,
}

/// Every step and the memory of the whole; `width` columns wide where that is possible.
pub(super) fn render(graph: &Graph, plan: &PlanReport, width: usize) -> String {
    let images = if plan.input.framed {
        "images, framed"
    } else {
        "images"
    };
    let row = |name, what, value: PlannedValue, segment: usize| Row {
        name,
        what,
        output: value.shape.to_string(),
        layout: format!("{}×{}×{}", value.rows, value.columns, value.channels),
        value,
        segment,
    };
    let name_of_images = graph.nodes()[0].name.clone();
    let mut rows = vec![row(name_of_images, images.into(), plan.input, 0)];
    let steps = plan.steps.iter();
    rows.extend(steps.map(|step| {
        let (name, what) = (name(graph, step), what(graph, step));
        row(name, what, step.value, step.segment)
    }));
    // As they run: what waits for its reader is in a later segment.
    rows.sort_by_key(|row| row.segment);
    let column = |text: fn(&Row) -> &str, heading: &str| {
        let longest = rows.iter().map(|row| text(row).width()).max();
        longest.unwrap_or(0).max(heading.width())
    };
    let output = column(|row| &row.output, "output");
    let layout = column(|row| &row.layout, "in memory");
    let room = width.saturating_sub(output + layout + MIB + VALUE + GRADIENT + 6);
    let kind = column(|row| &row.what, "what");
    let shown = column(|row| &row.name, "step").min(room.saturating_sub(kind).max(SHORTEST_NAME));

    let way = if plan.training {
        "training"
    } else {
        "evaluation"
    };
    let images = plural(plan.images, "image");
    let steps = plural(plan.steps.len(), "step");
    let nodes = plural(graph.nodes().len() - 1, "node");
    let facts = [
        format!("{images} of {}", graph.input_shape()),
        format!("{way}: {steps} for {nodes}"),
    ];
    let mut out = heading(graph.name(), &facts, width);
    let _ = writeln!(
        out,
        "{:<shown$} {:<kind$} {:>output$} {:>layout$} {:>MIB$} {:>VALUE$} {:>GRADIENT$}",
        "step", "what", "output", "in memory", "MiB", "at", "grad"
    );
    let place = |place: Option<Place>| match place {
        None => "-".to_owned(),
        Some(Place::Block) => "·".to_owned(),
        Some(Place::Behind(bytes)) => (bytes >> 20).to_string(),
    };
    let mut last = None;
    for row in &rows {
        if last != Some(row.segment) {
            let images = plan.segments[row.segment].images;
            let images = plural(images, "image");
            let _ = writeln!(out, "segment {}: {images} at a time", row.segment);
            last = Some(row.segment);
        }
        let (value, gradient) = (place(Some(row.value.place)), place(row.value.gradient));
        let _ = writeln!(
            out,
            "{} {:<kind$} {:>output$} {:>layout$} {:>MIB$} {value:>VALUE$} {gradient:>GRADIENT$}",
            end(&row.name, shown),
            row.what,
            row.output,
            row.layout,
            mib(row.value.bytes),
        );
    }
    let backward = plan.segments.iter().filter(|segment| segment.backward);
    let (all, backward) = (plan.segments.len(), backward.count());
    let _ = writeln!(
        out,
        "{} forward and {backward} backward, {}",
        plural(all - backward, "segment"),
        plural(plan.tasks, "task")
    );
    let left = shown + kind + output + layout + 3 - TOTAL - 1;
    for (name, note, bytes) in totals(plan) {
        let style = match name {
            "total" => BOLD,
            _ => Style::new(),
        };
        let mib = mib(bytes);
        let _ = writeln!(
            out,
            "{style}{name:<TOTAL$}{style:#} {note:<left$} {mib:>MIB$}"
        );
    }
    out
}

/// The parts of the memory, and all of it.
fn totals(plan: &PlanReport) -> Vec<(&'static str, String, usize)> {
    let blocks = format!("of images, for {}", plural(plan.threads, "thread"));
    let shared = format!("{} MiB if none were shared", mib(plan.unshared));
    let optimizer = match plan.slot {
        0 => "none",
        _ => "SGD's momentum; AdamW keeps twice as much",
    };
    vec![
        ("all images", shared, plan.shared),
        ("blocks", blocks, plan.blocks),
        (
            "weights",
            "with running statistics".to_owned(),
            plan.tensors,
        ),
        ("their gradients", String::new(), plan.tensor_gradients),
        ("optimizer", optimizer.to_owned(), plan.slot),
        (
            "scratch",
            "for sums and prepared filters".to_owned(),
            plan.scratch,
        ),
        ("total", String::new(), plan.total()),
    ]
}

fn mib(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

pub(super) fn to_json(graph: &Graph, plan: &PlanReport) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| step_json(graph, step))
        .collect();
    json!({
        "name": graph.name(),
        "images": plan.images,
        "training": plan.training,
        "input": value_json(&plan.input),
        "steps": steps,
        "segments": plan.segments.iter().map(|segment| json!({
            "backward": segment.backward,
            "images": segment.images,
        })).collect::<Vec<Value>>(),
        "tasks": plan.tasks,
        "threads": plan.threads,
        "bytes": {
            "shared": plan.shared,
            "blocks": plan.blocks,
            "unshared": plan.unshared,
            "weights": plan.tensors,
            "weight_gradients": plan.tensor_gradients,
            "optimizer_slot": plan.slot,
            "scratch": plan.scratch,
            "total": plan.total(),
        },
    })
}

fn step_json(graph: &Graph, step: &PlannedStep) -> Value {
    let names = |nodes: &[usize]| -> Vec<&str> {
        let names = nodes.iter().map(|node| &graph.nodes()[*node].name[..]);
        names.collect()
    };
    json!({
        "name": graph.nodes()[step.node].name,
        "kind": step.kind,
        "what": what(graph, step),
        "nodes": names(&step.nodes),
        "inputs": names(&step.inputs),
        "segment": step.segment,
        "again": step.again,
        "output": value_json(&step.value),
    })
}

fn value_json(value: &PlannedValue) -> Value {
    let shape = value.shape;
    let place = |place: Place| match place {
        Place::Behind(bytes) => json!(bytes),
        Place::Block => json!("block"),
    };
    json!({
        "shape": [shape.channels, shape.height, shape.width],
        "in_memory": [value.rows, value.columns, value.channels],
        "framed": value.framed,
        "bytes": value.bytes,
        "at": place(value.place),
        "gradient_at": value.gradient.map(place),
    })
}
