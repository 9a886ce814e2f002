//! A request on an opened checkpoint → a plan, and the γ bytes it gives.

use super::gamma::{self, GammaBytes};
use super::{Change, PlanFile, Request, masked};
use crate::batchnorm::{self, Layer, Network, Role};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Refusal, Result};
use crate::regen::{self, Caution, Gamma, Mask, Options, Plan, PlanError};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A plan for one network of a checkpoint.
#[derive(Debug)]
pub struct Planned {
    /// The network it is for.
    pub network: Network,
    /// What to change.
    pub plan: Plan,
    /// By which rule.
    pub options: Options,
    /// That some layers seem to be frozen, in a sentence.
    pub frozen: Option<String>,
    /// What else a user should know before it is written, beside the plan's
    /// [cautions](Plan::cautions), in sentences.
    pub warnings: Vec<String>,
    /// Facts about what was not touched, in sentences.
    pub notes: Vec<String>,
    /// The channels that are pruned, and stay so by this plan.
    pub mask: Option<Mask>,
    pub(super) gammas: Vec<GammaBytes>,
}

/// What the error about a γ that is NaN or infinite expects.
pub const FINITE: &str = "finite γ";

/// Plans `request` on `checkpoint`; nothing is written.
///
/// # Errors
/// No BatchNorm, no or several networks to choose from, no layer left by the filter, a γ that is
/// NaN or infinite or cannot be edited, more channels dying than coming back, a saved plan that is for other γ.
///
/// # Panics
/// If the request asks for [`Change::Nothing`], for which there is no plan.
pub fn plan(checkpoint: &Checkpoint, request: &Request) -> Result<Planned> {
    plan_with(checkpoint, request, None)
}

/// The same, with the record of the checkpoint where that is not the one beside it.
pub(super) fn plan_with(
    checkpoint: &Checkpoint,
    request: &Request,
    record: Option<&Path>,
) -> Result<Planned> {
    let networks = batchnorm::locate(checkpoint, &request.schema)?;
    if networks.is_empty() {
        return Err(batchnorm::nothing_found(checkpoint));
    }
    let mut planned = match &request.change {
        Change::Rule(options) => plan_rule(checkpoint, &networks, request, options, record),
        Change::Plan(file) => plan_saved(checkpoint, &networks, request, file, record),
        Change::Nothing => panic!("there is no plan to change nothing"),
    }?;
    if !request.allow_dying {
        let refusal = match &request.change {
            Change::Plan(_) => Refusal::DyingPlan,
            _ => Refusal::Dying,
        };
        refuse_dying(checkpoint.path(), &planned.plan, refusal)?;
    }
    planned
        .warnings
        .extend(checkpoint.warnings().iter().cloned());
    Ok(planned)
}

/// # Errors
/// More channels would die by the plan than come back.
pub(crate) fn refuse_dying(path: &Path, plan: &Plan, refusal: Refusal) -> Result<()> {
    if !plan.crossings().kills() {
        return Ok(());
    }
    let why = plan.cautions.iter().map(ToString::to_string);
    let why = why.take(1).collect::<String>();
    let reason = format!("regenerating would do more harm than good: {why}");
    Err(Error::refused_for(refusal, path, reason))
}

fn plan_rule(
    checkpoint: &Checkpoint,
    networks: &[Network],
    request: &Request,
    options: &Options,
    record: Option<&Path>,
) -> Result<Planned> {
    let path = checkpoint.path();
    let network = batchnorm::select(checkpoint, networks, request.root.as_deref())?;
    let layers = batchnorm::filter(path, &network, &request.filter)?;
    let tensor = |layer: &Layer| layer.tensor(checkpoint).map(|tensor| &tensor.name[..]);
    let counted_layers = editable(path, &layers, &tensor, request.skip_shared)?;
    let skipped = layers.len() - counted_layers.len();
    let counted_layers: HashSet<&str> = counted_layers.iter().map(|l| &l.name[..]).collect();
    let gammas = GammaBytes::of_network(checkpoint, &network)?;
    let passing = gammas
        .iter()
        .filter(|gamma| counted_layers.contains(&gamma.layer.name[..]));
    let counted: Vec<Gamma> = passing.map(GammaBytes::decode).collect();
    let tensor_of = |layer: &str| {
        let gamma = gammas.iter().find(|gamma| gamma.layer.name == layer)?;
        Some(&gamma.tensor[..])
    };
    let mut notes = left_alone(networks, &network);
    let known = known_mask(
        checkpoint, networks, &network, request, &gammas, record, &mut notes,
    )?;
    let mask = known.as_ref().filter(|_| !request.pruned_as_public);
    let mut plan =
        regen::plan(&counted, options, mask).map_err(|err| refuse(path, &tensor_of, err))?;
    if known.is_none() && !options.keep_zeros && !request.pruned_as_public {
        plan.cautions
            .extend(unmasked(checkpoint, &gammas, &counted)?);
    }
    let pruned = |mask: &Mask| -> usize {
        let layers = counted.iter().map(|gamma| mask.pruned(&gamma.layer).len());
        layers.sum()
    };
    let pruned = mask.map_or(0, pruned);
    if pruned > 0 {
        notes.push(format!(
            "{pruned} pruned channels ({}) are left out of the count, and as they are",
            if request.mask.is_some() {
                "the mask given"
            } else {
                "the record"
            }
        ));
    }
    let frozen = frozen(&layers);
    notes.extend(checkpoint.notes().iter().cloned());
    notes.extend(folded(checkpoint, &layers)?);
    if skipped > 0 {
        notes.push(format!(
            "{skipped} layers whose γ cannot be edited were skipped"
        ));
    }
    notes.extend(batchnorm::iter_norms_left(&network, &request.filter));
    let left = network.channels() - plan.counted - pruned;
    if left > 0 {
        notes.push(format!(
            "{left} channels were left out of the count by the options"
        ));
    }
    Ok(Planned {
        mask: after(known, &plan),
        network,
        plan,
        options: *options,
        frozen,
        warnings: Vec::new(),
        notes,
        gammas,
    })
}

/// The channels of a network that are known to be pruned: those of the request, else of the record.
fn known_mask(
    checkpoint: &Checkpoint,
    networks: &[Network],
    network: &Network,
    request: &Request,
    gammas: &[GammaBytes],
    record: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Option<Mask>> {
    if let Some(mask) = &request.mask {
        masked::check(checkpoint.path(), networks, network, mask)?;
        return Ok(Some(mask.clone()));
    }
    masked::known(checkpoint, record, gammas, notes)
}

/// What is still pruned after a plan.
fn after(mask: Option<Mask>, plan: &Plan) -> Option<Mask> {
    let mut mask = mask?;
    for layer in &plan.layers {
        for change in &layer.changes {
            mask.revive(&layer.name, change.channel);
        }
    }
    Some(mask)
}

/// That many channels have neither γ nor β, and no mask says that they are pruned. Layers of which
/// every γ is 0 have a caution of their own.
fn unmasked(
    checkpoint: &Checkpoint,
    gammas: &[GammaBytes],
    counted: &[Gamma],
) -> Result<Option<Caution>> {
    let (mut zeros, mut channels) = (0, 0);
    let by_name: HashMap<&str, &GammaBytes> = gammas
        .iter()
        .map(|gamma| (&gamma.layer.name[..], gamma))
        .collect();
    for Gamma { layer, values, .. } in counted {
        channels += values.len();
        let mut is_zero: Vec<bool> = values.iter().map(|value| *value == 0.0).collect();
        if is_zero.iter().all(|zero| *zero) || is_zero.iter().all(|zero| !zero) {
            continue;
        }
        let layer = &by_name[&layer[..]].layer;
        for beta in &layer.betas {
            let tensor = beta
                .tensor
                .map(|at| &checkpoint.dicts()[layer.dict].tensors[at]);
            let tensor = tensor.filter(|t| t.fixed.is_none() && t.dtype.is_editable_float());
            let beta = match tensor {
                Some(tensor) => tensor.dtype.decode(&checkpoint.read(tensor)?),
                None => Vec::new(),
            };
            for (channel, zero) in is_zero.iter_mut().enumerate() {
                *zero &= beta.get(channel) == Some(&0.0);
            }
        }
        zeros += is_zero.iter().filter(|zero| **zero).count();
    }
    Ok((zeros > 0 && 100 * zeros >= channels).then_some(Caution::Unmasked { zeros, channels }))
}

/// The layers whose γ can be edited; `tensor` has the name of a layer's γ.
///
/// # Errors
/// One cannot, and such layers are not to be skipped.
pub(crate) fn editable<'l, 't>(
    path: &Path,
    layers: &[&'l Layer],
    tensor: &dyn Fn(&Layer) -> Option<&'t str>,
    skip: bool,
) -> Result<Vec<&'l Layer>> {
    let fixed = layers.iter().find_map(|l| Some((l, l.fixed.as_ref()?)));
    if let (Some((layer, reason)), false) = (fixed, skip) {
        let gamma = tensor(layer).unwrap_or(&layer.name);
        let reason = format!("{gamma} cannot be edited: {reason}");
        return Err(Error::refused_for(Refusal::FixedGamma, path, reason));
    }
    let free = layers.iter().copied().filter(|l| l.fixed.is_none());
    Ok(free.collect())
}

/// A rule's error, with the place where the user finds it; `tensor` has the name of a layer's γ.
pub(crate) fn refuse<'t>(
    path: &Path,
    tensor: &dyn Fn(&str) -> Option<&'t str>,
    err: PlanError,
) -> Error {
    match err {
        PlanError::NonFinite {
            layer,
            channel,
            value,
        } => {
            let tensor = tensor(&layer).unwrap_or(&layer);
            let found = format!("{value} in channel {channel}");
            Error::malformed(path, tensor, FINITE, found)
        }
        err => Error::refused(path, format!("cannot regenerate: {err}")),
    }
}

fn plan_saved(
    checkpoint: &Checkpoint,
    networks: &[Network],
    request: &Request,
    file: &PlanFile,
    record: Option<&Path>,
) -> Result<Planned> {
    let path = checkpoint.path();
    let candidates = match &request.root {
        Some(_) => vec![batchnorm::select(
            checkpoint,
            networks,
            request.root.as_deref(),
        )?],
        None => {
            // It may have been made for a part of a network.
            let own = batchnorm::select(checkpoint, networks, Some(&file.root)).ok();
            let is_new = |own: &Network| networks.iter().all(|n| n.root != own.root);
            let all = networks.iter().cloned();
            all.chain(own.filter(is_new)).collect()
        }
    };
    let mut fitting = Vec::new();
    for network in candidates {
        let gammas = GammaBytes::of_network(checkpoint, &network)?;
        if gamma::fingerprint(&gammas) == file.gamma_sha256 {
            fitting.push((network, gammas));
        }
    }
    // A network and its average may hold the same γ.
    if fitting.len() > 1 {
        fitting.retain(|(network, _)| network.root == file.root || request.root.is_some());
        if fitting.is_empty() {
            let reason = "has several networks that the plan fits";
            return Err(Error::refused_for(Refusal::Network, path, reason));
        }
    }
    if let Some((network, gammas)) = fitting.pop() {
        let values: Vec<Gamma> = gammas
            .iter()
            .filter(|g| g.layer.fixed.is_none())
            .map(GammaBytes::decode)
            .collect();
        let plan = file.checked(path, &values)?;
        let mut notes = left_alone(networks, &network);
        let known = known_mask(
            checkpoint, networks, &network, request, &gammas, record, &mut notes,
        )?;
        let options = file.options()?;
        return Ok(Planned {
            mask: after(known, &plan),
            network,
            frozen: None,
            warnings: Vec::new(),
            plan,
            options,
            notes,
            gammas,
        });
    }
    Err(Error::refused(
        path,
        format!(
            "is not the file that the plan was made for: no network in it has the γ of SHA-256 {}…",
            file.gamma_sha256.get(..12).unwrap_or_default()
        ),
    ))
}

impl Planned {
    /// How many channels of the network are pruned.
    pub(super) fn pruned(&self) -> usize {
        let mask = self.mask.as_ref();
        let layers = self.network.layers.iter();
        layers
            .map(|layer| mask.map_or(0, |mask| mask.pruned(&layer.name).len()))
            .sum()
    }

    /// The γ bytes after the plan, for the tensors that change.
    pub(super) fn new_bytes(&self) -> Vec<(&GammaBytes, Vec<u8>)> {
        let changed = self
            .plan
            .layers
            .iter()
            .filter(|layer| !layer.changes.is_empty());
        let changed: std::collections::HashMap<&str, _> = changed
            .map(|layer| (&layer.name[..], &layer.changes))
            .collect();
        let mut all = Vec::new();
        for gamma in &self.gammas {
            let Some(changes) = changed.get(&gamma.layer.name[..]) else {
                continue;
            };
            let width = (gamma.dtype.bits() / 8) as usize;
            let mut bytes = gamma.bytes.clone();
            let mut encoded = Vec::with_capacity(width);
            for change in changes.iter() {
                encoded.clear();
                gamma.dtype.encode(change.new, &mut encoded);
                bytes[change.channel * width..][..width].copy_from_slice(&encoded);
            }
            all.push((gamma, bytes));
        }
        all
    }
}

/// That the statistics of all layers are those of a BatchNorm that was folded into its convolution, or
/// of a network that is not trained. The first layer of another kind ends the reading.
fn folded(checkpoint: &Checkpoint, layers: &[&Layer]) -> Result<Option<String>> {
    let mut found = 0;
    for layer in layers {
        for (place, wanted) in layer.statistics.into_iter().zip([0.0, 1.0]) {
            let Some(place) = place else { continue };
            let tensor = &checkpoint.dicts()[layer.dict].tensors[place];
            if tensor.fixed.is_some() || !tensor.dtype.is_editable_float() {
                return Ok(None);
            }
            let values = tensor.dtype.decode(&checkpoint.read(tensor)?);
            if values.iter().any(|value| *value != wanted) {
                return Ok(None);
            }
            found += 1;
        }
    }
    Ok((found > 0).then(|| {
        "running means are 0 and variances 1 throughout: BatchNorm was folded into the convolutions, \
         or the network is not trained yet"
            .to_owned()
    }))
}

pub(crate) fn frozen(layers: &[&Layer]) -> Option<String> {
    let frozen: Vec<&str> = layers
        .iter()
        .filter(|layer| layer.frozen)
        .map(|layer| &layer.name[..])
        .collect();
    let first = frozen.first()?;
    Some(format!(
        "{} of {} layers lack the batch counter that the others have ({first}, …): frozen \
         BatchNorm?",
        frozen.len(),
        layers.len()
    ))
}

/// Says what other networks there are.
pub(crate) fn left_alone(networks: &[Network], chosen: &Network) -> Vec<String> {
    let own = chosen.layers.iter().map(|layer| (layer.dict, &layer.name));
    let own: HashSet<(usize, &String)> = own.collect();
    let of_chosen = |layer: &Layer| own.contains(&(layer.dict, &layer.name));
    let note = |network: &Network| {
        if network.layers.iter().any(of_chosen) {
            let others = network.layers.iter().filter(|layer| !of_chosen(layer));
            let count = others.count();
            return (count > 0)
                .then(|| format!("{count} other layers of the network are left as they are"));
        }
        let root = &network.root;
        Some(match network.role {
            Role::Ema => format!("the averaged weights under {root:?} are left as they are"),
            Role::Teacher => format!("the teacher under {root:?} is left as it is"),
            Role::Raw => format!("the network under {root:?} is left as it is"),
        })
    };
    networks.iter().filter_map(note).collect()
}
