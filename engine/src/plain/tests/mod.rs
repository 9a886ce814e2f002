//! Tests of the plain engine: every operation against PyTorch and against finite differences.

mod auxiliary;
mod gradients;
mod operations;
mod propagation;
mod running;

use super::plan::Plan;
use super::{Tensor, step};
use crate::mode::Mode;
use crate::net::{Graph, Kind};
use crate::uniform::uniform;

/// Training, by each BatchNorm's own momentum.
fn training(seed: u64) -> Mode {
    Mode::Training {
        seed,
        momentum: None,
    }
}

/// A graph with tensors and memory for one training batch.
struct Bench {
    graph: Graph,
    tensors: Vec<Tensor<f64>>,
    plan: Plan<f64>,
}

impl Bench {
    /// Tensors filled with numbers that follow from their names; variances are positive.
    fn new(graph: Graph, images: usize) -> Bench {
        let tensors = graph.tensors().iter().map(|spec| {
            let value = uniform(&spec.name, spec.len());
            Tensor {
                value: match spec.kind {
                    Kind::RunningVariance => value.iter().map(|x| x.abs() + 0.5).collect(),
                    Kind::BatchCount => Vec::new(),
                    _ => value,
                },
                gradient: vec![0.0; spec.len()],
                ..Tensor::default()
            }
        });
        Bench {
            tensors: tensors.collect(),
            plan: Plan::new(&graph, images, true),
            graph,
        }
    }

    /// Runs forward; returns the output.
    fn forward(&mut self, mode: Mode) -> &[f64] {
        for node in 1..self.graph.nodes().len() {
            step::forward(&self.graph, &mut self.tensors, &mut self.plan, node, mode);
        }
        &self.plan.values[self.graph.output().index()]
    }

    /// Computes the gradients of Σ dy · y; returns that of the images.
    fn backward(&mut self, dy: &[f64], seed: u64) -> &[f64] {
        for gradient in &mut self.plan.gradients {
            gradient.fill(0.0);
        }
        let last = self.graph.nodes().len() - 1;
        self.plan.gradients[last].copy_from_slice(dy);
        for node in (1..=last).rev() {
            step::backward(&self.graph, &mut self.tensors, &mut self.plan, node, seed);
        }
        &self.plan.gradients[0]
    }
}
