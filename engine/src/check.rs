//! Whether a batch can be run.

use super::{Batch, Task};
use crate::error::Result;
use crate::net::{Graph, Node, Op};

/// Checks a batch, and counts its images.
///
/// # Errors
/// Images or labels that are too many or too few, a label that is no class; in training, a BatchNorm or
/// IterNorm that would see a single value a channel.
pub fn check(graph: &Graph, task: Task, batch: &Batch<'_>, training: bool) -> Result<usize> {
    let error = |node: &Node, reason| Err(graph.error(&node.name, reason));
    let nodes = graph.nodes();
    let (shape, output) = (graph.input_shape(), graph.output_shape());
    let (labels, each) = (batch.labels.len(), task.labels(output));
    let images = labels / each;
    if images * each != labels {
        let reason = format!("{labels} labels are not {each} for each image");
        return error(graph.output_node(), reason);
    }
    if images == 0 || batch.images.len() != images * shape.len() {
        let numbers = batch.images.len();
        let reason = format!("{images} images of {shape} are not {numbers} numbers");
        return error(&nodes[0], reason);
    }
    let classes = output.channels;
    let mut counted = batch.labels.iter().filter(|label| task.counts(**label));
    if let Some(label) = counted.find(|label| **label as usize >= classes) {
        let reason = format!("label {label} is none of {classes} classes");
        return error(graph.output_node(), reason);
    }
    let alone = |node: &&Node| {
        matches!(node.op, Op::BatchNorm { .. } | Op::IterNorm(_))
            && images * node.shape.pixels() == 1
    };
    match nodes.iter().find(alone) {
        Some(node) if training => error(
            node,
            format!(
                "expected more than 1 value per channel when training, got input size [1, {}, 1, \
                 1]: {} needs a larger batch or resolution",
                node.shape.channels,
                node.op.name()
            ),
        ),
        _ => Ok(images),
    }
}
