//! The normalisations of a graph that have γ, as checkpoints name them.

use super::graph::{Graph, Node};
use super::op::Op;
use super::tensor::TensorId;

/// Which normalisation a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Each channel by its own mean and variance.
    BatchNorm,
    /// Groups of channels, decorrelated.
    IterNorm,
}

/// A layer that normalises and scales by γ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Norm<'g> {
    /// Its name: that of its γ without the last component, after a dot or, in ONNX files, a slash.
    pub layer: &'g str,
    /// BatchNorm or IterNorm.
    pub kind: NormKind,
    /// γ.
    pub gamma: TensorId,
    /// β.
    pub beta: TensorId,
    /// Number of channels.
    pub channels: usize,
    /// The weight of the convolution or linear layer before it, whose output channels it scales; `None` if it follows another
    /// operation.
    pub filters: Option<TensorId>,
}

impl Graph {
    /// The BatchNorm and IterNorm layers in the order in which they are computed; nodes that share γ are one layer.
    pub fn norms(&self) -> Vec<Norm<'_>> {
        let mut norms: Vec<Norm<'_>> = Vec::new();
        for node in self.nodes() {
            let (kind, gamma, beta) = match node.op {
                Op::BatchNorm { gamma, beta, .. } => (NormKind::BatchNorm, gamma, beta),
                Op::IterNorm(layer) => (NormKind::IterNorm, layer.gamma, layer.beta),
                _ => continue,
            };
            if norms.iter().all(|norm| norm.gamma != gamma) {
                let spec = self.tensor(gamma);
                let name = &spec.name[..];
                norms.push(Norm {
                    layer: name.rfind(['.', '/']).map_or(name, |end| &name[..end]),
                    kind,
                    gamma,
                    beta,
                    channels: spec.len(),
                    filters: self.filters_before(node),
                });
            }
        }
        norms
    }

    /// The weight of the layer before a normalisation.
    fn filters_before(&self, node: &Node) -> Option<TensorId> {
        let before = &self.nodes()[node.inputs.first()?.index()];
        match before.op {
            Op::Convolution { weight, .. } | Op::Linear { weight, .. } => Some(weight),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::net::zoo;

    #[test]
    fn every_norm_of_a_zoo_network_follows_filters_as_many_as_its_channels() {
        for name in zoo::names() {
            let graph = zoo::build(name, &zoo::defaults(name).unwrap()).unwrap();
            let norms = graph.norms();
            assert!(!norms.is_empty());
            for norm in norms {
                let filters = norm.filters.expect(norm.layer);
                assert_eq!(
                    graph.tensor(filters).shape[0],
                    norm.channels,
                    "{}",
                    norm.layer
                );
            }
        }
    }
}
