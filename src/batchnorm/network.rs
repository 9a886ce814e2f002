//! Which layers of one state dict make a network of their own.

use std::collections::HashSet;

use super::{Layer, Network, Role, Schema};
use crate::checkpoint::StateDict;

/// A leading component that can make a network of its own.
const COPIES: [(&str, Role); 5] = [
    ("ema_model", Role::Ema),
    ("model_ema", Role::Ema),
    ("ema", Role::Ema),
    ("teacher", Role::Teacher),
    ("student", Role::Raw),
];

/// Wrappers that never split a network; a copy may be wrapped otherwise than its original.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// The leading component of a name that can make a network of its own, with its separator, and what
/// that network would be for.
#[cfg(feature = "train")]
pub(crate) fn copy_of(name: &str) -> Option<(&str, Role)> {
    let lead = &name[..=name.find('.')?];
    let known = COPIES
        .iter()
        .find(|(word, _)| *word == &lead[..lead.len() - 1]);
    known.map(|(_, role)| (lead, *role))
}

/// Groups the layers of a state dict into networks, in order of first appearance.
///
/// A leading `ema_model`, `model_ema`, `ema`, `teacher` or `student` splits off only if the rest of
/// its layer names also occurs under another prefix; otherwise it is part of a name like any
/// other. A schema that lists networks decides alone.
pub(super) fn split(dict: &StateDict, layers: Vec<Layer>, schema: &Schema) -> Vec<Network> {
    let names: HashSet<String> = layers.iter().map(|layer| layer.name.clone()).collect();
    let splits: Vec<(String, Role)> = if schema.networks().is_empty() {
        let split = |(word, _): &(&str, Role)| is_copy(word, &names);
        let found = COPIES.into_iter().filter(split);
        found
            .map(|(word, role)| (format!("{word}."), role))
            .collect()
    } else {
        schema.networks().to_vec()
    };
    let mut networks: Vec<Network> = Vec::new();
    for layer in layers {
        let split = splits
            .iter()
            .find(|(prefix, _)| layer.name.starts_with(&prefix[..]));
        let (own, role) = split.map_or(("", dict.role), |(prefix, role)| {
            (&prefix[..], (*role).max(dict.role))
        });
        let own = own.trim_end_matches(['.', '/']);
        let full = [&dict.root[..], own]
            .iter()
            .filter(|p| !p.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(".");
        match networks.iter_mut().find(|network| network.root == full) {
            Some(network) => network.layers.push(layer),
            None => networks.push(Network {
                root: full,
                role,
                layers: vec![layer],
            }),
        }
    }
    for network in &mut networks {
        mark_frozen(&mut network.layers);
    }
    networks
}

/// A layer without a batch counter is frozen only if others have one.
fn mark_frozen(layers: &mut [Layer]) {
    if layers.iter().all(|layer| layer.frozen) {
        layers.iter_mut().for_each(|layer| layer.frozen = false);
    }
}

/// Whether every layer below the leading component `word` has a twin under another prefix.
fn is_copy(word: &str, names: &HashSet<String>) -> bool {
    let lead = format!("{word}.");
    let (own, others): (Vec<&String>, Vec<&String>) =
        names.iter().partition(|name| name.starts_with(&lead));
    let Some(first) = own.first() else {
        return false;
    };
    let first = unwrapped(&first[lead.len()..]);
    let prefixes = others.iter().filter_map(|name| {
        let prefix = name.strip_suffix(first)?;
        (prefix.is_empty() || prefix.ends_with('.')).then_some(prefix)
    });
    prefixes.into_iter().any(|prefix| {
        own.iter().all(|name| {
            let twin = format!("{prefix}{}", unwrapped(&name[lead.len()..]));
            !twin.starts_with(&lead) && names.contains(&twin)
        })
    })
}

fn unwrapped(mut name: &str) -> &str {
    while let Some(rest) = WRAPPERS
        .iter()
        .find_map(|wrapper| name.strip_prefix(wrapper))
    {
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(names: &[&str]) -> Vec<(String, Role, usize)> {
        let layer = |name: &&str| Layer {
            name: name.to_string(),
            dict: 0,
            gamma: Some(0),
            channels: 1,
            frozen: false,
            fixed: None,
        };
        let dict = StateDict {
            root: String::new(),
            tensors: vec![],
            ordered: false,
            role: Role::Raw,
        };
        let networks = split(&dict, names.iter().map(layer).collect(), &Schema::default());
        networks
            .into_iter()
            .map(|n| (n.root, n.role, n.layers.len()))
            .collect()
    }

    #[test]
    fn an_average_beside_its_original_is_a_network_of_its_own() {
        let found = networks(&["bn1", "l.bn2", "ema.bn1", "ema.l.bn2"]);
        assert_eq!(
            found,
            [(String::new(), Role::Raw, 2), ("ema".into(), Role::Ema, 2)]
        );
    }

    #[test]
    fn wrappers_of_the_average_do_not_hide_its_original() {
        let found = networks(&[
            "model.bn1",
            "model.bn2",
            "ema_model.module.bn1",
            "ema_model.module.bn2",
        ]);
        assert_eq!(found[1], ("ema_model".into(), Role::Ema, 2));
    }

    #[test]
    fn teacher_and_student_are_two_networks() {
        let found = networks(&["teacher.bn1", "student.bn1"]);
        assert_eq!(
            found,
            [
                ("teacher".into(), Role::Teacher, 1),
                ("student".into(), Role::Raw, 1)
            ]
        );
    }

    #[test]
    fn a_leading_word_without_a_twin_is_just_a_name() {
        assert_eq!(
            networks(&["teacher.bn1", "head.bn2"]),
            [(String::new(), Role::Raw, 2)]
        );
        assert_eq!(
            networks(&["ema.bn1", "ema.bn2", "bn1"]),
            [(String::new(), Role::Raw, 3)]
        );
    }

    #[test]
    fn module_and_backbone_never_split() {
        let found = networks(&["module.bn1", "backbone.bn1", "model.bn1", "bn1"]);
        assert_eq!(found, [(String::new(), Role::Raw, 4)]);
    }

    #[test]
    fn a_name_that_ends_like_a_twin_is_none() {
        assert_eq!(networks(&["ema.bn1", "xbn1"]).len(), 1);
    }
}
