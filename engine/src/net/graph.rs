//! The graph itself.

use super::op::Op;
use super::shape::{Shape, infer};
use super::tensor::{Kind, TensorId, TensorSpec};
use crate::error::{Error, Result};

/// A network: nodes in the order in which they are computed, and the tensors they use. The last
/// node is the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    name: String,
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
}

/// One operation of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name: of the module in the state dict, where it has tensors.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// From what.
    pub inputs: Vec<Value>,
    /// The size of its value for one image.
    pub shape: Shape,
}

/// What a node computes, as an index into [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) usize);

impl Value {
    /// The node's place in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

impl Graph {
    /// A network of nothing but its input.
    pub fn new(name: impl Into<String>, input: Shape) -> Graph {
        Graph {
            name: name.into(),
            nodes: vec![Node {
                name: "input".to_owned(),
                op: Op::Input,
                inputs: Vec::new(),
                shape: input,
            }],
            tensors: Vec::new(),
        }
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The images.
    pub fn input(&self) -> Value {
        Value(0)
    }

    /// All nodes; the first is the input, the last the output.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All tensors, in state-dict order.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// The ids of all tensors, in state-dict order.
    pub fn tensor_ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        (0..self.tensors.len()).map(TensorId)
    }

    /// One tensor.
    pub fn tensor(&self, id: TensorId) -> &TensorSpec {
        &self.tensors[id.0]
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        self.nodes[value.0].shape
    }

    /// The shape of one image.
    pub fn input_shape(&self) -> Shape {
        self.nodes[0].shape
    }

    /// The shape of what the network says of one image: for a classifier, (classes, 1, 1).
    pub fn output_shape(&self) -> Shape {
        self.nodes[self.nodes.len() - 1].shape
    }

    /// Adds a tensor to the state dict.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_tensor(
        &mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        kind: Kind,
    ) -> Result<TensorId> {
        let name = name.into();
        if self.tensors.iter().any(|tensor| tensor.name == name) {
            return Err(self.error(&name, "two tensors of this name"));
        }
        let size = shape.iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
        if size.is_none_or(|size| size > isize::MAX as usize / 8) {
            return Err(self.error(&name, format!("a tensor of {shape:?} is too large")));
        }
        self.tensors.push(TensorSpec { name, shape, kind });
        Ok(TensorId(self.tensors.len() - 1))
    }

    /// Adds a node.
    ///
    /// # Errors
    /// The operation has no meaning on inputs or tensors of these shapes; the message names the
    /// node.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[Value]) -> Result<Value> {
        let shapes: Vec<Shape> = inputs.iter().map(|input| self.shape(*input)).collect();
        let tensors = op.tensors();
        let dimensions: Vec<&[usize]> = tensors
            .iter()
            .map(|id| &self.tensor(*id).shape[..])
            .collect();
        let shape = infer(&op, &shapes, &dimensions)
            .map_err(|reason| self.error(name, format!("{}: {reason}", op.name())))?;
        self.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs: inputs.to_vec(),
            shape,
        });
        Ok(Value(self.nodes.len() - 1))
    }

    /// The same network without the noise of training: dropout and stochastic depth take nothing
    /// away.
    #[must_use]
    pub fn without_noise(mut self) -> Graph {
        for node in &mut self.nodes {
            if let Op::Dropout { p } | Op::StochasticDepth { p } = &mut node.op {
                *p = 0.0;
            }
        }
        self
    }

    /// An error about this network.
    pub fn error(&self, node: &str, reason: impl Into<String>) -> Error {
        Error::Network {
            network: self.name.clone(),
            node: node.to_owned(),
            reason: reason.into(),
        }
    }
}
