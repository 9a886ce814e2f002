//! What `loop` takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::EditArgs;

/// Run a training command in pieces, and regenerate between them
///
/// Each round runs COMMAND until the next epoch at which regeneration is due, then edits the newest
/// checkpoint as `apply` does; the checkpoint of the last round is not edited. In COMMAND these are
/// replaced:
///
///   {epochs}      finished epochs at which this round stops (5, 10, …)
///   {total}       the --epochs of this command
///   {start}       finished epochs at which this round begins
///   {round}       number of this round, from 1
///   {checkpoint}  the newest checkpoint
///
/// Words in [ ] are left out as long as there is no checkpoint:
///
///   ckpt-regen loop --every 5 --epochs 30 --checkpoint out -- \
///       python train.py --epochs {total} --stop-epoch {epochs} [--resume {checkpoint}]
///
/// The loop keeps no state of its own: it reads the newest checkpoint, so a killed loop continues when it
/// is run again. It ends when a round finishes no epoch (exit code 1), or when COMMAND fails, with that
/// exit code. A refused edit is a warning, and training goes on.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LoopArgs {
    /// Regenerate every E epochs
    #[arg(long, value_name = "E", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) every: u64,
    /// Number of epochs in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) epochs: u64,
    /// Where the command keeps its checkpoints: a directory, of which the newest is taken, or a file
    #[arg(long, value_name = "PATH")]
    pub(crate) checkpoint: PathBuf,
    /// The first epoch to regenerate at [default: E]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) start: Option<u64>,
    /// The last epoch to regenerate at
    #[arg(long, value_name = "U")]
    pub(crate) until: Option<u64>,
    /// Read the number of finished epochs from this key of the checkpoint, as in meta.epoch; KEY+1 if it
    /// holds the index of the last epoch, counted from 0
    #[arg(long, value_name = "KEY")]
    pub(crate) epoch_key: Option<String>,
    #[command(flatten)]
    pub(crate) edit: EditArgs,
    /// The training command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
