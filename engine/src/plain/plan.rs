//! Memory for one batch size: allocated once, used by every step.

use super::batch_norm::Statistics;
use super::convolution::Geometry;
use super::whitening;
use crate::loss;
use crate::net::{Graph, Op, Shape};
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

    /// What the last node computed.
    pub(super) fn output(&self) -> &[T] {
        &self.values[self.values.len() - 1]
    }

    /// Sets all gradients to 0 but that of the output, which is the loss's.
    pub(super) fn start_backward(
        &mut self,
        task: Task,
        output: Shape,
        labels: &[u32],
        training: &Training,
    ) -> Outcome {
        for gradient in &mut self.gradients {
            gradient.fill(T::zero());
        }
        let last = self.values.len() - 1;
        let logits = &self.values[last];
        let gradient = (&mut self.gradients[last][..], training.weight);
        let smoothing = training.label_smoothing;
        loss::cross_entropy(task, output, labels, logits, smoothing, Some(gradient))
    }
}
