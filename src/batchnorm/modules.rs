//! The modules of a network: what its layers' names begin with.

use std::collections::HashMap;

use crate::name;

/// The modules of a network that look like networks of their own under one median, in order, each
/// with its number of BatchNorm layers: two to six modules of two layers or more, whose names differ
/// by more than a number. A generator beside a discriminator, say.
pub(crate) fn modules<'n>(layers: impl Iterator<Item = &'n str>) -> Vec<(&'n str, usize)> {
    let mut modules: Vec<(&str, usize)> = Vec::new();
    let mut places = HashMap::new();
    for layer in layers {
        let module = name::module(layer);
        let place = *places.entry(module).or_insert(modules.len());
        match modules.get_mut(place) {
            Some((_, layers)) => *layers += 1,
            None => modules.push((module, 1)),
        }
    }
    modules.retain(|(_, layers)| *layers >= 2);
    let mut stems: Vec<String> = modules.iter().map(|(name, _)| stem(name)).collect();
    stems.sort_unstable();
    let alike = stems.windows(2).any(|pair| pair[0] == pair[1]);
    if alike || !(2..=6).contains(&modules.len()) {
        modules.clear();
    }
    modules
}

/// A name without its digits.
fn stem(name: &str) -> String {
    name.replace(|c: char| c.is_ascii_digit(), "")
}

/// That these layers share a median, where it may surprise: `one median for: generator (12 layers),
/// discriminator (9)`.
pub(crate) fn one_median<'n>(layers: impl Iterator<Item = &'n str>) -> Option<String> {
    let modules = modules(layers);
    let line = |(n, (name, layers)): (usize, &(&str, usize))| match n {
        0 => format!("{name} ({layers} layers)"),
        _ => format!("{name} ({layers})"),
    };
    let lines: Vec<String> = modules.iter().enumerate().map(line).collect();
    (!lines.is_empty()).then(|| format!("one median for: {}", lines.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Option<String> {
        one_median(names.iter().copied())
    }

    #[test]
    fn modules_that_differ_by_more_than_a_number_are_named() {
        assert_eq!(
            found(&["G.a", "G.b", "G.c", "D.a", "D.b"]).as_deref(),
            Some("one median for: G (3 layers), D (2)")
        );
        let names = [
            "module.netG.a",
            "module.netG.b",
            "module.netD.a",
            "module.netD.b",
            "stem",
        ];
        assert_eq!(
            found(&names).as_deref(),
            Some("one median for: netG (2 layers), netD (2)")
        );
    }

    #[test]
    fn stages_single_layers_and_a_single_module_are_not() {
        assert_eq!(
            found(&["layer1.a", "layer1.b", "layer2.a", "layer2.b", "bn1"]),
            None
        );
        assert_eq!(found(&["G.a", "G.b", "D.a"]), None);
        assert_eq!(found(&["features.1", "features.2"]), None);
        let many = ["a", "b", "c", "d", "e", "f", "g"];
        let many: Vec<String> = many
            .iter()
            .flat_map(|m| [format!("{m}.x"), format!("{m}.y")])
            .collect();
        assert_eq!(
            found(&many.iter().map(|m| &m[..]).collect::<Vec<_>>()),
            None
        );
    }
}
