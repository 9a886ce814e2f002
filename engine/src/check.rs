//! What a batch and a network must be to be run at all.

use super::Batch;
use crate::error::Result;
use crate::net::{Graph, Node, Op};

/// Whether a batch can be run.
pub(super) fn check(graph: &Graph, batch: &Batch<'_>, training: bool) -> Result<()> {
    let error = |node: &Node, reason| Err(graph.error(&node.name, reason));
    let nodes = graph.nodes();
    let (images, shape) = (batch.labels.len(), graph.input_shape());
    if images == 0 || batch.images.len() != images * shape.len() {
        let numbers = batch.images.len();
        let reason = format!("{images} images of {shape} are not {numbers} numbers");
        return error(&nodes[0], reason);
    }
    let classes = graph.output_shape().channels;
    if let Some(label) = batch
        .labels
        .iter()
        .find(|label| **label as usize >= classes)
    {
        let reason = format!("label {label} is none of {classes} classes");
        return error(&nodes[nodes.len() - 1], reason);
    }
    let alone =
        |node: &&Node| matches!(node.op, Op::BatchNorm { .. }) && images * node.shape.pixels() == 1;
    match nodes.iter().find(alone) {
        Some(node) if training => error(
            node,
            format!(
                "expected more than 1 value per channel when training, got input size [1, {}, 1, \
                 1]: BatchNorm needs a larger batch or resolution",
                node.shape.channels
            ),
        ),
        _ => Ok(()),
    }
}

/// Whether a network's output is a vector of classes.
pub(super) fn check_output(graph: &Graph) -> Result<()> {
    let output = graph.output_shape();
    if output.pixels() == 1 {
        return Ok(());
    }
    let last = &graph.nodes()[graph.nodes().len() - 1];
    let reason = format!("the network's output is {output}, not a vector of classes");
    Err(graph.error(&last.name, reason))
}
