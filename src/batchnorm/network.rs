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

fn by_copies(dict: &StateDict, layers: Vec<Layer>, copies: &Copies) -> Vec<Network> {
    let mut parts: Vec<(Prefix, Network)> = Vec::new();
    // By the words of the mark; none for what is in training.
    let mut places: HashMap<Option<&[&str]>, usize> = HashMap::new();
    for layer in layers {
        let copy = copies.holding(&layer.name);
        let prefix = copy.map_or("", |(prefix, _)| prefix);
        let mark = copy.map(|(_, mark)| mark);
        if let Some(place) = places.get(&mark.map(|mark| mark.words)) {
            let (common, network) = &mut parts[*place];
            common.meet(prefix);
            network.layers.push(layer);
            continue;
        }
        places.insert(mark.map(|mark| mark.words), parts.len());
        let words = mark.map_or(String::new(), |mark| mark.words.join("_"));
        let prefix = Prefix::One(prefix.to_owned(), words);
        let network = Network {
            root: String::new(),
            role: mark.map_or(Role::Raw, |mark| mark.role).max(dict.role),
            layers: vec![layer],
        };
        parts.push((prefix, network));
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
