//! What this crate needs to know of an ONNX model, as plain values: graphs and functions, their
//! nodes and tensors, and where in the file each tensor's elements lie.
//!
//! Source: `onnx/onnx.proto` of onnx 1.23 for field numbers and meanings. Graphs and tensors lie
//! in two arenas, and refer to each other by index.

use super::wire::{Length, Span};

/// Index of the main graph in [`Model::graphs`].
pub(super) const MAIN: usize = 0;

/// A ModelProto.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The main graph, then every other in no special order.
    pub(super) graphs: Vec<Graph>,
    pub(super) functions: Vec<Function>,
    /// Every TensorProto, wherever it occurs.
    pub(super) tensors: Vec<TensorProto>,
    /// Versions of the operator sets, by domain.
    #[cfg_attr(
        not(feature = "train"),
        allow(dead_code, reason = "read by who computes the graph")
    )]
    pub(super) opsets: Vec<(String, u64)>,
}

/// What a graph is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Main,
    /// An attribute of a node: a branch of If, a body of Loop or Scan.
    Body,
    /// The body of a function, with its formal arguments as inputs.
    Function,
    /// A graph of TrainingInfoProto.
    Training,
}

/// A GraphProto, or the body of a FunctionProto.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) role: Role,
    /// The graph whose values can be named in this one.
    pub(super) parent: Option<usize>,
    pub(super) nodes: Vec<Node>,
    /// Indices into [`Model::tensors`].
    pub(super) initializers: Vec<usize>,
    /// Names of sparse initializers.
    pub(super) sparse: Vec<String>,
    pub(super) inputs: Vec<String>,
    /// The types of the inputs, as far as the file says them; those of a function have none.
    #[cfg_attr(
        not(feature = "train"),
        allow(dead_code, reason = "read by who computes the graph")
    )]
    pub(super) types: Vec<Type>,
    pub(super) outputs: Vec<String>,
    /// Initializers that a quantization annotation uses as scale or zero point.
    pub(super) annotated: Vec<String>,
}

impl Graph {
    pub(super) fn new(role: Role, parent: Option<usize>) -> Graph {
        Graph {
            role,
            parent,
            nodes: Vec::new(),
            initializers: Vec::new(),
            sparse: Vec::new(),
            inputs: Vec::new(),
            types: Vec::new(),
            outputs: Vec::new(),
            annotated: Vec::new(),
        }
    }
}

/// A TypeProto, of which only tensors are told apart.
#[cfg_attr(
    not(feature = "train"),
    allow(dead_code, reason = "read by who computes the graph")
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Type {
    /// TensorProto.DataType; `None` for what is no tensor.
    pub(crate) element: Option<u64>,
    /// The dimensions, where the number of them is known.
    pub(crate) dims: Option<Vec<Dim>>,
}

/// One dimension of a type.
#[cfg_attr(
    not(feature = "train"),
    allow(dead_code, reason = "read by who computes the graph")
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dim {
    /// Its size.
    Fixed(u64),
    /// Its name; empty where it has none.
    Dynamic(String),
}

/// A FunctionProto.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) operator: Operator,
    /// Index of its body in [`Model::graphs`].
    pub(super) body: usize,
}

/// What a node does. The default domain is the empty one, also where the file says `ai.onnx`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Operator {
    pub(super) domain: String,
    pub(super) name: String,
    pub(super) overload: String,
}

impl Operator {
    /// Whether this is an operator of the standard set.
    pub(super) fn is(&self, name: &str) -> bool {
        self.domain.is_empty() && self.name == name
    }
}

/// A NodeProto.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) operator: Operator,
    pub(super) name: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    /// Graphs among its attributes, as indices into [`Model::graphs`].
    pub(super) bodies: Vec<usize>,
    /// The value of a Constant, as an index into [`Model::tensors`].
    pub(super) constant: Option<usize>,
    #[cfg_attr(
        not(feature = "train"),
        allow(dead_code, reason = "read by who computes the graph")
    )]
    pub(super) attributes: Vec<Attribute>,
}

/// An AttributeProto.
#[cfg_attr(
    not(feature = "train"),
    allow(dead_code, reason = "read by who computes the graph")
)]
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: AttributeValue,
}

/// What an attribute holds. Of floats and text, where it lies.
#[cfg_attr(
    not(feature = "train"),
    allow(dead_code, reason = "read by who computes the graph")
)]
#[derive(Debug)]
pub(super) enum AttributeValue {
    Int(i64),
    Float(Run),
    Text(Span),
    Ints(Vec<i64>),
    Floats(Vec<Run>),
    /// An index into [`Model::tensors`].
    Tensor(usize),
    /// Graphs, lists of text or tensors, more integers than any operator here takes.
    Other,
}

impl Node {
    /// How a message calls this node.
    pub(super) fn label(&self) -> String {
        let name = [&self.name]
            .into_iter()
            .chain(&self.outputs)
            .find(|name| !name.is_empty());
        match name {
            Some(name) => format!("{} {name}", self.operator.name),
            None => self.operator.name.clone(),
        }
    }
}

/// A TensorProto.
#[derive(Debug)]
pub(super) struct TensorProto {
    /// Its name; for the value of a Constant, the node's output.
    pub(super) name: String,
    /// For the value of a Constant, the node's name.
    pub(super) node: Option<String>,
    pub(super) dims: Vec<u64>,
    /// TensorProto.DataType.
    pub(super) data_type: u64,
    pub(super) data: Data,
}

/// Where the elements of a tensor lie.
#[derive(Debug)]
pub(super) enum Data {
    /// Nowhere.
    None,
    /// Fixed-width elements in the model file.
    Fixed(Vec<Run>),
    /// One varint an element, in fields of a TensorProto.
    Varints(Varints),
    /// Strings, which have no width.
    Strings,
    /// In another file.
    External(External),
}

/// Elements at equal distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Offset of the first byte.
    pub(super) start: u64,
    /// Number of pieces.
    pub(super) count: u64,
    /// Bytes of a piece.
    pub(super) width: u64,
    /// Bytes from one piece's beginning to the next.
    pub(super) stride: u64,
}

impl Run {
    pub(super) fn contiguous(span: Span) -> Run {
        Run {
            start: span.start,
            count: 1,
            width: span.len(),
            stride: span.len(),
        }
    }

    /// Bytes of all pieces together.
    pub(super) fn len(self) -> u64 {
        self.count * self.width
    }
}

/// Varints of a TensorProto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Varints {
    /// Number of the field that holds them.
    pub(super) field: u32,
    /// Lengths around the elements, the outermost first, the TensorProto's own last; of what is no
    /// 16-bit float, which is not edited, the last alone.
    pub(super) lengths: Vec<Length>,
}

/// A reference to a data file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct External {
    /// Relative to the model's directory.
    pub(super) location: String,
    /// Offset of the first byte; 0 when absent.
    pub(super) offset: u64,
    /// Bytes, where the file says.
    pub(super) length: Option<u64>,
    /// SHA-1 of the data file in hexadecimal: where it stands in the model file.
    pub(super) checksum: Option<Span>,
}
