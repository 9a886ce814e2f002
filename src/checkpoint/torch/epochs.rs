//! How many epochs a training file says are finished. Some programs store the index of the last
//! one, some the count, some have done both: what a file does not tell apart is not guessed.

use super::super::epochs::Epochs;
use super::layout::Layout;
use super::scalars::number;
use super::value::{Saved, Value};

impl Layout {
    /// The finished epochs, where this layout says it.
    pub(super) fn finished_epochs(self, saved: &Saved) -> Option<Epochs> {
        let root = saved.root();
        match self {
            Layout::Torchvision => torchvision(root),
            Layout::Timm => timm(root),
            Layout::Lightning => lightning(root),
            Layout::Mmengine => {
                let count = count(root.get("meta")?.get("epoch")?)?;
                Some(Epochs::new(count, "meta.epoch"))
            }
            Layout::Ultralytics | Layout::Plain | Layout::Module | Layout::Other => None,
        }
    }
}

fn count(value: Value<'_>) -> Option<u64> {
    number(value)?.count()
}

/// The index of the last epoch, as most programs store it.
fn index(epoch: u64, read_from: &str) -> Option<Epochs> {
    Some(Epochs::new(epoch.checked_add(1)?, read_from))
}

/// The schedule tells an index from a count: it was stepped once an epoch, or as often in each.
fn torchvision(root: Value<'_>) -> Option<Epochs> {
    let epoch = count(root.get("epoch")?)?;
    let steps = count(root.get("lr_scheduler")?.get("last_epoch")?)?;
    if epoch.checked_add(1) == Some(steps) {
        return index(epoch, "epoch + 1, which is lr_scheduler.last_epoch");
    }
    if epoch == steps {
        return Some(Epochs::new(
            epoch,
            "epoch, which is lr_scheduler.last_epoch",
        ));
    }
    let by_update = steps > 2 * epoch && epoch > 1;
    let whole = |epochs: u64| by_update && steps.is_multiple_of(epochs);
    match (whole(epoch), whole(epoch + 1)) {
        (false, true) => index(
            epoch,
            "epoch + 1, of which lr_scheduler.last_epoch is a multiple",
        ),
        (true, false) => {
            let place = "epoch, of which lr_scheduler.last_epoch is a multiple";
            Some(Epochs::new(epoch, place))
        }
        _ => None,
    }
}

/// The index since timm's version 2 of the layout.
fn timm(root: Value<'_>) -> Option<Epochs> {
    let epoch = count(root.get("epoch")?)?;
    let version = root.get("version").and_then(Value::as_i64);
    if version.is_some_and(|version| version >= 2) {
        index(epoch, "epoch + 1")
    } else {
        Some(Epochs::new(epoch, "epoch"))
    }
}

/// Lightning's own count of processed epochs. Saved from a validation inside the epoch, that epoch
/// is started, not processed, and its last batch is done.
fn lightning(root: Value<'_>) -> Option<Epochs> {
    let fit = root.get("loops").and_then(|loops| loops.get("fit_loop"));
    let progress = fit.and_then(|fit| fit.get("epoch_progress")?.get("current"));
    if let (Some(fit), Some(progress)) = (fit, progress)
        && let Some(processed) = progress.get("processed").and_then(count)
    {
        let started = progress.get("started").and_then(count);
        let batches = fit.get("epoch_loop.batch_progress");
        let is_last = batches.and_then(|batches| batches.get("is_last_batch")?.as_bool());
        let place = "loops.fit_loop.epoch_progress.current.processed";
        if started.is_some_and(|started| started > processed) && is_last == Some(true) {
            let place = format!("{place} + 1, since the last batch of the next is done");
            return index(processed, &place);
        }
        return Some(Epochs::new(processed, place));
    }
    let epoch = count(root.get("epoch")?)?;
    let version = root.get("pytorch-lightning_version")?.as_str()?;
    let mut numbers = version.split('.').map(|part| part.parse::<u64>().ok());
    let version = (numbers.next()??, numbers.next()??);
    if version >= (1, 6) {
        index(epoch, "epoch + 1")
    } else {
        Some(Epochs::new(epoch, "epoch"))
    }
}
