//! One pass over the training images.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::course::Course;
use super::data::Loader;
use super::diagnose;
use super::evaluate::percent;
use super::pruning::Hold;
use super::record::Recorder;
use super::schedule::learning_rate;
use super::settings::Settings;
use super::{Event, Events, Progress};
use crate::engine::common::Mode;
use crate::engine::{Batch, Engine, Training};
use crate::error::Result;

/// What an epoch came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    /// Mean loss.
    pub(super) loss: f64,
    /// Percent.
    pub(super) top1: f64,
    pub(super) images: usize,
    /// Of the last update.
    pub(super) lr: f64,
    pub(super) time: Duration,
}

/// What an epoch is run on.
pub(super) struct Parts<'a> {
    pub(super) engine: &'a mut dyn Engine,
    pub(super) loader: &'a mut Loader,
    pub(super) recorder: Option<&'a mut Recorder>,
    pub(super) settings: &'a Settings,
    pub(super) hold: &'a mut Hold,
    /// Updates so far in the run.
    pub(super) step: &'a mut u64,
}

/// Trains through all images once; `epoch` is counted from 1.
pub(super) fn train(mut parts: Parts<'_>, epoch: u64, events: Events<'_>) -> Result<Totals> {
    let settings = parts.settings;
    let mut course = Course::new(settings, parts.loader, epoch)?;
    let (updates, images) = (course.updates(), course.images());
    if let Some(recorder) = &mut parts.recorder {
        recorder.begin();
    }
    let begin = Instant::now();
    let mut totals = Totals::default();
    let (mut labels, mut top1, mut update) = (0, 0, 0);
    let mut batches = parts
        .loader
        .epoch(std::mem::take(&mut course.batches), settings.seed);
    let mut number = 0;
    while let Some(prepared) = batches.next() {
        let prepared = prepared?;
        parts.engine.reshape(prepared.resolution)?;
        let batch = Batch {
            images: prepared.images,
            labels: prepared.labels,
        };
        let seed = seed_of_batch(settings.seed, epoch, number as u64);
        let training = Training {
            label_smoothing: settings.label_smoothing,
            weight: prepared.indices.len() as f64 / course.group_images(number) as f64,
            seed,
        };
        let outcome = parts.engine.differentiate(&batch, &training)?;
        let when = || format!("in batch {} of epoch {epoch}", number + 1);
        let fail = |engine: &dyn Engine, what: &str| {
            let mode = Mode::Training {
                seed,
                momentum: None,
            };
            diagnose::error(engine, &batch, mode, (what, &when()))
        };
        if !outcome.loss.is_finite() {
            let what = format!("the loss became {}", outcome.loss);
            return Err(fail(parts.engine, &what));
        }
        totals.loss += outcome.loss * outcome.labels as f64;
        totals.images += outcome.images;
        labels += outcome.labels;
        top1 += outcome.top1;
        if course.ends_group(number) {
            if let Some(recorder) = &mut parts.recorder {
                recorder.sample(parts.engine, update);
            }
            parts.hold.before_update(parts.engine);
            totals.lr = learning_rate(settings, epoch - 1, update, updates);
            let norm = parts
                .engine
                .update(&settings.update(totals.lr, *parts.step));
            if !norm.is_finite() {
                let what = format!("the gradient's norm became {norm}");
                return Err(fail(parts.engine, &what));
            }
            *parts.step += 1;
            update += 1;
            if settings.ema > 0.0 {
                parts.engine.follow_average(settings.ema);
            }
        }
        number += 1;
        events(Event::Training(Progress {
            epoch,
            done: totals.images,
            images,
            loss: totals.loss / labels.max(1) as f64,
            top1: percent(top1, labels),
            batch_loss: outcome.loss,
            indices: prepared.indices,
        }));
    }
    totals.time = begin.elapsed();
    totals.loss /= labels.max(1) as f64;
    totals.top1 = percent(top1, labels);
    Ok(totals)
}

/// What dropout and stochastic depth draw from in one batch.
pub(super) fn seed_of_batch(seed: u64, epoch: u64, batch: u64) -> u64 {
    let mut hash = Sha256::new();
    for part in [seed, epoch, batch] {
        hash.update(part.to_le_bytes());
    }
    let digest = hash.finalize();
    let first = digest.first_chunk().expect("a digest has 32 bytes");
    u64::from_le_bytes(*first)
}
