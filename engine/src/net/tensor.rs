//! The tensors of a network: what a state dict holds.

/// A tensor of a graph, as an index into [`super::Graph::tensors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub(crate) usize);

impl TensorId {
    /// Its place in [`super::Graph::tensors`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One tensor of the state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Its state-dict name.
    pub name: String,
    /// Its dimensions; none for a scalar.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: Kind,
}

impl TensorSpec {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is trained; the others are kept by BatchNorm.
    pub fn is_parameter(&self) -> bool {
        matches!(self.kind, Kind::Parameter(_))
    }
}

/// What a tensor is, and how it starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Trained by gradient.
    Parameter(Init),
    /// Running mean of a BatchNorm; starts at 0.
    RunningMean,
    /// Running variance of a BatchNorm; starts at 1.
    RunningVariance,
    /// How many batches a BatchNorm has seen (i64); starts at 0.
    BatchCount,
}

/// How the numbers of a parameter are drawn before training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f64),
    /// Normally distributed around 0.
    Normal {
        /// Standard deviation.
        deviation: f64,
    },
    /// Equally distributed in [−bound, bound].
    Uniform {
        /// The largest magnitude.
        bound: f64,
    },
}
