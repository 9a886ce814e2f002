//! A network in Graphviz's DOT language.

use std::fmt::Write as _;

use crate::net::{Graph, Layer, Op, layers};

/// Renders the network as a directed graph in DOT. Each [`Layer`] is a box with its name, its description and the shape of
/// its value.
pub fn to_dot(graph: &Graph) -> String {
    let all = layers(graph);
    let mut layer_of = vec![None; graph.nodes().len()];
    for (number, layer) in all.iter().enumerate() {
        for index in &layer.nodes {
            layer_of[*index] = Some(number);
        }
    }
    let mut out = String::new();
    let _ = writeln!(out, "digraph {} {{", quoted(graph.name()));
    out += "  node [shape=box style=\"rounded,filled\" fontname=\"Helvetica\" fontsize=10 \
            color=\"#8a8a8a\"];\n  edge [color=\"#606060\" arrowsize=0.6];\n";
    let input = format!("input\\n{}", graph.input_shape());
    let _ = writeln!(out, "  input [label=\"{input}\" fillcolor=\"#ffffff\"];");
    for (number, layer) in all.iter().enumerate() {
        let label = format!(
            "{}\\n{}\\n{}",
            escaped(&layer.first(graph).name),
            layer.describe(graph),
            layer.last(graph).shape
        );
        let colour = colour(graph, layer);
        let _ = writeln!(
            out,
            "  n{number} [label=\"{label}\" fillcolor=\"{colour}\"];"
        );
        for value in &layer.first(graph).inputs {
            let from = match layer_of[value.index()] {
                Some(from) => format!("n{from}"),
                None => "input".to_owned(),
            };
            let _ = writeln!(out, "  {from} -> n{number};");
        }
    }
    out += "}\n";
    out
}

/// The fill colour of a layer: blue with weights (light for groups and normalisations), yellow where paths meet or part, else
/// grey.
fn colour(graph: &Graph, layer: &Layer) -> &'static str {
    match layer.first(graph).op {
        Op::Convolution { groups: 1, .. } | Op::Linear { .. } => "#c6dbef",
        Op::Convolution { .. }
        | Op::BatchNorm { .. }
        | Op::IterNorm(_)
        | Op::ChannelEquilibrium(_) => "#e3eef9",
        Op::Add | Op::Gate | Op::Concat | Op::Slice { .. } | Op::Shuffle { .. } => "#fff2cc",
        _ => "#f2f2f2",
    }
}

/// A DOT string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Text inside a DOT string.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Activation, Shape};

    #[test]
    fn a_name_cannot_end_its_label() {
        let mut graph = Graph::new("a\"b", Shape::new(1, 1, 1));
        let x = graph.input();
        let name = "x\"]; evil\\";
        graph.activation(name, x, Activation::Relu).unwrap();
        let drawing = to_dot(&graph);
        assert!(drawing.starts_with("digraph \"a\\\"b\" {"), "{drawing}");
        let label = "label=\"x\\\"]; evil\\\\\\nReLU\\n1×1×1\"";
        assert!(drawing.contains(label), "{drawing}");
    }
}
