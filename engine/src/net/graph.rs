//! The graph: nodes, values and tensors.

use super::op::Op;
use super::shape::{Shape, infer};
use super::tensor::{Kind, TensorId, TensorSpec};
use crate::error::{Error, Result};

/// A network: nodes in topological order, and the tensors that they use. The first node is the input, the last the
/// output.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    name: String,
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
}

/// One operation of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The name of the node; for a node with tensors, the module's name in the state dict.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The values that it reads.
    pub inputs: Vec<Value>,
    /// The shape of its value for one image.
    pub shape: Shape,
}

/// The value that a node computes, named by the index of the node in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) usize);

impl Value {
    /// The index of the node in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

impl Graph {
    /// A network with an input node of this shape for one image, and no other nodes.
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

    /// The value of the input node: the images.
    pub fn input(&self) -> Value {
        Value(0)
    }

    /// All nodes in topological order; the first is the input, the last the output.
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

    /// The specification of a tensor.
    pub fn tensor(&self, id: TensorId) -> &TensorSpec {
        &self.tensors[id.0]
    }

    /// The shape of a value for one image.
    pub fn shape(&self, value: Value) -> Shape {
        self.nodes[value.0].shape
    }

    /// The shape of one input image.
    pub fn input_shape(&self) -> Shape {
        self.nodes[0].shape
    }

    /// The shape of the network's output for one image: for a classifier, (classes, 1, 1).
    pub fn output_shape(&self) -> Shape {
        self.nodes[self.nodes.len() - 1].shape
    }

    /// Adds a tensor to the state dict.
    ///
    /// # Errors
    /// The name is taken, or the tensor is too large to be addressed.
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
    /// The operation does not fit the shapes of its inputs or tensors; the message names the node.
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

    /// The same network without dropout and stochastic depth: their probabilities are set to 0.
    #[must_use]
    pub fn without_noise(mut self) -> Graph {
        for node in &mut self.nodes {
            if let Op::Dropout { p } | Op::StochasticDepth { p } = &mut node.op {
                *p = 0.0;
            }
        }
        self
    }

    /// An error about a node of this network.
    pub fn error(&self, node: &str, reason: impl Into<String>) -> Error {
        Error::Network {
            network: self.name.clone(),
            node: node.to_owned(),
            reason: reason.into(),
        }
    }
}
