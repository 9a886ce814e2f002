//! What is known of a finished epoch, and the file that keeps it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::storage::replace_file;

/// One line of `metrics.jsonl`. Accuracies are percent; of scenes, of the pixels that count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// How many epochs are finished with it; the first is 1.
    pub epoch: u64,
    /// Mean loss of the training images as they came, label smoothing included.
    pub train_loss: f64,
    /// Training images whose class was put first, as they came.
    pub train_top1: f64,
    /// Mean cross-entropy of the test images.
    pub test_loss: f64,
    /// Test images whose class was put first.
    pub test_top1: f64,
    /// Of scenes: mean over the classes of [`Evaluation::iou`](super::Evaluation::iou), percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_miou: Option<f64>,
    /// Of scenes: mean of `test_top1` and `test_miou`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_score: Option<f64>,
    /// Of scenes: IoU of each class, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_iou: Option<Vec<f64>>,
    /// Training images a second.
    pub images_per_s: f64,
    /// The learning rate of the last update.
    pub lr: f64,
    /// How many γ are regenerated after it.
    pub regenerated: usize,
    /// How many have |γ| < 0.01, before that; pruned ones apart.
    pub inhibited: usize,
    /// Lower median of γ, before that; without pruned ones.
    pub median_gamma: f64,
    /// How many channels are pruned.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pruned: usize,
}

impl Metrics {
    /// By what the best epoch is chosen: the score of scenes, else test accuracy.
    pub fn merit(&self) -> f64 {
        self.test_score.unwrap_or(self.test_top1)
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Adds a line.
pub(super) fn append(file: &Path, metrics: &Metrics) -> Result<()> {
    let mut line = serde_json::to_vec(metrics).expect("metrics are plain values");
    line.push(b'\n');
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut file| file.write_all(&line))
        .map_err(Error::io("write", file))
}

/// Reads the lines of the first `epochs` epochs, ascending; of two of one epoch the later counts.
///
/// # Errors
/// The file cannot be read, or a whole line is none of metrics.
pub(super) fn read(file: &Path, epochs: u64) -> Result<Vec<Metrics>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(Error::io("read", file)(err)),
    };
    let mut all = BTreeMap::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        // Its end is still to be written.
        if !line.ends_with('\n') {
            continue;
        }
        let metrics: Metrics = serde_json::from_str(line).map_err(|err| {
            let place = format!("line {}", number + 1);
            Error::malformed(file, place, "the metrics of an epoch", err)
        })?;
        all.insert(metrics.epoch, metrics);
    }
    all.retain(|epoch, _| *epoch <= epochs);
    Ok(all.into_values().collect())
}

/// Leaves the lines of the first `epochs` epochs: a run that was killed may have written one more,
/// or a part of one.
pub(super) fn keep(file: &Path, epochs: u64) -> Result<()> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(Error::io("read", file)(err)),
    };
    #[derive(Deserialize)]
    struct Line {
        epoch: u64,
    }
    let kept: Vec<u8> = text
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
        .filter(|line| serde_json::from_slice::<Line>(line).is_ok_and(|line| line.epoch <= epochs))
        .flatten()
        .copied()
        .collect();
    if kept == text {
        Ok(())
    } else {
        replace_file(file, &kept)
    }
}
