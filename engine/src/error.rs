//! Errors of this crate.

/// Why a network cannot be built or computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network itself, or a batch that does not fit it.
    #[error("{network}: {node}: {reason}")]
    Network {
        /// The network's name.
        network: String,
        /// The node or tensor in it.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name or an option that no network of the zoo has.
    #[error("{0}")]
    Options(String),
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The exit code of a program that ends by it: 2 for wrong options, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Network { .. } => 1,
            Error::Options(_) => 2,
        }
    }
}
