//! Where a run is: what `state.json` of a checkpoint says beside the tensors.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::pruning::{AfterTicket, Pruning};
use super::settings::Settings;
use super::tensors;
use crate::checkpoint::directory::run::{MAX_STATE, STATE};
use crate::engine::Precision;
use crate::error::{Error, Result};
use crate::file::read_small_file;

/// The state of a run after a whole number of epochs. With the tensors it decides all that follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `ckpt-regen` and its version.
    pub written_by: String,
    /// Finished epochs.
    pub epoch: u64,
    /// Updates of the parameters so far.
    pub step: u64,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// How the images of an epoch are ordered.
    pub order: Order,
    /// The best epoch so far, by test accuracy; of scenes by score.
    pub best: Option<Best>,
    /// In which type the tensors are.
    pub dtype: String,
    /// The classes by label.
    pub classes: Vec<String>,
    /// SHA-256 of the network's ONNX file, in hexadecimal, if it is from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_sha256: Option<String>,
    /// What is pruned.
    #[serde(default, skip_serializing_if = "Pruning::is_empty")]
    pub pruning: Pruning,
    /// What else decides the run.
    pub settings: Settings,
}

/// How the images of an epoch are ordered: a shuffle of all of them that the seed and the number of
/// the epoch decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// How many images there are.
    pub images: usize,
    /// The epoch that comes next, counted from 1.
    pub next_epoch: u64,
}

/// An epoch and its accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The epoch.
    pub epoch: u64,
    /// Percent of the test images (of scenes: pixels) whose class was put first.
    pub test_top1: f64,
    /// Of scenes: the mean of that and mean IoU, by which the epoch is the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_score: Option<f64>,
}

impl Best {
    /// By what it is the best: the score of scenes, else test accuracy.
    pub fn merit(&self) -> f64 {
        self.test_score.unwrap_or(self.test_top1)
    }
}

impl State {
    /// Before the first epoch.
    pub(super) fn new(
        settings: Settings,
        classes: Vec<String>,
        images: usize,
        precision: Precision,
    ) -> State {
        State {
            written_by: concat!("ckpt-regen ", env!("CARGO_PKG_VERSION")).to_owned(),
            epoch: 0,
            step: 0,
            seed: settings.seed,
            order: Order {
                images,
                next_epoch: 1,
            },
            best: None,
            dtype: tensors::dtype(precision).to_string(),
            classes,
            network_sha256: None,
            pruning: Pruning::default(),
            settings,
        }
    }

    /// Reads the state in the directory of a checkpoint.
    ///
    /// # Errors
    /// There is none, or it is not one of this program's.
    pub fn read(directory: &Path) -> Result<State> {
        let file = directory.join(STATE);
        let text = read_small_file(&file, MAX_STATE).map_err(Error::io("read", &file))?;
        serde_json::from_str(&text)
            .map_err(|err| Error::malformed(&file, "file", "the state of a run", err))
    }

    /// Whether no epoch follows: all are finished, the test accuracy has not risen for as many as the
    /// settings' patience, or the ticket is found that was looked for.
    pub fn is_over(&self) -> bool {
        self.epoch >= self.settings.epochs || self.is_out_of_patience() || self.has_ticket()
    }

    pub(super) fn has_ticket(&self) -> bool {
        self.pruning.ticket.is_some() && self.settings.after_ticket == AfterTicket::Stop
    }

    pub(super) fn is_out_of_patience(&self) -> bool {
        let (patience, best) = (self.settings.patience, self.best);
        patience > 0 && best.is_some_and(|best| self.epoch - best.epoch >= patience)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a state is plain values");
        text.push(b'\n');
        text
    }
}
