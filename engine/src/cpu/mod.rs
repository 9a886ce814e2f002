//! The fast engine for processors: f32, several threads, vectors.
//!
//! Values lie channels last and padded to the vector width, so that a 1×1 convolution is a plain
//! product of matrices and everything else runs along channels. Memory is planned once for a batch
//! size. Sums are cut into parts that depend on sizes alone, so that results have the same bits for
//! any number of threads.

mod kernels;
mod plan;
mod run;
#[cfg(test)]
mod tests;

pub use kernels::isa::Isa;
pub use run::report::{Place, PlanReport, PlannedSegment, PlannedStep, PlannedValue};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::check::check;
use super::mode::Mode;
use super::optimizer::Rates;
use super::{Batch, Engine, Outcome, Part, Precision, Task, Training, Update, average, loss};
use crate::error::Result;
use crate::net::{Graph, Resolution, TensorId};
use kernels::aligned_buffer::AlignedBuffer;
use kernels::update;
use plan::target::Target;
use run::parameter::Parameter;
use run::plan::Plan;

/// Time of one step of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTime {
    /// The node it computes, or begins with: an index into [`Graph::nodes`].
    pub node: usize,
    /// What kind of step it is.
    pub kind: &'static str,
    /// Seconds forward, of all batches together.
    pub forward: f64,
    /// Seconds backward.
    pub backward: f64,
}

/// A network on the processor.
///
/// ```
/// # fn main() -> Result<(), ckpt_regen_engine::Error> {
/// use ckpt_regen_engine::cpu::{Cpu, Isa};
/// use ckpt_regen_engine::net::zoo;
/// use ckpt_regen_engine::{Batch, Engine, Optimizer, Training, Update};
///
/// let graph = zoo::build("resnet20", &zoo::defaults("resnet20")?)?;
/// let mut engine = Cpu::new(graph, Isa::best(), 2)?;
/// let images = vec![0.0; 4 * 3 * 32 * 32]; // [N, C, H, W]
/// let batch = Batch { images: &images, labels: &[0, 1, 2, 3] };
/// let outcome = engine.differentiate(&batch, &Training::default())?;
/// assert_eq!(outcome.images, 4);
/// engine.update(&Update {
///     optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
///     learning_rate: 0.1,
///     weight_decay: 5e-4,
///     decoder_factor: 1.0,
///     spare_vectors: false,
///     clip_norm: None,
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cpu {
    graph: Graph,
    task: Task,
    isa: Isa,
    threads: ThreadPool,
    parameters: Vec<Parameter>,
    plans: Vec<Plan>,
    /// Which plan ran last.
    last: Option<usize>,
    /// Of each gradient, squared.
    norms: Vec<f64>,
    target: Target,
}

impl Cpu {
    /// A classifier with all its tensors 0, on this many threads (0: as many as there are
    /// processors).
    ///
    /// # Errors
    /// The network's output is no vector of classes; a weight is shared by layers that differ in
    /// more than their place; the processor lacks the instructions; no threads can be had.
    pub fn new(graph: Graph, isa: Isa, threads: usize) -> Result<Cpu> {
        Self::with_task(graph, Task::Classification, isa, threads)
    }

    /// As [`Cpu::new`], for any task.
    ///
    /// # Errors
    /// The network's output does not fit the task; as [`Cpu::new`].
    pub fn with_task(graph: Graph, task: Task, isa: Isa, threads: usize) -> Result<Cpu> {
        task.check_output(&graph)?;
        if !isa.is_available() {
            let reason = format!("this processor has no {}", isa.name());
            return Err(graph.error("instructions", reason));
        }
        let parameters = Parameter::all(&graph).map_err(|name| {
            graph.error(&name, "two layers of different kinds share this weight")
        })?;
        let threads = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|err| graph.error("threads", err.to_string()))?;
        Ok(Cpu {
            graph,
            task,
            isa,
            threads,
            parameters,
            plans: Vec::new(),
            last: None,
            norms: Vec::new(),
            target: Target::default(),
        })
    }

    /// The instructions it uses.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads it runs on.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// The number of the plan for such a batch, which is made where there is none.
    fn planned(&mut self, images: usize, training: bool) -> Result<usize> {
        let mut plans = self.plans.iter();
        let found = plans.position(|plan| (plan.images, plan.training) == (images, training));
        if let Some(found) = found {
            return Ok(found);
        }
        let threads = self.threads();
        let plan =
            Plan::new(&self.graph, images, training, threads, self.target).map_err(|err| {
                let reason = format!("no memory for a batch of {images} images: {err}");
                self.graph.error("memory", reason)
            })?;
        self.plans.push(plan);
        Ok(self.plans.len() - 1)
    }

    /// Runs the batch forward.
    fn forward(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<usize> {
        let images = check(&self.graph, self.task, batch, mode.is_training())?;
        let at = self.planned(images, mode.is_training())?;
        self.last = Some(at);
        let (graph, isa, parameters) = (&self.graph, self.isa, &mut self.parameters);
        let plan = &mut self.plans[at];
        self.threads
            .install(|| plan.forward(graph, isa, parameters, batch, mode));
        Ok(at)
    }

    /// Time of every step of the last batch's plan so far: what all threads spent on it, divided by
    /// their number.
    pub fn times(&self) -> Vec<StepTime> {
        let Some(plan) = self.last.map(|plan| &self.plans[plan]) else {
            return Vec::new();
        };
        let threads = self.threads().min(plan.tasks.len()) as f64;
        let times = plan.steps.iter().enumerate().map(|(number, step)| {
            let tasks = plan.tasks.iter().map(|task| task.seconds[number]);
            let (forward, backward) =
                tasks.fold((0.0, 0.0), |all, own| (all.0 + own.0, all.1 + own.1));
            let own = plan.seconds[number];
            StepTime {
                node: step.node,
                kind: step.kind.name(),
                forward: own.0 + forward / threads,
                backward: own.1 + backward / threads,
            }
        });
        times.collect()
    }

    /// Counts the times of all steps from 0 again.
    pub fn clear_times(&mut self) {
        for plan in &mut self.plans {
            let tasks = plan.tasks.iter_mut().map(|task| &mut task.seconds);
            for seconds in tasks.chain([&mut plan.seconds]) {
                seconds.fill((0.0, 0.0));
            }
        }
    }

    fn outcome(&self, plan: usize, labels: &[u32]) -> Outcome {
        self.plans[plan].outcome(&self.graph, self.task, labels)
    }

    /// Logits of the last batch.
    fn logits(&self) -> &[f32] {
        let last = self.last.map(|plan| self.plans[plan].logits());
        last.unwrap_or_default()
    }
}

impl Engine for Cpu {
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
        Precision::F32
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Outcome> {
        let plan = self.forward(batch, Mode::Evaluation)?;
        Ok(self.outcome(plan, batch.labels))
    }

    fn differentiate(&mut self, batch: &Batch<'_>, training: &Training) -> Result<Outcome> {
        let mode = Mode::Training {
            seed: training.seed,
            momentum: None,
        };
        let plan = self.forward(batch, mode)?;
        let plan = &mut self.plans[plan];
        let outcome = plan.start_backward(&self.graph, self.task, batch.labels, training);
        let (graph, isa, parameters) = (&self.graph, self.isa, &mut self.parameters);
        self.threads
            .install(|| plan.backward(graph, isa, parameters, mode));
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
        let (graph, isa) = (&self.graph, self.isa);
        let (parameters, norms) = (&mut self.parameters, &mut self.norms);
        self.threads.install(|| {
            let norm = |norms: &[f64]| norms.iter().sum::<f64>().sqrt();
            // A limit asks for the norm of all first.
            let scale = update.clip_norm.map_or(1.0, |_| {
                let gradients = parameters.par_iter();
                let squares = gradients.map(|kept| update::squares(isa, &kept.gradient));
                squares.collect_into_vec(norms);
                update.scale(norm(norms))
            });
            let tensors = parameters.par_iter_mut().zip(graph.tensors());
            let squares = tensors.map(|(kept, spec)| {
                if !spec.is_parameter() {
                    return 0.0;
                }
                for slot in kept.slots.iter_mut().take(update.optimizer.slots()) {
                    if slot.is_empty() {
                        *slot = AlignedBuffer::new(kept.value.len());
                    }
                }
                let rates = Rates {
                    learning: update.rate(spec),
                    decay: update.decay(spec),
                    scale,
                };
                let [first, second] = &mut kept.slots;
                let slots = [&mut first[..], &mut second[..]];
                let (value, gradient) = (&mut kept.value, &mut kept.gradient);
                update::step(isa, &update.optimizer, rates, value, gradient, slots)
            });
            squares.collect_into_vec(norms);
            norm(norms)
        })
    }

    fn begin_average(&mut self) {
        for kept in &mut self.parameters {
            kept.average.reset(kept.value.len());
            kept.average.copy_from_slice(&kept.value);
            kept.average_count = kept.count;
        }
    }

    fn follow_average(&mut self, decay: f64) {
        let (isa, parameters) = (self.isa, &mut self.parameters);
        self.threads.install(|| {
            parameters.par_iter_mut().for_each(|kept| {
                let (average, value) = (&mut kept.average, &kept.value);
                isa.run_loops(
                    #[inline(always)]
                    || average::follow(decay, average, value),
                );
                kept.average_count = kept.count;
            });
        });
    }

    fn exchange_average(&mut self) {
        for kept in &mut self.parameters {
            std::mem::swap(&mut kept.value, &mut kept.average);
            std::mem::swap(&mut kept.count, &mut kept.average_count);
        }
    }

    fn predictions(&self, into: &mut Vec<usize>) {
        loss::predictions(self.graph.output_shape(), self.logits(), into);
    }

    fn output(&self, into: &mut Vec<f64>) {
        into.clear();
        into.extend(self.logits().iter().map(|x| f64::from(*x)));
    }

    fn read(&self, tensor: TensorId, part: Part, into: &mut Vec<f64>) {
        let kept = &self.parameters[tensor.index()];
        into.clear();
        match part {
            Part::Value if kept.value.is_empty() => into.push(kept.count as f64),
            Part::Average if kept.value.is_empty() => into.push(kept.average_count as f64),
            Part::Value => kept.give(&kept.value, into),
            Part::Average => kept.give(&kept.average, into),
            Part::Gradient => kept.give(&kept.gradient, into),
            Part::Slot(slot) => kept.give(&kept.slots[slot], into),
        }
    }

    fn write(&mut self, tensor: TensorId, part: Part, values: &[f64]) {
        let spec = self.graph.tensor(tensor);
        assert_eq!(values.len(), spec.len(), "{}", spec.name);
        let kept = &mut self.parameters[tensor.index()];
        match part {
            Part::Value if kept.value.is_empty() => kept.count = values[0] as u64,
            Part::Average if kept.value.is_empty() => kept.average_count = values[0] as u64,
            Part::Value => kept.take(values, Parameter::value),
            Part::Average => kept.take(values, |kept| &mut kept.average),
            Part::Gradient => kept.take(values, Parameter::gradient),
            Part::Slot(slot) => kept.take(values, |kept| &mut kept.slots[slot]),
        }
    }
}
