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

#[cfg(test)]
mod tests {
    use super::*;

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
