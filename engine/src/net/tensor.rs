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

    /// Whether it is trained; the others are statistics of normalisations.
    pub fn is_parameter(&self) -> bool {
        self.kind.init().is_some()
    }

    /// Whether it is a γ, a β, a bias or another vector or scalar, and no matrix or filter.
    pub fn is_vector(&self) -> bool {
        self.shape.len() <= 1 || matches!(self.kind, Kind::Affine(_))
    }

    /// Whether its name is that of a segmentation network's decoder (`decoder.*`, or `classifier.*` and
    /// `aux_classifier.*` as torchvision has them; the latter are names of a classifier's head too).
    pub fn is_of_decoder(&self) -> bool {
        let first = self.name.split('.').next();
        first.is_some_and(|first| ["decoder", "classifier", "aux_classifier"].contains(&first))
    }

    /// What a statistic starts as, in row-major order; `None` for a parameter.
    pub fn initial_statistic(&self) -> Option<Vec<f64>> {
        let len = self.len();
        match self.kind {
            Kind::Parameter(_) | Kind::Affine(_) => None,
            Kind::RunningMean | Kind::BatchCount => Some(vec![0.0; len]),
            Kind::RunningVariance | Kind::RunningScale => Some(vec![1.0; len]),
            Kind::RunningMatrix => {
                let side = self.shape.last().copied().unwrap_or(1);
                let on_diagonal = |at: usize| at / side % side == at % side;
                let numbers = (0..len).map(|at| if on_diagonal(at) { 1.0 } else { 0.0 });
                Some(numbers.collect())
            }
        }
    }
}

/// The role of a tensor, and its initial value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Trained by gradient descent.
    Parameter(Init),
    /// The same: γ or β of the shape `[1, C, 1, 1]`, as IterNorm has them.
    Affine(Init),
    /// Running mean of a normalisation; starts at 0.
    RunningMean,
    /// Running variance of a BatchNorm; starts at 1.
    RunningVariance,
    /// Running decorrelating matrix of each group of channels, `[groups, d, d]`; starts at the identity.
    RunningMatrix,
    /// Running scale of Channel Equilibrium; starts at 1.
    RunningScale,
    /// Number of batches in the running statistics of a BatchNorm (i64); starts at 0.
    BatchCount,
}

impl Kind {
    /// The initial distribution of a parameter; `None` for a statistic.
    pub fn init(self) -> Option<Init> {
        match self {
            Kind::Parameter(init) | Kind::Affine(init) => Some(init),
            _ => None,
        }
    }
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
