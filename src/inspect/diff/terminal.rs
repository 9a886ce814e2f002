//! A difference as a table: one line a layer that differs, the network last, then the other
//! tensors.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use unicode_width::UnicodeWidthStr;

use super::{Diff, GammaDiff, LayerDiff, NetworkDiff, Side, Summary, TensorName, Tensors};
use crate::inspect::terminal::names_begin_with;
use crate::inspect::{Render, Terminal};
use crate::render::terminal::{ALARM, BOLD, DIM, MIN_WIDTH, PLAIN, WIDE, number_or_dash};
use crate::render::{fit_all, plain};
use crate::text::printable;

/// Columns behind name and channels: seven counts and the farthest move, each with a space.
const NUMBERS: usize = 7 * 6 + 8;
/// Medians and inhibited channels of both sides, where there is room.
const BOTH_SIDES: usize = 2 * 7 + 2 * 6;
/// Names listed of what differs.
const LISTED: usize = 4;

impl Render<Diff> for Terminal {
    fn render(&self, diff: &Diff, out: &mut dyn io::Write) -> io::Result<()> {
        let mut text = String::new();
        side(&mut text, "A", &diff.a);
        side(&mut text, "B", &diff.b);
        for network in &diff.networks {
            render_network(&mut text, network, self.width.max(MIN_WIDTH));
        }
        for (side, networks) in [
            ("A", &diff.networks_only_in_a),
            ("B", &diff.networks_only_in_b),
        ] {
            for network in networks {
                let (root, role) = (printable(&network.root), network.role);
                let _ = writeln!(
                    text,
                    "{ALARM}only in {side}{ALARM:#}: network {root:?} ({role})"
                );
            }
        }
        match &diff.tensors {
            Some(tensors) => render_tensors(&mut text, tensors),
            None => text.push_str("other tensors: not compared (--gamma-only)\n"),
        }
        out.write_all(text.as_bytes())
    }
}

fn side(out: &mut String, mark: &str, side: &Side) {
    let epoch = match (side.epoch, &side.epoch_read_from) {
        (Some(epoch), Some(place)) => {
            format!(", {epoch} epochs finished, read from {}", printable(place))
        }
        _ => String::new(),
    };
    let path = printable(&side.path);
    let _ = writeln!(out, "{mark} {BOLD}{path}{BOLD:#} ({}{epoch})", side.format);
}

fn render_network(out: &mut String, network: &NetworkDiff, width: usize) {
    let total = &network.total;
    let root = match (&network.root_a[..], &network.root_b[..]) {
        ("", "") => String::new(),
        (a, b) if a == b => format!("{}: ", printable(a)),
        (a, b) => format!("{:?} in A, {:?} in B: ", printable(a), printable(b)),
    };
    if network.layers_changed == 0 {
        let _ = writeln!(
            out,
            "{root}all {} γ are equal, in {} BatchNorm layers",
            total.channels, network.layer_count
        );
        return;
    }
    let _ = writeln!(
        out,
        "{root}{} of {} γ moved; {} BatchNorm layers differ",
        total.moved, total.channels, network.layers_changed
    );
    let (in_a, in_b) = (network.a.summary.pruned, network.b.summary.pruned);
    if in_a + in_b > 0 {
        let _ = writeln!(
            out,
            "pruned: {in_a} in A, {in_b} in B, {} of them anew; neither inhibited nor died",
            total.pruned
        );
    }
    if let Some(regeneration) = &network.regeneration {
        let flag = |option: &str, value: &str, default: &str| {
            if value == default {
                String::new()
            } else {
                format!(" {option} {value}")
            }
        };
        let mut options = flag("--below", &regeneration.below, "median");
        options += &flag("--to", &regeneration.to, "threshold");
        options += &match &regeneration.scope[..] {
            "each" => " --each".to_owned(),
            scope => flag("--scope", scope, "network"),
        };
        if regeneration.keep_zeros {
            options += " --keep-zeros";
        }
        let threshold = regeneration
            .threshold
            .map_or_else(String::new, |t| format!(", threshold {}", plain(t)));
        let _ = writeln!(
            out,
            "{BOLD}the γ of B are those of A after apply --rule {}{options}{BOLD:#}{threshold}",
            regeneration.rule
        );
    }
    table(out, network, width);
    for (side, layers) in [("A", &network.only_in_a), ("B", &network.only_in_b)] {
        for layer in layers {
            let (name, channels) = (printable(&layer.name), layer.channels);
            let _ = writeln!(
                out,
                "{ALARM}only in {side}{ALARM:#}: {name} ({channels} channels)"
            );
        }
    }
    let mut kinds = BTreeMap::new();
    for layer in network
        .layers
        .iter()
        .filter(|layer| layer.dtype_a != layer.dtype_b)
    {
        *kinds.entry((&layer.dtype_a, &layer.dtype_b)).or_insert(0) += 1;
    }
    for ((a, b), count) in kinds {
        let _ = writeln!(
            out,
            "{ALARM}γ of {count} layers are {a} in A, {b} in B{ALARM:#}"
        );
    }
    for layer in &network.incompatible {
        let (name, reason) = (printable(&layer.name), printable(&layer.reason));
        let _ = writeln!(out, "{ALARM}not comparable{ALARM:#}: {name}: {reason}");
    }
}

fn table(out: &mut String, network: &NetworkDiff, width: usize) {
    let changed: Vec<&LayerDiff> = network.layers.iter().filter(|l| l.differs()).collect();
    let wide = width >= WIDE;
    let digits = network.total.channels.to_string().len().max(4);
    let numbers = NUMBERS + if wide { BOTH_SIDES } else { 0 };
    let room = width
        .saturating_sub(digits + 1 + numbers)
        .max("network".len());
    let names = || changed.iter().map(|layer| network.short_name(layer));
    let longest = names().map(UnicodeWidthStr::width).max();
    let name = longest.unwrap_or(0).clamp("network".len(), room);
    names_begin_with(out, &network.names_begin_with);
    let _ = write!(
        out,
        "{DIM}{:<name$} {:>digits$}  moved  rose  fell   max Δ  died  back regen.",
        "layer", "ch"
    );
    let _ = writeln!(
        out,
        "{}{DIM:#}",
        if wide {
            "  med A  med B inh.A inh.B"
        } else {
            ""
        }
    );
    for (layer, name) in changed.iter().zip(fit_all(names(), name)) {
        let _ = write!(out, "{name} ");
        line(
            out,
            &layer.gamma,
            digits,
            wide.then_some((&layer.a.summary, &layer.b.summary)),
        );
    }
    let _ = write!(out, "{BOLD}{:<name$}{BOLD:#} ", "network");
    line(
        out,
        &network.total,
        digits,
        wide.then_some((&network.a.summary, &network.b.summary)),
    );
}

fn line(out: &mut String, gamma: &GammaDiff, digits: usize, sides: Option<(&Summary, &Summary)>) {
    let delta = gamma
        .largest
        .as_ref()
        .map_or_else(|| format!("{:>7}", "-"), |m| signed(m.delta));
    let alarm = if gamma.died > 0 { ALARM } else { PLAIN };
    let _ = write!(
        out,
        "{:>digits$} {:>6}{:>6}{:>6} {delta}{alarm}{:>6}{alarm:#}{:>6}{:>7}",
        gamma.channels,
        gamma.moved,
        gamma.rose,
        gamma.fell,
        gamma.died,
        gamma.revived,
        gamma.regenerated
    );
    if let Some((a, b)) = sides {
        let _ = write!(
            out,
            " {} {}{:>6}{:>6}",
            number_or_dash(a.median),
            number_or_dash(b.median),
            a.inhibited,
            b.inhibited
        );
    }
    out.push('\n');
}

/// A change in seven columns.
fn signed(delta: f64) -> String {
    let sign = if delta < 0.0 { '-' } else { '+' };
    format!("{:>7}", format!("{sign}{}", plain(delta.abs())))
}

fn render_tensors(out: &mut String, tensors: &Tensors) {
    let Tensors {
        equal,
        changed,
        only_in_a,
        only_in_b,
        incompatible,
        not_compared,
    } = tensors;
    let counts = [
        (*equal, "equal"),
        (changed.len(), "changed"),
        (only_in_a.len(), "only in A"),
        (only_in_b.len(), "only in B"),
        (incompatible.len(), "of another type or shape"),
        (not_compared.len(), "not compared"),
    ];
    let said = counts
        .iter()
        .enumerate()
        .filter(|(i, (count, _))| *i < 2 || *count > 0);
    let said: Vec<String> = said
        .map(|(_, (count, what))| format!("{count} {what}"))
        .collect();
    let _ = writeln!(out, "other tensors: {}", said.join(", "));
    let name = |tensor: &TensorName| match &tensor.root[..] {
        "" => printable(&tensor.name),
        root => printable(&format!("{root}: {}", tensor.name)),
    };
    for (what, names) in [
        ("changed", changed),
        ("only in A", only_in_a),
        ("only in B", only_in_b),
    ] {
        list(out, what, names.iter().map(name).collect());
    }
    let kinds = incompatible
        .iter()
        .map(|m| format!("{}: {} in A, {} in B", name(&m.tensor), m.a, m.b));
    list(out, "differ in kind", kinds.collect());
    let reasons = not_compared
        .iter()
        .map(|n| format!("{}: {}", name(&n.tensor), n.reason));
    list(out, "not compared", reasons.collect());
}

/// The first few, one a line; how many more there are.
fn list(out: &mut String, what: &str, names: Vec<String>) {
    for name in names.iter().take(LISTED) {
        let _ = writeln!(out, "  {what}: {name}");
    }
    if names.len() > LISTED {
        let _ = writeln!(
            out,
            "  {what}: and {} more (--json lists them)",
            names.len() - LISTED
        );
    }
}
