//! Runs a network: forward, loss, backward, update.
//!
//! An [`Engine`] holds one network's tensors, gradients and optimizer state where it computes, in
//! whatever layout suits it. It plans the graph once for each batch size, in training or evaluation,
//! and from the second step of a kind on allocates nothing; another image size
//! ([`Engine::reshape`]) is planned anew. Batches enter from host memory; losses,
//! logits and tensors are read as plain numbers. A [`Task`] says what is learned.
//!
//! [`plain`] is the specification: every operation a few lines of loops, in f32 or f64. What is
//! faster has to give the same numbers: [`cpu`] does, by vectors and threads. [`common`] is for engines
//! that are written elsewhere.

mod average;
mod channels;
mod check;
pub mod common;
pub mod cpu;
mod error;
mod instance_gate;
mod loss;
mod mode;
pub mod net;
mod noise;
mod optimizer;
mod pixels;
pub mod plain;
mod real;
mod task;
#[cfg(test)]
mod uniform;
mod update;

pub use error::{Error, Result};
pub use real::Real;
pub use task::Task;
pub use update::{Optimizer, Update};

use net::{Graph, Resolution, TensorId};

/// A batch: images `[N, C, H, W]`, normalised, and their labels.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// In row-major order; C, H and W are those of the network's input.
    pub images: &'a [f32],
    /// As many for each image as the engine's [`Task`] has: `[N]` classes, or `[N, H, W]` for the
    /// pixels of the network's output.
    pub labels: &'a [u32],
}

/// The type of an engine's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// Settings of one batch in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Label smoothing, 0 to 1: this share of each target is spread equally over all classes
    /// (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// Factor of the batch's gradient: 1/k where k batches make up one update.
    pub weight: f64,
    /// Seed of dropout, channel dropout and stochastic depth; another one for each batch.
    pub seed: u64,
}

impl Default for Training {
    fn default() -> Training {
        Training {
            label_smoothing: 0.0,
            weight: 1.0,
            seed: 0,
        }
    }
}

/// Loss and hits of one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Mean cross-entropy over the labels that count, label smoothing included; with an auxiliary output, its own times its
    /// weight is added.
    pub loss: f64,
    /// Correct top-1 predictions.
    pub top1: usize,
    /// Correct top-5 predictions.
    pub top5: usize,
    /// Images in the batch.
    pub images: usize,
    /// Labels that count: one for each image, or the pixels that are not ignored.
    pub labels: usize,
}

/// One of the arrays that an engine keeps for a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The tensor itself.
    Value,
    /// The gradient accumulated since the last update; of parameters only.
    Gradient,
    /// Optimizer state: SGD's momentum is slot 0, AdamW's averages of the gradient and of its square
    /// are 0 and 1; of parameters only.
    Slot(usize),
    /// The exponential moving average of the tensor; nothing before [`Engine::begin_average`].
    Average,
}

/// One network, ready to run.
pub trait Engine: Send {
    /// The network.
    fn graph(&self) -> &Graph;

    /// What it learns.
    fn task(&self) -> Task;

    /// Goes on with images of another size, as [`Graph::at`] has the network; no tensor changes.
    ///
    /// # Errors
    /// As of [`Graph::at`].
    fn reshape(&mut self, resolution: Resolution) -> Result<()>;

    /// The type of its numbers: what it reads out is exact in it.
    fn precision(&self) -> Precision;

    /// Runs the network in evaluation mode: running statistics, no dropout. Changes no tensor.
    ///
    /// # Errors
    /// Sizes of the batch that do not fit the network, a label that is no class.
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Outcome>;

    /// Runs the network in training mode, forward and backward: adds the gradient of the loss to what
    /// was accumulated since the last update, and moves the running statistics.
    ///
    /// # Errors
    /// As [`Engine::evaluate`]; and a normalisation that would see one number a channel.
    fn differentiate(&mut self, batch: &Batch<'_>, training: &Training) -> Result<Outcome>;

    /// Runs the network in training mode, forward only: moves the running statistics towards those of the
    /// batch by `momentum`, 0..1, whatever the network's own, and changes nothing else. 1/k for the k-th of
    /// some batches gives their mean.
    ///
    /// # Errors
    /// As [`Engine::differentiate`].
    fn recalibrate(&mut self, batch: &Batch<'_>, momentum: f64, seed: u64) -> Result<Outcome>;

    /// Runs one optimizer step on the accumulated gradient, and clears it. Returns the norm of the
    /// gradient over all parameters, before any clipping.
    fn update(&mut self, update: &Update) -> f64;

    /// Starts the exponential moving average (EMA) of all tensors at their present values.
    fn begin_average(&mut self);

    /// Moves the EMA by one update: a ← decay · a + (1 − decay) · w, rounded to the engine's
    /// precision; counts become the network's.
    fn follow_average(&mut self, decay: f64);

    /// Swaps the network and its EMA, so that the EMA can be run; called again, swaps them back.
    fn exchange_average(&mut self);

    /// The predicted class for each label of the last batch: that of the largest logit, of equals the
    /// first; NaN is larger than everything, as in [`Outcome::top1`].
    fn predictions(&self, into: &mut Vec<usize>);

    /// Logits of the last batch, `[N, classes, H, W]`.
    fn output(&self, into: &mut Vec<f64>);

    /// Reads a part of a tensor, in row-major order, in place of what is there.
    fn read(&self, tensor: TensorId, part: Part, into: &mut Vec<f64>);

    /// Writes a part of a tensor, in row-major order.
    ///
    /// # Panics
    /// `values` are not as many as the tensor has.
    fn write(&mut self, tensor: TensorId, part: Part, values: &[f64]);
}
