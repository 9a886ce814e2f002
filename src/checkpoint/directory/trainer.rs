//! `trainer_state.json`, which transformers' Trainer saves beside the weights.

use std::path::{Path, PathBuf};

use regex_lite::{Captures, Regex};
use serde::Deserialize;

use crate::checkpoint::epochs::{Epochs, Number, Scalar, Value};
use crate::error::{Error, Result};
use crate::file;

/// Its name.
pub(super) const STATE: &str = "trainer_state.json";
/// It holds the log of a whole run.
const MAX_STATE: u64 = 256 << 20;

/// What of it matters here.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct TrainerState {
    /// A float: Trainer also saves in the middle of an epoch.
    epoch: Option<f64>,
    global_step: Option<u64>,
    max_steps: Option<u64>,
    num_train_epochs: Option<f64>,
    best_model_checkpoint: Option<PathBuf>,
}

impl TrainerState {
    /// Reads it. It is Python's JSON: with NaN.
    pub(super) fn read(path: &Path) -> Result<TrainerState> {
        let malformed = |found: &dyn std::fmt::Display| {
            Error::malformed(path, "file", "the JSON of transformers' Trainer", found)
        };
        let text = file::read_small_file(path, MAX_STATE).map_err(|err| malformed(&err))?;
        let numbers =
            Regex::new(r#""(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b"#).expect("it is valid");
        let text = numbers.replace_all(&text, |found: &Captures<'_>| match &found[0] {
            string if string.starts_with('"') => string.to_owned(),
            _ => "null".to_owned(),
        });
        serde_json::from_str(&text).map_err(|err| malformed(&err))
    }

    /// The one beside a file, if there is one that can be read.
    pub(crate) fn beside(file: &Path) -> Option<TrainerState> {
        let path = file::directory(file).join(STATE);
        path.is_file().then(|| TrainerState::read(&path).ok())?
    }

    /// The finished epochs.
    ///
    /// With gradient accumulation `epoch` ends an epoch at a fraction such as 4.97. The number of
    /// updates tells it exactly, where the planned number of epochs was not rounded up.
    pub(crate) fn epochs(&self) -> Option<Epochs> {
        let epoch = self.epoch.filter(|n| n.is_finite() && *n >= 0.0)?;
        if let Some(finished) = self.by_updates(epoch)
            && (finished as f64 - epoch).abs() <= 0.5
        {
            let place = format!("global_step / (max_steps / num_train_epochs) of {STATE}");
            return Some(Epochs::new(finished, place));
        }
        let place = format!("epoch of {STATE}, rounded down");
        Some(Epochs::new(epoch.floor() as u64, place))
    }

    /// The number of epochs that the updates so far come to, if that is whole, and the planned number
    /// of epochs was not rounded up: then an epoch has as many updates as `epoch` says.
    fn by_updates(&self, epoch: f64) -> Option<u64> {
        let planned = Number::Float(self.num_train_epochs?).count()?;
        let all = self.max_steps?;
        let whole = planned > 0 && all >= planned && all.is_multiple_of(planned);
        let updates = whole.then(|| all / planned)?;
        let step = self.global_step?;
        if (step as f64 / epoch - updates as f64).abs() >= 1.0 {
            return None;
        }
        let finished = step.checked_add(updates / 2)? / updates;
        let off = finished.checked_mul(updates)?.abs_diff(step);
        // One update off is none of an epoch's end where epochs have few.
        (off <= 1 && off.saturating_mul(4) <= updates).then_some(finished)
    }

    /// Its numbers, by their keys.
    pub(super) fn scalars(&self) -> Vec<Scalar> {
        let count = |n: u64| Number::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let all = [
            ("epoch", self.epoch.map(Number::Float)),
            ("global_step", self.global_step.map(count)),
            ("max_steps", self.max_steps.map(count)),
            ("num_train_epochs", self.num_train_epochs.map(Number::Float)),
        ];
        let scalar = |(key, number): (&str, Option<Number>)| {
            Some(Scalar {
                key: key.to_owned(),
                value: Value::Number(number?),
            })
        };
        all.into_iter().filter_map(scalar).collect()
    }

    /// Whether it calls the directory that it lies in the best checkpoint so far.
    pub(crate) fn is_of_best(&self, directory: &Path) -> bool {
        let best = self.best_model_checkpoint.as_deref();
        let Some(best) = best.and_then(Path::file_name) else {
            return false;
        };
        let directory = directory.canonicalize();
        directory.is_ok_and(|directory| directory.file_name() == Some(best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The finished epochs of a state with these numbers.
    fn finished(epoch: f64, step: u64, max: u64, planned: f64) -> u64 {
        let state = TrainerState {
            epoch: Some(epoch),
            global_step: Some(step),
            max_steps: Some(max),
            num_train_epochs: Some(planned),
            best_model_checkpoint: None,
        };
        state.epochs().unwrap().finished
    }

    #[test]
    fn updates_tell_the_end_of_an_epoch_that_accumulation_hides() {
        assert_eq!(finished(4.97, 155, 620, 20.0), 5);
        assert_eq!(finished(4.95, 154, 620, 20.0), 5);
        assert_eq!(finished(4.8, 149, 620, 20.0), 4);
        assert_eq!(finished(5.0, 155, 620, 20.0), 5);
    }

    #[test]
    fn a_number_of_epochs_that_was_rounded_up_tells_nothing() {
        // 250 updates at 100 an epoch are 2.5 epochs, called 3.
        assert_eq!(finished(0.83, 83, 250, 3.0), 0);
        assert_eq!(finished(1.0, 100, 250, 3.0), 1);
        // 150 are 1.5, called 2, and 75 would be one of two.
        assert_eq!(finished(0.75, 75, 150, 2.0), 0);
        assert_eq!(finished(0.0, 0, 150, 2.0), 0);
    }

    #[test]
    fn without_the_plan_the_epoch_is_rounded_down() {
        for (text, wanted) in [
            (r#"{"epoch": 4.97}"#, Some(4)),
            (
                r#"{"epoch": 5.0, "global_step": 10, "max_steps": -1}"#,
                None,
            ),
            (r#"{"epoch": NaN, "global_step": 10}"#, None),
            (r#"{"global_step": 10}"#, None),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let state = TrainerState::read(file.path());
            let found = state.ok().and_then(|state| Some(state.epochs()?.finished));
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn epochs_of_one_or_two_updates_are_counted_whole() {
        assert_eq!(finished(4.0, 4, 10, 10.0), 4);
        assert_eq!(finished(4.5, 9, 20, 10.0), 4);
    }
}
