//! The convolution behind each BatchNorm layer: the filters that pruning takes out with its channels.

use super::graph::{Graph, Node, Value};
use super::norm::{Norm, NormKind};
use super::op::Op;
use super::tensor::TensorId;

/// The convolution whose output a BatchNorm layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters {
    /// Its weight, `[channels, in / groups, kernel height, kernel width]`.
    pub weight: TensorId,
    /// Its part in the network.
    pub kind: FilterKind,
}

/// The part of a convolution in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterKind {
    /// Any that is none of the others.
    Plain,
    /// A 1×1 projection on the shortcut of a residual block: other convolutions read its input too, or
    /// what that is pooled from, and its BatchNorm goes into a sum.
    Shortcut,
    /// One filter an input channel. Which of them matter is decided by the convolution that makes
    /// these channels.
    Depthwise,
}

impl Graph {
    /// The filters behind each of [`norms`](Graph::norms), in their order; otherwise why there is not
    /// exactly one convolution that they could be.
    pub fn filters(&self) -> Vec<(Norm<'_>, Result<Filters, String>)> {
        let norms = self.norms().into_iter();
        norms.map(|norm| (norm, self.filters_of(&norm))).collect()
    }

    fn filters_of(&self, norm: &Norm<'_>) -> Result<Filters, String> {
        if norm.kind == NormKind::IterNorm {
            return Err("it mixes the channels of its convolution".to_owned());
        }
        let mut found: Option<(&Node, TensorId)> = None;
        for node in self.norm_nodes(norm.gamma) {
            let before = &self.nodes()[node.inputs[0].index()];
            let Op::Convolution { weight, .. } = before.op else {
                let name = before.op.name();
                return Err(format!(
                    "it follows {} ({name}), and not one convolution",
                    before.name
                ));
            };
            match found {
                Some((_, other)) if other != weight => {
                    let names = [other, weight].map(|id| &self.tensor(id).name);
                    return Err(format!("it follows several convolutions: {names:?}"));
                }
                _ => found = Some((before, weight)),
            }
        }
        let Some((convolution, weight)) = found else {
            return Err("no node uses it".to_owned());
        };
        let feeds_another = self.nodes().iter().find_map(|node| match node.op {
            Op::BatchNorm { gamma, .. } if gamma != norm.gamma => {
                match self.nodes()[node.inputs[0].index()].op {
                    Op::Convolution { weight: other, .. } if other == weight => Some(&node.name),
                    _ => None,
                }
            }
            _ => None,
        });
        if let Some(other) = feeds_another {
            let name = &self.tensor(weight).name;
            return Err(format!("its convolution {name} is that of {other} too"));
        }
        let kind = self.kind(norm, convolution);
        Ok(Filters { weight, kind })
    }

    fn norm_nodes(&self, of: TensorId) -> impl Iterator<Item = &Node> {
        let is_own =
            move |node: &&Node| matches!(node.op, Op::BatchNorm { gamma, .. } if gamma == of);
        self.nodes().iter().filter(is_own)
    }

    fn kind(&self, norm: &Norm<'_>, convolution: &Node) -> FilterKind {
        let Op::Convolution { weight, groups, .. } = convolution.op else {
            return FilterKind::Plain;
        };
        let shape = &self.tensor(weight).shape;
        if groups > 1 && shape[1] == 1 {
            return FilterKind::Depthwise;
        }
        if shape[2..] != [1, 1] {
            return FilterKind::Plain;
        }
        let is_read_by_another = |value: Value| {
            self.nodes().iter().any(|node| {
                let is_convolution = matches!(node.op, Op::Convolution { .. });
                is_convolution && node.inputs.contains(&value) && node.name != convolution.name
            })
        };
        // What it reads, and what that is pooled from.
        let mut input = convolution.inputs[0];
        let mut branches = is_read_by_another(input);
        while let Op::AveragePool { .. } | Op::MaxPool(_) = self.nodes()[input.index()].op {
            input = self.nodes()[input.index()].inputs[0];
            branches |= is_read_by_another(input);
        }
        let added = self.nodes().iter().any(|node| {
            let is_own = |value: &Value| {
                let before = &self.nodes()[value.index()].op;
                matches!(before, Op::BatchNorm { gamma, .. } if *gamma == norm.gamma)
            };
            matches!(node.op, Op::Add) && node.inputs.iter().any(is_own)
        });
        if added && branches {
            FilterKind::Shortcut
        } else {
            FilterKind::Plain
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Activation, Convolution, Shape, Whitening, zoo};

    fn kinds(name: &str) -> Vec<(String, FilterKind)> {
        let graph = zoo::build(name, &zoo::defaults(name).unwrap()).unwrap();
        let all = graph.filters().into_iter();
        all.map(|(norm, filters)| (norm.layer.to_owned(), filters.expect(norm.layer).kind))
            .collect()
    }

    #[test]
    fn the_projections_of_a_resnet_are_shortcuts_and_nothing_else_is() {
        for (name, shortcuts, all) in [("resnet18", 3, 20), ("resnet50", 4, 53)] {
            let kinds = kinds(name);
            assert_eq!(kinds.len(), all);
            let found = kinds
                .iter()
                .filter(|(_, kind)| *kind == FilterKind::Shortcut);
            let found: Vec<&str> = found.map(|(layer, _)| &layer[..]).collect();
            assert_eq!(found.len(), shortcuts, "{found:?}");
            assert!(found.iter().all(|layer| layer.contains("downsample")));
            assert!(kinds.iter().all(|(_, kind)| *kind != FilterKind::Depthwise));
        }
    }

    #[test]
    fn a_third_of_mobilenet_v2_is_depthwise_and_its_projections_are_plain() {
        let kinds = kinds("mobilenet_v2");
        let count = |of| kinds.iter().filter(|(_, kind)| *kind == of).count();
        assert_eq!(count(FilterKind::Depthwise), 17);
        assert_eq!(count(FilterKind::Shortcut), 0);
    }

    fn refusals(graph: &Graph) -> Vec<(&str, String)> {
        let all = graph.filters().into_iter();
        all.filter_map(|(norm, filters)| Some((norm.layer, filters.err()?)))
            .collect()
    }

    #[test]
    fn behind_anything_but_a_convolution_no_filter_is_that_of_a_channel() {
        let mut graph = Graph::new("net", Shape::new(4, 8, 8));
        let x = graph.batch_norm("first", graph.input()).unwrap();
        let x = graph
            .convolution("conv", x, &Convolution::new(4, 3))
            .unwrap();
        let x = graph.activation("relu", x, Activation::Relu).unwrap();
        graph.batch_norm("second", x).unwrap();
        let expected = [
            ("first", "it follows input (input), and not one convolution"),
            ("second", "it follows relu (ReLU), and not one convolution"),
        ];
        let expected = expected.map(|(layer, why)| (layer, why.to_owned()));
        assert_eq!(refusals(&graph), expected);
    }

    #[test]
    fn a_convolution_of_two_norms_is_neithers() {
        let mut graph = Graph::new("net", Shape::new(3, 8, 8));
        let x = graph.input();
        let x = graph
            .convolution("conv", x, &Convolution::new(4, 3))
            .unwrap();
        graph.batch_norm("left", x).unwrap();
        graph.batch_norm("right", x).unwrap();
        let why = |other| format!("its convolution conv.weight is that of {other} too");
        assert_eq!(
            refusals(&graph),
            [("left", why("right")), ("right", why("left"))]
        );
    }

    #[test]
    fn a_norm_that_two_convolutions_share_is_of_neither_and_of_one_used_twice_it_is() {
        let shared = |second: &str| {
            let mut graph = Graph::new("net", Shape::new(4, 8, 8));
            let image = graph.input();
            let layer = Convolution::new(4, 3);
            let x = graph.convolution("a", image, &layer).unwrap();
            let x = graph.batch_norm("norm", x).unwrap();
            let norm = graph.nodes().last().unwrap().op.clone();
            let again = match second {
                "a" => {
                    let convolution = graph.nodes()[x.index() - 1].op.clone();
                    graph.add("a again", convolution, &[image]).unwrap()
                }
                other => graph.convolution(other, image, &layer).unwrap(),
            };
            graph.add("norm again", norm, &[again]).unwrap();
            graph
        };
        let several = "it follows several convolutions: [\"a.weight\", \"b.weight\"]";
        assert_eq!(refusals(&shared("b")), [("norm", several.to_owned())]);
        assert_eq!(refusals(&shared("a")), []);
    }

    #[test]
    fn iter_norm_has_no_filters_of_single_channels() {
        let whitened = zoo::Options {
            norm: zoo::Norm::Iterative(Whitening::ITER_NORM),
            ..zoo::defaults("resnet20").unwrap()
        };
        let graph = zoo::build("resnet20", &whitened).unwrap();
        let refused = refusals(&graph);
        assert_eq!(refused.len(), graph.norms().len());
        let why = "it mixes the channels of its convolution";
        assert!(refused.iter().all(|(_, reason)| reason == why));
    }
}
