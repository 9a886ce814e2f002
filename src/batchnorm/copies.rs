//! Which parts of a state dict are averages of the weights beside them, or a teacher.
//!
//! Names alone do not tell: attention has keys, pooling has averages. So what a marked name
//! ([`Mark`]) holds is believed to be a copy only where the layers that it copies stand beside it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Layer;
use crate::checkpoint::{Mark, Role, StateDict};
use crate::name::{self, SEPARATORS};

/// Components of a name that are looked at: no network nests deeper.
const MAX_DEPTH: usize = 32;

/// Words that stand for the weights in training where a copy has its mark.
const TRAINED: [&str; 6] = ["student", "online", "q", "query", "base", "raw"];

/// The copies in a state dict that has these layers.
pub(super) fn find(dict: &StateDict, layers: &[Layer]) -> Copies {
    let mut copies = Copies::default();
    averaged_models(dict, &mut copies);
    let marked = marked(dict, layers);
    if marked.is_empty() {
        return copies;
    }
    let twins = Twins::of(layers);
    let mut deep = Vec::new();
    for candidate in marked {
        if copies.holding(candidate.prefix).is_some() {
            continue;
        }
        if candidate.beside_student {
            copies.add(&candidate, Role::Teacher);
        } else if let Some(found) = candidate.twins(&twins) {
            if candidate.is_behind_wrappers() {
                copies.add(&candidate, candidate.mark.role);
            } else {
                deep.push((candidate, found));
            }
        }
    }
    add_deep(deep, layers, &mut copies);
    copies
}

/// Accepts those behind other components than wrappers whose twins are at least half of all layers
/// outside averages. Marked siblings (`encoder_ema`, `head_ema`) are one average, and counted
/// together.
fn add_deep(deep: Vec<(Candidate<'_>, HashSet<usize>)>, layers: &[Layer], copies: &mut Copies) {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (candidate, found) in deep {
        let key = (candidate.depth, candidate.parent, candidate.mark.words);
        groups.entry(key).or_default().push((candidate, found));
    }
    let is_outside = |n: &&usize, copies: &Copies| copies.holding(&layers[**n].name).is_none();
    let all: Vec<usize> = (0..layers.len()).collect();
    let mut outside = all.iter().filter(|n| is_outside(n, copies)).count();
    for group in groups.into_values() {
        let is_inside = |(one, _): &(Candidate<'_>, _)| copies.holding(one.prefix).is_some();
        if group.iter().any(is_inside) {
            continue;
        }
        let twins: HashSet<usize> = group.iter().flat_map(|(_, found)| found).copied().collect();
        let own = group.iter().flat_map(|(one, _)| &one.below);
        let own = own.filter(|n| is_outside(n, copies)).count();
        if 2 * twins.len() >= outside - own {
            outside -= own;
            for (one, _) in &group {
                copies.add(one, one.mark.role);
            }
        }
    }
}

/// Adds what `torch.optim.swa_utils.AveragedModel` holds: everything beside a scalar `n_averaged`.
fn averaged_models(dict: &StateDict, copies: &mut Copies) {
    for tensor in dict.tensors.iter().filter(|t| t.shape.is_empty()) {
        let name = &tensor.name[..];
        let (prefix, leaf) = name.rsplit_once(SEPARATORS).unwrap_or(("", name));
        if leaf == "n_averaged" {
            let words = name::words(prefix.rsplit(SEPARATORS).next().unwrap_or(prefix));
            let mark = Mark::of(&words).map(|(mark, _)| mark);
            copies.0.insert(prefix.to_owned(), (Role::Ema, mark));
        }
    }
}

/// The subtrees of a state dict that hold copies of other weights.
#[derive(Debug, Default)]
pub(super) struct Copies(
    /// By what its names begin with, without the separator behind; empty for the whole state dict.
    HashMap<String, (Role, Option<&'static Mark>)>,
);

/// A subtree that holds a copy of other weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subtree<'a> {
    /// What its names begin with, without the separator behind.
    pub(super) prefix: &'a str,
    pub(super) role: Role,
    /// Its mark; `None` where only a counter beside it says what it is.
    pub(super) mark: Option<&'static Mark>,
}

impl Copies {
    /// The outermost copy that a layer lies in.
    pub(super) fn holding<'n>(&self, layer: &'n str) -> Option<Subtree<'n>> {
        if self.0.is_empty() {
            return None;
        }
        let ends = layer.match_indices(SEPARATORS).take(MAX_DEPTH);
        let ends = ends.map(|(at, _)| at).chain([layer.len()]);
        [0].into_iter().chain(ends).find_map(|end| {
            let prefix = &layer[..end];
            let (role, mark) = *self.0.get(prefix)?;
            Some(Subtree { prefix, role, mark })
        })
    }

    fn add(&mut self, candidate: &Candidate<'_>, role: Role) {
        let found = (role, Some(candidate.mark));
        self.0.insert(candidate.prefix.to_owned(), found);
    }
}

/// A component with a mark, and what lies below it.
struct Candidate<'a> {
    prefix: &'a str,
    /// What stands before the component.
    parent: &'a str,
    component: &'a str,
    /// How many components that are.
    depth: usize,
    mark: &'static Mark,
    beside_student: bool,
    /// The layers below it.
    below: Vec<usize>,
}

impl Candidate<'_> {
    fn is_behind_wrappers(&self) -> bool {
        self.parent.is_empty() || self.parent.split(SEPARATORS).all(name::is_wrapper)
    }

    /// The twins of all layers below it; `None` where one has no twin.
    fn twins(&self, twins: &Twins<'_>) -> Option<HashSet<usize>> {
        let layers = twins.layers;
        let words = name::words(self.component);
        let (_, at) = Mark::of(&words)?;
        let (before, after) = (&words[..at], &words[at + self.mark.words.len()..]);
        let mut components = vec![[before, after].concat()];
        components.extend(TRAINED.map(|word| [before, &[word.to_owned()], after].concat()));
        let mut found = HashSet::new();
        for layer in self.below.iter().map(|n| &layers[*n]) {
            if is_deep(&layer.name) {
                return None;
            }
            let rest = &layer.name[self.prefix.len()..];
            let twin = components.iter().find_map(|words| {
                let mut name = Vec::new();
                canonical(self.parent, &mut name);
                canonical_component(words.clone(), &mut name);
                canonical(rest, &mut name);
                let mut same = twins.by_name.get(&name)?.iter().copied();
                same.find(|n| {
                    let other = &layers[*n];
                    other.channels == layer.channels && !is_below(&other.name, self.prefix)
                })
            });
            found.insert(twin?);
        }
        Some(found)
    }
}

/// The layers by their canonical names.
struct Twins<'a> {
    layers: &'a [Layer],
    by_name: HashMap<Vec<String>, Vec<usize>>,
}

impl<'a> Twins<'a> {
    fn of(layers: &'a [Layer]) -> Twins<'a> {
        let mut by_name: HashMap<_, Vec<usize>> = HashMap::new();
        for (n, layer) in layers.iter().enumerate() {
            if !is_deep(&layer.name) {
                let mut name = Vec::new();
                canonical(&layer.name, &mut name);
                by_name.entry(name).or_default().push(n);
            }
        }
        Twins { layers, by_name }
    }
}

/// Whether a name has more components than are looked at.
fn is_deep(name: &str) -> bool {
    name.split(SEPARATORS).nth(MAX_DEPTH).is_some()
}

/// Adds the words of each component of a name, wrappers dropped.
fn canonical(name: &str, out: &mut Vec<String>) {
    for component in name.split(SEPARATORS).filter(|c| !name::is_wrapper(c)) {
        canonical_component(name::words(component), out);
    }
}

fn canonical_component(mut words: Vec<String>, out: &mut Vec<String>) {
    words.retain(|word| !name::is_wrapper(word));
    if !words.is_empty() {
        out.push(words.join("_"));
    }
}

/// Every component with a mark that counts, the outermost first.
fn marked<'a>(dict: &StateDict, layers: &'a [Layer]) -> Vec<Candidate<'a>> {
    let mut found: Vec<Candidate<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (number, layer) in layers.iter().enumerate() {
        let mut parent = "";
        for (depth, (component, prefix)) in components(&layer.name).enumerate() {
            if let Some(place) = places.get(prefix) {
                found[*place].below.push(number);
            } else if let Some((mark, _)) = Mark::of(&name::words(component)) {
                places.insert(prefix, found.len());
                found.push(Candidate {
                    prefix,
                    parent,
                    component,
                    depth,
                    mark,
                    beside_student: false,
                    below: vec![number],
                });
            }
            parent = prefix;
        }
    }
    let siblings = siblings(dict, &found);
    found.retain_mut(|candidate| {
        let beside = |words: &[&str]| {
            let others = siblings[candidate.parent].iter();
            let mut others = others.filter(|(name, _)| name[..] != *candidate.component);
            others.any(|(_, theirs)| theirs.iter().any(|word| words.contains(&&word[..])))
        };
        let mark = candidate.mark;
        let counts = (mark.is_plain() || beside(mark.beside)) && !beside(mark.not_beside);
        let is_teacher = mark.words.ends_with(&["teacher"]);
        candidate.beside_student = is_teacher && beside(&["student"]);
        counts
    });
    found.sort_by_key(|candidate| candidate.depth);
    found
}

/// The components of a name, each with the name up to its end.
fn components(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut from = 0;
    name.split(SEPARATORS)
        .take(MAX_DEPTH)
        .map(move |component| {
            let end = from + component.len();
            from = end + 1;
            (component, &name[..end])
        })
}

type Siblings<'a> = HashMap<&'a str, HashMap<String, Vec<String>>>;

/// The components that stand below the parents of candidates, each with its words.
fn siblings<'a>(dict: &StateDict, candidates: &[Candidate<'a>]) -> Siblings<'a> {
    let parents = candidates.iter().map(|c| (c.parent, HashMap::new()));
    let mut siblings: Siblings<'a> = parents.collect();
    if siblings.is_empty() {
        return siblings;
    }
    for tensor in &dict.tensors {
        let mut parent = "";
        for (component, prefix) in components(&tensor.name) {
            if let Some(known) = siblings.get_mut(parent)
                && !known.contains_key(component)
            {
                known.insert(component.to_owned(), name::words(component));
            }
            parent = prefix;
        }
    }
    siblings
}

/// Whether a name is `prefix` or begins with it and a separator.
pub(super) fn is_below(name: &str, prefix: &str) -> bool {
    prefix.is_empty()
        || name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATORS))
}

#[cfg(test)]
mod tests;
