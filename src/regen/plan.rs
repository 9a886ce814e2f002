//! The rule → a plan: which channels change, from what to what.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::caution::{Caution, cautions};
use super::measure::lower_middle;
use super::{Below, Mask, Options, Rule, Scope, To, is_inhibited};
use crate::dtype::Dtype;
use crate::name;

/// The γ of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Gamma {
    /// The layer's name.
    pub layer: String,
    /// The type in which γ is stored: new values are rounded to it.
    pub dtype: Dtype,
    /// One value a channel, each exact.
    pub values: Vec<f64>,
}

/// What to change: a value that can be printed, saved, compared and dropped before anything is
/// written.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// t, when there is one for the whole network.
    pub threshold: Option<f64>,
    /// γ_new, when there is one for the whole network: rounded to the type of γ, if all layers have
    /// the same.
    pub target: Option<f64>,
    /// How many γ were in the lists.
    pub counted: usize,
    /// One entry for each layer that was counted, in their order.
    pub layers: Vec<LayerPlan>,
    /// What a user should know before writing this.
    pub cautions: Vec<Caution>,
}

/// The part of a [`Plan`] for one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerPlan {
    /// The layer's name.
    pub name: String,
    /// t.
    pub threshold: f64,
    /// γ_new in the type of this layer's γ, before `keep-sign` gives it a sign.
    pub target: f64,
    /// The channels whose γ changes, in order.
    pub changes: Vec<Change>,
}

/// One channel's change. Both values are exact in the type of γ, and differ in their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Counted from 0.
    pub channel: usize,
    /// γ before.
    pub old: f64,
    /// γ after.
    pub new: f64,
}

/// How many channels a plan inhibits, and how many it brings back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Were not inhibited and are.
    pub died: usize,
    /// Were inhibited and are not any more.
    pub back: usize,
}

impl Crossings {
    /// Whether more die than come back: then the plan does the opposite of what it is for.
    pub fn kills(self) -> bool {
        self.died > self.back
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// There is no γ to take a median of.
    #[error("no γ is left to count (of {0} given)")]
    Empty(usize),
    /// A γ is NaN or infinite: the median would mean nothing.
    #[error("layer {layer}: expected finite γ, found {value} in channel {channel}")]
    NonFinite {
        /// The layer's name.
        layer: String,
        /// Counted from 0.
        channel: usize,
        /// NaN or an infinity.
        value: f64,
    },
    /// The new γ has no finite value in the type of this layer's γ.
    #[error("layer {layer}: the new γ {value} does not fit into {dtype}")]
    DoesNotFit {
        /// The layer's name.
        layer: String,
        /// γ_new before rounding.
        value: f64,
        /// The type it should be stored in.
        dtype: Dtype,
    },
}

impl Plan {
    /// How many γ change.
    pub fn regenerated(&self) -> usize {
        self.layers.iter().map(|layer| layer.changes.len()).sum()
    }

    /// How many channels fall below [`INHIBITED`](super::INHIBITED) by this plan, and how many rise
    /// above it.
    pub fn crossings(&self) -> Crossings {
        let mut crossings = Crossings::default();
        for change in self.layers.iter().flat_map(|layer| &layer.changes) {
            let [before, after] = [change.old, change.new].map(is_inhibited);
            crossings.died += usize::from(!before && after);
            crossings.back += usize::from(before && !after);
        }
        crossings
    }

    /// In how many layers.
    pub fn layers_touched(&self) -> usize {
        self.layers
            .iter()
            .filter(|layer| !layer.changes.is_empty())
            .count()
    }
}

/// Applies the rule to the γ of a network (Algorithm 1 with the default options).
///
/// Channels that `mask` has as pruned leave the lists before any median is taken, and are not
/// changed. Layers that it does not name are unpruned; whether it is a mask of these layers is for
/// the caller to check ([`Mask::check`]).
///
/// With the default [`To::Threshold`] a plan made on the result changes nothing.
///
/// ```
/// use ckpt_regen::checkpoint::Dtype;
/// use ckpt_regen::regen::{Gamma, Options, plan};
///
/// let gamma = Gamma {
///     layer: "bn1".to_owned(),
///     dtype: Dtype::F32,
///     values: vec![0.0, 0.5, 1.0, 0.25],
/// };
/// let plan = plan(&[gamma], &Options::default(), None)?;
/// assert_eq!(plan.threshold, Some(0.25)); // the lower median
/// assert_eq!((plan.layers[0].changes[0].old, plan.layers[0].changes[0].new), (0.0, 0.25));
/// # Ok::<(), ckpt_regen::regen::PlanError>(())
/// ```
///
/// # Errors
/// A γ that is not finite, or options that do not fit these γ.
pub fn plan(gammas: &[Gamma], options: &Options, mask: Option<&Mask>) -> Result<Plan, PlanError> {
    for gamma in gammas {
        if let Some(channel) = gamma.values.iter().position(|value| !value.is_finite()) {
            let (layer, value) = (gamma.layer.clone(), gamma.values[channel]);
            return Err(PlanError::NonFinite {
                layer,
                channel,
                value,
            });
        }
    }
    let given = gammas.iter().map(|gamma| gamma.values.len()).sum();
    let mut plan = Plan {
        threshold: None,
        target: None,
        counted: 0,
        layers: Vec::new(),
        cautions: Vec::new(),
    };
    let counted = |gamma| Counted::of(gamma, options, mask);
    let counted: Vec<Counted<'_>> = gammas.iter().map(counted).collect();
    let mut lists: HashMap<Part<'_>, Vec<&Counted<'_>>> = HashMap::new();
    for (number, gamma) in counted.iter().enumerate() {
        let part = Part::of(options.scope, number, gamma.gamma);
        lists.entry(part).or_default().push(gamma);
    }
    let mut levels = HashMap::new();
    for (part, gammas) in lists {
        let list = Sorted::of(&gammas, options);
        if list.0.is_empty() {
            continue;
        }
        plan.counted += list.0.len();
        let threshold = list.threshold(options);
        levels.insert(part, (threshold, list.target(options, threshold)));
    }
    for (number, gamma) in counted.iter().enumerate() {
        let part = Part::of(options.scope, number, gamma.gamma);
        let Some((threshold, target)) = levels.get(&part) else {
            continue;
        };
        if options.scope == Scope::Network {
            plan.threshold = Some(*threshold);
            plan.target = Some(*target);
        }
        plan.layers
            .push(plan_layer(gamma, options, *threshold, *target)?);
    }
    if plan.counted == 0 {
        return Err(PlanError::Empty(given));
    }
    if let (Some(target), [first, rest @ ..]) = (&mut plan.target, &plan.layers[..])
        && rest.iter().all(|layer| layer.target == first.target)
    {
        *target = first.target;
    }
    plan.cautions = cautions(&counted, &plan, options);
    Ok(plan)
}

/// What has one threshold.
#[derive(PartialEq, Eq, Hash)]
enum Part<'g> {
    Network,
    Module(&'g str),
    /// By its place: names need not differ.
    Layer(usize),
}

impl Part<'_> {
    fn of(scope: Scope, number: usize, gamma: &Gamma) -> Part<'_> {
        match scope {
            Scope::Network => Part::Network,
            Scope::Each => Part::Module(name::module(&gamma.layer)),
            Scope::Layer => Part::Layer(number),
        }
    }
}

/// The γ of one layer, and which of them are counted.
pub(super) struct Counted<'g> {
    pub(super) gamma: &'g Gamma,
    /// The pruned channels, in ascending order.
    pruned: &'g [usize],
    keep_zeros: bool,
}

impl<'g> Counted<'g> {
    fn of(gamma: &'g Gamma, options: &Options, mask: Option<&'g Mask>) -> Counted<'g> {
        Counted {
            gamma,
            pruned: mask.map_or(&[], |mask| mask.pruned(&gamma.layer)),
            keep_zeros: options.keep_zeros,
        }
    }

    /// The channels that are not pruned, with their γ.
    pub(super) fn unpruned(&self) -> impl Iterator<Item = (usize, f64)> {
        let all = self.gamma.values.iter().copied().enumerate();
        all.filter(|(channel, _)| self.pruned.binary_search(channel).is_err())
    }

    /// Those in the list L: neither pruned nor a zero to keep.
    pub(super) fn channels(&self) -> impl Iterator<Item = (usize, f64)> {
        self.unpruned()
            .filter(|(_, value)| !(self.keep_zeros && *value == 0.0))
    }
}

fn plan_layer(
    counted: &Counted<'_>,
    options: &Options,
    threshold: f64,
    target: f64,
) -> Result<LayerPlan, PlanError> {
    let gamma = counted.gamma;
    let dtype = gamma.dtype;
    let rounded = match (options.to, options.below) {
        // In a network of several types, rounding a median up could lift it over the median, so
        // that a second run would find another one.
        (To::Threshold, Below::Median | Below::Quantile(_)) => dtype.round_down(target),
        _ => dtype.round(target),
    };
    if !rounded.is_finite() {
        let layer = gamma.layer.clone();
        return Err(PlanError::DoesNotFit {
            layer,
            value: target,
            dtype,
        });
    }
    let mut changes = Vec::new();
    for (channel, old) in counted.channels() {
        if !options.rule.selects(old, threshold) {
            continue;
        }
        let new = match options.rule {
            Rule::KeepSign if old < 0.0 => -rounded,
            _ => rounded,
        };
        if new.to_bits() != old.to_bits() {
            changes.push(Change { channel, old, new });
        }
    }
    Ok(LayerPlan {
        name: gamma.layer.clone(),
        threshold,
        target: rounded,
        changes,
    })
}

/// The list L, in ascending order.
struct Sorted(Vec<f64>);

impl Sorted {
    fn of(gammas: &[&Counted<'_>], options: &Options) -> Sorted {
        let counted = gammas.iter().flat_map(|gamma| gamma.channels());
        let counted = counted.map(|(_, value)| value);
        let mut list: Vec<f64> = match options.rule {
            Rule::Paper => counted.collect(),
            Rule::Reference | Rule::KeepSign => counted.map(|value| value.abs()).collect(),
        };
        list.sort_unstable_by(f64::total_cmp);
        Sorted(list)
    }

    fn threshold(&self, options: &Options) -> f64 {
        let threshold = match options.below {
            Below::Median => self.median(options.rule),
            Below::Quantile(q) => self.quantile(q),
            Below::Value(value) => value,
        };
        // No channel shall be regenerated to -0.
        threshold + 0.0
    }

    fn target(&self, options: &Options, threshold: f64) -> f64 {
        match options.to {
            To::Threshold => threshold,
            To::Median => self.median(options.rule),
            To::Mean => self.0.iter().sum::<f64>() / self.0.len() as f64,
            To::Max => self.0[self.0.len() - 1],
            To::Quantile(q) => self.quantile(q),
            To::Value(value) => value,
        }
    }

    fn median(&self, rule: Rule) -> f64 {
        match rule {
            Rule::Paper => self.0[lower_middle(self.0.len()).unwrap_or(0)],
            Rule::Reference | Rule::KeepSign => self.0[self.0.len() / 2],
        }
    }

    fn quantile(&self, q: f64) -> f64 {
        // q < 1, but the product may round up to N.
        let index = (self.0.len() as f64 * q).floor() as usize;
        self.0[index.min(self.0.len() - 1)]
    }
}

#[cfg(test)]
mod tests;
