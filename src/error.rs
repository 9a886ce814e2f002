//! The one error type. Every message names the file, the place in it, what was expected and what
//! was found, so that a user can act on it without reading this code.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong. The message is complete: it needs no context from the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{path}: cannot {action}", path = path.display())]
    Io {
        /// What was attempted, as it reads after "cannot".
        action: String,
        /// The file or directory it was attempted on.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file does not hold what its format promises.
    #[error("{path}: {place}: expected {expected}, found {found}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it: a header, a tensor, an entry.
        place: String,
        /// What the format asks for there.
        expected: String,
        /// What stands there instead.
        found: String,
    },
    /// The file is understood, and what was asked would not be safe or has no meaning on it.
    #[error("{path}: {reason}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, and what to do instead.
        reason: String,
    },
    /// A network that cannot be built or computed.
    #[error("{network}: {node}: {reason}")]
    Network {
        /// The network's name.
        network: String,
        /// The node or tensor in it.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// candle refused something.
    #[cfg(feature = "train")]
    #[error("{variable} cannot {action}")]
    Candle {
        /// What was attempted, as it reads after "cannot".
        action: &'static str,
        /// The name of the variable.
        variable: String,
        /// candle's answer.
        source: Box<candle_core::Error>,
    },
    /// The request itself makes no sense, whatever the file holds. Exit code 2.
    #[error("{0}")]
    Usage(String),
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An I/O error with the action as it reads after "cannot": `Error::io("open", path)`.
    pub(crate) fn io(
        action: impl Into<String>,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let (action, path) = (action.into(), path.into());
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn malformed(
        path: &Path,
        place: impl Into<String>,
        expected: impl Display,
        found: impl Display,
    ) -> Error {
        Error::Malformed {
            path: path.to_owned(),
            place: place.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn refused(path: &Path, reason: impl Into<String>) -> Error {
        Error::Refused {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// The process exit code this error stands for: 2 for wrong usage, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            _ => 1,
        }
    }
}
