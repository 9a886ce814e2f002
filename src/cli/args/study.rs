//! What `report`, `ablate` and `compare` take.

use std::path::PathBuf;

use clap::Args;

use super::{ExamineArgs, MachineArgs, NetworkArgs, SettingArgs};
use crate::inspect::track::Channel;
use crate::study::compare::Arm;

/// Show training runs side by side, as a page: accuracy, loss, γ and gradients over time
///
/// Writes report.html, or what --html says, and prints one line a run. The page loads nothing: curves of
/// accuracy and loss with the regenerations marked; and of runs of `train --record`, how many channels
/// had which γ in each epoch, γ and mean |gradient| of single channels, and the gradients of all
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
/// Weight and bias of the layer's BatchNorm are set to 0 in the channels of the largest γ, in more and
/// more of them, and accuracy on the test images is measured each time (the paper's Figure 6): where it
/// falls early, a network relies on few channels. No file is changed.
///
/// Of a run's checkpoint, network and data are known; of a run, that is the best one. Any other
/// checkpoint needs --model, --data and --recipe, as with `eval`.
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
    /// Write a page to look at: accuracy over the number of channels, exact numbers
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
/// with that of the paper every 5 epochs, each with the seeds 0, 1 and 2, and prints mean and standard
/// deviation of the test accuracy after the last epoch, and the differences to the first arm, seed by
/// seed, with their mean and its 95 % confidence interval (Student's t with n − 1 degrees of freedom for
/// n seeds; one seed has none).
///
/// Each run is one of `train`, in OUT/ARM/SEED. Interrupted at any moment, the same command goes on:
/// finished runs are not repeated, others go on from their last finished epoch. More seeds or arms can be
/// added later.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The directory of the runs
    #[arg(long, value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// What is compared, each with the first: without; or a rule (see `train --rule`) and the epochs
    /// between two regenerations, as in keep-sign-10; random-10 lifts as many channels, drawn at random
    #[arg(long, value_name = "ARM,…", value_delimiter = ',', num_args = 1)]
    #[arg(default_value = "without,paper-5")]
    pub(crate) arms: Vec<Arm>,
    /// One arm more, by a name and its settings: 'spared: decay-vectors=false, lr=0.2'; keys are those of a
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
    /// These channels of --resume are pruned (a file of prune --mask-out), and stay at 0
    #[arg(long, value_name = "FILE", requires = "resume")]
    pub(crate) mask: Option<PathBuf>,
    /// Settings as TOML; keys are named like the flags
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write a page to look at: accuracies and differences with their intervals, curves
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
