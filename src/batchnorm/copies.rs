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

/// A teacher beside its student, which need not be built alike.
static TEACHER: Mark = Mark {
    words: &["teacher"],
    role: Role::Teacher,
    beside: &[],
    not_beside: &[],
};

/// What only a counter beside it gives away.
static COUNTED: Mark = Mark {
    words: &["n_averaged"],
    role: Role::Ema,
    beside: &[],
    not_beside: &[],
};

/// Words that stand for the weights in training where a copy has its mark.
const TRAINED: [&str; 6] = ["student", "online", "q", "query", "base", "raw"];

/// The copies in a state dict that has these layers.
pub(super) fn find(dict: &StateDict, layers: &[Layer]) -> Copies {
    let mut copies = Copies::default();
    averaged_models(dict, &mut copies);
    let marked = marked(layers);
    if marked.is_empty() {
        return copies;
    }
    let (siblings, twins) = (Siblings::of(dict, &marked), Twins::of(layers));
    let mut deep = Vec::new();
    for candidate in marked {
        if copies.holding(candidate.prefix).is_some() {
            continue;
        }
        let is_teacher = candidate.words.iter().any(|word| word == "teacher");
        if is_teacher && siblings.beside(&candidate, &["student"]) {
            copies.add(candidate.prefix, &TEACHER);
            continue;
        }
        let counts = |mark: &Mark| {
            (mark.is_plain() || siblings.beside(&candidate, mark.beside))
                && !siblings.beside(&candidate, mark.not_beside)
        };
        let mut marks = Mark::all(&candidate.words).filter(|(mark, _)| counts(mark));
        let found = marks.find_map(|(mark, at)| Some((mark, candidate.twins(mark, at, &twins)?)));
        drop(marks);
        let Some((mark, found)) = found else { continue };
        if candidate.is_behind_wrappers() {
            copies.add(candidate.prefix, mark);
        } else {
            deep.push((mark, candidate, found));
        }
    }
    add_deep(deep, layers, &mut copies);
    copies
}

/// Accepts those behind other components than wrappers whose twins are at least half of all layers
/// outside averages. Marked siblings (`encoder_ema`, `head_ema`) are one average, and counted
/// together.
fn add_deep(
    deep: Vec<(&'static Mark, Candidate<'_>, HashSet<usize>)>,
    layers: &[Layer],
    copies: &mut Copies,
) {
    let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
    for (mark, candidate, found) in deep {
        let key = (candidate.depth, candidate.parent, mark.words);
        let group = groups.entry(key).or_insert_with(|| Group::new(mark));
        group.named |= candidate.words.len() > mark.words.len();
        group.layers.extend(&candidate.below);
        group.twins.extend(found);
        group.prefixes.push(candidate.prefix);
    }
    let is_outside = |n: &usize| copies.holding(&layers[*n].name).is_none();
    let outside = (0..layers.len()).filter(is_outside).count();
    // Averages of several networks (`actor.net_ema`, `critic.net_ema`) are all no part of them. A
    // module that is called `ema` and nothing else may be attention.
    let named = groups.values().filter(|group| group.named);
    let named: HashSet<usize> = named.flat_map(|group| &group.layers).copied().collect();
    for group in groups.into_values() {
        let own = if group.named {
            named.len()
        } else {
            group.layers.len()
        };
        let mut prefixes = group.prefixes.iter();
        let is_free = prefixes.all(|prefix| copies.holding(prefix).is_none());
        if is_free && 2 * group.twins.len() >= outside.saturating_sub(own) {
            for prefix in group.prefixes {
                copies.add(prefix, group.mark);
            }
        }
    }
}

/// Siblings of one mark, which are one average.
struct Group<'a> {
    mark: &'static Mark,
    /// Whether one of them has other words than the mark.
    named: bool,
    prefixes: Vec<&'a str>,
    layers: HashSet<usize>,
    twins: HashSet<usize>,
}

impl Group<'_> {
    fn new(mark: &'static Mark) -> Self {
        Group {
            mark,
            named: false,
            prefixes: Vec::new(),
            layers: HashSet::new(),
            twins: HashSet::new(),
        }
    }
}

/// Adds what `torch.optim.swa_utils.AveragedModel` holds: everything beside a scalar `n_averaged`.
fn averaged_models(dict: &StateDict, copies: &mut Copies) {
    for tensor in dict.tensors.iter().filter(|t| t.shape.is_empty()) {
        let name = &tensor.name[..];
        let (prefix, leaf) = name.rsplit_once(SEPARATORS).unwrap_or(("", name));
        if leaf == "n_averaged" {
            copies.0.insert(prefix.to_owned(), &COUNTED);
        }
    }
}

/// The subtrees of a state dict that hold copies of other weights: by what their names begin with,
/// without the separator behind (empty for the whole state dict), their marks.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<String, &'static Mark>);

impl Copies {
    /// The outermost copy that a layer lies in: what its names begin with, and its mark.
    pub(super) fn holding<'n>(&self, layer: &'n str) -> Option<(&'n str, &'static Mark)> {
        if self.0.is_empty() {
            return None;
        }
        let ends = layer.match_indices(SEPARATORS).take(MAX_DEPTH);
        let ends = ends.map(|(at, _)| at).chain([layer.len()]);
        [0].into_iter().chain(ends).find_map(|end| {
            let prefix = &layer[..end];
            Some((prefix, *self.0.get(prefix)?))
        })
    }

    /// What the names of each copy begin with, and its role.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Role)> {
        self.0.iter().map(|(prefix, mark)| (&prefix[..], mark.role))
    }

    fn add(&mut self, prefix: &str, mark: &'static Mark) {
        self.0.insert(prefix.to_owned(), mark);
    }
}

/// A component with marks, and what lies below it.
struct Candidate<'a> {
    prefix: &'a str,
    /// What stands before the component.
    parent: &'a str,
    words: Vec<String>,
    /// How many components stand before it.
    depth: usize,
    /// The layers below it.
    below: Vec<usize>,
}

impl Candidate<'_> {
    fn is_behind_wrappers(&self) -> bool {
        self.parent.is_empty() || self.parent.split(SEPARATORS).all(name::is_wrapper)
    }

    /// The twins of all layers below it, where `mark` stands in its words from `at` on; `None` where
    /// one has no twin.
    fn twins(&self, mark: &Mark, at: usize, twins: &Twins<'_>) -> Option<HashSet<usize>> {
        let layers = twins.layers;
        let (before, after) = (&self.words[..at], &self.words[at + mark.words.len()..]);
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
                let mut same = twins.known.get(&(name, layer.channels))?.iter().copied();
                same.find(|n| !is_below(&layers[*n].name, self.prefix))
            });
            found.insert(twin?);
        }
        Some(found)
    }
}

/// The layers by their canonical names and numbers of channels.
struct Twins<'a> {
    layers: &'a [Layer],
    known: HashMap<(Vec<String>, usize), Vec<usize>>,
}

/// Layers that differ in wrappers only, of which more than these are not looked at.
const MAX_ALIKE: usize = 8;

impl<'a> Twins<'a> {
    fn of(layers: &'a [Layer]) -> Twins<'a> {
        let mut known: HashMap<_, Vec<usize>> = HashMap::new();
        for (n, layer) in layers.iter().enumerate() {
            if !is_deep(&layer.name) {
                let mut name = Vec::new();
                canonical(&layer.name, &mut name);
                let alike = known.entry((name, layer.channels)).or_default();
                if alike.len() < MAX_ALIKE {
                    alike.push(n);
                }
            }
        }
        Twins { layers, known }
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

/// Every component with marks, the outermost first.
fn marked(layers: &[Layer]) -> Vec<Candidate<'_>> {
    let mut found: Vec<Candidate<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (number, layer) in layers.iter().enumerate() {
        let mut parent = "";
        for (depth, (component, prefix)) in components(&layer.name).enumerate() {
            if let Some(place) = places.get(prefix) {
                found[*place].below.push(number);
            } else {
                let words = name::words(component);
                if Mark::all(&words).next().is_some() {
                    places.insert(prefix, found.len());
                    found.push(Candidate {
                        prefix,
                        parent,
                        words,
                        depth,
                        below: vec![number],
                    });
                }
            }
            parent = prefix;
        }
    }
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

/// Words that a mark may need beside it, or must not have there.
const BESIDE: [&str; 6] = ["student", "online", "q", "query", "v", "value"];

/// What stands below the parents of candidates, wrappers left out of the way there.
struct Siblings {
    /// Of each parent, how many components below it have each of [`BESIDE`].
    counts: HashMap<String, [usize; BESIDE.len()]>,
}

impl Siblings {
    fn of(dict: &StateDict, candidates: &[Candidate<'_>]) -> Siblings {
        let parents = candidates.iter().map(|c| (unwrapped(c.parent), [0; _]));
        let mut counts: HashMap<String, [usize; BESIDE.len()]> = parents.collect();
        let mut seen = HashSet::new();
        for tensor in &dict.tensors {
            let mut parent = String::new();
            for (component, prefix) in components(&tensor.name) {
                if name::is_wrapper(component) {
                    continue;
                }
                if let Some(known) = counts.get_mut(&parent)
                    && seen.insert(prefix)
                {
                    let words = name::words(component);
                    for (count, word) in known.iter_mut().zip(BESIDE) {
                        *count += usize::from(words.iter().any(|own| own == word));
                    }
                }
                parent.push_str(component);
                parent.push('.');
            }
        }
        Siblings { counts }
    }

    /// Whether a component beside the candidate's has one of these words.
    fn beside(&self, candidate: &Candidate<'_>, words: &[&str]) -> bool {
        let known = &self.counts[&unwrapped(candidate.parent)];
        let mut counts = known.iter().zip(BESIDE);
        counts.any(|(count, word)| {
            let own = candidate.words.iter().any(|own| own == word);
            words.contains(&word) && *count > usize::from(own)
        })
    }
}

/// A path without wrappers, each component with a dot behind it.
fn unwrapped(path: &str) -> String {
    let components = path
        .split(SEPARATORS)
        .filter(|c| !c.is_empty() && !name::is_wrapper(c));
    components
        .map(|component| format!("{component}."))
        .collect()
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
