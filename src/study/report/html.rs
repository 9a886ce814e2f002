//! Runs as a page.

mod channels;
mod curves;
mod gradients;
mod histograms;
mod scenes;
mod table;

use std::io;

use super::{Report, Run};
use crate::render::page::Page;
use crate::render::{Html, Render, escaped};

impl Render<Report> for Html {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        let mut body = header(report);
        body += "<section>\n";
        body += &table::table(report);
        body += &curves::section(report);
        body += "</section>\n";
        body += &scenes::section(report);
        body += &histograms::section(report);
        body += &channels::section(report);
        body += &gradients::section(report);
        Page {
            title: &title(report),
            data: &serde_json::to_value(report)?,
            body: &body,
        }
        .write(out)
    }
}

fn title(report: &Report) -> String {
    let names: Vec<&str> = report.runs.iter().map(|run| &run.name[..]).collect();
    match names.len() {
        1..=3 => names.join(", "),
        count => format!("{count} runs"),
    }
}

/// The different ones, in their order.
fn distinct<'r>(all: impl Iterator<Item = &'r str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen.join(", ")
}

fn header(report: &Report) -> String {
    let networks = distinct(report.runs.iter().map(|run| &run.network[..]));
    let data = distinct(report.runs.iter().map(|run| &run.settings.data[..]));
    let last = report.epochs.last().copied().unwrap_or(0);
    let s = if report.runs.len() == 1 { "" } else { "s" };
    let mut out = format!(
        "<header>\n<p class=\"kind\">Training run{s}</p>\n<h1>{}</h1>\n\
         <p class=\"said\">{} · {} · {last} epochs</p>\n",
        escaped(&title(report)),
        escaped(&networks),
        escaped(&data),
    );
    for note in &report.notes {
        out += &format!("<p class=\"path\">{}</p>\n", escaped(note));
    }
    out + "</header>\n"
}

fn places(report: &Report) -> Vec<f64> {
    report.epochs.iter().map(|epoch| *epoch as f64).collect()
}
