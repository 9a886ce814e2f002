//! Pruning in a checkpoint file: the channels that [`regen::slimming`] or [`regen::fpgm`] takes out
//! get γ = β = 0, and filters of zeros.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::apply::best_checkpoint;
use super::carry_out::{begin, carry_out, texts};
use super::gamma::{self, GammaBytes};
use super::plan::{editable, left_alone};
use super::target::Target;
use super::zeros::{Zeroed, zeroed};
use super::{Destination, Events, masked};
use crate::batchnorm::{self, Filter, Layer, Network, Schema};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Refusal, Result};
use crate::record::{By, Edit, Held, Made, MaskFile, Pruning};
use crate::regen::{
    self, FilterShares, Gamma, LayerMask, LayerPlan, Mask, Method, Plan, PruneError,
};
use crate::storage::{Purpose, Syncs};

/// What to prune, and in which part of a checkpoint.
#[derive(Debug, Clone)]
pub struct PruneRequest {
    /// How BatchNorm layers are found.
    pub schema: Schema,
    /// The network to prune; the only raw one if not given.
    pub root: Option<String>,
    /// Which of its layers.
    pub filter: Filter,
    /// How the channels are found.
    pub method: Method,
    /// Which share of them is pruned: of the network by slimming, of each convolution by FPGM.
    pub ratio: f64,
    /// Of FPGM, the share that is pruned by the norms of the filters before that.
    pub norm_ratio: f64,
    /// How many channels a layer keeps at least.
    pub min_channels: usize,
    /// Of FPGM, leave γ and β as they are, as the public code does.
    pub filters_only: bool,
    /// Of FPGM, also prune the filters that its authors leave alone: 1×1 shortcuts, and depthwise ones.
    pub all_layers: bool,
    /// The convolutions of the network, which FPGM needs.
    pub convolutions: Vec<Convolution>,
    /// Write the mask into this file too, before anything else is written.
    pub mask_out: Option<PathBuf>,
}

impl Default for PruneRequest {
    /// Slimming of nothing: the ratio is 0.
    fn default() -> PruneRequest {
        PruneRequest {
            schema: Schema::default(),
            root: None,
            filter: Filter::default(),
            method: Method::Slimming,
            ratio: 0.0,
            norm_ratio: 0.0,
            min_channels: 1,
            filters_only: false,
            all_layers: false,
            convolutions: Vec::new(),
            mask_out: None,
        }
    }
}

/// The convolution behind a BatchNorm layer, as the graph of the network has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convolution {
    /// The BatchNorm layer; wrappers such as `module.` may stand before it in the checkpoint.
    pub layer: String,
    /// The name of its weight, or why there is not exactly one convolution.
    pub weight: Result<String, String>,
    /// Whether FPGM's authors leave it alone: a 1×1 shortcut, or a depthwise convolution, whose filters
    /// follow the channels that they are given.
    pub left_alone: bool,
}

/// What was pruned.
#[derive(Debug)]
pub struct Pruned {
    /// The network.
    pub network: Network,
    /// By which method.
    pub method: Method,
    /// Which γ become 0, as a plan, whose threshold is that of slimming.
    pub plan: Plan,
    /// All channels that are pruned now.
    pub mask: Mask,
    /// Those that had been pruned before.
    pub before: Mask,
    /// Layers of which too little would have been left, by how many channels they keep.
    pub spared: Vec<(String, usize)>,
    /// The file, index or output that holds the result.
    pub output: PathBuf,
    /// The record that [`undo`](super::undo) needs; `None` when none was written.
    pub record: Option<PathBuf>,
    /// Whether all was done but writing.
    pub dry_run: bool,
    /// Things that went otherwise than a user may expect, in sentences.
    pub warnings: Vec<String>,
    /// Facts that a user should hear of, in sentences.
    pub notes: Vec<String>,
    /// What waiting for the disk cost.
    pub syncs: Syncs,
    /// SHA-256 of the γ before.
    pub(super) gamma_sha256: String,
    /// As it was asked for.
    pub(super) pruning: Pruning,
}

/// Prunes the checkpoint at `path`: as [`apply`](super::apply), with a record that
/// [`undo`](super::undo) takes back, in which the mask lies. Channels that the record has as pruned
/// stay so, and count in the ratio ([`regen::slimming`], [`regen::fpgm`]).
///
/// # Errors
/// As of [`apply`](super::apply); a ratio that is none; a layer without a convolution of its own where
/// FPGM needs one; a β or a filter that cannot be edited.
pub fn prune(
    path: &Path,
    request: &PruneRequest,
    destination: &Destination,
    events: Events<'_>,
) -> Result<Pruned> {
    request.check()?;
    let target = Target::resolve(path, destination, Purpose::Apply)?;
    let transaction = begin(&target, false, destination, events)?;
    let checkpoint = Checkpoint::open_whole(&target.path)?;
    let networks = batchnorm::locate(&checkpoint, &request.schema)?;
    if networks.is_empty() {
        return Err(batchnorm::nothing_found(&checkpoint));
    }
    let mut network = batchnorm::select(&checkpoint, &networks, request.root.as_deref())?;
    batchnorm::mark_shared_betas(&checkpoint, &mut network.layers);
    let gammas = GammaBytes::of_network(&checkpoint, &network)?;
    let mut notes = left_alone(&networks, &network);
    notes.extend(batchnorm::iter_norms_left(&network, &request.filter));
    notes.extend(checkpoint.notes().iter().cloned());
    let known = masked::known(&checkpoint, target.own_record(), &gammas, &mut notes)?;
    let known = known.unwrap_or_default();
    let is_own = |layer: &str| network.layers.iter().any(|own| own.name == layer);
    let elsewhere = known.of_layers(|layer| !is_own(layer));
    let known = known.of_layers(is_own);
    let chosen = Chosen::of(&checkpoint, &network, &gammas, request, &known)?;
    let changes = zeroed(&checkpoint, &gammas, &chosen.filters, &chosen.mask, request)?;
    let plan = Plan {
        threshold: chosen.threshold,
        target: Some(0.0),
        counted: chosen.counted,
        layers: chosen.layers(&gammas, request.filters_only),
        cautions: Vec::new(),
    };
    let added = chosen.mask.count() - known.count();
    if !known.is_empty() {
        notes.push(format!(
            "{} channels were pruned before: {added} are added to the mask, {} in all",
            known.count(),
            chosen.mask.count()
        ));
    }
    let touched = chosen.mask.layers();
    let touched = touched.filter(|(layer, _, pruned)| pruned.len() > known.pruned(layer).len());
    let pruning = Pruning {
        method: request.method.to_string(),
        ratio: request.ratio,
        norm_ratio: request.norm_ratio,
        min_channels: request.min_channels,
        filters_only: request.filters_only,
        layers: touched.count(),
    };
    let mut pruned = Pruned {
        method: request.method,
        plan,
        before: known,
        spared: chosen.spared,
        output: target.edited().to_owned(),
        record: None,
        dry_run: destination.dry_run,
        warnings: checkpoint.warnings().to_vec(),
        notes,
        syncs: Syncs::default(),
        gamma_sha256: gamma::fingerprint(&gammas),
        pruning,
        mask: chosen.mask,
        network,
    };
    for (argument, file) in [
        ("mask_out", &request.mask_out),
        ("plan_out", &destination.plan_out),
    ] {
        if let Some(file) = file {
            target.check_free(&checkpoint, argument, file)?;
        }
    }
    if let Some(file) = &request.mask_out {
        MaskFile::write(&pruned.mask, file)?;
    }
    if let Some(file) = &destination.plan_out {
        pruned.write_plan(file)?;
    }
    if changes.is_empty() && added == 0 && target.output.is_none() {
        return Ok(pruned);
    }
    if target.output.is_none() {
        pruned.warnings.extend(best_checkpoint(target.named()));
        pruned.warnings.extend(target.linked_warning());
    }
    let written: Vec<(&Tensor, &[u8])> = changes.iter().map(|c| (c.tensor, &c.new[..])).collect();
    let patches = checkpoint.patches(&written)?;
    drop(written);
    pruned.warnings.extend(patches.notes.iter().cloned());
    let mut mask = pruned.mask.clone();
    let merged = mask.merge(&elsewhere);
    merged.map_err(|err| Error::refused(path, err.to_string()))?;
    let tensors = (&gammas[..], &changes[..]);
    let edit = edit(&checkpoint, &pruned, request, tensors, (&mask, added));
    drop(changes);
    let carried = carry_out(
        &target,
        transaction,
        checkpoint,
        &patches,
        Some(edit),
        events,
    )?;
    pruned.record = carried.record;
    pruned.syncs = carried.syncs;
    pruned.warnings.extend(carried.warnings);
    Ok(pruned)
}

impl PruneRequest {
    fn shares(&self) -> FilterShares {
        FilterShares {
            distance: self.ratio,
            norm: self.norm_ratio,
        }
    }

    /// # Errors
    /// A ratio that is none.
    fn check(&self) -> Result<()> {
        let argument = |argument, value: f64, err: PruneError| {
            Error::argument(argument, value, err.to_string())
        };
        regen::check_ratio(self.ratio).map_err(|err| argument("ratio", self.ratio, err))?;
        if self.method == Method::Fpgm {
            let wrong = |err| argument("norm_ratio", self.norm_ratio, err);
            self.shares().check().map_err(wrong)?;
        }
        Ok(())
    }
}

/// Which channels of a network are to be pruned.
struct Chosen<'c> {
    threshold: Option<f64>,
    /// How many channels were looked at.
    counted: usize,
    mask: Mask,
    spared: Vec<(String, usize)>,
    /// The filters behind the layers, where they are pruned too.
    filters: HashMap<String, &'c Tensor>,
}

impl<'c> Chosen<'c> {
    fn of(
        checkpoint: &'c Checkpoint,
        network: &Network,
        gammas: &[GammaBytes],
        request: &PruneRequest,
        known: &Mask,
    ) -> Result<Chosen<'c>> {
        let path = checkpoint.path();
        let layers = batchnorm::filter_batch_norms(path, network, &request.filter)?;
        let tensor = |layer: &Layer| layer.tensor(checkpoint).map(|tensor| &tensor.name[..]);
        let layers = editable(path, &layers, &tensor, false)?;
        let is_chosen = |gamma: &&GammaBytes| {
            let mut layers = layers.iter();
            layers.any(|layer| layer.name == gamma.layer.name)
        };
        let gammas: Vec<&GammaBytes> = gammas.iter().filter(is_chosen).collect();
        let mut chosen = match request.method {
            Method::Slimming => slimming(path, &gammas, request, known)?,
            Method::Fpgm => by_filters(checkpoint, &gammas, request, known)?,
        };
        let mut mask = known.clone();
        let merged = mask.merge(&chosen.mask);
        merged.map_err(|err| Error::refused(path, err.to_string()))?;
        chosen.mask = mask;
        Ok(chosen)
    }

    /// The γ that become 0.
    fn layers(&self, gammas: &[GammaBytes], filters_only: bool) -> Vec<LayerPlan> {
        let mut layers = Vec::new();
        for gamma in gammas.iter().filter(|_| !filters_only) {
            let pruned = self.mask.pruned(&gamma.layer.name);
            if pruned.is_empty() {
                continue;
            }
            let values = gamma.decode().values;
            let changes = pruned.iter().map(|&channel| regen::Change {
                channel,
                old: values[channel],
                new: 0.0,
            });
            layers.push(LayerPlan {
                name: gamma.layer.name.clone(),
                threshold: self.threshold.unwrap_or(0.0),
                target: 0.0,
                changes: changes
                    .filter(|change| change.old.to_bits() != change.new.to_bits())
                    .collect(),
            });
        }
        layers
    }
}

/// What keeps channels from being pruned, with the place where the user finds it.
fn refuse(path: &Path, err: &PruneError) -> Error {
    Error::refused(path, format!("cannot be pruned: {err}"))
}

fn slimming<'c>(
    path: &Path,
    gammas: &[&GammaBytes],
    request: &PruneRequest,
    known: &Mask,
) -> Result<Chosen<'c>> {
    let gammas: Vec<Gamma> = gammas.iter().map(|gamma| gamma.decode()).collect();
    let known = known.of_layers(|layer| gammas.iter().any(|gamma| gamma.layer == layer));
    let slimmed = regen::slimming(&gammas, request.ratio, request.min_channels, Some(&known));
    let slimmed = slimmed.map_err(|err| refuse(path, &err))?;
    Ok(Chosen {
        threshold: Some(slimmed.threshold),
        counted: gammas.iter().map(|gamma| gamma.values.len()).sum(),
        mask: slimmed.mask,
        spared: slimmed.spared,
        filters: HashMap::new(),
    })
}

fn by_filters<'c>(
    checkpoint: &'c Checkpoint,
    gammas: &[&GammaBytes],
    request: &PruneRequest,
    known: &Mask,
) -> Result<Chosen<'c>> {
    let path = checkpoint.path();
    let refused = |layer: &str, reason: &str| {
        let reason = format!("layer {layer}: {reason}");
        Error::refused_for(Refusal::Convolution, path, reason)
    };
    if request.convolutions.is_empty() {
        let reason = "does not say which convolution is behind which BatchNorm";
        return Err(Error::refused_for(Refusal::Convolutions, path, reason));
    }
    let mut chosen = Chosen {
        threshold: None,
        counted: 0,
        mask: Mask::default(),
        spared: Vec::new(),
        filters: HashMap::new(),
    };
    let mut layers = Vec::with_capacity(gammas.len());
    for gamma in gammas {
        let layer = &gamma.layer;
        let name = &layer.name[..];
        let (convolution, prefix) = behind(&request.convolutions, name)
            .ok_or_else(|| refused(name, "the network given has no such BatchNorm"))?;
        let mut pruned = known.pruned(name).to_vec();
        if request.all_layers || !convolution.left_alone {
            let weight = convolution
                .weight
                .as_ref()
                .map_err(|why| refused(name, why))?;
            let weight = format!("{prefix}{weight}");
            let tensors = &checkpoint.dicts()[layer.dict].tensors;
            let tensor = tensors.iter().find(|tensor| tensor.name == weight);
            let tensor = tensor.ok_or_else(|| refused(name, &format!("{weight} is not there")))?;
            let values = filters(checkpoint, tensor, layer.channels)?;
            pruned = regen::fpgm(
                name,
                &values,
                layer.channels,
                request.shares(),
                request.min_channels,
                &pruned,
            )
            .map_err(|err| refuse(path, &err))?;
            chosen.counted += layer.channels;
            chosen.filters.insert(name.to_owned(), tensor);
        }
        layers.push(LayerMask {
            name: name.to_owned(),
            channels: layer.channels,
            pruned,
        });
    }
    chosen.mask = Mask::new(layers).map_err(|err| Error::refused(path, err.to_string()))?;
    Ok(chosen)
}

/// The convolution behind a layer, and what stands before its name in this checkpoint.
fn behind<'r, 'n>(
    convolutions: &'r [Convolution],
    layer: &'n str,
) -> Option<(&'r Convolution, &'n str)> {
    let all = convolutions.iter().filter_map(|convolution| {
        let prefix = layer.strip_suffix(&convolution.layer[..])?;
        let is_whole = prefix.is_empty() || prefix.ends_with(['.', '/']);
        is_whole.then_some((convolution, prefix))
    });
    all.min_by_key(|(_, prefix)| prefix.len())
}

/// The filters of a convolution as numbers, one behind the other.
fn filters(checkpoint: &Checkpoint, tensor: &Tensor, channels: usize) -> Result<Vec<f64>> {
    let malformed = |found: String| {
        let expected = format!("the weight of a convolution of {channels} filters");
        Error::malformed(checkpoint.path(), &tensor.name, expected, found)
    };
    if tensor.shape.len() != 4 || tensor.shape[0] != channels as u64 {
        return Err(malformed(format!("shape {:?}", tensor.shape)));
    }
    if !tensor.dtype.is_editable_float() {
        return Err(malformed(format!("type {}", tensor.dtype)));
    }
    let bytes = checkpoint.elements(&tensor.into())?;
    Ok(tensor.dtype.decode(&bytes))
}

/// The edit, as it is recorded.
fn edit(
    checkpoint: &Checkpoint,
    pruned: &Pruned,
    request: &PruneRequest,
    (gammas, changes): (&[GammaBytes], &[Zeroed<'_>]),
    (mask, added): (&Mask, usize),
) -> Edit {
    let of = |dict: usize, name: &str| {
        let mut changes = changes.iter();
        changes.find(|change| change.dict == dict && change.tensor.name == name)
    };
    let gamma = |gamma: &'_ GammaBytes| of(gamma.layer.dict, &gamma.tensor).map(|c| &c.new[..]);
    let mut tensors: Vec<Held<'_>> = gammas
        .iter()
        .map(|g| g.held(checkpoint, gamma(g).unwrap_or(&g.bytes)))
        .collect();
    let others = changes.iter().filter(|change| !change.is_gamma);
    tensors.extend(others.map(|change| Held {
        dict: &checkpoint.dicts()[change.dict].root,
        name: &change.tensor.name,
        dtype: change.tensor.dtype,
        before: &change.old,
        after: &change.new,
        large: change.tensor.shape.len() > 1,
    }));
    Edit::new(&Made {
        root: &pruned.network.root,
        by: By::Pruning(pruned.pruning.clone()),
        include: texts(&request.filter.include),
        exclude: texts(&request.filter.exclude),
        plan: Some(&pruned.plan),
        channels: added,
        tensors,
        slots: Vec::new(),
        mask: Some(mask),
    })
}
