//! The fast engine for processors: f32, several threads, vectors.
//!
//! Values lie channels last and padded to the vector width, so that a 1×1 convolution is a plain
//! product of matrices and everything else runs along channels. Memory is planned once for a batch
//! size. Sums are cut into parts that depend on sizes alone, so that results have the same bits for
//! any number of threads.

mod activation;
mod convolution;
mod depthwise;
mod elementwise;
mod isa;
mod layout;
mod max_pool;
mod mix;
mod moves;
mod multiply;
mod norm;
mod parameter;
mod plan;
mod report;
mod step;
#[cfg(test)]
mod tests;
mod update;

pub use isa::Isa;
pub use report::{PlanReport, PlannedStep, PlannedValue};

use std::time::Instant;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::check::{check, check_output};
use super::optimizer::Rates;
use super::{Batch, Engine, Outcome, Part, Training, Update, loss};
use crate::error::Result;
use crate::net::{Graph, TensorId};
use parameter::Parameter;
use plan::Plan;
use step::Context;

/// How long a step has taken.
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
#[derive(Debug)]
pub struct Cpu {
    graph: Graph,
    isa: Isa,
    threads: ThreadPool,
    parameters: Vec<Parameter>,
    plans: Vec<Plan>,
    /// Which plan ran last.
    last: Option<usize>,
    /// Of each gradient, squared.
    norms: Vec<f64>,
}

impl Cpu {
    /// The network with all its tensors 0, on this many threads (0: as many as there are
    /// processors).
    ///
    /// # Errors
    /// The network's output is no vector of classes; a weight is shared by layers that differ in
    /// more than their place; the processor lacks the instructions; no threads can be had.
    pub fn new(graph: Graph, isa: Isa, threads: usize) -> Result<Cpu> {
        check_output(&graph)?;
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
            isa,
            threads,
            parameters,
            plans: Vec::new(),
            last: None,
            norms: Vec::new(),
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
    fn planned(&mut self, images: usize, training: bool) -> usize {
        let mut plans = self.plans.iter();
        let found = plans.position(|plan| plan.fits(images, training));
        found.unwrap_or_else(|| {
            self.plans.push(Plan::new(&self.graph, images, training));
            self.plans.len() - 1
        })
    }

    /// Runs the batch forward.
    fn forward(&mut self, batch: &Batch<'_>, seed: Option<u64>) -> Result<usize> {
        check(&self.graph, batch, seed.is_some())?;
        let at = self.planned(batch.labels.len(), seed.is_some());
        self.last = Some(at);
        let Plan {
            layout,
            steps,
            values,
            scratch,
            ..
        } = &mut self.plans[at];
        let mut context = Context {
            isa: self.isa,
            parameters: &mut self.parameters,
            scratch,
            seed,
        };
        let shape = self.graph.input_shape();
        let output = self.graph.output_shape();
        self.threads.install(|| {
            values.write(0, |_, value| layout.take(shape, batch.images, value));
            for step in steps {
                let begin = Instant::now();
                values.write(step.output, |values, y| {
                    step::forward(step, &mut context, values, y);
                });
                step.seconds.0 += begin.elapsed().as_secs_f64();
            }
        });
        let last = values.get(self.graph.nodes().len() - 1);
        let mut logits = scratch.logits.iter_mut();
        layout::give(output, last, |x| {
            if let Some(logit) = logits.next() {
                *logit = x;
            }
        });
        Ok(at)
    }

    /// How long every step of the last batch's plan has taken so far.
    pub fn times(&self) -> Vec<StepTime> {
        let steps = self.last.map(|plan| &self.plans[plan].steps[..]);
        let times = steps.unwrap_or_default().iter().map(|step| StepTime {
            node: step.node,
            kind: step.kind.name(),
            forward: step.seconds.0,
            backward: step.seconds.1,
        });
        times.collect()
    }

    /// Counts the times of all steps from 0 again.
    pub fn clear_times(&mut self) {
        for step in self.plans.iter_mut().flat_map(|plan| &mut plan.steps) {
            step.seconds = (0.0, 0.0);
        }
    }

    fn outcome(&self, plan: usize, labels: &[u32]) -> Outcome {
        let classes = self.graph.output_shape().channels;
        let logits = &self.plans[plan].scratch.logits;
        loss::cross_entropy(classes, labels, logits, 0.0, None)
    }
}

impl Engine for Cpu {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Outcome> {
        let plan = self.forward(batch, None)?;
        Ok(self.outcome(plan, batch.labels))
    }

    fn differentiate(&mut self, batch: &Batch<'_>, training: &Training) -> Result<Outcome> {
        let plan = self.forward(batch, Some(training.seed))?;
        let Plan {
            images,
            steps,
            values,
            places,
            gradients,
            scratch,
            ..
        } = &mut self.plans[plan];
        let output = self.graph.output_shape();
        let outcome = loss::cross_entropy(
            output.channels,
            batch.labels,
            &scratch.logits,
            training.label_smoothing,
            Some((&mut scratch.logits_gradient, training.weight)),
        );
        let last = &mut gradients[places[self.graph.nodes().len() - 1]];
        let last = &mut last[..*images * layout::padded(output)];
        layout::take(output, &scratch.logits_gradient, last);
        let mut context = Context {
            isa: self.isa,
            parameters: &mut self.parameters,
            scratch,
            seed: Some(training.seed),
        };
        self.threads.install(|| {
            for step in steps.iter_mut().rev() {
                // A value that nothing reads has no gradient, and its step no share in any.
                if places[step.output] != usize::MAX {
                    let begin = Instant::now();
                    step::backward(step, &mut context, values, places, gradients, *images);
                    step.seconds.1 += begin.elapsed().as_secs_f64();
                }
            }
        });
        Ok(outcome)
    }

    fn recalibrate(&mut self, batch: &Batch<'_>, seed: u64) -> Result<Outcome> {
        let plan = self.forward(batch, Some(seed))?;
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
                    slot.resize(kept.value.len(), 0.0);
                }
                let rates = Rates {
                    learning: update.learning_rate,
                    decay: update.decay(spec),
                    scale,
                };
                let [first, second] = &mut kept.slots;
                let slots = [&mut first[..], &mut second[..]];
                let (value, gradient) = (&mut kept.value, &mut kept.gradient);
                update::follow(isa, &update.optimizer, rates, value, gradient, slots)
            });
            squares.collect_into_vec(norms);
            norm(norms)
        })
    }

    fn output(&self, into: &mut Vec<f64>) {
        into.clear();
        let last = self.last.map(|plan| &self.plans[plan].scratch.logits[..]);
        into.extend(last.unwrap_or_default().iter().map(|x| f64::from(*x)));
    }

    fn read(&self, tensor: TensorId, part: Part, into: &mut Vec<f64>) {
        let kept = &self.parameters[tensor.index()];
        into.clear();
        match part {
            Part::Value if kept.value.is_empty() => into.push(kept.count as f64),
            Part::Value => kept.give(&kept.value, into),
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
            Part::Value => kept.take(values, Parameter::value),
            Part::Gradient => kept.take(values, Parameter::gradient),
            Part::Slot(slot) => kept.take(values, |kept| &mut kept.slots[slot]),
        }
    }
}
