//! Where the time of a batch goes: by kind of step, and the slowest steps.

use std::fmt::Write as _;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::super::BOLD;
use super::super::output::plural;
use super::measure::Times;
use super::steps::{name, what};
use super::{SHORTEST_NAME, end};
use crate::error::Result;
use crate::net::Graph;

/// How many of the slowest steps are shown.
const SLOWEST: usize = 10;

/// What is neither a step nor the update.
const REST: &str = "images, loss";

const MS: usize = "12345.678".len();
const SHARE: usize = "100.0%".len();

/// Milliseconds of one batch, on average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Part {
    steps: usize,
    forward: f64,
    backward: f64,
}

impl Part {
    fn both(self) -> f64 {
        self.forward + self.backward
    }
}

/// The kinds with their steps, the slowest first.
fn kinds(times: &Times) -> Vec<(&'static str, Part)> {
    let mut kinds: Vec<(&str, Part)> = Vec::new();
    for (number, step) in times.plan.steps.iter().enumerate() {
        let known = kinds.iter().position(|(kind, _)| *kind == step.kind);
        let at = known.unwrap_or_else(|| {
            kinds.push((step.kind, Part::default()));
            kinds.len() - 1
        });
        let time = part(times, number);
        let kind = &mut kinds[at].1;
        kind.steps += 1;
        kind.forward += time.forward;
        kind.backward += time.backward;
    }
    kinds.sort_by(|a, b| b.1.both().total_cmp(&a.1.both()));
    kinds
}

fn part(times: &Times, step: usize) -> Part {
    let batches = times.batches.len() as f64;
    let time = &times.steps[step];
    Part {
        steps: 1,
        forward: time.forward * 1e3 / batches,
        backward: time.backward * 1e3 / batches,
    }
}

/// Milliseconds of one batch, on average.
struct Whole {
    total: f64,
    update: f64,
    /// Between the steps: images into their layout, the loss.
    rest: f64,
}

fn whole(times: &Times) -> Whole {
    let batches = times.batches.len() as f64;
    let (total, update) = (times.total() * 1e3 / batches, times.update * 1e3 / batches);
    let steps = (0..times.steps.len()).map(|step| part(times, step).both());
    Whole {
        total,
        update,
        rest: (total - update - steps.sum::<f64>()).max(0.0),
    }
}

/// Both tables; `width` columns wide where that is possible.
pub(super) fn render(graph: &Graph, times: &Times, width: usize) -> String {
    let plan = &times.plan;
    let mut out = String::new();
    let way = if plan.training {
        "training"
    } else {
        "evaluation"
    };
    let _ = writeln!(
        out,
        "{BOLD}{}{BOLD:#}: {} of {}, {way}, {}, {}",
        graph.name(),
        plural(plan.images, "image"),
        graph.input_shape(),
        times.isa,
        plural(times.threads, "thread"),
    );
    let _ = writeln!(
        out,
        "{BOLD}{:.1} images/s{BOLD:#}: {:.2} ms a batch, the median of {}",
        plan.images as f64 / times.median(),
        times.median() * 1e3,
        times.batches.len(),
    );
    let whole = whole(times);
    let columns = |part: Part| {
        let backward = if plan.training {
            format!("{:.3}", part.backward)
        } else {
            "-".to_owned()
        };
        let share = format!("{:.1}%", 100.0 * part.both() / whole.total);
        format!("{:>MS$.3} {backward:>MS$} {share:>SHARE$}", part.forward)
    };
    let kinds = kinds(times);
    let names = kinds.iter().map(|(kind, _)| kind.width());
    let kind_width = names.max().unwrap_or(0).max(REST.width());
    let _ = writeln!(
        out,
        "\n{:<kind_width$} steps {:>MS$} {:>MS$} {:>SHARE$}",
        "milliseconds", "forward", "backward", "share"
    );
    for (kind, part) in &kinds {
        let (steps, columns) = (part.steps, columns(*part));
        let _ = writeln!(out, "{kind:<kind_width$} {steps:>5} {columns}");
    }
    let others = [("update", whole.update), (REST, whole.rest)];
    for (name, ms) in others.into_iter().skip(usize::from(!plan.training)) {
        let share = format!("{:.1}%", 100.0 * ms / whole.total);
        let both = 2 * MS + 1;
        let _ = writeln!(
            out,
            "{name:<kind_width$} {:>5} {ms:>both$.3} {share:>SHARE$}",
            ""
        );
    }

    let slowest = slowest(times);
    let name = |step: usize| name(graph, &plan.steps[step]);
    let what = |step: usize| what(graph, &plan.steps[step]);
    let output = |step: usize| plan.steps[step].value.shape.to_string();
    let column = |text: &dyn Fn(usize) -> String, heading: &str| {
        let longest = slowest.iter().map(|step| text(*step).width()).max();
        longest.unwrap_or(0).max(heading.width())
    };
    let (what_width, output_width) = (column(&what, "what"), column(&output, "output"));
    let others = what_width + output_width + 2 * MS + SHARE + 5;
    let room = width.saturating_sub(others).max(SHORTEST_NAME);
    let name_width = column(&name, "slowest steps").min(room);
    let _ = writeln!(
        out,
        "\n{} {:<what_width$} {:>output_width$} {:>MS$} {:>MS$} {:>SHARE$}",
        end("slowest steps", name_width),
        "what",
        "output",
        "forward",
        "backward",
        "share"
    );
    for &step in &slowest {
        let _ = writeln!(
            out,
            "{} {:<what_width$} {:>output_width$} {}",
            end(&name(step), name_width),
            what(step),
            output(step),
            columns(part(times, step)),
        );
    }
    out
}

/// The slowest steps first.
fn slowest(times: &Times) -> Vec<usize> {
    let mut steps: Vec<usize> = (0..times.steps.len()).collect();
    let time = |step: &usize| part(times, *step).both();
    steps.sort_by(|a, b| time(b).total_cmp(&time(a)));
    steps.truncate(SLOWEST);
    steps
}

/// # Errors
/// As [`Graph::costs`].
pub(super) fn to_json(graph: &Graph, times: &Times) -> Result<Value> {
    let plan = &times.plan;
    let costs = graph.costs()?;
    let whole = whole(times);
    let steps = plan.steps.iter().enumerate().map(|(number, step)| {
        let time = part(times, number);
        let multiply_adds = step.nodes.iter().map(|node| costs[*node].multiply_adds);
        json!({
            "name": graph.nodes()[step.node].name,
            "kind": step.kind,
            "what": what(graph, step),
            "output": [step.value.shape.channels, step.value.shape.height, step.value.shape.width],
            "multiply_adds": multiply_adds.sum::<u64>(),
            "forward_ms": time.forward,
            "backward_ms": time.backward,
        })
    });
    let kinds = kinds(times).into_iter().map(|(kind, part)| {
        json!({
            "kind": kind,
            "steps": part.steps,
            "forward_ms": part.forward,
            "backward_ms": part.backward,
        })
    });
    Ok(json!({
        "name": graph.name(),
        "images": plan.images,
        "training": plan.training,
        "isa": times.isa,
        "threads": times.threads,
        "images_per_s": plan.images as f64 / times.median(),
        "batches": times.batches.len(),
        "median_ms": times.median() * 1e3,
        "fastest_ms": times.batches[0] * 1e3,
        "mean_ms": whole.total,
        "update_ms": whole.update,
        "rest_ms": whole.rest,
        "multiply_adds": graph.cost()?.multiply_adds,
        "kinds": kinds.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
    }))
}
