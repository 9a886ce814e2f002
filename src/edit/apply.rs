//! One edit, from the lock to the last sync.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::carry_out::{begin, carry_out, texts};
use super::gamma::GammaBytes;
use super::optimizer::{self, SlotReset};
use super::plan::{Planned, plan_with};
use super::target::Target;
use super::{Change, Destination, Events, PlanFile, Request, masked};
use crate::batchnorm::{self, Filter};
use crate::checkpoint::{Checkpoint, TrainerState};
use crate::error::Result;
use crate::file::directory;
use crate::record::{By, Edit, Held, Made};
use crate::regen::Mask;
use crate::storage::{Purpose, Syncs};

/// What an edit did.
#[derive(Debug)]
pub struct Applied {
    /// The plan; `None` for [`Change::Nothing`].
    pub planned: Option<Planned>,
    /// The file, index or (see [`Destination::output`]) output that holds the result.
    pub output: PathBuf,
    /// The record that [`undo`](super::undo) needs; `None` when none was written.
    pub record: Option<PathBuf>,
    /// How many tensors of the optimizer were reset in part.
    pub slots_reset: usize,
    /// Whether all was done but writing ([`Destination::dry_run`]).
    pub dry_run: bool,
    /// Things that went otherwise than a user may expect, in sentences.
    pub warnings: Vec<String>,
    /// What waiting for the disk cost.
    pub syncs: Syncs,
}

/// Carries `request` out on the checkpoint at `path`.
///
/// Without an output, an edit that changes nothing touches neither file nor record. An interrupted
/// earlier edit is completed first. An error leaves everything as it was, unless it says that a
/// journal has the rest.
pub fn apply(
    path: &Path,
    request: &Request,
    destination: &Destination,
    events: Events<'_>,
) -> Result<Applied> {
    let target = Target::resolve(path, destination, Purpose::Apply)?;
    let idle = matches!(request.change, Change::Nothing) && target.output.is_none();
    let transaction = begin(&target, idle, destination, events)?;
    let checkpoint = Checkpoint::open(&target.path)?;
    let planned = match request.change {
        Change::Nothing => None,
        _ => Some(plan_with(&checkpoint, request, target.own_record())?),
    };
    if let (Some(file), Some(planned)) = (&destination.plan_out, &planned) {
        target.check_free(&checkpoint, "plan_out", file)?;
        PlanFile::new(planned).write(file)?;
    }
    let mut applied = Applied {
        planned,
        output: target.edited().to_owned(),
        record: None,
        slots_reset: 0,
        dry_run: destination.dry_run,
        warnings: Vec::new(),
        syncs: Syncs::default(),
    };
    let new_bytes = applied
        .planned
        .as_ref()
        .map(Planned::new_bytes)
        .unwrap_or_default();
    if new_bytes.is_empty() && target.output.is_none() {
        return Ok(applied);
    }
    let resets = match &applied.planned {
        Some(planned) if request.reset_optimizer => {
            optimizer::reset(&checkpoint, planned, request, &mut applied.warnings)?
        }
        _ => Vec::new(),
    };
    if target.output.is_none() {
        applied.warnings.extend(best_checkpoint(target.named()));
        applied.warnings.extend(target.linked_warning());
    }
    let gammas = new_bytes
        .iter()
        .filter_map(|(gamma, bytes)| Some((gamma.layer.tensor(&checkpoint)?, &bytes[..])));
    let slots = resets.iter().map(|reset| (&reset.tensor, &reset.new[..]));
    let patches = checkpoint.patches(&gammas.chain(slots).collect::<Vec<_>>())?;
    applied.warnings.extend(patches.notes.iter().cloned());
    applied.slots_reset = resets.len();
    let edit = match &applied.planned {
        Some(planned) if !new_bytes.is_empty() => {
            let filter = &request.filter;
            Some(edit(&checkpoint, planned, filter, &new_bytes, &resets))
        }
        planned => carried(&checkpoint, planned.as_ref(), request)?,
    };
    drop(new_bytes);
    let carried = carry_out(&target, transaction, checkpoint, &patches, edit, events)?;
    applied.record = carried.record;
    applied.syncs = carried.syncs;
    applied.warnings.extend(carried.warnings);
    Ok(applied)
}

/// The edit, as it is recorded.
fn edit<'e>(
    checkpoint: &'e Checkpoint,
    planned: &'e Planned,
    filter: &Filter,
    new_bytes: &'e [(&GammaBytes, Vec<u8>)],
    resets: &'e [SlotReset],
) -> Edit {
    let changed: HashMap<&str, &Vec<u8>> = new_bytes
        .iter()
        .map(|(gamma, bytes)| (&gamma.tensor[..], bytes))
        .collect();
    let gamma = |gamma: &'e GammaBytes| {
        let after = changed.get(&gamma.tensor[..]).copied();
        gamma.held(checkpoint, after.unwrap_or(&gamma.bytes))
    };
    let slot = |reset: &'e SlotReset| Held {
        dict: "",
        name: &reset.tensor.name,
        dtype: reset.tensor.dtype,
        before: &reset.old,
        after: &reset.new,
        large: false,
    };
    Edit::new(&Made {
        root: &planned.network.root,
        by: By::Rule(&planned.options),
        include: texts(&filter.include),
        exclude: texts(&filter.exclude),
        plan: Some(&planned.plan),
        channels: planned.plan.regenerated(),
        tensors: planned.gammas.iter().map(gamma).collect(),
        slots: resets.iter().map(slot).collect(),
        mask: planned.mask.as_ref(),
    })
}

/// What the record of a copy without an edit holds: the mask, where the network is known to be pruned.
fn carried(
    checkpoint: &Checkpoint,
    planned: Option<&Planned>,
    request: &Request,
) -> Result<Option<Edit>> {
    let made = |root: &str, gammas: &[GammaBytes], mask: &Mask| {
        let held = gammas.iter().map(|g| g.held(checkpoint, &g.bytes));
        Edit::new(&Made {
            root,
            by: By::Nothing,
            include: Vec::new(),
            exclude: Vec::new(),
            plan: None,
            channels: 0,
            tensors: held.collect(),
            slots: Vec::new(),
            mask: Some(mask),
        })
    };
    if let Some(planned) = planned {
        let mask = planned.mask.as_ref();
        return Ok(mask.map(|mask| made(&planned.network.root, &planned.gammas, mask)));
    }
    // A copy needs no network.
    let Ok(networks) = batchnorm::locate(checkpoint, &request.schema) else {
        return Ok(None);
    };
    let Ok(network) = batchnorm::select(checkpoint, &networks, request.root.as_deref()) else {
        return Ok(None);
    };
    let gammas = GammaBytes::of_network(checkpoint, &network)?;
    let known = masked::known(checkpoint, None, &gammas, &mut Vec::new())?;
    Ok(known.map(|mask| made(&network.root, &gammas, &mask)))
}

/// That transformers would make this checkpoint the final model in the end.
pub(super) fn best_checkpoint(file: &Path) -> Option<String> {
    let directory = directory(file);
    let is_best = TrainerState::beside(file)?.is_of_best(directory);
    is_best.then(|| {
        format!(
            "{} is the best checkpoint so far (best_model_checkpoint in its trainer_state.json): with \
             load_best_model_at_end its edited weights become the final model, if no better one \
             follows",
            directory.display()
        )
    })
}
