//! The report as a table for a terminal: one line a layer, histograms on one axis, the network
//! last.

use std::fmt::Write as _;
use std::io;

use unicode_width::UnicodeWidthStr;

use super::{NetworkReport, Range, Render, Report, Statistics, Terminal};
use crate::batchnorm::Role;
use crate::render::terminal::{ALARM, BAR, BOLD, DIM, MIN_WIDTH, PLAIN, WIDE, number_or_dash};
use crate::render::{bars, fit_all, percent, plain};
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

/// Widths of the columns.
struct Columns {
    name: usize,
    channels: usize,
    /// Of the bars.
    cells: usize,
    /// Of the counts before the bars, where γ lie below the axis.
    below: usize,
    /// Of the share of pruned channels, where there are any.
    pruned: usize,
}

impl Columns {
    fn of(network: &NetworkReport, width: usize) -> Columns {
        let channels = network.total.channels.to_string().len().max(4);
        // Two bins a character where the line is short.
        let cells = if width >= WIDE { 32 } else { 16 };
        let drawn = network.total.drawn.as_ref();
        let side = |count: u64| match count {
            0 => 0,
            count => count.to_string().len() + 1,
        };
        let below = drawn.map_or(0, |drawn| side(drawn.below));
        let above = drawn.map_or(0, |drawn| side(drawn.above));
        let pruned = if network.total.pruned > 0 { 6 } else { 0 };
        let room = width
            .saturating_sub(channels + NUMBERS + pruned + below + cells + above + 2)
            .max("network".len());
        let longest = network.short_names().map(UnicodeWidthStr::width).max();
        Columns {
            name: longest.unwrap_or(0).clamp("network".len(), room),
            channels,
            cells,
            below,
            pruned,
        }
    }
}

fn render_network(out: &mut String, report: &Report, network: &NetworkReport, width: usize) {
    let columns = Columns::of(network, width);
    let Columns {
        name,
        channels,
        cells,
        below,
        pruned,
    } = columns;
    let pruned = if pruned > 0 { "prun. " } else { "" };
    let title = match &network.root[..] {
        "" => String::new(),
        root => format!(", {}", printable(root)),
    };
    let _ = writeln!(
        out,
        "{BOLD}{}{BOLD:#}{title} ({}): {}, {} channels",
        printable(&report.path.to_string_lossy()),
        if network.role == Role::Raw {
            report.format.to_string()
        } else {
            format!("{}, {}", report.format, network.role)
        },
        network.normalisations(),
        network.total.channels
    );
    names_begin_with(out, &network.names_begin_with);
    let edges = network.drawn_edges.as_ref().unwrap_or(&network.edges);
    let (low, high) = (plain(edges[0]), plain(edges[edges.len() - 1]));
    let axis = format!("{low}{:>1$}", high, cells - low.len().min(cells));
    let _ = writeln!(
        out,
        "{DIM}{:<name$} {:>channels$}    min median    max {pruned}inh. ≤med neg. {:below$}{axis}{DIM:#}",
        "layer", "ch", ""
    );
    let names = fit_all(network.short_names(), name);
    for (layer, name) in network.layers.iter().zip(names) {
        let _ = write!(out, "{name} ");
        line(out, &layer.statistics, &columns);
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
    line(out, &network.total, &columns);
    if let Some(drawn) = &network.total.drawn {
        let sides = [(drawn.below, "below (◂)"), (drawn.above, "above (▸)")];
        let sides = sides.into_iter().filter(|(count, _)| *count > 0);
        let sides: Vec<String> = sides.map(|(n, side)| format!("{n} {side}")).collect();
        let _ = writeln!(out, "{DIM}γ beyond the axis: {}{DIM:#}", sides.join(", "));
    }
    if let Some(line) = &network.one_median {
        let _ = writeln!(out, "{}", printable(line));
    }
    if network.iter_norms > 0 {
        let _ = writeln!(
            out,
            "{DIM}γ of IterNorm are regenerated only when they are asked for{DIM:#}"
        );
    }
}

/// Says what the names in the table below lack, where they lack something.
pub(super) fn names_begin_with(out: &mut String, beginning: &str) {
    if !beginning.is_empty() {
        let beginning = printable(beginning);
        let _ = writeln!(out, "{DIM}names begin with {beginning}{DIM:#}");
    }
}

/// Everything behind the name.
fn line(out: &mut String, s: &Statistics, columns: &Columns) {
    let value = |of: fn(&Range) -> f64| number_or_dash(s.range.as_ref().map(of));
    let share = |count: usize| percent(count as u64, s.channels as u64);
    let inhibited = if s.inhibited > 0 { ALARM } else { PLAIN };
    let pruned = match columns.pruned {
        0 => String::new(),
        width => format!("{:>1$} ", share(s.pruned), width - 1),
    };
    let _ = write!(
        out,
        "{:>1$} {2} {3} {4} {8}{inhibited}{5}{inhibited:#} {6} {7} ",
        s.channels,
        columns.channels,
        value(|range| range.min),
        value(|range| range.median),
        value(|range| range.max),
        share(s.inhibited),
        share(s.at_or_below_median),
        share(s.negative),
        pruned,
    );
    let (counts, below, above) = match &s.drawn {
        Some(drawn) => (&drawn.counts, drawn.below, drawn.above),
        None => (&s.counts, 0, 0),
    };
    let mark = |count: u64, text: String| if count > 0 { text } else { String::new() };
    let bars = bars(counts, columns.cells);
    let _ = write!(
        out,
        "{:>1$}{BAR}{bars}{BAR:#}",
        mark(below, format!("{below}◂")),
        columns.below
    );
    if above > 0 {
        let room = columns.cells - bars.chars().count();
        let _ = write!(out, "{:room$}▸{above}", "");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::details::Details;
    use crate::render::Axes;

    #[test]
    fn a_narrow_terminal_and_many_channels_do_not_panic() {
        let statistics = Statistics {
            channels: 10_000_000,
            pruned: 0,
            range: None,
            inhibited: 0,
            at_or_below_median: 0,
            negative: 0,
            non_finite: 0,
            counts: vec![0; 32],
            drawn: None,
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
                    kind: Default::default(),
                    name: "a.long\u{1b}]0;title\u{7}.name.of.a.layer".into(),
                    dtype: None,
                    statistics: statistics.clone(),
                    fixed: None,
                    index: 0,
                }],
                total: statistics,
                layer_count: 1,
                iter_norms: 0,
                one_median: None,
                edges: vec![0.0, 1.0],
                drawn_edges: None,
                names_begin_with: String::new(),
                details: Details::new(Axes::over(&mut []), Vec::new()),
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
