//! The specification: every operation a few lines of loops over channels-first values, in f32 or
//! f64, one thread. Sums are gathered in f64.

pub(super) mod activation;
mod batch_norm;
mod channels;
mod convolution;
mod equilibrium;
mod gate;
mod iter_norm;
mod linear;
mod newton;
mod plan;
mod pool;
mod resize;
mod step;
#[cfg(test)]
mod tests;
mod whitening;

use super::check::check;
use super::mode::Mode;
use super::optimizer::{self, Rates};
use super::real::Real;
use super::{Batch, Engine, Outcome, Part, Precision, Task, Training, Update, average, loss};
use crate::error::Result;
use crate::net::{Graph, Kind, Resolution, Shape, TensorId};
use plan::Plan;

/// A network that is run by plain loops.
#[derive(Debug)]
pub struct Plain<T> {
    graph: Graph,
    task: Task,
    tensors: Vec<Tensor<T>>,
    plans: Vec<Plan<T>>,
    /// Which plan ran last.
    last: Option<usize>,
}

/// The arrays of one tensor of the graph.
#[derive(Debug, Default)]
struct Tensor<T> {
    /// Empty for a count.
    value: Vec<T>,
    /// Empty for what is not trained; so are the slots.
    gradient: Vec<T>,
    slots: [Vec<T>; 2],
    /// Empty before there is one.
    average: Vec<T>,
    count: u64,
    average_count: u64,
}

impl<T: Real> Plain<T> {
    /// A classifier with all its tensors 0; [`Engine::write`] gives them their values.
    ///
    /// # Errors
    /// The network's output is no vector of classes.
    pub fn new(graph: Graph) -> Result<Plain<T>> {
        Self::with_task(graph, Task::Classification)
    }

    /// As [`Plain::new`], for any task.
    ///
    /// # Errors
    /// The network's output does not fit the task.
    pub fn with_task(graph: Graph, task: Task) -> Result<Plain<T>> {
        task.check_output(&graph)?;
        let tensors = graph.tensors().iter().map(|tensor| {
            let zeros = |wanted| vec![T::zero(); if wanted { tensor.len() } else { 0 }];
            Tensor {
                value: zeros(tensor.kind != Kind::BatchCount),
                gradient: zeros(tensor.is_parameter()),
                ..Tensor::default()
            }
        });
        Ok(Plain {
            tensors: tensors.collect(),
            graph,
            task,
            plans: Vec::new(),
            last: None,
        })
    }

    /// Runs the batch forward.
    fn forward(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<usize> {
        let training = mode.is_training();
        let images = check(&self.graph, self.task, batch, training)?;
        let at = match self
            .plans
            .iter()
            .position(|plan| plan.fits(images, training))
        {
            Some(at) => at,
            None => {
                self.plans.push(Plan::new(&self.graph, images, training));
                self.plans.len() - 1
            }
        };
        self.last = Some(at);
        let plan = &mut self.plans[at];
        for (to, from) in plan.values[0].iter_mut().zip(batch.images) {
            *to = T::of(f64::from(*from));
        }
        for node in 1..self.graph.nodes().len() {
            step::forward(&self.graph, &mut self.tensors, plan, node, mode);
        }
        Ok(at)
    }

    /// Output of node number `node` for the last batch, `[N, C, H, W]`; empty before the first batch.
    pub fn value(&self, node: usize) -> &[T] {
        let last = self.last.map(|plan| &self.plans[plan].values[node][..]);
        last.unwrap_or_default()
    }

    fn outcome(&self, plan: usize, labels: &[u32]) -> Outcome {
        self.plans[plan].outcome(&self.graph, self.task, labels)
    }
}

impl<T: Real> Engine for Plain<T> {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn task(&self) -> Task {
        self.task
    }

    fn reshape(&mut self, resolution: Resolution) -> Result<()> {
        if self.graph.resolution() != resolution {
            self.graph = self.graph.at(resolution)?;
            // Plans of all sizes would need memory without end.
            self.plans.clear();
            self.last = None;
        }
        Ok(())
    }

    fn precision(&self) -> Precision {
        T::PRECISION
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Outcome> {
        let plan = self.forward(batch, Mode::Evaluation)?;
        Ok(self.outcome(plan, batch.labels))
    }

    fn differentiate(&mut self, batch: &Batch<'_>, training: &Training) -> Result<Outcome> {
        let seed = training.seed;
        let mode = Mode::Training {
            seed,
            momentum: None,
        };
        let plan = self.forward(batch, mode)?;
        let plan = &mut self.plans[plan];
        let outcome = plan.start_backward(&self.graph, self.task, batch.labels, training);
        for node in (1..self.graph.nodes().len()).rev() {
            step::backward(&self.graph, &mut self.tensors, plan, node, seed);
        }
        Ok(outcome)
    }

    fn recalibrate(&mut self, batch: &Batch<'_>, momentum: f64, seed: u64) -> Result<Outcome> {
        let mode = Mode::Training {
            seed,
            momentum: Some(momentum),
        };
        let plan = self.forward(batch, mode)?;
        Ok(self.outcome(plan, batch.labels))
    }

    fn update(&mut self, update: &Update) -> f64 {
        let gradients = self.tensors.iter().flat_map(|tensor| &tensor.gradient);
        let norm = gradients.map(|g| g.wide().powi(2)).sum::<f64>().sqrt();
        let scale = update.scale(norm);
        for (spec, tensor) in self.graph.tensors().iter().zip(&mut self.tensors) {
            if !spec.is_parameter() {
                continue;
            }
            for slot in tensor.slots.iter_mut().take(update.optimizer.slots()) {
                slot.resize(tensor.value.len(), T::zero());
            }
            let rates = Rates {
                learning: update.rate(spec),
                decay: update.decay(spec),
                scale,
            };
            optimizer::update(
                &update.optimizer,
                rates,
                &mut tensor.value,
                &tensor.gradient,
                tensor.slots.each_mut().map(|slot| &mut slot[..]),
            );
            tensor.gradient.fill(T::zero());
        }
        norm
    }

    fn begin_average(&mut self) {
        for tensor in &mut self.tensors {
            tensor.average.clone_from(&tensor.value);
            tensor.average_count = tensor.count;
        }
    }

    fn follow_average(&mut self, decay: f64) {
        for tensor in &mut self.tensors {
            average::follow(decay, &mut tensor.average, &tensor.value);
            tensor.average_count = tensor.count;
        }
    }

    fn exchange_average(&mut self) {
        for tensor in &mut self.tensors {
            std::mem::swap(&mut tensor.value, &mut tensor.average);
            std::mem::swap(&mut tensor.count, &mut tensor.average_count);
        }
    }

    fn predictions(&self, into: &mut Vec<usize>) {
        let logits = self.value(self.graph.output().index());
        loss::predictions(self.graph.output_shape(), logits, into);
    }

    fn output(&self, into: &mut Vec<f64>) {
        into.clear();
        let logits = self.value(self.graph.output().index());
        into.extend(logits.iter().map(|x| x.wide()));
    }

    fn read(&self, tensor: TensorId, part: Part, into: &mut Vec<f64>) {
        let kept = &self.tensors[tensor.index()];
        into.clear();
        let values = match part {
            Part::Value if kept.value.is_empty() => return into.push(kept.count as f64),
            Part::Average if kept.value.is_empty() => return into.push(kept.average_count as f64),
            Part::Value => &kept.value,
            Part::Average => &kept.average,
            Part::Gradient => &kept.gradient,
            Part::Slot(slot) => &kept.slots[slot],
        };
        into.extend(values.iter().map(|x| x.wide()));
    }

    fn write(&mut self, tensor: TensorId, part: Part, values: &[f64]) {
        let len = self.graph.tensor(tensor).len();
        assert_eq!(values.len(), len, "{}", self.graph.tensor(tensor).name);
        let kept = &mut self.tensors[tensor.index()];
        let to = match part {
            Part::Value if kept.value.is_empty() => return kept.count = values[0] as u64,
            Part::Average if kept.value.is_empty() => {
                return kept.average_count = values[0] as u64;
            }
            Part::Value => &mut kept.value,
            Part::Average => &mut kept.average,
            Part::Gradient => &mut kept.gradient,
            Part::Slot(slot) => &mut kept.slots[slot],
        };
        to.clear();
        to.extend(values.iter().map(|x| T::of(*x)));
    }
}

/// sums += Σ x over images and pixels, channel by channel.
fn add_channel_sums<T: Real>(images: usize, shape: Shape, x: &[T], sums: &mut [T]) {
    for (channel, sum) in sums.iter_mut().enumerate() {
        let planes = (0..images).map(|image| (image * shape.channels + channel) * shape.pixels());
        let all = planes.flat_map(|start| &x[start..start + shape.pixels()]);
        *sum += T::of(all.map(|x| x.wide()).sum());
    }
}
