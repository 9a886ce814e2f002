//! How the tensors of one BatchNorm are named.

use regex_lite::Regex;

use crate::error::{Error, Result};

/// A tensor name with the layer left open: `params/{layer}/scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    before: String,
    after: String,
}

const HOLE: &str = "{layer}";

impl Template {
    pub(super) fn parse(text: &str) -> Result<Template> {
        let parts: Vec<&str> = text.split(HOLE).collect();
        match parts[..] {
            [before, after] => Ok(Template {
                before: before.into(),
                after: after.into(),
            }),
            _ => Err(Error::Usage(format!(
                "the pattern {text:?} does not contain {HOLE} once"
            ))),
        }
    }

    /// The layer for which `name` is this tensor.
    pub(super) fn layer_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        // Most names fail here, on one byte: a quarter of the time on 10,000 layers was spent without it.
        let last = |text: &str| text.as_bytes().last().copied();
        if !self.after.is_empty() && last(name) != last(&self.after) {
            return None;
        }
        if Some(name) == self.of_bare_layer() {
            return Some("");
        }
        name.strip_prefix(&self.before[..])?
            .strip_suffix(&self.after[..])
            .filter(|l| !l.is_empty())
    }

    /// The name of this tensor in `layer`.
    pub(super) fn name_in(&self, layer: &str) -> String {
        match self.of_bare_layer() {
            Some(bare) if layer.is_empty() => bare.to_owned(),
            _ => format!("{}{layer}{}", self.before, self.after),
        }
    }

    /// Its name in the state dict of a lone BatchNorm, where there is no prefix to separate.
    fn of_bare_layer(&self) -> Option<&str> {
        if self.before.is_empty() {
            self.after.strip_prefix(['.', '/'])
        } else {
            None
        }
    }

    /// As it was written.
    pub(super) fn text(&self) -> String {
        format!("{}{HOLE}{}", self.before, self.after)
    }
}

/// The names of all tensors of a BatchNorm.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) gamma: Template,
    pub(super) beta: Option<Template>,
    pub(super) mean: Option<Template>,
    /// The running variance; of IterNorm the whitening matrices.
    pub(super) variance: Option<Template>,
    /// Counts batches in training; a frozen layer may lack it.
    pub(super) counter: Option<Template>,
    /// Restricts the pattern to layers of these names.
    pub(super) layers: Option<Regex>,
    /// Why a γ of this name cannot be edited.
    pub(super) fixed: Option<&'static str>,
}

/// What `torch.nn.utils.prune` makes of a weight: the product of two others.
const PRUNED: &str = "it is the product of weight_orig and weight_mask (torch.nn.utils.prune): \
                      prune.remove(layer, \"weight\") makes it a weight again";

/// The leaf names of PyTorch (timm, Hugging Face, candle, mm*, SyncBatchNorm, FrozenBatchNorm, IterNorm),
/// Keras and burn, with either separator, and the trees of Flax.
pub(super) fn dialects() -> Vec<Pattern> {
    const LEAVES: [([&str; 4], Option<&str>); 4] = [
        (
            ["weight", "bias", "running_mean", "running_var"],
            Some("num_batches_tracked"),
        ),
        (["gamma", "beta", "moving_mean", "moving_variance"], None),
        (["gamma", "beta", "running_mean", "running_var"], None),
        // IterNorm, whose statistics have other shapes.
        (["weight", "bias", "running_mean", "running_wm"], None),
    ];
    let mut patterns = Vec::new();
    for sep in [".", "/"] {
        for (leaves, counter) in LEAVES {
            let leaf = |leaf: &str| Template {
                before: String::new(),
                after: format!("{sep}{leaf}"),
            };
            patterns.push(Pattern::of(leaves.map(leaf), counter.map(leaf)));
        }
        let pruned = ["weight_orig", "bias", "running_mean", "running_var"];
        let pruned = pruned.map(|leaf| Template {
            before: String::new(),
            after: format!("{sep}{leaf}"),
        });
        patterns.push(Pattern {
            fixed: Some(PRUNED),
            ..Pattern::of(pruned, None)
        });
        let tree = |(tree, leaf): (&str, &str)| Template {
            before: format!("{tree}{sep}"),
            after: format!("{sep}{leaf}"),
        };
        let names = [
            ("params", "scale"),
            ("params", "bias"),
            ("batch_stats", "mean"),
            ("batch_stats", "var"),
        ];
        patterns.push(Pattern::of(names.map(tree), None));
    }
    patterns
}

impl Pattern {
    fn of([gamma, beta, mean, variance]: [Template; 4], counter: Option<Template>) -> Pattern {
        let (beta, mean, variance) = (Some(beta), Some(mean), Some(variance));
        Pattern {
            gamma,
            beta,
            mean,
            variance,
            counter,
            layers: None,
            fixed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_finds_the_layer_and_gives_the_name_back() {
        let template = Template::parse("params/{layer}/scale").unwrap();
        assert_eq!(template.layer_of("params/a/bn/scale"), Some("a/bn"));
        assert_eq!(template.name_in("a/bn"), "params/a/bn/scale");
        assert_eq!(template.layer_of("params/scale"), None);
        assert_eq!(template.layer_of("params//scale"), None);
    }

    #[test]
    fn a_lone_batchnorm_has_no_separator() {
        let template = Template::parse("{layer}.running_mean").unwrap();
        assert_eq!(template.layer_of("running_mean"), Some(""));
        assert_eq!(template.name_in(""), "running_mean");
        assert_eq!(template.layer_of("xrunning_mean"), None);
    }

    #[test]
    fn the_dialects_are_complete() {
        let patterns = dialects();
        assert_eq!(patterns.len(), 12);
        assert!(
            patterns
                .iter()
                .all(|p| p.mean.is_some() && p.variance.is_some())
        );
        assert_eq!(patterns.iter().filter(|p| p.counter.is_some()).count(), 2);
    }
}
