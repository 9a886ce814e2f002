//! Single channels over time (Figures 1, 3 and 4 of the paper).

use super::super::Trace;
use super::Report;
use super::curves::{marks, of_run, run_key};
use crate::inspect::track::Chosen;
use crate::render::page::{Along, ChartLine, color, curve, keys};
use crate::render::{SERIES, escaped};

fn trace_name(trace: &Trace) -> String {
    let channel = format!("{}:{}", trace.layer, trace.channel);
    match trace.chosen {
        Chosen::Asked => channel,
        Chosen::Weakest => format!("weakest, {channel}"),
        Chosen::Strongest => format!("strongest, {channel}"),
    }
}

/// The weakest is the one to worry about.
fn trace_class(trace: &Trace, number: usize) -> usize {
    match trace.chosen {
        Chosen::Asked => number % SERIES.len(),
        Chosen::Weakest => 1,
        Chosen::Strongest => 0,
    }
}

pub(super) fn section(report: &Report) -> String {
    let Some(first) = report.channels.first() else {
        return String::new();
    };
    let chosen = match first.chosen {
        Chosen::Asked => "",
        _ => {
            " Of the first recorded run, those whose |γ| has the smallest and the largest mean over \
             the epochs."
        }
    };
    let mut out = format!(
        "<section>\n<h2>Single channels</h2>\n<p class=\"note\">γ, and the mean |gradient| of the \
         filter before it (Figures 1, 3 and 4 of the paper).{chosen}</p>\n"
    );
    let has = |number: usize| first.gamma.get(number).is_some_and(|list| !list.is_empty());
    let shown: Vec<usize> = (0..report.runs.len())
        .filter(|number| has(*number))
        .collect();
    for number in &shown {
        let run = &report.runs[*number];
        let marks = if run.regenerations.is_empty() {
            Vec::new()
        } else {
            vec![of_run(run, *number)]
        };
        for (word, part, y_name) in [
            ("γ", "gamma", "γ"),
            ("Gradients", "gradient", "mean |gradient|"),
        ] {
            let line = |(i, trace): (usize, &Trace)| {
                let values = match part {
                    "gamma" => &trace.gamma[*number],
                    _ => &trace.gradient[*number],
                };
                ChartLine {
                    name: trace_name(trace),
                    values: values.iter().map(|value| value.map(f64::from)).collect(),
                    color: SERIES[trace_class(trace, i)],
                    at: format!("/channels/{i}/{part}/{number}"),
                }
            };
            let lines: Vec<ChartLine> = report.channels.iter().enumerate().map(line).collect();
            let caption = format!(
                "<h3>{word}, {}</h3>{}",
                escaped(&run.name),
                trace_key(report)
            );
            let label = format!("{word} of single channels over the epochs");
            let along = Along::epochs(&report.epochs);
            out += &curve(&along, &marks, (&caption, &label, y_name), &lines, &[]);
        }
    }
    if shown.len() > 1 {
        out += &side_by_side(report, first, &shown);
    }
    out + "</section>\n"
}

fn trace_key(report: &Report) -> String {
    let traces = report.channels.iter().enumerate();
    keys(traces.map(|(i, trace)| (trace_class(trace, i), trace_name(trace))))
}

/// The gradients of one channel in all runs (Figure 1 of the paper).
fn side_by_side(report: &Report, trace: &Trace, shown: &[usize]) -> String {
    let lines: Vec<ChartLine> = shown
        .iter()
        .map(|number| ChartLine {
            name: report.runs[*number].name.clone(),
            values: trace.gradient[*number]
                .iter()
                .map(|value| value.map(f64::from))
                .collect(),
            color: color(*number),
            at: format!("/channels/0/gradient/{number}"),
        })
        .collect();
    let caption = format!(
        "<h3>Gradients of {}, run by run</h3>{}",
        escaped(&trace_name(trace).replace(", ", " channel, ")),
        run_key(report)
    );
    curve(
        &Along::epochs(&report.epochs),
        &marks(report),
        (
            &caption,
            "gradients of one channel in all runs",
            "mean |gradient|",
        ),
        &lines,
        &[],
    )
}
