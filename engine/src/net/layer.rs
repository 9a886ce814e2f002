//! Layers: nodes grouped with the normalisation and activation that follow them, for listings.

use std::fmt::Write as _;

use super::graph::{Graph, Node};
use super::op::{Op, Window};

/// A node, and the normalisation and activation behind it that are the only readers of their inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Indices into [`Graph::nodes`], in the order in which they are computed.
    pub nodes: Vec<usize>,
}

/// Groups all nodes but the input into layers, in the order of their first nodes.
///
/// A BatchNorm or IterNorm joins a convolution or linear layer before it; an activation joins one of these, a
/// normalisation or a sum.
/// Each joins only if it is the only reader of its input.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let nodes = graph.nodes();
    let mut readers = vec![0; nodes.len()];
    for input in nodes.iter().flat_map(|node| &node.inputs) {
        readers[input.index()] += 1;
    }
    let mut all: Vec<Layer> = Vec::new();
    // The index of each node's layer.
    let mut layer_of = vec![0; nodes.len()];
    for (index, node) in nodes.iter().enumerate().skip(1) {
        let before = match node.inputs[..] {
            [input] if readers[input.index()] == 1 => Some(input.index()),
            _ => None,
        };
        match before {
            Some(before) if joins(&node.op, &nodes[before].op) => {
                layer_of[index] = layer_of[before];
                all[layer_of[before]].nodes.push(index);
            }
            _ => {
                layer_of[index] = all.len();
                all.push(Layer { nodes: vec![index] });
            }
        }
    }
    all
}

/// Whether a node joins the layer that ends with the operation `before`.
fn joins(op: &Op, before: &Op) -> bool {
    let has_weight = matches!(before, Op::Convolution { .. } | Op::Linear { .. });
    match op {
        Op::BatchNorm { .. } | Op::IterNorm(_) => has_weight,
        Op::Activation(_) => {
            let normalises = matches!(before, Op::BatchNorm { .. } | Op::IterNorm(_));
            has_weight || normalises || matches!(before, Op::Add)
        }
        _ => false,
    }
}

impl Layer {
    /// The first node, whose name is the layer's.
    pub fn first<'a>(&self, graph: &'a Graph) -> &'a Node {
        &graph.nodes()[self.nodes[0]]
    }

    /// The last node, whose value is the layer's.
    pub fn last<'a>(&self, graph: &'a Graph) -> &'a Node {
        &graph.nodes()[self.nodes[self.nodes.len() - 1]]
    }

    /// A short description: `conv 3×3/2 g32 BN ReLU` has stride 2 and 32 groups; `dw` in place of `conv` is a depthwise
    /// convolution.
    pub fn describe(&self, graph: &Graph) -> String {
        let words = self.nodes.iter().map(|index| {
            let node = &graph.nodes()[*index];
            describe(graph, node)
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// A short description of one node.
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
        Op::IterNorm(layer) => format!("ITN g{}", layer.whitening.group),
        Op::ChannelEquilibrium(layer) => format!("CE g{}", layer.whitening.group),
        Op::MaxPool(window) => format!("max pool {}", taps(window)),
        Op::AveragePool { window, .. } => format!("average pool {}", taps(window)),
        Op::AdaptiveAveragePool { height, width } => match (height, width) {
            (1, 1) => "global pool".to_owned(),
            _ => format!("adaptive pool {height}×{width}"),
        },
        Op::Slice { start, len } => format!("channels {start} to {}", start + len - 1),
        Op::Dropout { p } | Op::ChannelDropout { p } | Op::StochasticDepth { p } => {
            format!("{} {p:.3}", node.op.name())
        }
        op => op.name().to_owned(),
    }
}

/// `3×3/2 d4`: the kernel, and stride and dilation if they are not 1.
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
