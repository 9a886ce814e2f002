//! The command-line arguments. Parsing touches no file.

#[cfg(feature = "train")]
mod model;
#[cfg(feature = "train")]
mod norm;
mod prune;
mod rounds;
#[cfg(feature = "train")]
mod scenes;
#[cfg(feature = "train")]
mod study;
#[cfg(feature = "train")]
mod train;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use regex_lite::Regex;

use crate::inspect::track::Channel;
use crate::regen::{Below, Rule, Scope, To};
#[cfg(feature = "train")]
pub(super) use model::ModelArgs;
#[cfg(feature = "train")]
use norm::NormArgs;
pub(super) use prune::{Layers, PruneArgs};
pub(super) use rounds::LoopArgs;
#[cfg(feature = "train")]
use scenes::SceneArgs;
#[cfg(feature = "train")]
pub(super) use study::{AblateArgs, CompareArgs, ReportArgs};
#[cfg(feature = "train")]
pub(super) use train::{
    EvalArgs, ExamineArgs, ExportArgs, MachineArgs, NetworkArgs, SettingArgs, TrainArgs,
};

const STYLES: clap::builder::Styles = clap::builder::Styles::styled();

/// Bring dead BatchNorm channels back, from outside the training code.
///
/// In a trained CNN many BatchNorm scales γ fall to zero; their channels get no gradient and stay
/// dead. Channel regeneration (Sharma and Foroosh, AAAI 2023) lifts every γ at or below the
/// network's median back to the median, every few epochs. This tool does it in the checkpoint
/// file between two resume steps, and changes nothing else in it.
#[derive(Debug, Parser)]
#[command(name = "ckpt-regen", version, styles = STYLES, max_term_width = 100)]
#[command(arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Inspect(InspectArgs),
    Apply(Box<ApplyArgs>),
    Prune(Box<PruneArgs>),
    Loop(Box<LoopArgs>),
    Undo(UndoArgs),
    Diff(DiffArgs),
    Track(TrackArgs),
    Schema(SchemaArgs),
    #[cfg(feature = "train")]
    Model(Box<ModelArgs>),
    #[cfg(feature = "train")]
    Train(Box<TrainArgs>),
    #[cfg(feature = "train")]
    Eval(Box<EvalArgs>),
    #[cfg(feature = "train")]
    Export(ExportArgs),
    #[cfg(feature = "train")]
    Report(ReportArgs),
    #[cfg(feature = "train")]
    Ablate(Box<AblateArgs>),
    #[cfg(feature = "train")]
    Compare(Box<CompareArgs>),
    /// Inspect, edit, inspect again and undo a real checkpoint that is built in; then train with and
    /// without regeneration
    Demo,
    /// Print a completion script for a shell
    ///
    /// For bash: ckpt-regen completions bash > ~/.local/share/bash-completion/completions/ckpt-regen
    Completions {
        /// The shell it is for
        shell: Shell,
    },
    /// Write man pages, one a command
    ///
    /// For one user: ckpt-regen man ~/.local/share/man/man1
    Man {
        /// The directory that they are written into
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// What happens to the optimizer state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OptimizerState {
    Keep,
    Reset,
}

/// Show γ per layer: range, inhibited and weak channels, histogram
///
/// One line a BatchNorm layer and a last line for the network: channels; smallest, median and
/// largest γ; the shares of inhibited channels (|γ| < 0.01), of γ at or below the network's
/// median, and of negative γ; and a histogram, on one axis for all layers.
///
/// Reads only headers and γ, whatever the size of the file.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Checkpoints: files, shard indexes (*.index.json), directories, or quoted patterns such as
    /// 'ckpt-*.pth'; of a directory of checkpoints, the newest
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Print one JSON object a path instead
    #[arg(long)]
    pub(super) json: bool,
    /// Explain for every one-dimensional tensor why it is, or is not, a γ
    #[arg(long, conflicts_with_all = ["json", "html", "svg", "png"])]
    pub(super) explain: bool,
    /// Show only layers whose name matches this regular expression
    #[arg(long, value_name = "RE")]
    pub(super) layer: Option<Regex>,
    /// Find γ as this file says (see `ckpt-regen schema`)
    #[arg(long, value_name = "FILE")]
    pub(super) schema: Option<PathBuf>,
    /// Mask of pruned channels (from prune --mask-out), which are shown apart from inhibited ones
    /// [default: the mask in the record of an earlier prune]
    #[arg(long, value_name = "FILE")]
    pub(super) mask: Option<PathBuf>,
    /// Say how files were read (mapped, or by positioned reads), and how much of them
    #[arg(short, long)]
    pub(super) verbose: bool,
    #[command(flatten)]
    pub(super) pictures: PictureArgs,
}

/// Files to draw into, instead of the table; with --json, beside it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures of one PATH, instead of the table")]
pub(super) struct PictureArgs {
    /// Write a self-contained page: histograms, what each rule would change, a table to sort and to
    /// filter, and what --json prints
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write a picture for a paper: the network's histogram above those of its layers
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Write that picture as PNG, at twice the size of the SVG
    #[arg(long, value_name = "FILE")]
    pub(super) png: Option<PathBuf>,
}

/// Regenerate channels in a checkpoint file, and nothing else
///
/// With no options: Algorithm 1 of the paper. Every γ at or below the network's median is set to
/// the median. The file is replaced as a whole by its edited copy. A record beside it,
/// .ckpt-regen/NAME.json, lets `ckpt-regen undo` restore it bit for bit.
///
/// Killed at any moment, apply leaves the old file, the new file, or a journal that the next apply or
/// undo completes.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// The checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(super) path: PathBuf,
    /// Of a directory of checkpoints, edit the newest
    #[arg(long)]
    pub(super) newest: bool,

    #[command(flatten)]
    pub(super) edit: EditArgs,
    /// Apply this saved plan instead of a rule; refused if γ are not those it was made for
    #[arg(long, value_name = "FILE", help_heading = "What to regenerate")]
    #[arg(conflicts_with_all = ["rule", "below", "to", "scope", "each", "keep_zeros", "iternorm", "include", "exclude", "plan_out"])]
    pub(super) plan: Option<PathBuf>,

    #[command(flatten)]
    pub(super) schedule: ScheduleArgs,

    #[command(flatten)]
    pub(super) to: DestinationArgs,

    /// Print a JSON object instead
    #[arg(long)]
    pub(super) json: bool,
    /// Say how files were read, how long it took, and how much of that was waiting for the disk
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// How the result of an edit reaches the disk, and what is written beside it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where to")]
pub(super) struct DestinationArgs {
    /// Write the result here and leave PATH alone; written also when nothing is due or changes
    #[arg(short, long, value_name = "OUT")]
    pub(super) output: Option<PathBuf>,
    /// Patch the file itself, through a journal: for files too big to copy
    #[arg(long, conflicts_with = "output")]
    pub(super) in_place: bool,
    /// Edit the file that a symbolic link leads to
    #[arg(long)]
    pub(super) follow_symlinks: bool,
    /// Keep the record in this file, instead of .ckpt-regen/NAME.json beside the checkpoint
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Say what would be done, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Save the plan: layer, channel, old and new γ
    #[arg(long, value_name = "FILE")]
    pub(super) plan_out: Option<PathBuf>,
    /// Write a page like that of inspect --html, with γ before and after, layer by layer; also with
    /// --dry-run, and when nothing is due
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

/// What is regenerated, and to what.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to regenerate")]
pub(super) struct EditArgs {
    #[command(flatten)]
    pub(super) rule: RuleArgs,
    /// The network to edit, where the file holds several in training; or the part of one whose
    /// names begin with this and a dot
    #[arg(long, value_name = "PREFIX")]
    pub(super) root: Option<String>,
    /// Find γ as this file says (see `ckpt-regen schema`)
    #[arg(long, value_name = "FILE")]
    pub(super) schema: Option<PathBuf>,
    /// Mask of pruned channels (from prune --mask-out): they do not count in the median and are not
    /// changed [default: the mask in the record of an earlier prune]
    #[arg(long, value_name = "FILE")]
    pub(super) mask: Option<PathBuf>,
    /// Count and regenerate pruned channels like all others, as the paper's public code does
    #[arg(long)]
    pub(super) pruned_as_public: bool,
    /// Edit even if more channels would fall below |γ| = 0.01 than rise above it [default: refuse]
    #[arg(long)]
    pub(super) allow_dying: bool,
    /// Skip layers whose γ cannot be edited (shared with another tensor, say) [default: refuse]
    #[arg(long)]
    pub(super) skip_shared: bool,
    /// Optimizer state of the regenerated γ: keep it, as in the paper, or reset it
    ///
    /// Reset sets momentum and first moments to 0. Second moments (Adam, RMSprop) become the lower
    /// median of the layer's other channels, so that the next update has a usual size.
    #[arg(long, value_enum, default_value = "keep", value_name = "STATE")]
    pub(super) optimizer: OptimizerState,
    /// Names of the optimizer's parameters in its order, one a line: for --optimizer reset, where the
    /// optimizer state has no names
    #[arg(long, value_name = "FILE")]
    pub(super) param_order: Option<PathBuf>,
}

/// When channels are regenerated.
#[derive(Debug, Args)]
#[command(next_help_heading = "When")]
pub(super) struct ScheduleArgs {
    /// Regenerate every E epochs only; when it is not due, change nothing and exit with 0
    #[arg(long, value_name = "E")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) every: Option<u64>,
    /// How many epochs are finished; the first is 1 [default: what the checkpoint says]
    #[arg(long, value_name = "N", requires = "every")]
    pub(super) epoch: Option<u64>,
    /// Read the number of finished epochs from this key of the checkpoint, as in meta.epoch; KEY+1 if it
    /// holds the index of the last epoch, counted from 0
    #[arg(long, value_name = "KEY", requires = "every", conflicts_with = "epoch")]
    pub(super) epoch_key: Option<String>,
    /// The first epoch to regenerate at [default: E; the author's code starts at 1]
    #[arg(long, value_name = "S", requires = "every")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) start: Option<u64>,
    /// The last epoch to regenerate at
    #[arg(long, value_name = "U", requires = "every")]
    pub(super) until: Option<u64>,
}

/// By which rule channels are regenerated.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to regenerate")]
pub(super) struct RuleArgs {
    /// Which channels: paper (γ ≤ t, as the paper says), reference (|γ| < t, as its first author's
    /// code does), keep-sign (|γ| < t, and γ keeps its sign) [default: paper]
    #[arg(long, value_name = "RULE")]
    pub(super) rule: Option<Rule>,
    /// The threshold t: median, quantile:Q (0 ≤ Q < 1), or a number [default: median]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(super) below: Option<Below>,
    /// The new γ: median, mean, max or quantile:Q of the γ before the edit, or a number [default:
    /// the threshold]
    ///
    /// With the default, a second edit changes nothing; with another, it may.
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    pub(super) to: Option<To>,
    /// Scope of the threshold: one for the whole network, or one a layer: network, layer [default:
    /// network]
    #[arg(long, value_name = "SCOPE")]
    pub(super) scope: Option<Scope>,
    /// One threshold a module, where one state dict holds several networks: a module is the first
    /// component of a layer's name, after wrappers such as module.
    #[arg(long, conflicts_with = "scope")]
    pub(super) each: bool,
    /// Leave γ that are exactly 0 unchanged (channels masked by pruning) and out of the median
    #[arg(long)]
    pub(super) keep_zeros: bool,
    /// Count and edit γ of IterNorm too; without it they are left alone, since they scale whitened channels
    #[arg(long)]
    pub(super) iternorm: bool,
    /// Count and edit only layers whose name matches; may be repeated
    #[arg(long, value_name = "RE")]
    pub(super) include: Vec<Regex>,
    /// Leave out layers whose name matches; may be repeated
    #[arg(long, value_name = "RE")]
    pub(super) exclude: Vec<Regex>,
}

/// Take the last apply or prune back, bit for bit
///
/// Uses the record beside the file (.ckpt-regen/NAME.json). Refuses when γ are no longer those that the
/// edit left, as after more training.
#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// The checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(super) path: PathBuf,
    /// Patch the file itself, through a journal: for files too big to copy
    #[arg(long)]
    pub(super) in_place: bool,
    /// Restore the file that a symbolic link leads to
    #[arg(long)]
    pub(super) follow_symlinks: bool,
    /// The record of the edit, instead of .ckpt-regen/NAME.json beside the checkpoint
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Print a JSON object instead
    #[arg(long)]
    pub(super) json: bool,
    /// Say how files were read, how long it took, and how much of that was waiting for the disk
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// Print a schema for a checkpoint, to start from
///
/// A schema is a TOML or JSON file for --schema. It says how γ, β and the running statistics are named,
/// which layers to leave out, and which prefixes are networks of their own. The one printed here finds
/// what is found without it. Format: docs/schema.md.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// The checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(super) path: PathBuf,
}

/// Show what changed between two checkpoints: γ by layer, and whether anything else did
///
/// Layers and tensors are matched by name, so that the same weights in two formats are equal. One
/// line a layer that differs: how many γ moved, rose and fell; the largest change; how many died
/// (became inhibited, |γ| < 0.01) and came back; and how many were regenerated.
///
/// If the γ of B are bit for bit those of A after an apply (with the default threshold, or the options
/// in the record of B), the output says so, and the regenerated γ are those that it changed. Otherwise
/// they are those that rose from at or below A's median to it or above.
///
/// Only tensors are compared, not names, arguments or the epoch.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The first checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "A")]
    pub(super) a: PathBuf,
    /// The second checkpoint
    #[arg(value_name = "B")]
    pub(super) b: PathBuf,
    /// Exit with 0 when the two are equal, 1 when they differ or something could not be compared,
    /// and 2 on trouble; without it, 0 whatever was found
    #[arg(long)]
    pub(super) exit_code: bool,
    /// Compare γ only: reads just headers and γ, whatever the size of the files
    #[arg(long)]
    pub(super) gamma_only: bool,
    /// Show only layers whose name matches this regular expression; all are compared
    #[arg(long, value_name = "RE")]
    pub(super) layer: Option<Regex>,
    /// The record of the edit that made B, instead of .ckpt-regen/NAME.json beside it
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Find γ as this file says (see `ckpt-regen schema`)
    #[arg(long, value_name = "FILE")]
    pub(super) schema: Option<PathBuf>,
    /// Mask of pruned channels (from prune --mask-out), which are shown apart from inhibited ones
    /// [default: the mask in the record of an earlier prune]
    #[arg(long, value_name = "FILE")]
    pub(super) mask: Option<PathBuf>,
    /// Write a page: γ of both over each other, exact numbers
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Print a JSON object instead
    #[arg(long)]
    pub(super) json: bool,
    /// Say how files were read (mapped, or by positioned reads), and how much of them
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// Follow γ through the checkpoints of a training run
///
/// One line a BatchNorm layer and one for the network: the share of inhibited channels (|γ| < 0.01)
/// over time, as bars and in the last checkpoint; the median γ in the first and the last; and the
/// share of channels that changed sides of the network's median between the last two (the mask
/// distance: below 10 %, a network has settled; You et al., Early-Bird tickets, ICLR 2020). Then what
/// became of regenerated channels, and γ of single channels (the paper's Figure 4).
///
/// Regenerated channels are known from the record beside a checkpoint (.ckpt-regen/NAME.json), or from
/// half of all γ being equal to the smallest magnitude, bit for bit. More training removes that pattern.
///
/// Checkpoints are ordered by finished epochs if all of them hold that number, else by the first number
/// in which their names differ. They must be of one network. Only headers, γ and records are read,
/// whatever the size of the files.
#[derive(Debug, Args)]
pub(super) struct TrackArgs {
    /// Checkpoints: files, shard indexes, directories, or quoted patterns such as 'ckpt-*.pth'
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Follow this channel, counted from 0, or every channel of a layer; may be repeated [default:
    /// those whose |γ| has the smallest and the largest mean over time]
    #[arg(long, value_name = "LAYER[:INDEX]")]
    pub(super) channel: Vec<Channel>,
    /// Show only layers whose name matches this regular expression
    #[arg(long, value_name = "RE")]
    pub(super) layer: Option<Regex>,
    /// The network to follow, where the files hold several in training; or the part of one whose
    /// names begin with this and a dot
    #[arg(long, value_name = "PREFIX")]
    pub(super) root: Option<String>,
    /// The record of an edit, instead of .ckpt-regen/NAME.json beside each checkpoint
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Find γ as this file says (see `ckpt-regen schema`)
    #[arg(long, value_name = "FILE")]
    pub(super) schema: Option<PathBuf>,
    /// Mask of pruned channels (from prune --mask-out), which are shown apart from inhibited ones
    /// [default: the mask in the record of an earlier prune]
    #[arg(long, value_name = "FILE")]
    pub(super) mask: Option<PathBuf>,
    /// Write a page: charts over time, a heat map of the layers, exact numbers
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Print a JSON object instead
    #[arg(long)]
    pub(super) json: bool,
    /// Print comma-separated values instead, one line a layer of a checkpoint
    #[arg(long, conflicts_with = "json")]
    pub(super) csv: bool,
}

impl RuleArgs {
    /// The scope of the threshold, if one was given.
    pub(super) fn scope(&self) -> Option<Scope> {
        if self.each {
            return Some(Scope::Each);
        }
        self.scope
    }
}
