//! What a network learns.

use crate::error::Result;
use crate::net::{Graph, Shape};

/// What a network learns: which labels an image has, and so what its loss and its hits are counted
/// over. The loss of every task is the cross-entropy, averaged over the labels that count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// One class for each image: the network's output is a vector of logits.
    #[default]
    Classification,
    /// One class for each pixel of the network's output, row by row: semantic segmentation.
    DenseLabels {
        /// The label of pixels that do not count.
        ignored: u32,
    },
}

impl Task {
    /// Labels of one image, for a network with this output.
    pub fn labels(self, output: Shape) -> usize {
        output.pixels()
    }

    /// Whether a label counts.
    pub fn counts(self, label: u32) -> bool {
        match self {
            Task::Classification => true,
            Task::DenseLabels { ignored } => label != ignored,
        }
    }

    /// Whether a network can learn it.
    ///
    /// # Errors
    /// The output has several pixels, and the task one class for an image.
    pub fn check_output(self, graph: &Graph) -> Result<()> {
        let output = graph.output_shape();
        if output.pixels() == 1 || matches!(self, Task::DenseLabels { .. }) {
            return Ok(());
        }
        let reason = format!("the network's output is {output}, not a vector of classes");
        Err(graph.error(&graph.output_node().name, reason))
    }
}
