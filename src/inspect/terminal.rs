//! The report as a table for a terminal: one line a layer, histograms on one axis, the network
//! last.

use std::fmt::Write as _;
use std::io;

use unicode_width::UnicodeWidthStr;

use super::{NetworkReport, Range, Render, Report, Statistics, Terminal};
use crate::batchnorm::Role;
use crate::render::terminal::{ALARM, BAR, BOLD, DIM, MIN_WIDTH, PLAIN, WIDE, number_or_dash};
use crate::render::{bars, fit, percent, plain};
use crate::text::printable;

/// Columns of numbers behind name and channels: min, median, max, three shares, each with a space.
const NUMBERS: usize = 3 * 7 + 3 * 5;

impl Render<Report> for Terminal {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(table(report, self.width).as_bytes())
    }
}

fn table(report: &Report, width: usize) -> String {
    let mut out = String::new();
    let facts = report.training_facts();
    if !facts.is_empty() {
        let _ = writeln!(out, "{}", facts.join(", "));
    }
    for network in &report.networks {
        render_network(&mut out, report, network, width.max(MIN_WIDTH));
    }
    out
}

fn render_network(out: &mut String, report: &Report, network: &NetworkReport, width: usize) {
    let channels = network.total.channels.to_string().len().max(4);
    // Two bins a character where the line is short.
    let cells = if width >= WIDE { 32 } else { 16 };
    let room = width
        .saturating_sub(channels + NUMBERS + cells + 2)
        .max("network".len());
    let longest = network
        .layers
        .iter()
        .map(|layer| layer.name.width())
        .max()
        .unwrap_or(0);
    let name = longest.clamp("network".len(), room);
    let title = match &network.root[..] {
        "" => String::new(),
        root => format!(", {}", printable(root)),
    };
    let _ = writeln!(
        out,
        "{BOLD}{}{BOLD:#}{title} ({}): {} BatchNorm layers, {} channels",
        printable(&report.path.to_string_lossy()),
        if network.role == Role::Raw {
            report.format.to_string()
        } else {
            format!("{}, {}", report.format, network.role)
        },
        network.layer_count,
        network.total.channels
    );
    let (low, high) = (network.edges[0], network.edges[network.edges.len() - 1]);
    let (low, high) = (plain(low), plain(high));
    let axis = format!("{low}{:>1$}", high, cells - low.len().min(cells));
    let _ = writeln!(
        out,
        "{DIM}{:<name$} {:>channels$}    min median    max inh. ≤med neg. {axis}{DIM:#}",
        "layer", "ch"
    );
    for layer in &network.layers {
        let _ = write!(out, "{} ", fit(&layer.name, name));
        line(out, &layer.statistics, channels, cells);
        if let Some(reason) = &layer.fixed {
            let reason = printable(reason);
            let _ = writeln!(out, "  {ALARM}not editable: {reason}{ALARM:#}");
        }
        if layer.statistics.non_finite > 0 {
            let count = layer.statistics.non_finite;
            let _ = writeln!(
                out,
                "  {ALARM}{count} channels are NaN or infinite{ALARM:#}"
            );
        }
    }
    let _ = write!(out, "{BOLD}{:<name$}{BOLD:#} ", "network");
    line(out, &network.total, channels, cells);
    if let Some(line) = &network.one_median {
        let _ = writeln!(out, "{}", printable(line));
    }
}

/// Everything behind the name.
fn line(out: &mut String, s: &Statistics, channels: usize, cells: usize) {
    let value = |of: fn(&Range) -> f64| number_or_dash(s.range.as_ref().map(of));
    let share = |count: usize| percent(count as u64, s.channels as u64);
    let inhibited = if s.inhibited > 0 { ALARM } else { PLAIN };
    let _ = writeln!(
        out,
        "{:>channels$} {} {} {} {inhibited}{}{inhibited:#} {} {} {BAR}{}{BAR:#}",
        s.channels,
        value(|range| range.min),
        value(|range| range.median),
        value(|range| range.max),
        share(s.inhibited),
        share(s.at_or_below_median),
        share(s.negative),
        bars(&s.counts, cells),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::details::Details;
    use crate::render::Bins;

    #[test]
    fn a_narrow_terminal_and_many_channels_do_not_panic() {
        let statistics = Statistics {
            channels: 10_000_000,
            range: None,
            inhibited: 0,
            at_or_below_median: 0,
            negative: 0,
            non_finite: 0,
            counts: vec![0; 32],
        };
        let report = Report {
            path: "m".into(),
            format: crate::checkpoint::FormatName::default(),
            pending: false,
            training: (None, None, None),
            networks: vec![NetworkReport {
                root: String::new(),
                role: Role::Raw,
                layers: vec![crate::inspect::LayerReport {
                    name: "a.long\u{1b}]0;title\u{7}.name.of.a.layer".into(),
                    dtype: None,
                    statistics: statistics.clone(),
                    fixed: None,
                    index: 0,
                }],
                total: statistics,
                layer_count: 1,
                one_median: None,
                edges: vec![0.0, 1.0],
                details: Details::new(Bins::over(None), Vec::new()),
            }],
        };
        for width in [0, 1, 60, 64, 80, 200] {
            let shown = table(&report, width);
            assert!(
                !shown.contains("\u{1b}]") && shown.lines().count() == 4,
                "{shown}"
            );
        }
    }
}
