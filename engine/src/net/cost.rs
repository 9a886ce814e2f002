//! The cost of a network: parameters and multiply-adds.

use super::graph::{Graph, Node};
use super::op::Op;
use crate::error::Result;

/// The parameters of a network or node, and its multiply-adds for one image.
///
/// Multiply-adds are counted as in the literature and by torchvision: convolutions and linear layers, without bias, and
/// padding as if it were multiplied; and of normalisations that decorrelate channels, their matrix times every pixel. All
/// other operations count 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Number of trained elements; running statistics do not count.
    pub parameters: u64,
    /// Multiply-adds of forward.
    pub multiply_adds: u64,
}

impl Cost {
    /// The sum of two costs; each part saturates at `u64::MAX`.
    pub fn saturating_add(self, other: Cost) -> Cost {
        Cost {
            parameters: self.parameters.saturating_add(other.parameters),
            multiply_adds: self.multiply_adds.saturating_add(other.multiply_adds),
        }
    }

    /// The sum of two costs; `None` on overflow.
    fn checked_add(self, other: Cost) -> Option<Cost> {
        Some(Cost {
            parameters: self.parameters.checked_add(other.parameters)?,
            multiply_adds: self.multiply_adds.checked_add(other.multiply_adds)?,
        })
    }
}

impl Graph {
    /// The cost of each node, in the order of [`Graph::nodes`]. A tensor that several nodes use counts for the first one.
    ///
    /// # Errors
    /// A count does not fit in 64 bits; the message names the node.
    pub fn costs(&self) -> Result<Vec<Cost>> {
        let mut counted = vec![false; self.tensors().len()];
        let mut total = Cost::default();
        let mut cost = |node: &Node| {
            let mut parameters: u64 = 0;
            for id in node.op.tensors() {
                let tensor = self.tensor(id);
                if tensor.is_parameter() && !std::mem::replace(&mut counted[id.index()], true) {
                    parameters = parameters.checked_add(tensor.len() as u64)?;
                }
            }
            let cost = Cost {
                parameters,
                multiply_adds: self.multiply_adds(node)?,
            };
            total = total.checked_add(cost)?;
            Some(cost)
        };
        let too_much = |node: &Node| self.error(&node.name, "costs too much to be counted");
        let nodes = self.nodes().iter();
        nodes
            .map(|node| cost(node).ok_or_else(|| too_much(node)))
            .collect()
    }

    /// The cost of the whole network.
    ///
    /// # Errors
    /// As [`Graph::costs`].
    pub fn cost(&self) -> Result<Cost> {
        let costs = self.costs()?.into_iter();
        Ok(costs.fold(Cost::default(), Cost::saturating_add))
    }

    /// The multiply-adds of a node; `None` on overflow.
    fn multiply_adds(&self, node: &Node) -> Option<u64> {
        let of_groups = |group: usize| {
            let per_pixel = (node.shape.channels as u64).checked_mul(group as u64)?;
            per_pixel.checked_mul(node.shape.pixels() as u64)
        };
        let weight = match node.op {
            Op::Convolution { weight, .. } | Op::Linear { weight, .. } => weight,
            Op::IterNorm(layer) => return of_groups(layer.whitening.group),
            Op::ChannelEquilibrium(layer) => {
                let linear = [layer.reduce, layer.expand].map(|id| self.tensor(id).len() as u64);
                return of_groups(layer.whitening.group)?.checked_add(linear.iter().sum());
            }
            _ => return Some(0),
        };
        // Every output pixel uses every element of the weight once.
        let weight = self.tensor(weight).len() as u64;
        weight.checked_mul(node.shape.pixels() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Convolution, Init, Kind, Shape};

    #[test]
    fn a_tensor_that_two_nodes_share_counts_once_and_its_work_twice() {
        let mut graph = Graph::new("net", Shape::new(2, 1, 1));
        let kind = Kind::Parameter(Init::Constant(0.0));
        let weight = graph.add_tensor("w", vec![2, 2], kind).unwrap();
        let op = Op::Linear { weight, bias: None };
        let x = graph.input();
        let x = graph.add("first", op.clone(), &[x]).unwrap();
        graph.add("second", op, &[x]).unwrap();
        let cost = graph.cost().unwrap();
        assert_eq!((cost.parameters, cost.multiply_adds), (4, 8));
    }

    #[test]
    fn groups_stride_and_bias_count_as_they_should() {
        let mut graph = Graph::new("net", Shape::new(8, 9, 9));
        let layer = Convolution::new(12, 3).stride(2).groups(4);
        let layer = layer.bias(Init::Constant(0.0));
        let x = graph.input();
        graph.convolution("conv", x, &layer).unwrap();
        let cost = graph.cost().unwrap();
        // 12 filters of 2 × 3 × 3, on 4 × 4 pixels.
        assert_eq!(cost.parameters, 12 * 18 + 12);
        assert_eq!(cost.multiply_adds, 12 * 18 * 16);
    }

    #[test]
    fn what_cannot_be_counted_is_refused_by_name() {
        let mut graph = Graph::new("net", Shape::new(1 << 20, 1 << 10, 1 << 10));
        let x = graph.input();
        let layer = Convolution::new(1 << 24, 64);
        graph.convolution("wide", x, &layer).unwrap();
        let message = graph.cost().unwrap_err().to_string();
        assert_eq!(message, "net: wide: costs too much to be counted");
    }
}
