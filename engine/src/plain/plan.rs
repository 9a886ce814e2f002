//! Memory for one batch size: allocated once, used by every step.

use super::batch_norm::Statistics;
use super::convolution::Geometry;
use super::whitening;
use crate::loss;
use crate::net::{Graph, Op};
use crate::real::Real;
use crate::{Outcome, Task, Training};

/// Values, and in training gradients, of all nodes for one batch.
#[derive(Debug)]
pub(super) struct Plan<T> {
    pub(super) images: usize,
    pub(super) values: Vec<Vec<T>>,
    /// Empty in evaluation.
    pub(super) gradients: Vec<Vec<T>>,
    /// Batch statistics of the BatchNorm nodes; empty for others.
    pub(super) statistics: Vec<Statistics>,
    /// The same of the nodes that decorrelate channels.
    pub(super) whitenings: Vec<whitening::Batch>,
    /// Scratch for a convolution's f64 accumulators.
    pub(super) sums: Vec<f64>,
}

impl<T: Real> Plan<T> {
    pub(super) fn new(graph: &Graph, images: usize, training: bool) -> Plan<T> {
        let nodes = graph.nodes();
        let zeros = || {
            nodes
                .iter()
                .map(|node| vec![T::zero(); images * node.shape.len()])
                .collect()
        };
        let statistics = nodes.iter().map(|node| {
            let len = match node.op {
                Op::BatchNorm { .. } => node.shape.channels,
                _ => 0,
            };
            Statistics {
                mean: vec![0.0; len],
                scale: vec![0.0; len],
            }
        });
        let sums = nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Convolution { .. }))
            .map(|node| Geometry::of(graph, node).sums_len());
        Plan {
            images,
            values: zeros(),
            gradients: if training { zeros() } else { Vec::new() },
            statistics: statistics.collect(),
            whitenings: nodes.iter().map(|_| whitening::Batch::default()).collect(),
            sums: vec![0.0; sums.max().unwrap_or(0)],
        }
    }

    /// Whether it can run such a batch; one for training can evaluate too.
    pub(super) fn fits(&self, images: usize, training: bool) -> bool {
        self.images == images && (!training || !self.gradients.is_empty())
    }

    /// Loss and hits of the batch.
    pub(super) fn outcome(&self, graph: &Graph, task: Task, labels: &[u32]) -> Outcome {
        loss::over_outputs(graph, |value, _| {
            let (shape, logits) = (graph.shape(value), &self.values[value.index()]);
            loss::cross_entropy(task, shape, labels, logits, 0.0, None)
        })
    }

    /// Sets all gradients to 0 but those of the outputs, which are the loss's.
    pub(super) fn start_backward(
        &mut self,
        graph: &Graph,
        task: Task,
        labels: &[u32],
        training: &Training,
    ) -> Outcome {
        for gradient in &mut self.gradients {
            gradient.fill(T::zero());
        }
        let smoothing = training.label_smoothing;
        loss::over_outputs(graph, |value, share| {
            let (shape, logits) = (graph.shape(value), &self.values[value.index()]);
            let gradient = &mut self.gradients[value.index()][..];
            let gradient = Some((gradient, training.weight * share));
            loss::cross_entropy(task, shape, labels, logits, smoothing, gradient)
        })
    }
}
