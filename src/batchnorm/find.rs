//! The sibling rule: which tensors of one state dict are γ.

use std::collections::{HashMap, HashSet};

use super::pattern::{Pattern, Template};
use super::{Beta, Layer, LayerKind, Schema};
use crate::checkpoint::{StateDict, Tensor};

/// What a tensor is found to be.
pub(super) enum Finding {
    /// γ of this layer, by this pattern of the schema.
    Gamma(Layer, usize),
    /// γ and statistics of a layer whose lengths contradict each other.
    Mismatch { expected: String, found: String },
    /// No γ, and why if its name is that of one.
    Left(Option<String>),
}

/// γ and statistics of a layer, of lengths that contradict each other.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// γ, in its state dict.
    pub(crate) tensor: usize,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// One state dict with its names indexed.
pub(super) struct Finder<'a> {
    dict: &'a StateDict,
    index: usize,
    patterns: &'a [Pattern],
    by_name: HashMap<&'a str, usize>,
}

/// The layers of `dict`, the `index`th of its checkpoint, in its order.
pub(super) fn layers(
    dict: &StateDict,
    index: usize,
    schema: &Schema,
) -> Result<Vec<Layer>, Mismatch> {
    let finder = Finder::new(dict, index, schema);
    let mut layers = Vec::new();
    for tensor in 0..dict.tensors.len() {
        match finder.judge(tensor) {
            Finding::Left(_) => {}
            Finding::Gamma(layer, _) if schema.excludes(&layer.name) => {}
            Finding::Gamma(layer, _) => layers.push(layer),
            Finding::Mismatch { expected, found } => {
                if !schema.excludes(layer_name(&dict.tensors[tensor].name)) {
                    return Err(Mismatch {
                        tensor,
                        expected,
                        found,
                    });
                }
            }
        }
    }
    Ok(unique(layers, dict))
}

/// Layers of one name (`a.weight` and `a/gamma`) but the first go by the whole name of their γ.
fn unique(mut layers: Vec<Layer>, dict: &StateDict) -> Vec<Layer> {
    let mut seen = HashSet::new();
    for layer in &mut layers {
        if !seen.insert(layer.name.clone())
            && let Some(gamma) = layer.gamma
        {
            layer.name.clone_from(&dict.tensors[gamma].name);
            seen.insert(layer.name.clone());
        }
    }
    layers
}

/// A layer's name: its γ's without the last component.
pub(super) fn layer_name(gamma: &str) -> &str {
    gamma.rfind(['.', '/']).map_or("", |at| &gamma[..at])
}

impl<'a> Finder<'a> {
    pub(super) fn new(dict: &'a StateDict, index: usize, schema: &'a Schema) -> Self {
        let names = dict
            .tensors
            .iter()
            .enumerate()
            .map(|(i, t)| (&t.name[..], i));
        Finder {
            dict,
            index,
            patterns: schema.patterns(),
            by_name: names.collect(),
        }
    }

    pub(super) fn judge(&self, index: usize) -> Finding {
        let tensor = &self.dict.tensors[index];
        let mut reason = None;
        for (number, pattern) in self.patterns.iter().enumerate() {
            let Some(layer) = pattern.gamma.layer_of(&tensor.name) else {
                continue;
            };
            if pattern
                .layers
                .as_ref()
                .is_some_and(|layers| !layers.is_match(layer_name(&tensor.name)))
            {
                reason.get_or_insert("the schema's pattern is for other layers".to_owned());
                continue;
            }
            match self.judge_as(index, number, layer) {
                Finding::Left(why) => reason = reason.or(why),
                finding => return finding,
            }
        }
        Finding::Left(reason)
    }

    /// Takes a tensor, whose name is that of a γ, for the γ of `layer`.
    fn judge_as(&self, index: usize, number: usize, layer: &str) -> Finding {
        let (tensor, pattern) = (&self.dict.tensors[index], &self.patterns[number]);
        let statistics: Vec<(String, Option<&Tensor>)> = [&pattern.mean, &pattern.variance]
            .into_iter()
            .flatten()
            .map(|template| self.sibling(template, layer))
            .collect();
        let names = |wanted: bool| -> Vec<&str> {
            let found = statistics
                .iter()
                .filter(|(_, tensor)| tensor.is_some() == wanted);
            found.map(|(name, _)| leaf(name)).collect()
        };
        let missing = names(false);
        if !missing.is_empty() {
            return left(match &names(true)[..] {
                [] => format!("no {} beside it", missing.join(" and no ")),
                present => format!(
                    "{} beside it, but no {}",
                    present.join(", "),
                    missing.join(", ")
                ),
            });
        }
        let shapes = statistics
            .iter()
            .filter_map(|(_, statistic)| statistic.map(|t| &t.shape[..]));
        let Some((kind, channels)) = kind(&tensor.shape, &shapes.collect::<Vec<_>>()) else {
            return left(format!(
                "has statistics beside it, but the shape {:?}",
                tensor.shape
            ));
        };
        if !tensor.dtype.is_float() {
            return left(format!(
                "has statistics beside it, but is of type {}",
                tensor.dtype
            ));
        }
        for (name, statistic) in &statistics {
            let shape = &statistic.expect("none is missing").shape;
            if kind == LayerKind::BatchNorm && *shape != [channels] {
                return Finding::Mismatch {
                    expected: format!("as many channels as in {name}, of shape {shape:?}"),
                    found: format!("shape {:?}", tensor.shape),
                };
            }
        }
        let counter = pattern
            .counter
            .as_ref()
            .map(|template| self.sibling(template, layer).1);
        let wrong_type = (!tensor.dtype.is_editable_float())
            .then(|| format!("its type {} is not F16, BF16, F32 or F64", tensor.dtype));
        let by_name = pattern.fixed.map(str::to_owned);
        let fixed = by_name.or(wrong_type).or_else(|| tensor.fixed.clone());
        let place = |template: &Option<Template>| {
            let name = template.as_ref()?.name_in(layer);
            self.by_name.get(&name[..]).copied()
        };
        let statistics = match kind {
            LayerKind::BatchNorm => [place(&pattern.mean), place(&pattern.variance)],
            LayerKind::IterNorm => [None; 2],
        };
        let beta = place(&pattern.beta).filter(|beta| {
            let beta = &self.dict.tensors[*beta];
            beta.shape == [channels] && beta.dtype.is_float()
        });
        let beta = beta.map(|index| {
            let beta = &self.dict.tensors[index];
            let wrong_type = (!beta.dtype.is_editable_float())
                .then(|| format!("its type {} is not F16, BF16, F32 or F64", beta.dtype));
            Beta {
                tensor: Some(index),
                fixed: wrong_type.or_else(|| beta.fixed.clone()),
            }
        });
        let layer = Layer {
            name: layer_name(&tensor.name).to_owned(),
            kind,
            dict: self.index,
            gamma: Some(index),
            channels: channels as usize,
            frozen: matches!(counter, Some(None)),
            fixed,
            statistics,
            betas: beta.into_iter().collect(),
        };
        Finding::Gamma(layer, number)
    }

    fn sibling(&self, template: &Template, layer: &str) -> (String, Option<&'a Tensor>) {
        let name = template.name_in(layer);
        let tensor = self.by_name.get(&name[..]).map(|i| &self.dict.tensors[*i]);
        (name, tensor)
    }

    /// Why a tensor is no γ although nothing is wrong with it: its part in a layer.
    pub(super) fn part_of(&self, tensor: &Tensor) -> String {
        for pattern in self.patterns {
            let parts = [
                ("β", &pattern.beta),
                ("the running mean", &pattern.mean),
                ("the running variance", &pattern.variance),
                ("the batch counter", &pattern.counter),
            ];
            for (part, template) in parts {
                let Some(template) = template else { continue };
                let Some(layer) = template.layer_of(&tensor.name) else {
                    continue;
                };
                let gamma = self.by_name.get(&pattern.gamma.name_in(layer)[..]);
                let shown = layer_name(&tensor.name);
                match gamma.map(|gamma| self.judge(*gamma)) {
                    Some(Finding::Gamma(layer, _)) => return format!("{part} of {}", layer.name),
                    None if part.starts_with("the running") => {
                        return format!("{part} of {shown}, which has no γ (affine=False?)");
                    }
                    _ => {}
                }
            }
        }
        "not a name of a γ".to_owned()
    }
}

/// What a γ of this shape with statistics of these shapes belongs to, and its number of channels: BatchNorm, one-dimensional
/// throughout; or IterNorm, γ of shape [1, C, 1, 1], the running mean [groups, d, 1] and the matrices [groups, d, d].
fn kind(gamma: &[u64], statistics: &[&[u64]]) -> Option<(LayerKind, u64)> {
    match (gamma, statistics) {
        ([channels], _) if *channels > 0 => Some((LayerKind::BatchNorm, *channels)),
        ([1, channels, 1, 1], [[groups, d, 1], [same_groups, rows, columns]])
            if *channels > 0
                && groups.checked_mul(*d) == Some(*channels)
                && (same_groups, rows, columns) == (groups, d, d) =>
        {
            Some((LayerKind::IterNorm, *channels))
        }
        _ => None,
    }
}

fn left(reason: String) -> Finding {
    Finding::Left(Some(reason))
}

fn leaf(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or(name)
}
