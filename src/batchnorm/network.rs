//! The layers of one state dict → its networks: what is in training, averages of it, a teacher.

use std::collections::HashMap;

use super::copies::{self, Copies};
use super::{Layer, Network, Role, Schema};
use crate::checkpoint::StateDict;
use crate::name::SEPARATORS;

/// Groups the layers of a state dict into networks, in order of first appearance.
///
/// A schema that lists networks decides alone. Otherwise what is in training is one network, however
/// it is built; all averages of one mark are one, and a teacher is one.
pub(super) fn split(dict: &StateDict, layers: Vec<Layer>, schema: &Schema) -> Vec<Network> {
    let mut networks = if schema.networks().is_empty() {
        let copies = copies::find(dict, &layers);
        by_copies(dict, layers, &copies)
    } else {
        by_schema(dict, layers, schema)
    };
    for network in &mut networks {
        mark_frozen(&mut network.layers);
    }
    networks
}

fn by_schema(dict: &StateDict, layers: Vec<Layer>, schema: &Schema) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::new();
    for layer in layers {
        let prefixes = schema.networks().iter();
        let own = prefixes
            .clone()
            .find(|(p, _)| layer.name.starts_with(&p[..]));
        let (prefix, role) = own.map_or(("", Role::Raw), |(prefix, role)| (&prefix[..], *role));
        let root = dict.path_of(prefix.trim_end_matches(SEPARATORS));
        let role = role.max(dict.role);
        match networks.iter_mut().find(|network| network.root == root) {
            Some(network) => network.layers.push(layer),
            None => networks.push(Network {
                root,
                role,
                layers: vec![layer],
            }),
        }
    }
    networks
}

/// What tells one network of a state dict from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind<'a> {
    InTraining,
    /// The copies of one mark.
    Marked(&'static [&'static str], Role),
    /// A copy that only a counter beside it gives away, by its prefix.
    Counted(&'a str),
}

fn by_copies(dict: &StateDict, layers: Vec<Layer>, copies: &Copies) -> Vec<Network> {
    let names: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
    let mut parts: Vec<(Prefix, Network)> = Vec::new();
    let mut places: HashMap<Kind<'_>, usize> = HashMap::new();
    for (layer, name) in layers.into_iter().zip(&names) {
        let copy = copies.holding(name);
        let (kind, prefix, role) = match copy {
            None => (Kind::InTraining, "", Role::Raw),
            Some(copy) => match copy.mark {
                Some(mark) => (Kind::Marked(mark.words, copy.role), copy.prefix, copy.role),
                None => (Kind::Counted(copy.prefix), copy.prefix, copy.role),
            },
        };
        if let Some(place) = places.get(&kind) {
            let (common, network) = &mut parts[*place];
            common.meet(prefix);
            network.layers.push(layer);
            continue;
        }
        places.insert(kind, parts.len());
        let mark = match kind {
            Kind::Marked(words, _) => words.join("_"),
            Kind::InTraining | Kind::Counted(_) => String::new(),
        };
        let network = Network {
            root: String::new(),
            role: role.max(dict.role),
            layers: vec![layer],
        };
        parts.push((Prefix::One(prefix.to_owned(), mark), network));
    }
    let named = parts.into_iter().map(|(prefix, network)| Network {
        root: dict.path_of(&prefix.path()),
        ..network
    });
    named.collect()
}

/// What the names of a network begin with.
enum Prefix {
    /// All with this, which has this mark in it.
    One(String, String),
    /// With these components, and then with others that have this mark in them.
    Several(Vec<String>, String),
}

impl Prefix {
    /// Takes another prefix in.
    fn meet(&mut self, prefix: &str) {
        let (mut common, mark) = match self {
            Prefix::One(one, _) if one == prefix => return,
            Prefix::One(one, mark) => (one.split(SEPARATORS).map(str::to_owned).collect(), mark),
            Prefix::Several(common, mark) => (std::mem::take(common), mark),
        };
        let both = common.iter().zip(prefix.split(SEPARATORS));
        let same = both.take_while(|(a, b)| a == b).count();
        common.truncate(same);
        *self = Prefix::Several(common, std::mem::take(mark));
    }

    fn path(self) -> String {
        match self {
            Prefix::One(one, _) => one,
            Prefix::Several(mut common, mark) => {
                common.push(mark);
                common.join(".")
            }
        }
    }
}

/// A layer without a batch counter is frozen only if others have one.
fn mark_frozen(layers: &mut [Layer]) {
    if layers.iter().all(|layer| layer.frozen) {
        layers.iter_mut().for_each(|layer| layer.frozen = false);
    }
}
