//! What `report`, `ablate` and `compare` take.

use std::path::PathBuf;

use clap::Args;

use super::{ExamineArgs, MachineArgs, NetworkArgs, SettingArgs};
use crate::inspect::track::Channel;
use crate::study::compare::Arm;

/// Show training runs side by side, as a page: accuracy, loss, γ and gradients over time
///
/// Writes report.html, or what --html says, and prints one line a run. The page is self-contained. It has
/// curves of accuracy and loss with the regenerations marked. For runs of `train --record` it also has a
/// histogram of γ for each epoch, γ and mean |gradient| of single channels, and the gradients of all
/// channels of a layer (the paper's Figures 1, 3, 4 and 7).
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Directories of runs, or quoted patterns such as 'runs/*'
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Show the gradients of this layer [default: the first that was recorded]
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// Follow this channel, counted from 0, or every channel of a layer; may be repeated [default:
    /// those whose |γ| has the smallest and the largest mean over time]
    #[arg(long, value_name = "LAYER[:INDEX]")]
    pub(crate) channel: Vec<Channel>,
    /// Write the page to this file [default: report.html]
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print a JSON object instead, which is what the page holds; no page without --html
    #[arg(long)]
    pub(crate) json: bool,
}

/// Measure accuracy without the strongest channels of a layer, of one checkpoint or several
///
/// Sets γ and β of the channels with the largest γ to 0, in more and more of them, and measures test
/// accuracy each time (the paper's Figure 6). If it falls early, the network relies on few channels. No
/// file is changed.
///
/// A checkpoint of a run knows its network and data; of the directory of a run, the best checkpoint is
/// taken. Any other checkpoint needs --model, --data and --recipe, as with `eval`.
#[derive(Debug, Args)]
pub(crate) struct AblateArgs {
    /// Directories of runs; or checkpoints: files, shard indexes (*.index.json) or directories
    #[arg(required = true, value_name = "CKPT")]
    pub(crate) checkpoints: Vec<PathBuf>,
    /// The BatchNorm layer [default: the middle one]
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// Numbers of channels to ablate [default: from none to all in 16 steps]
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1)]
    pub(crate) points: Vec<usize>,
    /// Write a page: accuracy over the number of channels, exact numbers
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print a JSON object instead
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) examine: ExamineArgs,
}

/// Train the same recipe with and without regeneration over several seeds, and compare
///
/// `compare --model mobilenet_v2 --data DIR --recipe cifar --out runs` trains without regeneration and
/// with the paper's every 5 epochs, each with the seeds 0, 1 and 2. It prints mean and standard deviation
/// of the test accuracy after the last epoch, and the differences to the first arm, seed by seed, with
/// their mean and its 95 % confidence interval (Student's t with n − 1 degrees of freedom for n seeds;
/// one seed has none).
///
/// Each run is one of `train`, in OUT/ARM/SEED. Interrupted at any moment, the same command continues:
/// finished runs are not repeated, others resume after their last finished epoch. Seeds and arms can be
/// added later.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The directory of the runs
    #[arg(long, value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// Arms, each compared with the first: without; or a rule (see `train --rule`) and the epochs between
    /// two regenerations, as in keep-sign-10; random-10 regenerates as many channels, drawn at random
    #[arg(long, value_name = "ARM,…", value_delimiter = ',', num_args = 1)]
    #[arg(default_value = "without,paper-5")]
    pub(crate) arms: Vec<Arm>,
    /// Add an arm by its name and settings: 'spared: decay-vectors=false, lr=0.2'; keys are those of a
    /// --config file. Without regen-every it does not regenerate
    #[arg(long = "arm", value_name = "NAME: KEY=VALUE, …", value_parser = Arm::named)]
    pub(crate) more: Vec<Arm>,
    /// The seeds
    #[arg(
        long,
        value_name = "SEED,…",
        value_delimiter = ',',
        num_args = 1,
        default_value = "0,1,2"
    )]
    pub(crate) seeds: Vec<u64>,
    /// Begin every run with these weights, in any format that is read; of a run, those in
    /// RUN/best/model.safetensors
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Vec<PathBuf>,
    /// Mask of pruned channels in the --resume weights (from prune --mask-out); they stay at 0
    #[arg(long, value_name = "FILE", requires = "resume")]
    pub(crate) mask: Option<PathBuf>,
    /// Settings as TOML; keys are named like the flags
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write a page: accuracies and differences with their intervals, curves
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print a JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) settings: Box<SettingArgs>,
}
