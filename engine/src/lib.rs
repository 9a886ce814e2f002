//! Runs a network: forward, loss, backward, update.
//!
//! An [`Engine`] holds one network's tensors, gradients and optimizer state where it computes, in
//! whatever layout suits it. It plans the graph once for each batch size, in training or evaluation,
//! and from the second step of a kind on allocates nothing. What goes in are batches in host memory,
//! what comes out are plain numbers.
//!
//! [`plain`] is the specification: every operation a few lines of loops, in f32 or f64. What is
//! faster has to give the same numbers: [`cpu`] does, by vectors and threads.

mod average;
mod channels;
mod check;
pub mod cpu;
mod error;
mod loss;
pub mod net;
mod noise;
mod optimizer;
mod pixels;
pub mod plain;
mod real;
#[cfg(test)]
mod uniform;
mod update;

pub use error::{Error, Result};
pub use real::Real;
pub use update::{Optimizer, Update};

use net::{Graph, TensorId};

/// Images and what they show.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Each image channel by channel, row by row, as the network's input shape says.
    pub images: &'a [f32],
    /// The class of each image.
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

/// How a batch enters training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Share of each label that is spread equally over all classes (Szegedy et al. 2016), 0 to 1.
    pub label_smoothing: f64,
    /// Factor of the batch's gradient: 1/k where k batches make up one update.
    pub weight: f64,
    /// Decides which numbers dropout and stochastic depth take away; another one for each batch.
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

/// What a batch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Mean cross-entropy of the batch, label smoothing included.
    pub loss: f64,
    /// Images whose class was put first.
    pub top1: usize,
    /// Images whose class was among the first five.
    pub top5: usize,
    /// Images in the batch.
    pub images: usize,
}

/// What an engine keeps of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The tensor itself.
    Value,
    /// The gradient gathered since the last update; of parameters only.
    Gradient,
    /// What the optimizer remembers: SGD's momentum is slot 0, AdamW's averages of the gradient and
    /// of its square are 0 and 1; of parameters only.
    Slot(usize),
    /// The exponential moving average of the tensor; nothing before [`Engine::begin_average`].
    Average,
}

/// One network, ready to run.
pub trait Engine: Send {
    /// The network.
    fn graph(&self) -> &Graph;

    /// The type of its numbers: what it reads out is exact in it.
    fn precision(&self) -> Precision;

    /// Runs the network as it is in use: running statistics, no dropout. Changes no tensor.
    ///
    /// # Errors
    /// Sizes of the batch that do not fit the network, a label that is no class.
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Outcome>;

    /// Runs the network as it is in training, adds the gradient of the loss to what was gathered
    /// since the last update, and moves the running statistics.
    ///
    /// # Errors
    /// As [`Engine::evaluate`]; and a BatchNorm that would see one number a channel.
    fn differentiate(&mut self, batch: &Batch<'_>, training: &Training) -> Result<Outcome>;

    /// Moves the running statistics by the batch, as training does, and changes nothing else.
    ///
    /// # Errors
    /// As [`Engine::differentiate`].
    fn recalibrate(&mut self, batch: &Batch<'_>, seed: u64) -> Result<Outcome>;

    /// Updates the parameters by the gathered gradient, and clears it. Returns the norm of the
    /// gradient over all parameters, before any clipping.
    fn update(&mut self, update: &Update) -> f64;

    /// Has the average of all tensors begin as the network is now.
    fn begin_average(&mut self);

    /// The average follows the network by one update: a ← decay · a + (1 − decay) · w, rounded to the
    /// engine's precision; counts become the network's.
    fn follow_average(&mut self, decay: f64);

    /// Exchanges the network and its average, so that the average can be run.
    fn exchange_average(&mut self);

    /// The class that the network put first for each image of the last batch: the largest number, of
    /// equals the first; NaN is larger than everything, as in [`Outcome::top1`].
    fn predictions(&self, into: &mut Vec<usize>);

    /// What the network said of the last batch: one row of the output shape for each image.
    fn output(&self, into: &mut Vec<f64>);

    /// Reads a part of a tensor, in row-major order, in place of what is there.
    fn read(&self, tensor: TensorId, part: Part, into: &mut Vec<f64>);

    /// Writes a part of a tensor, in row-major order.
    ///
    /// # Panics
    /// `values` are not as many as the tensor has.
    fn write(&mut self, tensor: TensorId, part: Part, values: &[f64]);
}
