//! Nodes that people read as one layer.

use std::fmt::Write as _;

use super::graph::{Graph, Node};
use super::op::{Op, Window};

/// A node with the BatchNorm and the activation that follow it, and nothing else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its nodes, as indices into [`Graph::nodes`], in the order in which they are computed.
    pub nodes: Vec<usize>,
}

/// All nodes of a network but its input, as layers, in the order of their first nodes.
///
/// BatchNorm joins a convolution or linear layer; an activation joins these, BatchNorm and sums; all
/// only where nothing else looks at what comes before.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let nodes = graph.nodes();
    let mut readers = vec![0; nodes.len()];
    for input in nodes.iter().flat_map(|node| &node.inputs) {
        readers[input.index()] += 1;
    }
    let mut all: Vec<Layer> = Vec::new();
    // The layer that a node is in.
    let mut place = vec![0; nodes.len()];
    for (index, node) in nodes.iter().enumerate().skip(1) {
        let before = match node.inputs[..] {
            [input] if readers[input.index()] == 1 => Some(input.index()),
            _ => None,
        };
        match before {
            Some(before) if joins(&node.op, &nodes[before].op) => {
                place[index] = place[before];
                all[place[before]].nodes.push(index);
            }
            _ => {
                place[index] = all.len();
                all.push(Layer { nodes: vec![index] });
            }
        }
    }
    all
}

fn joins(op: &Op, before: &Op) -> bool {
    let is_product = matches!(before, Op::Convolution { .. } | Op::Linear { .. });
    match op {
        Op::BatchNorm { .. } => is_product,
        Op::Activation(_) => is_product || matches!(before, Op::BatchNorm { .. } | Op::Add),
        _ => false,
    }
}

impl Layer {
    /// The node it begins with, whose name is the layer's.
    pub fn first<'a>(&self, graph: &'a Graph) -> &'a Node {
        &graph.nodes()[self.nodes[0]]
    }

    /// The node it ends with, whose value is the layer's.
    pub fn last<'a>(&self, graph: &'a Graph) -> &'a Node {
        &graph.nodes()[self.nodes[self.nodes.len() - 1]]
    }

    /// What it is, in short: `conv 3×3/2 g32 BN ReLU` has a stride of 2 and 32 groups, and `dw`
    /// for `conv` is a depthwise convolution, with a group for each channel.
    pub fn describe(&self, graph: &Graph) -> String {
        let words = self.nodes.iter().map(|index| {
            let node = &graph.nodes()[*index];
            describe(graph, node)
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn describe(graph: &Graph, node: &Node) -> String {
    match &node.op {
        Op::Convolution {
            weight,
            window,
            groups,
            ..
        } => {
            let per_group = graph.tensor(*weight).shape[1];
            let depthwise = *groups > 1 && per_group == 1;
            let kind = if depthwise { "dw" } else { "conv" };
            let mut text = format!("{kind} {}", taps(window));
            if *groups > 1 && !depthwise {
                let _ = write!(text, " g{groups}");
            }
            text
        }
        Op::BatchNorm { .. } => "BN".to_owned(),
        Op::MaxPool(window) => format!("max pool {}", taps(window)),
        Op::AveragePool { window, .. } => format!("average pool {}", taps(window)),
        Op::AdaptiveAveragePool { height, width } => match (height, width) {
            (1, 1) => "global pool".to_owned(),
            _ => format!("adaptive pool {height}×{width}"),
        },
        Op::Slice { start, len } => format!("channels {start} to {}", start + len - 1),
        Op::Dropout { p } | Op::StochasticDepth { p } => format!("{} {p:.3}", node.op.name()),
        op => op.name().to_owned(),
    }
}

/// `3×3/2 d4`: kernel, and stride and dilation other than 1.
fn taps(window: &Window) -> String {
    let pair = |(a, b): (usize, usize)| {
        if a == b {
            format!("{a}")
        } else {
            format!("{a}×{b}")
        }
    };
    let mut text = format!("{}×{}", window.kernel.0, window.kernel.1);
    if window.stride != (1, 1) {
        let _ = write!(text, "/{}", pair(window.stride));
    }
    if window.dilation != (1, 1) {
        let _ = write!(text, " d{}", pair(window.dilation));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Activation, Convolution, Shape};

    #[test]
    fn a_value_that_is_read_twice_ends_its_layer() {
        let mut graph = Graph::new("net", Shape::new(4, 8, 8));
        let x = graph.input();
        let conv = Convolution::new(4, 3).stride(2).padding(1).groups(2);
        let x = graph.convolution("conv", x, &conv).unwrap();
        let x = graph.batch_norm("bn", x).unwrap();
        let relu = graph.activation("relu", x, Activation::Relu).unwrap();
        let sum = graph.add("sum", Op::Add, &[relu, x]).unwrap();
        let sum = graph.activation("out", sum, Activation::Silu).unwrap();
        graph.batch_norm("last", sum).unwrap();
        let described: Vec<(String, String)> = layers(&graph)
            .iter()
            .map(|layer| (layer.first(&graph).name.clone(), layer.describe(&graph)))
            .collect();
        let expected = [
            ("conv", "conv 3×3/2 g2 BN"),
            ("relu", "ReLU"),
            ("sum", "add SiLU"),
            ("last", "BN"),
        ];
        let expected = expected.map(|(name, what)| (name.to_owned(), what.to_owned()));
        assert_eq!(described, expected);
    }
}
