//! What a tensor's name says: its components, their words, and the module it belongs to.

/// Components that wrappers put around a network, and that never tell one network from another.
pub(crate) const WRAPPERS: [&str; 5] = ["module", "_orig_mod", "model", "net", "backbone"];

/// What parts a name into components.
pub(crate) const SEPARATORS: [char; 2] = ['.', '/'];

/// Whether a component is put there by a wrapper.
pub(crate) fn is_wrapper(component: &str) -> bool {
    WRAPPERS.contains(&component)
}

/// A longer component is taken for one word: nobody wrote it, and cutting it would cost memory.
const MAX_COMPONENT: usize = 256;

/// The words of a component in lower case: `netG_ema` is `net`, `g`, `ema`; `EMAModel` is `ema`,
/// `model`.
pub(crate) fn words(component: &str) -> Vec<String> {
    if component.len() > MAX_COMPONENT {
        return vec![component.to_lowercase()];
    }
    let mut words = vec![String::new()];
    let chars: Vec<char> = component.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        if matches!(c, '_' | '-') {
            words.push(String::new());
            continue;
        }
        let after_small = at > 0 && !chars[at - 1].is_uppercase();
        let before_small = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && (after_small || before_small) {
            words.push(String::new());
        }
        let word = words.last_mut().expect("there is one from the start");
        word.extend(c.to_lowercase());
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The module that a layer belongs to: the first component of its name behind wrappers, or the last
/// component where there are only wrappers.
pub(crate) fn module(layer: &str) -> &str {
    let mut components = layer.split(SEPARATORS);
    let last = layer.rsplit(SEPARATORS).next().unwrap_or(layer);
    components.find(|c| !is_wrapper(c)).unwrap_or(last)
}

/// What all of several names begin with, up to and with a separator; something is left of each.
pub(crate) fn shared_beginning<'n>(mut names: impl Iterator<Item = &'n str>) -> &'n str {
    let Some(first) = names.next() else {
        return "";
    };
    let first_bytes = first.as_bytes();
    let rest = |name: &str| name.len().saturating_sub(1);
    let shared = names.fold(None, |shared: Option<usize>, name| {
        let shared = shared.unwrap_or_else(|| rest(first)).min(rest(name));
        let pairs = first_bytes.iter().zip(name.as_bytes()).take(shared);
        Some(pairs.take_while(|(a, b)| a == b).count())
    });
    let shared = &first_bytes[..shared.unwrap_or(0)];
    let is_separator = |byte: &u8| SEPARATORS.contains(&char::from(*byte));
    let end = shared.iter().rposition(is_separator);
    &first[..end.map_or(0, |end| end + 1)]
}

/// A name without what it shares with others.
pub(crate) fn without<'n>(name: &'n str, beginning: &str) -> &'n str {
    name.strip_prefix(beginning).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_share_whole_components_and_keep_something_of_their_own() {
        for (names, wanted) in [
            (&["net.stem.bn", "net.stem.bn2"][..], "net.stem."),
            (&["net/stem1", "net/stem2"], "net/"),
            (&["net.bn", "net.bn.1"], "net."),
            (&["net.", "net.bn"], ""),
            (&["é.a", "è.a"], ""),
            (&["stem1", "stem2"], ""),
            (&["net.stem.bn"], ""),
            (&["", "net.bn"], ""),
            (&[], ""),
        ] {
            let found = shared_beginning(names.iter().copied());
            assert_eq!(found, wanted, "{names:?}");
        }
        assert_eq!(without("net.bn", "net."), "bn");
    }

    #[test]
    fn a_component_is_cut_at_underscores_hyphens_and_capitals() {
        for (component, wanted) in [
            ("netG_ema", &["net", "g", "ema"][..]),
            ("EMAModel", &["ema", "model"]),
            ("model-EMA", &["model", "ema"]),
            ("emaModel2", &["ema", "model2"]),
            ("mean_teacher", &["mean", "teacher"]),
            ("_orig_mod", &["orig", "mod"]),
            ("encoderQ", &["encoder", "q"]),
            ("schema", &["schema"]),
            ("", &[]),
        ] {
            assert_eq!(words(component), wanted, "{component}");
        }
    }

    #[test]
    fn a_module_is_the_first_component_behind_wrappers() {
        for (layer, wanted) in [
            ("generator.bn", "generator"),
            ("module.model.netG.0.bn", "netG"),
            ("_orig_mod.backbone.layer1.0.bn1", "layer1"),
            ("generator/bn", "generator"),
            ("model", "model"),
            ("", ""),
        ] {
            assert_eq!(module(layer), wanted, "{layer}");
        }
    }
}
