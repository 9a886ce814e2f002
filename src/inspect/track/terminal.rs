//! A series as a table for a terminal: one line a layer, the network last, then what is known of
//! regenerations, masks and single channels.

use std::fmt::Write as _;
use std::io;

use unicode_width::UnicodeWidthStr;

use super::trajectory::Chosen;
use super::{LayerSeries, Order, SETTLED, Series, Source};
use crate::inspect::terminal::names_begin_with;
use crate::inspect::{Render, Terminal};
use crate::render::terminal::{ALARM, BAR, BOLD, DIM, MIN_WIDTH, PLAIN, WIDE, number_or_dash};
use crate::render::{fit_all, percent, percent_of, plain, sparkline};
use crate::text::printable;

/// Regenerations listed, the last ones.
const LISTED: usize = 5;
/// Columns for how the channels of a regeneration fared.
const FOLLOWED: usize = 12;

impl Render<Series> for Terminal {
    fn render(&self, series: &Series, out: &mut dyn io::Write) -> io::Result<()> {
        let mut text = String::new();
        title(&mut text, series);
        names_begin_with(&mut text, &series.names_begin_with);
        table(&mut text, series, self.width.max(MIN_WIDTH));
        regenerations(&mut text, series);
        masks(&mut text, series);
        trajectories(&mut text, series, self.width.max(MIN_WIDTH));
        out.write_all(text.as_bytes())
    }
}

fn title(out: &mut String, series: &Series) {
    let (first, last) = (series.saves.first(), series.saves.last());
    let saves = series.saves.len();
    let span = match (first, last) {
        (Some(first), Some(last)) if saves > 1 => {
            format!(", {} to {}", place(series, first.at), last.at)
        }
        _ => String::new(),
    };
    let s = if saves == 1 { "" } else { "s" };
    let _ = writeln!(
        out,
        "{BOLD}{saves} checkpoint{s}{BOLD:#}{span}: {} BatchNorm layers, {} channels",
        series.layer_count, series.network.channels
    );
}

/// A place in time, as `epoch 5`.
fn place(series: &Series, at: u64) -> String {
    match series.order {
        Order::Epoch => format!("epoch {at}"),
        Order::Name => format!("number {at}"),
    }
}

/// Widths of the columns.
struct Columns {
    name: usize,
    channels: usize,
    /// Of a line over time.
    cells: usize,
    medians: bool,
}

impl Columns {
    fn of(series: &Series, width: usize) -> Columns {
        let medians = width >= WIDE;
        let cells = if medians { width / 5 } else { 16 };
        let cells = series.saves.len().clamp("inhibited".len(), cells);
        let channels = series.network.channels.to_string().len().max(4);
        // A share, two medians with an arrow, a share; each with a space.
        let numbers = channels + 1 + cells + 1 + 5 + 15 + 5;
        let numbers = numbers + if medians { cells + 1 } else { 0 };
        let room = width.saturating_sub(numbers).max("network".len());
        let longest = names(series).map(UnicodeWidthStr::width).max();
        Columns {
            name: longest.unwrap_or(0).clamp("network".len(), room),
            channels,
            cells,
            medians,
        }
    }
}

fn names(series: &Series) -> impl Iterator<Item = &str> {
    let layers = series.layers.iter();
    layers.map(|layer| series.short_name(&layer.name))
}

/// What the tallest bar stands for.
struct Tops {
    inhibited: f64,
    median: f64,
}

fn table(out: &mut String, series: &Series, width: usize) {
    let columns = Columns::of(series, width);
    let lines = || series.layers.iter().chain([&series.network]);
    let shares =
        lines().flat_map(|layer| (0..series.saves.len()).map(|i| layer.inhibited_share(i)));
    let medians = lines().flat_map(|layer| layer.median.iter().flatten().copied());
    let tops = Tops {
        inhibited: shares.fold(0.0, f64::max),
        median: medians.fold(0.0, f64::max),
    };
    let Columns {
        name,
        channels,
        cells,
        medians,
    } = columns;
    let _ = write!(
        out,
        "{DIM}{:<name$} {:>channels$} {:<cells$} last  median γ     mask",
        "layer", "ch", "inhibited"
    );
    let median = if medians { " median γ" } else { "" };
    let _ = writeln!(out, "{median}{DIM:#}");
    for (layer, name) in series.layers.iter().zip(fit_all(names(series), name)) {
        let _ = write!(out, "{name} ");
        line(out, layer, &columns, &tops);
    }
    let _ = write!(out, "{BOLD}{:<name$}{BOLD:#} ", "network");
    line(out, &series.network, &columns, &tops);
    if let Some(pruned) = series.network.pruned.last().filter(|pruned| **pruned > 0) {
        let channels = series.network.channels;
        let _ = writeln!(
            out,
            "{pruned} of {channels} channels are pruned in the last, and in no count and median"
        );
    }
    if tops.inhibited > 0.0 {
        let share = 100.0 * tops.inhibited;
        let median = if medians {
            format!(", of median γ {}", plain(tops.median))
        } else {
            String::new()
        };
        let _ = writeln!(
            out,
            "{DIM}a full bar is {share:.1}% inhibited{median}{DIM:#}"
        );
    }
}

/// Everything behind the name.
fn line(out: &mut String, layer: &LayerSeries, columns: &Columns, tops: &Tops) {
    let Columns {
        channels, cells, ..
    } = *columns;
    let last = layer.inhibited.len() - 1;
    let shares: Vec<Option<f64>> = (0..=last).map(|i| Some(layer.inhibited_share(i))).collect();
    let alarm = if layer.inhibited[last] > 0 {
        ALARM
    } else {
        PLAIN
    };
    let median = |save: usize| number_or_dash(layer.median[save]);
    let distance = layer.hamming[last].map_or_else(|| format!("{:>4}", "-"), percent_of);
    let _ = write!(
        out,
        "{:>channels$} {BAR}{}{BAR:#} {alarm}{}{alarm:#} {}→{:<6} {distance}",
        layer.channels,
        sparkline(&shares, tops.inhibited, cells),
        percent(layer.inhibited[last] as u64, layer.channels as u64),
        median(0),
        median(last).trim(),
    );
    if columns.medians {
        let medians = sparkline(&layer.median, tops.median, cells);
        let _ = write!(out, " {BAR}{}{BAR:#}", medians.trim_end());
    }
    out.push('\n');
}

fn regenerations(out: &mut String, series: &Series) {
    let known = &series.regenerations;
    if known.len() > LISTED {
        let earlier = known.len() - LISTED;
        let _ = writeln!(
            out,
            "regenerated {earlier} times earlier (--json lists them)"
        );
    }
    for regeneration in known.iter().skip(known.len().saturating_sub(LISTED)) {
        let source = match regeneration.source {
            Source::Record => "record",
            Source::Mark => "mark",
        };
        let at = place(series, series.saves[regeneration.save].at);
        let alive = regeneration.alive.iter();
        let alive = alive.map(|alive| (*alive, regeneration.regenerated));
        let _ = writeln!(
            out,
            "regenerated {} channels at {at} ({source}): {}",
            regeneration.regenerated,
            followed(alive)
        );
    }
    if known.len() > 1 {
        let alive = series
            .survival
            .iter()
            .map(|after| (after.alive, after.regenerated));
        let _ = writeln!(
            out,
            "of all {} regenerations: {}",
            known.len(),
            followed(alive)
        );
    }
}

/// Shares of channels that are alive, by save.
fn followed(alive: impl ExactSizeIterator<Item = (usize, usize)>) -> String {
    let counts: Vec<(usize, usize)> = alive.collect();
    let shares: Vec<Option<f64>> = counts
        .iter()
        .map(|(alive, of)| Some(*alive as f64 / (*of).max(1) as f64))
        .collect();
    let text = |count: Option<&(usize, usize)>| {
        count.map_or_else(String::new, |(alive, of)| {
            percent(*alive as u64, *of as u64).trim().to_owned()
        })
    };
    let (first, last, later) = (text(counts.first()), text(counts.last()), counts.len() - 1);
    if later == 0 {
        return format!("{first} alive");
    }
    let bars = sparkline(&shares, 1.0, counts.len().min(FOLLOWED));
    let s = if later == 1 { "" } else { "s" };
    format!("alive {first} {BAR}{bars}{BAR:#} {last} {later} save{s} later")
}

fn masks(out: &mut String, series: &Series) {
    let Some(Some(last)) = series.network.hamming.last() else {
        return;
    };
    let near = percent((100.0 * SETTLED) as u64, 100);
    let settled = match series.settled {
        Some(save) => {
            let at = place(series, series.saves[save].at);
            format!("settled from {at} on (below {})", near.trim())
        }
        None => format!("not settled (below {})", near.trim()),
    };
    let _ = writeln!(
        out,
        "mask: {} changed sides in the last save; {settled}",
        percent_of(*last).trim()
    );
}

fn trajectories(out: &mut String, series: &Series, width: usize) {
    let followed = &series.trajectories;
    let names: Vec<String> = followed
        .iter()
        .map(|t| format!("{}:{}", printable(series.short_name(&t.layer)), t.channel))
        .collect();
    let cells = series
        .saves
        .len()
        .min(if width >= WIDE { width / 5 } else { 16 });
    let room = width.saturating_sub(cells + 40).max(16);
    let name = names
        .iter()
        .map(|name| name.width())
        .max()
        .unwrap_or(0)
        .min(room);
    let size = |t: &super::Trajectory| -> Vec<Option<f64>> {
        t.gamma.iter().map(|gamma| gamma.map(f64::abs)).collect()
    };
    let top = followed.iter().flat_map(size).flatten().fold(0.0, f64::max);
    let names = fit_all(names.iter().map(|name| &name[..]), name);
    for (trajectory, name) in followed.iter().zip(names) {
        let why = match trajectory.chosen {
            Chosen::Asked => "channel",
            Chosen::Weakest => "weakest",
            Chosen::Strongest => "strongest",
        };
        let value = |gamma: Option<&Option<f64>>| number_or_dash(gamma.copied().flatten());
        let _ = writeln!(
            out,
            "{why:<9} {name} |γ| {BAR}{}{BAR:#} γ {} → {}",
            sparkline(&size(trajectory), top, cells),
            value(trajectory.gamma.first()).trim(),
            value(trajectory.gamma.last()).trim(),
        );
    }
}
