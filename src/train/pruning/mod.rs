//! Pruning in a run: by its settings before the first epoch, softly after each epoch, or when an
//! Early-Bird ticket is found. What is pruned is part of the run's state, and stays at 0.
//!
//! Sources: Liu et al., ICCV 2017 (network slimming); He et al., CVPR 2019 (FPGM); You et al., ICLR
//! 2020 (Early-Bird tickets); and the code that their authors published.

mod early_bird;
mod hold;
mod options;

use serde::{Deserialize, Serialize};

use super::regenerate::{self, Gammas};
use super::settings::Settings;
use super::state::State;
use crate::batchnorm::Filter;
use crate::engine::{Engine, Part};
use crate::error::{Error, Result};
use crate::net::{FilterKind, Graph, Norm, TensorId};
use crate::regen::{FilterShares, Gamma, LayerMask, Mask, Method, Plan, fpgm, slimming};

pub(super) use early_bird::{draw_anew, find_ticket, prune_ticket};
pub(super) use hold::Hold;
pub(super) use options::check;
pub use options::{AfterTicket, Soft};

/// What is pruned in a run, and what the search for a ticket remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruning {
    /// Channels whose γ and β are held at 0.
    #[serde(default, skip_serializing_if = "Mask::is_empty")]
    pub mask: Mask,
    /// Channels whose filters are held at 0, by the BatchNorm behind the convolution.
    #[serde(default, skip_serializing_if = "Mask::is_empty")]
    pub filters: Mask,
    /// Early-Bird: what would have been pruned at the beginning of the last epochs, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Mask>,
    /// Early-Bird: how many epochs were finished when the ticket was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<u64>,
}

impl Pruning {
    /// Whether there is nothing to keep of it.
    pub fn is_empty(&self) -> bool {
        *self == Pruning::default()
    }

    /// The channels that are pruned, by their scales or by their filters.
    pub fn pruned(&self) -> Mask {
        let mut all = self.mask.clone();
        merge(&mut all, &self.filters);
        all
    }
}

/// Whether there is what the settings prune, and whether what they prune before the first epoch can be
/// chosen.
///
/// # Errors
/// No layer to prune, or one whose filters are not known; γ that were just drawn, which are all the same; a
/// run that goes on has begun already.
pub(super) fn check_start(
    settings: &Settings,
    before: Option<&State>,
    drawn: bool,
    graph: &Graph,
) -> Result<()> {
    let ratio = settings.prune_ratio;
    let begins_with = |method| ratio > 0.0 && settings.prune_method == method;
    if settings.soft != Soft::None || begins_with(Method::Fpgm) {
        prunable(settings, graph)?;
    }
    if settings.early_bird > 0.0 || begins_with(Method::Slimming) {
        let filter = batch_norms(settings)?;
        let passes = |norm: &Norm<'_>| filter.passes(regenerate::kind(norm.kind), norm.layer);
        if !graph.norms().iter().any(passes) {
            return Err(graph.error("γ", "there is no BatchNorm to prune").into());
        }
    }
    if ratio == 0.0 {
        return Ok(());
    }
    let wrong = |reason: &str| Err(Error::argument("prune-ratio", ratio, reason));
    match before {
        Some(before) if before.settings.prune_ratio != ratio => {
            wrong("a run prunes as it begins, and this one has begun: prune its checkpoint")
        }
        None if drawn && settings.prune_method == Method::Slimming => {
            wrong("all γ of a network that begins are equal: begin with trained weights")
        }
        _ => Ok(()),
    }
}

/// The layers whose filters FPGM prunes, with the weights of their convolutions: all but those of depthwise
/// ones and of shortcuts, as in the authors' code.
///
/// # Errors
/// There is none, or one that does not follow a convolution of its own.
fn prunable<'g>(settings: &Settings, graph: &'g Graph) -> Result<Vec<(Norm<'g>, TensorId)>> {
    let filter = batch_norms(settings)?;
    let mut layers = Vec::new();
    for (norm, filters) in graph.filters() {
        if filter.passes(regenerate::kind(norm.kind), norm.layer) {
            let filters = filters.map_err(|err| graph.error(norm.layer, err))?;
            if filters.kind == FilterKind::Plain {
                layers.push((norm, filters.weight));
            }
        }
    }
    if layers.is_empty() {
        return Err(graph.error("filters", "there are none to prune").into());
    }
    Ok(layers)
}

/// What a checkpoint's run has pruned goes on to be, but for channels whose γ an edit of the checkpoint
/// has brought back; a ticket that it stopped at is drawn anew if that is asked for now.
///
/// # Errors
/// A state with masks of another network; as of drawing weights.
pub(super) fn go_on(before: &State, state: &mut State, engine: &mut dyn Engine) -> Result<()> {
    let gammas = Gammas::read(engine);
    for mask in [&before.pruning.mask, &before.pruning.filters] {
        check_mask(mask, &gammas, engine.graph())?;
    }
    state.pruning = before.pruning.clone();
    for Gamma { layer, values, .. } in gammas.all() {
        for (channel, _) in values
            .iter()
            .enumerate()
            .filter(|(_, value)| **value != 0.0)
        {
            state.pruning.mask.revive(layer, channel);
        }
    }
    if before.has_ticket() && state.settings.after_ticket == AfterTicket::Reinit {
        draw_anew(state, engine)?;
    }
    Ok(())
}

/// # Errors
/// A mask of another network.
fn check_mask(mask: &Mask, gammas: &Gammas, graph: &Graph) -> Result<()> {
    let layers = gammas.all().iter();
    let layers = layers.map(|gamma| (&gamma.layer[..], gamma.values.len()));
    let wrong = |err| graph.error("mask", format!("does not fit: {err}"));
    mask.check(layers).map_err(wrong)?;
    Ok(())
}

/// Prunes the channels of a mask, besides those that are pruned already.
///
/// A channel whose filter is 0 and whose γ is not was pruned by its filter alone, and stays so.
///
/// # Errors
/// A mask of another network.
pub(super) fn add(pruning: &mut Pruning, mask: &Mask, engine: &mut dyn Engine) -> Result<()> {
    let gammas = Gammas::read(engine);
    check_mask(mask, &gammas, engine.graph())?;
    let (scales, filters) = by_scale_or_filter(mask, &gammas, engine);
    merge(&mut pruning.mask, &scales);
    merge(&mut pruning.filters, &filters);
    set_channels(&pruning.mask, engine);
    Ok(())
}

/// Prunes what the settings choose of the weights that a run begins with.
///
/// # Errors
/// Weights that are not finite.
pub(super) fn by_settings(
    settings: &Settings,
    pruning: &mut Pruning,
    engine: &mut dyn Engine,
) -> Result<()> {
    if settings.prune_ratio == 0.0 {
        return Ok(());
    }
    let chosen = match settings.prune_method {
        Method::Slimming => {
            let known = Some(&pruning.mask).filter(|mask| !mask.is_empty());
            slim(settings, settings.prune_ratio, known, engine)?
        }
        Method::Fpgm => {
            let shares = FilterShares {
                distance: settings.prune_ratio,
                norm: settings.norm_ratio,
            };
            let chosen = nearest_filters(settings, shares, &pruning.pruned(), engine)?;
            set_filters(&chosen, engine);
            chosen
        }
    };
    merge(&mut pruning.mask, &chosen);
    set_channels(&pruning.mask, engine);
    Ok(())
}

fn merge(mask: &mut Mask, other: &Mask) {
    mask.merge(other)
        .expect("both are of this network's layers");
}

/// Prunes filters anew after an epoch, where the settings are for that; those of before may have moved
/// in between, and may be kept.
pub(super) fn prune_softly(
    settings: &Settings,
    pruning: &mut Pruning,
    engine: &mut dyn Engine,
) -> Result<()> {
    let Soft::Fpgm(distance) = settings.soft else {
        return Ok(());
    };
    let norm = settings.norm_ratio;
    let shares = FilterShares { distance, norm };
    pruning.filters = nearest_filters(settings, shares, &pruning.mask, engine)?;
    set_filters(&pruning.filters, engine);
    Ok(())
}

/// Ends the pruning of channels whose γ a plan changes, as where the authors' public code regenerates them.
pub(super) fn revive(pruning: &mut Pruning, plan: &Plan) {
    for layer in &plan.layers {
        for change in &layer.changes {
            pruning.mask.revive(&layer.name, change.channel);
        }
    }
}

/// The settings' filter, without layers of IterNorm: behind whitening no channel is a filter's alone.
fn batch_norms(settings: &Settings) -> Result<Filter> {
    Ok(Filter {
        iternorm: false,
        ..settings.filter()?
    })
}

/// The channels of |γ| at or below the threshold of network slimming, `known` ones among them.
fn slim(
    settings: &Settings,
    ratio: f64,
    known: Option<&Mask>,
    engine: &dyn Engine,
) -> Result<Mask> {
    let gammas = Gammas::read(engine).passing(&batch_norms(settings)?);
    let slimmed = slimming(&gammas, ratio, settings.min_channels, known);
    let wrong = |err| {
        engine
            .graph()
            .error("γ", format!("cannot be pruned by: {err}"))
    };
    Ok(slimmed.map_err(wrong)?.mask)
}

/// The filters that are pruned by their distances to the others, `known` ones among them.
fn nearest_filters(
    settings: &Settings,
    shares: FilterShares,
    known: &Mask,
    engine: &dyn Engine,
) -> Result<Mask> {
    let mut layers = Vec::new();
    let mut values = Vec::new();
    for (norm, weight) in prunable(settings, engine.graph())? {
        engine.read(weight, Part::Value, &mut values);
        let (channels, least) = (norm.channels, settings.min_channels);
        let pruned = fpgm(
            norm.layer,
            &values,
            channels,
            shares,
            least,
            known.pruned(norm.layer),
        );
        let wrong = |err| {
            engine
                .graph()
                .error("filters", format!("cannot be pruned: {err}"))
        };
        layers.push(LayerMask {
            name: norm.layer.to_owned(),
            channels,
            pruned: pruned.map_err(wrong)?,
        });
    }
    Ok(Mask::new(layers).expect("FPGM counts channels upwards"))
}

/// Parts a mask: channels that are pruned by γ and β, and those whose filter is 0 while γ is not.
fn by_scale_or_filter(mask: &Mask, gammas: &Gammas, engine: &dyn Engine) -> (Mask, Mask) {
    let graph = engine.graph();
    let (mut scales, mut filters) = (Vec::new(), Vec::new());
    let mut values = Vec::new();
    for (norm, gamma) in graph.norms().iter().zip(gammas.all()) {
        let pruned = mask.pruned(norm.layer);
        if pruned.is_empty() {
            continue;
        }
        values.clear();
        if let Some(weight) = norm.filters {
            engine.read(weight, Part::Value, &mut values);
        }
        let len = values.len() / norm.channels;
        let by_filter = |channel: &usize| {
            let filter = &values[channel * len..][..len];
            len > 0 && gamma.values[*channel] != 0.0 && filter.iter().all(|value| *value == 0.0)
        };
        let (of_filter, of_scale) = pruned.iter().partition(|channel| by_filter(channel));
        let part = |pruned| LayerMask {
            name: norm.layer.to_owned(),
            channels: norm.channels,
            pruned,
        };
        scales.push(part(of_scale));
        filters.push(part(of_filter));
    }
    let mask = |layers| Mask::new(layers).expect("channels stay in their order");
    (mask(scales), mask(filters))
}

/// Sets γ and β of the pruned channels to 0, with what the optimizer and the average keep for them.
fn set_channels(mask: &Mask, engine: &mut dyn Engine) {
    for (norm, pruned) in pruned_norms(engine.graph(), mask) {
        for tensor in [norm.gamma, norm.beta] {
            set_to_zero(tensor, norm.channels, &pruned, &ALL, engine);
        }
    }
}

/// Sets the pruned filters to 0, and the average of them. What the optimizer keeps for them stays, as in
/// the authors' code: they may move before the next time.
fn set_filters(mask: &Mask, engine: &mut dyn Engine) {
    for (norm, pruned) in pruned_norms(engine.graph(), mask) {
        if let Some(weight) = norm.filters {
            set_to_zero(weight, norm.channels, &pruned, &VALUES, engine);
        }
    }
}

const VALUES: [Part; 2] = [Part::Value, Part::Average];
const ALL: [Part; 4] = [Part::Value, Part::Average, Part::Slot(0), Part::Slot(1)];

/// The layers of which something is pruned; plain numbers, so that the engine can be written to.
fn pruned_norms(graph: &Graph, mask: &Mask) -> Vec<(PrunedNorm, Vec<usize>)> {
    let norms = graph.norms();
    let pruned = norms.iter().filter_map(|norm| {
        let pruned = mask.pruned(norm.layer);
        (!pruned.is_empty()).then(|| (PrunedNorm::of(norm), pruned.to_vec()))
    });
    pruned.collect()
}

/// The tensors of a layer of which something is pruned.
struct PrunedNorm {
    gamma: TensorId,
    beta: TensorId,
    filters: Option<TensorId>,
    channels: usize,
}

impl PrunedNorm {
    fn of(norm: &Norm<'_>) -> PrunedNorm {
        PrunedNorm {
            gamma: norm.gamma,
            beta: norm.beta,
            filters: norm.filters,
            channels: norm.channels,
        }
    }
}

fn set_to_zero(
    tensor: TensorId,
    channels: usize,
    pruned: &[usize],
    parts: &[Part],
    engine: &mut dyn Engine,
) {
    let mut values = Vec::new();
    for part in parts {
        engine.read(tensor, *part, &mut values);
        // Nothing is kept before the first update, and no average where none is asked for.
        if values.is_empty() {
            continue;
        }
        let len = values.len() / channels;
        for channel in pruned {
            values[channel * len..][..len].fill(0.0);
        }
        engine.write(tensor, *part, &values);
    }
}
