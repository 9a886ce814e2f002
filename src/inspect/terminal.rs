//! The report as a table for a terminal: one line a layer, histograms on one axis, the network
//! last.

use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::{NetworkReport, Render, Report, Statistics};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const ALARM: Style = AnsiColor::Red.on_default();
pub(super) const BAR: Style = AnsiColor::Cyan.on_default();

/// Narrower than this, lines wrap rather than lose columns.
pub(super) const MIN_WIDTH: usize = 70;
/// Columns of numbers behind name and channels: min, median, max, three shares, each with a space.
const NUMBERS: usize = 3 * 7 + 3 * 5;

/// Lines for a terminal, with colours as escape sequences.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Columns.
    pub width: usize,
}

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
    let cells = if width >= 120 { 32 } else { 16 };
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
        if network.role == crate::batchnorm::Role::Raw {
            report.format.to_string()
        } else {
            format!("{}, {}", report.format, network.role)
        },
        network.layer_count,
        network.total.channels
    );
    let (low, high) = (network.edges[0], network.edges[network.edges.len() - 1]);
    let (low, high) = (
        number(low).trim().to_owned(),
        number(high).trim().to_owned(),
    );
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
    let value = |f: fn(&super::Range) -> f64| {
        s.range
            .as_ref()
            .map_or_else(|| format!("{:>6}", "-"), |range| number(f(range)))
    };
    let share = |count: usize| percent(count as u64, s.channels as u64);
    let inhibited = if s.inhibited > 0 { ALARM } else { Style::new() };
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

/// A number in six columns (seven for a negative one of three exponent digits).
pub(crate) fn number(value: f64) -> String {
    let decimals = |d: usize| Some(format!("{value:.d$}")).filter(|text| text.len() <= 6);
    let text = match value.abs() {
        0.0 => Some("0".to_owned()),
        magnitude if magnitude < 5e-4 => None,
        _ => (0..=3).rev().find_map(decimals),
    };
    format!("{:>6}", text.unwrap_or_else(|| format!("{value:.0e}")))
}

/// A share in four columns.
pub(crate) fn percent(count: u64, of: u64) -> String {
    let percent = 100.0 * count as f64 / of.max(1) as f64;
    let text = match percent {
        0.0 => "0".to_owned(),
        p if p < 0.1 => "<.1%".to_owned(),
        p if p < 9.95 => format!("{p:.1}%"),
        p if p < 99.5 || count == of => format!("{p:.0}%"),
        _ => "99%".to_owned(),
    };
    format!("{text:>4}")
}

/// Counts as bars of eight heights, of which a bin that holds anything has at least the first.
pub(super) fn bars(counts: &[u64], cells: usize) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let per_cell = counts.len().div_ceil(cells).max(1);
    let sums: Vec<u64> = counts
        .chunks(per_cell)
        .map(|chunk| chunk.iter().sum())
        .collect();
    let top = sums.iter().copied().max().unwrap_or(0).max(1);
    let bars: String = sums
        .iter()
        .map(|sum| HEIGHTS[(sum * 8).div_ceil(top) as usize])
        .collect();
    bars.trim_end().to_owned()
}

/// Text without control characters, which could do anything to a terminal, on one line.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The same on as many lines as it has.
pub(crate) fn printable_lines(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// A name in exactly `width` columns; a longer one loses its middle.
pub(crate) fn fit(name: &str, width: usize) -> String {
    let name = &printable(name)[..];
    let own = name.width();
    if own <= width {
        return format!("{name}{}", " ".repeat(width - own));
    }
    let chars: Vec<char> = name.chars().collect();
    let tail = width * 2 / 3;
    let head = width - 1 - tail;
    let head: String = chars[..head.min(chars.len())].iter().collect();
    let tail: String = chars[chars.len() - tail.min(chars.len())..]
        .iter()
        .collect();
    let cut = format!("{head}…{tail}");
    format!("{cut}{}", " ".repeat(width.saturating_sub(cut.width())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::details::Details;
    use crate::inspect::histogram::Histogram;

    #[test]
    fn every_number_fits_its_column() {
        for value in [
            0.0, -0.0, 1e-44, -1e-44, 5e-4, -0.0005, 9.9999, -9.9996, 12.3, -99.999, 123.0,
        ] {
            assert_eq!(number(value).len(), 6, "{value}: {:?}", number(value));
        }
        for value in [-999.99, 1234.0, -99999.0, 1e5, -1e300, f64::from(f32::MAX)] {
            assert!(number(value).len() <= 7, "{value}: {:?}", number(value));
        }
    }

    #[test]
    fn a_share_is_never_rounded_to_none_or_all() {
        assert_eq!(percent(0, 10), "   0");
        assert_eq!(percent(1, 5000), "<.1%");
        assert_eq!(percent(9999, 10000), " 99%");
        assert_eq!(percent(7, 7), "100%");
        assert_eq!(percent(0, 0), "   0");
    }

    #[test]
    fn a_bin_with_one_value_is_seen_beside_one_with_thousands() {
        assert_eq!(bars(&[1, 0, 0, 0, 5000, 5000, 0, 0], 4), "▁ █");
    }

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
                role: crate::batchnorm::Role::Raw,
                layers: vec![super::super::LayerReport {
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
                details: Details::new(Histogram::over(None), Vec::new()),
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

    #[test]
    fn a_long_name_loses_its_middle() {
        assert_eq!(fit("backbone.layer1.0.conv.bn", 16), "backb….0.conv.bn");
        assert_eq!(fit("bn", 4), "bn  ");
    }
}
