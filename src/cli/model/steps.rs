//! What a step of the engine is called.

use crate::engine::cpu::PlannedStep;
use crate::net::{Graph, Op};
use crate::text::printable;

/// The name of the node that it begins with.
pub(super) fn name(graph: &Graph, step: &PlannedStep) -> String {
    printable(&graph.nodes()[step.node].name)
}

/// Its kind and what it does in the same go: `norm + ReLU6`, `copy: concat, shuffle, slice`.
pub(super) fn what(graph: &Graph, step: &PlannedStep) -> String {
    let op = |node: &usize| short(&graph.nodes()[*node].op);
    if step.kind == "copy" {
        // A chain of blocks repeats them.
        let mut ops: Vec<&str> = Vec::new();
        for op in step.nodes.iter().map(op) {
            if !ops.contains(&op) {
                ops.push(op);
            }
        }
        return format!("{}: {}", step.kind, ops.join(", "));
    }
    // Where a kind has several operations, which one it is; and short, where more follows.
    let kind = match (step.kind, &graph.nodes()[step.node].op) {
        ("convolution", Op::Convolution { .. }) if step.nodes.len() > 1 => "conv",
        ("convolution", Op::Linear { .. }) | ("activation" | "resample" | "noise", _) => {
            op(&step.node)
        }
        (kind, _) => kind,
    };
    let others = step.nodes.iter().filter(|node| **node != step.node);
    let all: Vec<&str> = [kind].into_iter().chain(others.map(op)).collect();
    all.join(" + ")
}

fn short(op: &Op) -> &'static str {
    match op {
        Op::Shuffle { .. } => "shuffle",
        Op::BatchNorm { .. } => "norm",
        Op::PadChannels { .. } => "pad",
        Op::AdaptiveAveragePool {
            height: 1,
            width: 1,
        } => "global pool",
        op => op.name(),
    }
}
