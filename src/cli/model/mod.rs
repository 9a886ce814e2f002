//! `ckpt-regen model`.

mod list;
mod measure;
mod plan;
mod profile;
mod steps;
mod table;

use std::path::Path;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::args::ModelArgs;
use super::{BOLD, hints, output};
use crate::checkpoint::Checkpoint;
use crate::engine::cpu::{Cpu, Isa};
use crate::engine::{Engine as _, Task};
use crate::error::Result;
use crate::net::zoo::Stem;
use crate::net::{self, Choice, Graph, Op, render};
use crate::text::{self, printable_lines};
use crate::weights;

pub(super) fn run(args: &ModelArgs) -> Result<()> {
    let Some(name) = &args.name else {
        args.norm.refuse_without_name()?;
        let entries = list::entries()?;
        return if args.json {
            json(&list::to_json(&entries))
        } else {
            text(&list::render(&entries))
        };
    };
    let network = net::open(name, &choice(args)?)?;
    let notes = network.origin.iter().flat_map(|origin| origin.notes());
    notes.for_each(|note| output::note(note));
    let graph = network.graph;
    if let Some(path) = &args.weights {
        return compare(&graph, path, args);
    }
    let images = args.batch.unwrap_or(128);
    let threads = args.threads.unwrap_or(0);
    if args.plan {
        // Which instructions run a plan makes no difference to it.
        let task = task(&graph);
        let mut engine = Cpu::with_task(graph, task, Isa::Portable, threads)?;
        let report = engine.plan(images, !args.evaluate)?;
        return if args.json {
            json(&plan::to_json(engine.graph(), &report))
        } else {
            text(&plan::render(engine.graph(), &report, output::width()))
        };
    }
    if args.profile {
        let isa = args.isa.map_or_else(Isa::best, Isa::from);
        let task = task(&graph);
        let mut engine = Cpu::with_task(graph, task, isa, threads)?;
        let batches = args.steps.unwrap_or(10);
        let times = measure::measure(&mut engine, images, !args.evaluate, batches)?;
        return if args.json {
            json(&profile::to_json(engine.graph(), &times)?)
        } else {
            text(&profile::render(engine.graph(), &times, output::width()))
        };
    }
    if args.json {
        return json(&render::to_json(&graph)?);
    }
    if args.dot {
        output::data(|out| out.write_all(render::to_dot(&graph).as_bytes()))
    } else {
        text(&table::render(&graph, output::width())?)
    }
}

/// Says how a checkpoint fits.
fn compare(graph: &Graph, path: &Path, args: &ModelArgs) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    let fit = weights::fit(graph, &checkpoint, args.root.as_deref())?;
    fit.check(&checkpoint, args.partial && !args.strict)?;
    let shown = path.display();
    let line = if fit.is_complete() {
        format!("{shown}: {fit}\n")
    } else {
        let (fitting, tensors) = (fit.fitting, fit.tensors);
        let classes = fit.classes.map(|(found, _)| hints::of_classes(found));
        let classes = classes.unwrap_or_default();
        format!("{shown}: {fitting} of {tensors} tensors fit; the whole {fit}{classes}\n")
    };
    text(&printable_lines(&line))
}

/// What a network with this output learns: a class for each pixel of a map, or one for an image.
fn task(graph: &Graph) -> Task {
    match graph.output_shape().pixels() {
        1 => Task::Classification,
        _ => Task::DenseLabels { ignored: u32::MAX },
    }
}

/// What was asked for.
fn choice(args: &ModelArgs) -> Result<Choice> {
    Ok(Choice {
        classes: args.classes,
        resolution: args.resolution,
        stem: args.stem.map(Stem::from),
        width: args.width,
        norm: Some(args.norm.choice().norm()?),
    })
}

fn text(text: &str) -> Result<()> {
    output::text(|out| out.write_all(text.as_bytes()))
}

fn json(value: &Value) -> Result<()> {
    output::data(|out| writeln!(out, "{value}"))
}

/// BatchNorm layers and their channels.
fn batch_norms(graph: &Graph) -> (usize, usize) {
    count(graph, |op| matches!(op, Op::BatchNorm { .. }))
}

/// Layers of a kind and their channels.
fn count(graph: &Graph, is_counted: impl Fn(&Op) -> bool) -> (usize, usize) {
    let nodes = graph.nodes().iter().filter(|node| is_counted(&node.op));
    nodes.fold((0, 0), |(layers, channels), node| {
        (layers + 1, channels + node.shape.channels)
    })
}

/// Which normalisations a network has, as `52 BatchNorm layers` and `17056 channels`.
fn normalisations(graph: &Graph) -> Vec<String> {
    let kinds = [
        ("BatchNorm layers", batch_norms(graph)),
        (
            "IterNorm layers",
            count(graph, |op| matches!(op, Op::IterNorm(_))),
        ),
        (
            "Channel Equilibria",
            count(graph, |op| matches!(op, Op::ChannelEquilibrium(_))),
        ),
    ];
    let has_other = kinds[1..].iter().any(|(_, (layers, _))| *layers > 0);
    let shown = kinds.iter().enumerate();
    let shown = shown.filter(|(at, (_, (layers, _)))| *layers > 0 || (*at == 0 && !has_other));
    let facts = shown.flat_map(|(_, (name, (layers, channels)))| {
        [format!("{layers} {name}"), format!("{channels} channels")]
    });
    facts.collect()
}

/// The first lines of a listing: a network's name and facts about it, broken before the one that would end beyond `width`.
fn heading(name: &str, facts: &[String], width: usize) -> String {
    let mut out = format!("{BOLD}{name}{BOLD:#}: ");
    let mut column = name.width() + ": ".len();
    for (number, fact) in facts.iter().enumerate() {
        if number > 0 {
            // A comma stands behind it if another follows.
            let end = column + ", ".len() + fact.width();
            let is_over = end + usize::from(number + 1 < facts.len()) > width;
            let (join, start) = if is_over {
                (",\n  ", 2)
            } else {
                (", ", column + 2)
            };
            out += join;
            column = start;
        }
        out += fact;
        column += fact.width();
    }
    out + "\n"
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    text::grouped(number, ',')
}

/// Three or four digits and a unit: `300.8 M`.
fn short(number: u64) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let mut value = number as f64;
    let mut unit = 0;
    // As rounded below.
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{number}  "),
        _ if value < 9.995 => format!("{value:.2} {}", units[unit]),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// A name in exactly `width` columns; of a longer one the end, by which layers differ.
fn end(name: &str, width: usize) -> String {
    let mut cut = name.to_owned();
    if name.width() > width {
        let mut rest = name.chars();
        while rest.as_str().width() >= width && rest.next().is_some() {}
        cut = format!("…{}", rest.as_str());
    }
    format!("{cut}{}", " ".repeat(width.saturating_sub(cut.width())))
}

/// A name is not cut shorter, however narrow the terminal.
const SHORTEST_NAME: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_readable() {
        let numbers = [0, 999, 1000, 9_994, 9_996, 999_949, 999_950, u64::MAX];
        let expected = [
            "0  ", "999  ", "1.00 k", "9.99 k", "10.0 k", "999.9 k", "1.00 M", "18.4 E",
        ];
        assert_eq!(numbers.map(short), expected);
    }

    #[test]
    fn a_heading_is_broken_between_facts() {
        let facts = ["one fact", "another", "third"].map(str::to_owned);
        let lines = |width| {
            let plain = anstream::adapter::strip_str(&heading("net", &facts, width)).to_string();
            plain.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(29), ["net: one fact, another, third"]);
        assert_eq!(lines(28), ["net: one fact, another,", "  third"]);
        assert_eq!(lines(22), ["net: one fact,", "  another, third"]);
        assert_eq!(lines(1), ["net: one fact,", "  another,", "  third"]);
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(end("layer4.1.conv2", 9), "….1.conv2");
        assert_eq!(end("fc", 4), "fc  ");
        assert_eq!(end("幅幅幅", 4), "…幅 ");
    }
}
