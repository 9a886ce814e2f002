//! The graph: nodes, values and tensors.

use super::op::Op;
use super::resolution::Resolution;
use super::shape::{Shape, infer};
use super::tensor::{Kind, TensorId, TensorSpec};
use super::zoo;
use crate::error::{Error, Result};

/// A network: nodes in topological order, and the tensors that they use. The first node is the input, the last the
/// output, unless [`Graph::set_outputs`] names another.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    name: String,
    nodes: Vec<Node>,
    tensors: Vec<TensorSpec>,
    pub(super) outputs: Option<Outputs>,
    pub(super) options: Option<zoo::Options>,
}

/// The outputs of a network that are not simply its last node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outputs {
    main: Value,
    auxiliary: Option<Auxiliary>,
}

/// A second output, as of the auxiliary head of a segmentation network (Zhao et al. 2017, section 3.3): its loss, over the
/// same labels, is added to that of the output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Auxiliary {
    /// Its logits.
    pub value: Value,
    /// Factor of its loss; above 0.
    pub weight: f64,
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
            outputs: None,
            options: None,
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

    /// All nodes in topological order; the first is the input.
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

    /// Height and width of one input image.
    pub fn resolution(&self) -> Resolution {
        let Shape { height, width, .. } = self.input_shape();
        Resolution { height, width }
    }

    /// The shape of the network's output for one image: for a classifier, (classes, 1, 1).
    pub fn output_shape(&self) -> Shape {
        self.shape(self.output())
    }

    /// The network's output: its logits.
    pub fn output(&self) -> Value {
        let last = Value(self.nodes.len() - 1);
        self.outputs.map_or(last, |outputs| outputs.main)
    }

    /// The node of the network's output.
    pub fn output_node(&self) -> &Node {
        &self.nodes[self.output().0]
    }

    /// The second output, if the network has one.
    pub fn auxiliary(&self) -> Option<Auxiliary> {
        self.outputs.and_then(|outputs| outputs.auxiliary)
    }

    /// The values whose loss is computed: the output, and the auxiliary one if there is one.
    pub fn outputs(&self) -> impl Iterator<Item = Value> + Clone + use<> {
        let auxiliary = self.auxiliary().map(|other| other.value);
        [self.output()].into_iter().chain(auxiliary)
    }

    /// Names the node that is the output, and a second one.
    ///
    /// # Errors
    /// They are one node, differ in shape, or another node reads one of them; the weight is no number above 0.
    pub fn set_outputs(&mut self, main: Value, auxiliary: Option<Auxiliary>) -> Result<()> {
        let name = |value: Value| &self.nodes[value.0].name[..];
        if let Some(Auxiliary { value, weight }) = auxiliary {
            let (own, other) = (self.shape(main), self.shape(value));
            if own != other || value == main {
                let reason = format!("an auxiliary output of {other} beside one of {own}");
                return Err(self.error(name(value), reason));
            }
            if !(weight.is_finite() && weight > 0.0) {
                let reason = format!("a loss weight of {weight}, expected a number above 0");
                return Err(self.error(name(value), reason));
            }
        }
        let outputs = Outputs { main, auxiliary };
        let mut read = self.nodes.iter().flat_map(|node| &node.inputs);
        if let Some(read) = read.find(|input| outputs.has(**input)) {
            return Err(self.error(name(*read), "an output that another node reads"));
        }
        self.outputs = Some(outputs);
        Ok(())
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
    /// The operation does not fit the shapes of its inputs or tensors, or reads what [`Graph::set_outputs`] has named; the
    /// message names the node.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[Value]) -> Result<Value> {
        if let Some(outputs) = self.outputs
            && inputs.iter().any(|input| outputs.has(*input))
        {
            return Err(self.error(name, "reads an output"));
        }
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

    /// The same network for images of another size; it has the same tensors.
    ///
    /// # Errors
    /// The network is not one of [`zoo`], whose size is then fixed; the size is too small for it, or so small that it lacks
    /// layers.
    pub fn at(&self, resolution: Resolution) -> Result<Graph> {
        if self.resolution() == resolution {
            return Ok(self.clone());
        }
        let input = self.input_shape();
        let Some(options) = self.options else {
            let reason = format!("it takes images of {input} alone; found {resolution}");
            return Err(self.error(&self.nodes[0].name, reason));
        };
        let mut graph = zoo::build(
            &self.name,
            &zoo::Options {
                resolution,
                ..options
            },
        )?;
        if graph.tensors != self.tensors {
            let reason = format!(
                "at {resolution} it has other tensors than at {}",
                options.resolution
            );
            return Err(self.error(&self.nodes[0].name, reason));
        }
        for (node, own) in graph.nodes.iter_mut().zip(&self.nodes) {
            node.op.follow(&own.op);
        }
        Ok(graph)
    }

    /// The same network with this weight of a new batch in the running statistics of every BatchNorm.
    #[must_use]
    pub fn with_batch_norm_momentum(mut self, weight: f64) -> Graph {
        for node in &mut self.nodes {
            if let Op::BatchNorm { momentum, .. } = &mut node.op {
                *momentum = weight;
            }
        }
        self
    }

    /// The same network without dropout and stochastic depth: their probabilities are set to 0.
    #[must_use]
    pub fn without_noise(mut self) -> Graph {
        for node in &mut self.nodes {
            if let Op::Dropout { p } | Op::ChannelDropout { p } | Op::StochasticDepth { p } =
                &mut node.op
            {
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

impl Outputs {
    /// Whether a value is one of them.
    fn has(self, value: Value) -> bool {
        value == self.main || self.auxiliary.is_some_and(|other| other.value == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Convolution;

    /// Two heads, of 3 and of `second` classes.
    fn heads(second: usize) -> (Graph, [Value; 2]) {
        let mut graph = Graph::new("net", Shape::new(2, 5, 7));
        let heads = [("head", 3), ("other", second)].map(|(name, classes)| {
            let layer = Convolution::new(classes, 1);
            graph.convolution(name, graph.input(), &layer).unwrap()
        });
        (graph, heads)
    }

    #[test]
    fn the_last_node_is_the_output_unless_another_is_named() {
        let (mut graph, [value, other]) = heads(3);
        assert_eq!((graph.output(), graph.auxiliary()), (other, None));
        let auxiliary = Auxiliary {
            value: other,
            weight: 0.4,
        };
        graph.set_outputs(value, Some(auxiliary)).unwrap();
        assert_eq!(
            (graph.output(), graph.auxiliary()),
            (value, Some(auxiliary))
        );
        assert!(graph.outputs().eq([value, other]));
        let err = graph.add("late", Op::Flatten, &[other]).unwrap_err();
        assert_eq!(err.to_string(), "net: late: reads an output");
    }

    #[test]
    fn outputs_that_cannot_be_are_refused() {
        let refused = |second: usize, read: bool, weight: f64| {
            let (mut graph, [value, other]) = heads(second);
            if read {
                graph.add("reader", Op::Flatten, &[value]).unwrap();
            }
            let auxiliary = Auxiliary {
                value: other,
                weight,
            };
            let err = graph.set_outputs(value, Some(auxiliary)).unwrap_err();
            err.to_string()
        };
        assert_eq!(
            refused(4, false, 0.4),
            "net: other: an auxiliary output of 4×5×7 beside one of 3×5×7"
        );
        assert_eq!(
            refused(3, true, 0.4),
            "net: head: an output that another node reads"
        );
        assert_eq!(
            refused(3, false, 0.0),
            "net: other: a loss weight of 0, expected a number above 0"
        );
    }
}
