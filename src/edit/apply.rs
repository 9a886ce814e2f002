//! One edit, from the lock to the last sync.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

use super::gamma::GammaBytes;
use super::optimizer::{self, SlotReset};
use super::plan::{Planned, plan};
use super::target::Target;
use super::write::{RecordAfter, write};
use super::{Change, Destination, Event, Events, PlanFile, Request, going_on};
use crate::batchnorm::Filter;
use crate::checkpoint::{Checkpoint, TrainerState};
use crate::error::Result;
use crate::file::directory;
use crate::record::{Edit, Held, Made, Record};
use crate::storage::{Purpose, Syncs, Transaction, pending};

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
    let transaction = begin(&target, request, destination, events)?;
    let mut checkpoint = Checkpoint::open(&target.path)?;
    let planned = match request.change {
        Change::Nothing => None,
        _ => Some(plan(&checkpoint, request)?),
    };
    if let (Some(file), Some(planned)) = (&destination.plan_out, &planned) {
        target.check_plan_out(&checkpoint, file)?;
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
    let Some(transaction) = transaction else {
        target.check(&checkpoint, &patches)?;
        return Ok(applied);
    };
    let record = match &applied.planned {
        Some(planned) if !new_bytes.is_empty() => {
            let edit = edit(&checkpoint, planned, &request.filter, &new_bytes, &resets);
            applied.record = Some(target.record.write.clone());
            RecordAfter::Write(record_with(&target, &checkpoint, edit)?)
        }
        // An output without an edit is not what an older record beside it speaks of.
        _ => RecordAfter::Remove,
    };
    checkpoint.unmap();
    let (syncs, warnings) = write(
        transaction,
        &target,
        &checkpoint,
        &patches,
        record,
        Purpose::Apply,
        events,
    )?;
    applied.syncs = syncs;
    applied.warnings.extend(warnings);
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
    let texts = |list: &[Regex]| list.iter().map(|r| r.as_str().to_owned()).collect();
    let changed: HashMap<&str, &Vec<u8>> = new_bytes
        .iter()
        .map(|(gamma, bytes)| (&gamma.tensor[..], bytes))
        .collect();
    let gamma = |gamma: &'e GammaBytes| Held {
        dict: &checkpoint.dicts()[gamma.layer.dict].root,
        name: &gamma.tensor,
        dtype: gamma.dtype,
        before: &gamma.bytes,
        after: changed
            .get(&gamma.tensor[..])
            .copied()
            .unwrap_or(&gamma.bytes),
    };
    let slot = |reset: &'e SlotReset| Held {
        dict: "",
        name: &reset.tensor.name,
        dtype: reset.tensor.dtype,
        before: &reset.old,
        after: &reset.new,
    };
    Edit::new(&Made {
        root: &planned.network.root,
        options: &planned.options,
        include: texts(&filter.include),
        exclude: texts(&filter.exclude),
        plan: &planned.plan,
        gammas: planned.gammas.iter().map(gamma).collect(),
        slots: resets.iter().map(slot).collect(),
    })
}

/// That transformers would make this checkpoint the final model in the end.
fn best_checkpoint(file: &Path) -> Option<String> {
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

/// Takes the lock and completes what a killed run has left; `None` where nothing will be written.
fn begin(
    target: &Target,
    request: &Request,
    destination: &Destination,
    events: Events<'_>,
) -> Result<Option<Transaction>> {
    let begin = |anchor: &Path| -> Result<Transaction> {
        let transaction = Transaction::begin(anchor)?;
        if let Some(recovery) = transaction.recovery() {
            going_on(anchor, events(Event::Recovered(recovery.clone())))?;
        }
        Ok(transaction)
    };
    if destination.dry_run {
        return Ok(None);
    }
    // A checkpoint that is only read needs no lock, unless an edit of it waits to be completed.
    if target.output.is_some() && pending(&target.anchor) {
        begin(&target.anchor)?;
    }
    let idle = matches!(request.change, Change::Nothing) && target.output.is_none();
    if idle && !pending(&target.anchor) {
        return Ok(None);
    }
    begin(target.edited()).map(Some)
}

/// The record after `edit`: it goes behind the earlier ones when γ are what they left. Where training
/// went on, what they left is no more, and the record begins anew.
fn record_with(target: &Target, checkpoint: &Checkpoint, edit: Edit) -> Result<Record> {
    let mut record = Record::new(target.edited(), &target.record.write);
    if target.output.is_none()
        && let Some(earlier) = Record::read(&target.record.read)?
    {
        record.edits = earlier.edits;
        while let Some(last) = record.edits.last() {
            let now = last.fingerprint_now(checkpoint)?;
            if now.as_ref() == Some(&last.sha256_after) {
                break;
            }
            // It was noted, and then not carried out.
            let undone = now.as_ref() == Some(&last.sha256_before);
            record.edits.pop();
            if !undone {
                record.edits.clear();
            }
        }
    }
    record.edits.push(edit);
    Ok(record)
}
