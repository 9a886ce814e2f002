//! The tensors of a network, as its state dict names them.

/// The index of a tensor in [`super::Graph::tensors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub(crate) usize);

impl TensorId {
    /// The index in [`super::Graph::tensors`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Name, shape and role of a tensor of the state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Its state-dict name.
    pub name: String,
    /// Its dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its role.
    pub kind: Kind,
}

impl TensorSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is trained; the others are statistics of BatchNorm layers.
    pub fn is_parameter(&self) -> bool {
        matches!(self.kind, Kind::Parameter(_))
    }
}

/// The role of a tensor, and its initial value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Trained by gradient descent.
    Parameter(Init),
    /// Running mean of a BatchNorm; starts at 0.
    RunningMean,
    /// Running variance of a BatchNorm; starts at 1.
    RunningVariance,
    /// Number of batches in the running statistics of a BatchNorm (i64); starts at 0.
    BatchCount,
}

/// The initial distribution of a parameter's elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All elements equal.
    Constant(f64),
    /// Normal distribution with mean 0.
    Normal {
        /// Standard deviation.
        deviation: f64,
    },
    /// Uniform distribution on [−bound, bound].
    Uniform {
        /// The largest magnitude.
        bound: f64,
    },
}
