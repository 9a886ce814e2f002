//! How the engine computes a batch: one line a step.

use std::fmt::Write as _;

use anstyle::Style;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::super::BOLD;
use super::super::output::plural;
use super::steps::{name, what};
use super::{SHORTEST_NAME, end};
use crate::engine::cpu::{PlanReport, PlannedStep, PlannedValue};
use crate::net::Graph;

const MIB: usize = "12345.6".len();
const GRADIENT: usize = "gradient".len();
const TOTAL: usize = "their gradients".len();

struct Row {
    name: String,
    what: String,
    output: String,
    layout: String,
    value: PlannedValue,
}

/// Every step and the memory of the whole; `width` columns wide where that is possible.
pub(super) fn render(graph: &Graph, plan: &PlanReport, width: usize) -> String {
    let images = match plan.input.framed {
        true => "images, framed",
        false => "images",
    };
    let row = |name, what, value: PlannedValue| Row {
        name,
        what,
        output: value.shape.to_string(),
        layout: format!("{}×{}×{}", value.rows, value.columns, value.channels),
        value,
    };
    let mut rows = vec![row(
        graph.nodes()[0].name.clone(),
        images.into(),
        plan.input,
    )];
    let steps = plan.steps.iter();
    rows.extend(steps.map(|step| row(name(graph, step), what(graph, step), step.value)));
    let column = |text: fn(&Row) -> &str, heading: &str| {
        let longest = rows.iter().map(|row| text(row).width()).max();
        longest.unwrap_or(0).max(heading.width())
    };
    let output = column(|row| &row.output, "output");
    let layout = column(|row| &row.layout, "in memory");
    let room = width.saturating_sub(output + layout + MIB + GRADIENT + 5);
    let kind = column(|row| &row.what, "what");
    let shown = column(|row| &row.name, "step").min(room.saturating_sub(kind).max(SHORTEST_NAME));

    let mut out = String::new();
    let way = if plan.training {
        "training"
    } else {
        "evaluation"
    };
    let _ = writeln!(
        out,
        "{BOLD}{}{BOLD:#}: {} of {}, {way}: {} for {}",
        graph.name(),
        plural(plan.images, "image"),
        graph.input_shape(),
        plural(plan.steps.len(), "step"),
        plural(graph.nodes().len() - 1, "node"),
    );
    let _ = writeln!(
        out,
        "{:<shown$} {:<kind$} {:>output$} {:>layout$} {:>MIB$} {:>GRADIENT$}",
        "step",
        "what",
        "output",
        "in memory",
        "MiB",
        if plan.training { "gradient" } else { "buffer" }
    );
    for row in &rows {
        // In training every value has a buffer of its own.
        let buffer = match plan.training {
            true => row.value.gradient,
            false => Some(row.value.buffer),
        };
        let buffer = buffer.map_or("-".to_owned(), |buffer| buffer.to_string());
        let _ = writeln!(
            out,
            "{} {:<kind$} {:>output$} {:>layout$} {:>MIB$} {buffer:>GRADIENT$}",
            end(&row.name, shown),
            row.what,
            row.output,
            row.layout,
            mib(row.value.bytes),
        );
    }
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
    let buffers = plan.gradient_buffers.len();
    let gradients = match buffers {
        0 => "none".to_owned(),
        _ => format!(
            "{} for {}; unshared {} MiB",
            plural(buffers, "buffer"),
            plan.gradients(),
            mib(plan.unshared_gradients)
        ),
    };
    let optimizer = match plan.slot {
        0 => "none",
        _ => "SGD's momentum; AdamW keeps twice as much",
    };
    let values = format!(
        "{} for {} and the images",
        plural(plan.value_buffers.len(), "buffer"),
        plural(plan.steps.len(), "step")
    );
    vec![
        ("values", values, plan.values()),
        ("gradients", gradients, plan.gradient_buffers.iter().sum()),
        (
            "weights",
            "with running statistics".to_owned(),
            plan.tensors,
        ),
        ("their gradients", String::new(), plan.tensor_gradients),
        ("optimizer", optimizer.to_owned(), plan.slot),
        (
            "scratch",
            "for sums and turned filters".to_owned(),
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
        "value_buffers": plan.value_buffers,
        "gradient_buffers": plan.gradient_buffers,
        "gradients": plan.gradients(),
        "bytes": {
            "values": plan.values(),
            "gradients": plan.gradient_buffers.iter().sum::<usize>(),
            "unshared_gradients": plan.unshared_gradients,
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
        "output": value_json(&step.value),
    })
}

fn value_json(value: &PlannedValue) -> Value {
    let shape = value.shape;
    json!({
        "shape": [shape.channels, shape.height, shape.width],
        "in_memory": [value.rows, value.columns, value.channels],
        "framed": value.framed,
        "bytes": value.bytes,
        "buffer": value.buffer,
        "gradient_buffer": value.gradient,
    })
}
