//! Where in a checkpoint a network lies: in which state dict, under which prefix.
//!
//! A prefix (`module.`, `_orig_mod.`, `model.`, `ema.module.`) is whatever stands before the
//! network's own names; of all prefixes in all state dicts the one counts under which most of its
//! names are found. But weights in training go before an average of them, and that before a teacher,
//! where at least half as many names are found.
//!
//! A checkpoint may hold a part of a network that is built of parts, under the names that it has there:
//! `conv1.weight` for `encoder.conv1.weight`. The part is taken of which more is found than of the whole.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::batchnorm::Role;
use crate::checkpoint::{Checkpoint, marked};
use crate::error::{Error, Refusal, Result};
use crate::near::near;
use crate::net::{Graph, Kind, TensorSpec};

/// Parts that networks are built of, and that are trained and published by themselves.
const PARTS: [&str; 3] = ["encoder.", "decoder.", "backbone."];

/// Where a network lies.
#[derive(Debug)]
pub(super) struct Place {
    /// The part of the network that is there: the beginning of its names that the checkpoint lacks.
    pub(super) part: &'static str,
    pub(super) dict: usize,
    pub(super) prefix: String,
    /// Beginnings of names in that state dict that belong to other networks.
    others: Vec<String>,
}

impl Place {
    /// The tensors of the part: their number in the graph, and their name in the checkpoint behind the prefix.
    pub(super) fn tensors<'g>(
        &self,
        graph: &'g Graph,
    ) -> impl Iterator<Item = (usize, &'g TensorSpec, &'g str)> {
        let part = self.part;
        let tensors = graph.tensors().iter().enumerate();
        tensors
            .filter_map(move |(number, spec)| Some((number, spec, spec.name.strip_prefix(part)?)))
    }

    /// Whether a name belongs to another network of the same state dict.
    pub(super) fn is_foreign(&self, name: &str) -> bool {
        let own = name.starts_with(&self.prefix);
        let mut others = self
            .others
            .iter()
            .filter(|other| name.starts_with(&other[..]));
        others.any(|other| !own || other.len() > self.prefix.len())
    }
}

/// A prefix in a state dict.
struct Candidate {
    dict: usize,
    prefix: String,
    role: Role,
    /// Both as a path, as the other commands name a network.
    root: String,
    /// How many names of the network are found under it.
    found: usize,
}

/// Finds `graph` in `checkpoint`, at or below `root` where that is given.
///
/// # Errors
/// None of its tensors is there, nothing is at `root`, or several places are equally good.
pub(super) fn find(graph: &Graph, checkpoint: &Checkpoint, root: Option<&str>) -> Result<Place> {
    let path = checkpoint.path();
    let (part, wanted, all) = most(graph, checkpoint);
    if all.is_empty() {
        return Err(nothing(graph, checkpoint));
    }
    let everywhere: Vec<&Candidate> = all.iter().collect();
    let here: Vec<&Candidate> = everywhere
        .iter()
        .copied()
        .filter(|candidate| root.is_none_or(|root| is_at(&candidate.root, root)))
        .collect();
    if here.is_empty() {
        let known: Vec<&str> = likely(&everywhere).iter().map(|c| &c.root[..]).collect();
        let listed: Vec<String> = known.iter().map(|root| format!("{root:?}")).collect();
        let root = root.unwrap_or_default();
        let meant = match &near(root, known.iter().copied())[..] {
            [] => String::new(),
            near => format!("; did you mean {}?", near.join(" or ")),
        };
        let reason = format!(
            "{} has {} at {}{meant}",
            path.display(),
            graph.name(),
            listed.join(", ")
        );
        return Err(Error::argument("root", format!("{root:?}"), reason));
    }
    let mut order = likely(&here);
    order.sort_by_key(|c| (c.role, Reverse(c.found), c.dict, c.prefix.len()));
    let chosen = order[0];
    let equal = |c: &&&Candidate| (c.role, c.found) == (chosen.role, chosen.found);
    let equals: Vec<String> = order
        .iter()
        .filter(equal)
        .map(|c| format!("{:?}", c.root))
        .collect();
    if equals.len() > 1 {
        let reason = format!(
            "holds {} several times: {}",
            graph.name(),
            equals.join(", ")
        );
        return Err(Error::refused_for(Refusal::Network, path, reason));
    }
    Ok(Place {
        part,
        dict: chosen.dict,
        prefix: chosen.prefix.clone(),
        others: others(checkpoint, &wanted, chosen, &all),
    })
}

/// The network, or the part of it of which most names are found: its names in the checkpoint, and the
/// prefixes under which some are.
fn most<'g>(
    graph: &'g Graph,
    checkpoint: &Checkpoint,
) -> (&'static str, HashSet<&'g str>, Vec<Candidate>) {
    let found = |part: &'static str| {
        let tensors = graph.tensors().iter();
        let wanted: HashSet<&str> = tensors
            .filter(|spec| spec.kind != Kind::BatchCount)
            .filter_map(|spec| spec.name.strip_prefix(part))
            .collect();
        let dicts = 0..checkpoint.dicts().len();
        let all = dicts.flat_map(|dict| candidates(checkpoint, dict, &wanted));
        let all: Vec<Candidate> = all.collect();
        (part, wanted, all)
    };
    let most = |all: &[Candidate]| all.iter().map(|c| c.found).max().unwrap_or(0);
    let mut best = found("");
    for part in PARTS {
        let other = found(part);
        if most(&other.2) > most(&best.2) {
            best = other;
        }
    }
    best
}

/// Those under which at least half as many names are found as under the best.
fn likely<'a>(candidates: &[&'a Candidate]) -> Vec<&'a Candidate> {
    let best = candidates.iter().map(|c| c.found).max().unwrap_or(0);
    let likely = candidates.iter().filter(|c| 2 * c.found >= best);
    likely.copied().collect()
}

/// Every prefix of a state dict under which a wanted name is found.
fn candidates(checkpoint: &Checkpoint, dict: usize, wanted: &HashSet<&str>) -> Vec<Candidate> {
    let weights = checkpoint.weights(dict);
    // No longer name is looked up: one of megabytes has as many ends, each to be hashed.
    let longest = wanted.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut found: HashMap<&str, usize> = HashMap::new();
    for weight in &weights {
        for (prefix, name) in splits(&weight.tensor.name) {
            if name.len() <= longest && wanted.contains(name) {
                *found.entry(prefix).or_default() += 1;
            }
        }
    }
    let state_dict = &checkpoint.dicts()[dict];
    let (root, role) = (&state_dict.root[..], state_dict.role);
    let candidate = |(prefix, found): (&str, usize)| {
        let own = prefix.trim_end_matches(['.', '/']);
        let parts = [root, own].into_iter().filter(|part| !part.is_empty());
        Candidate {
            dict,
            prefix: prefix.to_owned(),
            role: marked(own).map_or(role, |(_, copy)| copy.max(role)),
            root: parts.collect::<Vec<_>>().join("."),
            found,
        }
    };
    let mut all: Vec<Candidate> = found.into_iter().map(candidate).collect();
    all.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    all
}

/// Every way to see a name as a prefix, with its separator, and the rest.
fn splits(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = name.match_indices(['.', '/']).map(|(at, _)| at + 1);
    [0].into_iter().chain(ends).map(|at| name.split_at(at))
}

/// Whether the network at `path` is the one called `root`, or lies below it.
fn is_at(path: &str, root: &str) -> bool {
    root.is_empty()
        || path
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
}

/// What other networks of the same state dict begin their names with: prefixes under which at least
/// half as many names are found, none of them a name of the chosen network.
fn others(
    checkpoint: &Checkpoint,
    wanted: &HashSet<&str>,
    chosen: &Candidate,
    all: &[Candidate],
) -> Vec<String> {
    let weights = checkpoint.weights(chosen.dict);
    let is_own = |name: &str| {
        let own = name.strip_prefix(&chosen.prefix[..]);
        own.is_some_and(|own| wanted.contains(own))
    };
    let same_dict = all
        .iter()
        .filter(|c| c.dict == chosen.dict && c.prefix != chosen.prefix);
    let mut others = Vec::new();
    for candidate in same_dict.filter(|c| 2 * c.found >= chosen.found) {
        let names = weights.iter().map(|weight| &weight.tensor.name[..]);
        let found = names.filter(|name| {
            let theirs = name.strip_prefix(&candidate.prefix[..]);
            theirs.is_some_and(|theirs| wanted.contains(theirs)) && !is_own(name)
        });
        if 2 * found.count() >= chosen.found {
            let area = marked(&candidate.prefix).map_or(candidate.prefix.len(), |(lead, _)| {
                // With the separator behind it.
                candidate.prefix.len().min(lead.len() + 1)
            });
            others.push(candidate.prefix[..area].to_owned());
        }
    }
    others
}

/// The error for a checkpoint with nothing of the network in it.
fn nothing(graph: &Graph, checkpoint: &Checkpoint) -> Error {
    let listed = |names: Vec<&str>| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            format!("{}, …", names.join(", "))
        }
    };
    let dicts = 0..checkpoint.dicts().len();
    let weights: Vec<_> = dicts.flat_map(|dict| checkpoint.weights(dict)).collect();
    let found = weights.iter().map(|weight| &weight.tensor.name[..]).take(3);
    let expected = graph.tensors().iter().map(|spec| &spec.name[..]).take(3);
    let reason = format!(
        "holds no tensor of {}: expected names such as {}, found {} tensors ({})",
        graph.name(),
        listed(expected.collect()),
        weights.len(),
        listed(found.collect())
    );
    Error::refused(checkpoint.path(), reason)
}
