//! A plan → bytes: what a user calls `apply` and `undo`.
//!
//! Only γ and the checksums that cover it change; of pruned channels also β and filters. The old bytes are kept in a record beside the
//! file, so that [`undo`] gives the file back bit for bit.

mod apply;
mod cadence;
mod carry_out;
mod gamma;
mod json;
mod masked;
mod optimizer;
mod plan;
mod plan_file;
mod prune;
#[cfg(feature = "train")]
mod replace;
mod target;
mod undo;
mod write;
mod zeros;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use apply::{Applied, apply};
#[cfg(feature = "cli")]
pub(crate) use cadence::finished;
pub use cadence::{Cadence, When};
pub use masked::pruned_channels;
pub use plan::{FINITE, Planned, plan};
pub(crate) use plan::{editable, frozen, left_alone, refuse, refuse_dying};
pub use plan_file::PlanFile;
pub use prune::{Convolution, PruneRequest, Pruned, prune};
#[cfg(feature = "train")]
pub(crate) use replace::replace;
pub use undo::{Undone, undo};

use crate::batchnorm::{Filter, Schema};
use crate::error::{Error, Result};
use crate::regen::{Mask, Options};
use crate::storage::Recovery;

/// What to change, and in which part of a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// How BatchNorm layers are found.
    pub schema: Schema,
    /// The network to edit; the only raw one if not given.
    pub root: Option<String>,
    /// Which of its layers.
    pub filter: Filter,
    /// Carry out an edit by which more channels die than come back, instead of refusing it.
    pub allow_dying: bool,
    /// Leave layers alone whose γ cannot be edited, instead of refusing.
    pub skip_shared: bool,
    /// Reset what the optimizer keeps for the regenerated γ ([`regen::reset`](crate::regen::reset)),
    /// instead of leaving it.
    pub reset_optimizer: bool,
    /// The names of the optimizer's parameters in its order, where only positions are saved.
    pub param_order: Option<Vec<String>>,
    /// The channels that are pruned, instead of those that the record has: they leave the lists before
    /// any median is taken, and are not changed.
    pub mask: Option<Mask>,
    /// Count and change pruned channels as the others, as the public code does.
    pub pruned_as_public: bool,
    /// What to do to them.
    pub change: Change,
}

/// The change of a [`Request`].
#[derive(Debug, Clone)]
pub enum Change {
    /// Apply this rule.
    Rule(Options),
    /// Apply a plan made earlier, on the file that it was made for.
    Plan(Box<PlanFile>),
    /// Change nothing; only an output file is written.
    Nothing,
}

impl Default for Change {
    /// The paper's algorithm.
    fn default() -> Change {
        Change::Rule(Options::default())
    }
}

/// How the result reaches the disk. The default replaces the file atomically.
#[derive(Debug, Clone, Default)]
pub struct Destination {
    /// Write here, and leave the original alone. A directory, or a name that ends in a separator,
    /// takes a file of the original's name; for a shard set it is a directory, made if need be.
    pub output: Option<PathBuf>,
    /// Patch the file itself, through a journal, instead of replacing it by an edited copy.
    pub in_place: bool,
    /// Edit the file that a symbolic link leads to.
    pub follow_symlinks: bool,
    /// The record of the edit, instead of the one beside the file.
    pub record: Option<PathBuf>,
    /// Save the plan here, before anything else is written.
    pub plan_out: Option<PathBuf>,
    /// Do everything but write the result.
    pub dry_run: bool,
}

/// What happens while an edit is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An edit that a killed run had left behind was dealt with first.
    Recovered(Recovery),
    /// Bytes were copied.
    Copied {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
}

/// Is told of every [`Event`]; [`ignore`] does not listen. Before the edit is decided,
/// [`ControlFlow::Break`] ends it with [`Error::is_interrupted`](crate::Error::is_interrupted) and
/// leaves every file as it was; after that it is carried out all the same.
pub type Events<'a> = &'a dyn Fn(Event) -> ControlFlow<()>;

/// An error where the listener asked to stop.
fn going_on(path: &Path, answer: ControlFlow<()>) -> Result<()> {
    match answer {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::io("edit", path)(io::ErrorKind::Interrupted.into())),
    }
}

/// Listens to no [`Event`].
pub fn ignore(_: Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
