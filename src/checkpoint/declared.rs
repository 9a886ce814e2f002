//! BatchNorm layers that a file itself declares, as a graph of operators does.

/// What a file says of its BatchNorm layers.
#[derive(Debug)]
pub(crate) struct Declared {
    /// In the order of the graph.
    pub(crate) norms: Vec<DeclaredNorm>,
    /// Whether there are convolutions and no BatchNorm: an export that folded them.
    pub(crate) folded: bool,
}

/// A BatchNorm layer as the graph declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeclaredNorm {
    /// Its name: γ's without the last component (up to the last `.` or `/`), the whole where γ's
    /// name has one component; for the value of a Constant node, the node's name. Where an earlier
    /// layer has that name, γ's whole name.
    pub(crate) layer: String,
    /// Where its γ stands in the table of tensors: a tensor of one dimension and of a type that
    /// can be read. `None` when there is no such tensor; then `editable` says why.
    pub(crate) gamma: Option<usize>,
    /// The first node that uses it.
    pub(crate) node: String,
    /// Whether its γ can be edited, or why not.
    pub(crate) editable: Result<(), String>,
    /// Whether it cannot because something else uses the same bytes.
    pub(crate) shared: bool,
    /// The β of the nodes that use this γ, each once.
    pub(crate) betas: Vec<DeclaredBeta>,
}

/// A β as the graph declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeclaredBeta {
    /// As [`DeclaredNorm::gamma`].
    pub(crate) tensor: Option<usize>,
    /// Whether it can be edited, or why not.
    pub(crate) editable: Result<(), String>,
}
