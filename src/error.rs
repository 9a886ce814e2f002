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
        /// What about, for who knows a way out.
        refusal: Refusal,
        /// Why.
        reason: String,
    },
    /// A network that cannot be built or computed.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Engine(#[from] ckpt_regen_engine::Error),
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
    /// One part of the request makes no sense. Exit code 2.
    #[error("{}", argument_text(argument, value, reason))]
    Argument {
        /// Its name: a field of the request, or a setting.
        argument: &'static str,
        /// What was given, where something was.
        value: String,
        /// What is wrong with that.
        reason: String,
    },
}

/// What an [`Error::Refused`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Something that no part of the request would change.
    File,
    /// A file to edit, or to write over, is a symbolic link; the file there may be shared.
    SymbolicLink,
    /// The same, of an edit to take back.
    UndoneLink,
    /// A shard index is a symbolic link.
    LinkedIndex,
    /// A file goes by several names, and an edit in place would change it under all of them.
    HardLinks,
    /// γ take more or fewer bytes after the edit, so that the file cannot be patched in place.
    Resizes,
    /// More channels would die than come back.
    Dying,
    /// The same, of a saved plan.
    DyingPlan,
    /// A γ that cannot be edited.
    FixedGamma,
    /// It is not known which convolution is behind which BatchNorm, and FPGM needs it.
    Convolutions,
    /// The same of one layer.
    Convolution,
    /// Several networks to choose from, or none in training.
    Network,
    /// It cannot be told what an optimizer keeps for γ.
    Optimizer,
    /// Weights do not fit the network, though some do.
    Weights {
        /// The classes of their last layer, where these are other ones.
        classes: Option<u64>,
    },
    /// The network of a run is not where it was, or another one.
    RunNetwork,
    /// A run that something was not recorded of.
    NotRecorded,
}

fn argument_text(argument: &str, value: &str, reason: &str) -> String {
    match value {
        "" => format!("{argument}: {reason}"),
        value => format!("{argument} {value}: {reason}"),
    }
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
        Error::refused_for(Refusal::File, path, reason)
    }

    pub(crate) fn refused_for(refusal: Refusal, path: &Path, reason: impl Into<String>) -> Error {
        Error::Refused {
            path: path.to_owned(),
            refusal,
            reason: reason.into(),
        }
    }

    /// About a part of the request; an empty `value` is none.
    pub(crate) fn argument(
        argument: &'static str,
        value: impl Display,
        reason: impl Into<String>,
    ) -> Error {
        Error::Argument {
            argument,
            value: value.to_string(),
            reason: reason.into(),
        }
    }

    /// Whether the caller stopped the work ([`ControlFlow::Break`](std::ops::ControlFlow::Break)).
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::Interrupted)
    }

    /// The process exit code this error stands for: 2 for wrong usage, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Argument { .. } => 2,
            #[cfg(feature = "train")]
            Error::Engine(err) => err.exit_code(),
            _ => 1,
        }
    }
}
