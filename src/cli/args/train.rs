//! What `train` and `eval` take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{NormArgs, RuleArgs};
use crate::net::Resolution;
use crate::regen::Method;
use crate::train::{Device, EngineName, Machine, Precision, Soft};

/// Train a network, with regeneration every E epochs; or go on with a run or an edited checkpoint
///
/// `train --model mobilenet_v2 --data DIR --recipe cifar --regen-every 5 --out runs/a` is the paper's
/// method in one command. At the end of an epoch: test, metrics, best checkpoint, regeneration if it
/// is due, last checkpoint.
///
/// The directory of a run holds last/ and best/, which are checkpoints (`inspect`, `apply --every`,
/// `eval` and `--resume` take them); metrics.jsonl, one JSON object an epoch; and settings.toml, all
/// settings that the run has, which --config takes.
///
/// A network from an ONNX file begins with the weights in that file, and `export` writes the trained
/// ones back into it.
///
/// Killed at any moment, `--resume DIR` goes on from the last finished epoch, and ends with the same
/// bits as a run that was not. Editing last/ with `apply` in between gives the same bits as
/// regenerating at that epoch.
///
/// Every setting below has the value of the recipe unless a flag or the --config file says otherwise
/// (docs/training.md lists them).
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The directory of the run; new, unless it is the one that --resume names
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with this: the directory of a run; a checkpoint of a run; or, as the beginning of a new
    /// run, weights in any format that is read. Given again, files that hold a part of the network each,
    /// as encoder and decoder
    #[arg(long, value_name = "PATH")]
    pub(crate) resume: Vec<PathBuf>,
    /// --resume with weights: take what fits, and draw the rest; a file may hold the encoder, the decoder or
    /// the backbone alone
    #[arg(long, requires = "resume")]
    pub(crate) partial: bool,
    /// --resume with weights: the network, where the file holds several
    #[arg(long, value_name = "ROOT", requires = "resume")]
    pub(crate) root: Option<String>,
    /// These channels of what --resume names are pruned (a file of prune --mask-out), and stay at 0
    #[arg(long, value_name = "FILE", requires = "resume")]
    pub(crate) mask: Option<PathBuf>,
    /// Settings as TOML; keys are named like the flags
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// End when N epochs are finished, with the schedule of them all
    #[arg(long, value_name = "N")]
    pub(crate) stop_after: Option<u64>,
    /// Write TensorBoard's event files too, into tensorboard/ of the run
    #[arg(long)]
    pub(crate) tensorboard: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) settings: Box<SettingArgs>,
}

/// Measure the accuracy of a checkpoint on the test images of a data set
///
/// Of a run's checkpoint, network and data are known; of a run, that is the best one. Averaged
/// weights (ema.safetensors) are taken where there are any. Any other checkpoint, of whatever format
/// is read, needs --model, --data and --recipe; an ONNX file is a network itself.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The directory of a run; or a checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Print the accuracy of each class
    #[arg(long, conflicts_with = "json")]
    pub(crate) per_class: bool,
    /// Write the confusion matrix as comma-separated values: a row a class, a column for each class
    /// that was put first
    #[arg(long, value_name = "FILE")]
    pub(crate) confusion: Option<PathBuf>,
    /// Print a JSON object instead; it has the classes and the confusion matrix too
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) examine: ExamineArgs,
}

/// Write trained weights back into the ONNX file that the network is from
///
/// OUT is that file with other numbers in its weights and BatchNorm statistics, and not a byte else
/// changed, so that it deploys as it came; data files that belong to it go beside OUT. Of a run, the
/// weights of the best checkpoint are taken; averaged weights (ema.safetensors) where there are any.
///
/// A file in which the exporter kept one of several equal tensors cannot be given weights back that
/// differ (docs/onnx.md says how to export).
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The directory of a run; or a checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The ONNX file [default: the one that the run was trained from]
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<String>,
    /// Write the result here; with data files of its own, in another directory than the ONNX file
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
}

/// How checkpoints are opened and measured.
#[derive(Debug, Args)]
pub(crate) struct ExamineArgs {
    /// The network in the checkpoint, where it holds several
    #[arg(long, value_name = "ROOT")]
    pub(crate) root: Option<String>,
    /// Images in a batch [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// What computes. Engines agree but for roundings; the number of threads changes no bit.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Where: auto or cpu (the processor), or cuda or cuda:N (an NVIDIA GPU, in builds with `--features
    /// cuda`)
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub(crate) device: Device,
    /// In which numbers: f32, or f64, which the plain and the candle engine compute in
    #[arg(
        long,
        value_enum,
        value_name = "TYPE",
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) precision: PrecisionArg,
    /// By which engine: auto (the fastest on this device in this precision), fast, candle (candle's
    /// tensors, on its own number of threads), or plain (simple loops on one thread, by which the others are checked)
    #[arg(
        long,
        value_enum,
        value_name = "ENGINE",
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) engine: EngineArg,
    /// Threads [default: one a processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum PrecisionArg {
    #[default]
    F32,
    F64,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum EngineArg {
    #[default]
    Auto,
    Fast,
    Candle,
    Plain,
}

impl From<&MachineArgs> for Machine {
    fn from(args: &MachineArgs) -> Machine {
        Machine {
            device: args.device,
            precision: match args.precision {
                PrecisionArg::F32 => Precision::F32,
                PrecisionArg::F64 => Precision::F64,
            },
            engine: match args.engine {
                EngineArg::Auto => EngineName::Auto,
                EngineArg::Fast => EngineName::Fast,
                EngineArg::Candle => EngineName::Candle,
                EngineArg::Plain => EngineName::Plain,
            },
            threads: args.threads.unwrap_or(0),
        }
    }
}

/// A network, and images for it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network and data")]
pub(crate) struct NetworkArgs {
    /// The network, as in mobilenet_v2 (see `ckpt-regen model`), or an ONNX file (docs/onnx.md)
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// How images enter it: native, or cifar (without the strides and the pooling that would throw an
    /// image of 32 × 32 away)
    #[arg(long, value_name = "STEM", value_parser = ["native", "cifar"])]
    pub(crate) stem: Option<String>,
    /// Width multiplier: factor of the channel counts, which stay multiples of 8
    #[arg(long, value_name = "W")]
    pub(crate) width: Option<f64>,
    #[command(flatten)]
    pub(crate) norm: NormArgs,
    /// Height and width of the images that it sees, as in 224 or 192x256 [default: those that an ONNX file
    /// fixes, or those of the data set]
    #[arg(long, value_name = "R|HxW")]
    pub(crate) resolution: Option<Resolution>,
    /// The images: a directory (see docs/training.md), or digits, which is built in
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// Settings that go together: cifar, cifar-public, tiny-imagenet, imagenet, digits [default: digits for
    /// --data digits]
    #[arg(long, value_name = "RECIPE")]
    #[arg(value_parser = ["cifar", "cifar-public", "tiny-imagenet", "imagenet", "digits"])]
    pub(crate) recipe: Option<String>,
    /// Mean of red, green and blue, where white is 1, or one number for all [default: the recipe's]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1)]
    pub(crate) mean: Option<Vec<f64>>,
    /// Their standard deviation [default: the recipe's]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1)]
    pub(crate) std: Option<Vec<f64>>,
}

/// Settings of training and regeneration, in place of the recipe's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct SettingArgs {
    /// Decides everything that is drawn: weights, order, augmentation, dropout [default: 0]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// How many epochs there are
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u64>,
    /// Images in a batch
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    /// Batches whose gradients are gathered for one update
    #[arg(long, value_name = "N")]
    pub(crate) accumulate: Option<usize>,
    /// The rule of the update: sgd, adamw
    #[arg(long, value_name = "RULE", value_parser = ["sgd", "adamw"])]
    pub(crate) optimizer: Option<String>,
    /// Step size, at its highest
    #[arg(long, value_name = "LR")]
    pub(crate) lr: Option<f64>,
    /// sgd: share of the last direction that is kept
    #[arg(long, value_name = "M")]
    pub(crate) momentum: Option<f64>,
    /// sgd: whether the direction looks ahead
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) nesterov: Option<bool>,
    /// Pull of the weights towards 0
    #[arg(long, value_name = "WD")]
    pub(crate) weight_decay: Option<f64>,
    /// Whether it pulls γ, β and biases too, as in the paper
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) decay_vectors: Option<bool>,
    /// Largest norm of the gradient; 0: any
    #[arg(long, value_name = "NORM")]
    pub(crate) clip_norm: Option<f64>,
    /// The step size over the run: constant, step, multi-step, cosine, one-cycle
    #[arg(long, value_name = "SHAPE")]
    #[arg(value_parser = ["constant", "step", "multi-step", "cosine", "one-cycle"])]
    pub(crate) schedule: Option<String>,
    /// multi-step: the finished epochs at which it falls
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1)]
    pub(crate) milestones: Option<Vec<u64>>,
    /// step: it falls each time so many epochs are finished
    #[arg(long, value_name = "N")]
    pub(crate) step_epochs: Option<u64>,
    /// step, multi-step: the factor by which it falls
    #[arg(long, value_name = "F")]
    pub(crate) lr_factor: Option<f64>,
    /// Epochs in which it rises linearly to where the schedule has it
    #[arg(long, value_name = "N")]
    pub(crate) warmup_epochs: Option<u64>,
    /// Share of each label that is spread over all classes
    #[arg(long, value_name = "S")]
    pub(crate) label_smoothing: Option<f64>,
    /// Momentum of every BatchNorm: the weight of a new batch in its running statistics [default: the
    /// network's own]
    #[arg(long, value_name = "M")]
    pub(crate) bn_momentum: Option<f64>,
    /// Decay of an average of the weights, at each update; it is what is tested; 0: none
    #[arg(long, value_name = "DECAY")]
    pub(crate) ema: Option<f64>,
    /// End after so many epochs without a better test accuracy; 0: go on
    #[arg(long, value_name = "N")]
    pub(crate) patience: Option<u64>,
    /// Estimate BatchNorm's running statistics anew, as the mean over N training batches, before accuracy is
    /// measured
    #[arg(long, value_name = "N")]
    pub(crate) recalibrate: Option<usize>,
    /// How many of the last checkpoints are kept: last/ and, before it, epoch-N/
    #[arg(long, value_name = "K")]
    pub(crate) keep: Option<u64>,
    /// Record γ of every channel after each epoch, and how large the gradients of its filter were,
    /// for `report`: of the layers named, or else of all
    #[arg(long, value_name = "LAYER", num_args = 0..)]
    pub(crate) record: Option<Vec<String>>,
    /// Black pixels on every side before a random crop; 0: no crop
    #[arg(long, value_name = "N", help_heading = "Augmentation")]
    pub(crate) crop_padding: Option<usize>,
    /// Mirror half of the images
    #[arg(long, value_name = "BOOL", help_heading = "Augmentation")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) flip: Option<bool>,
    /// Turn images by up to so many degrees
    #[arg(long, value_name = "DEGREES", help_heading = "Augmentation")]
    pub(crate) rotation: Option<f64>,
    /// Cut crops of random size and shape, and resize them
    #[arg(long, value_name = "BOOL", help_heading = "Augmentation")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) random_resized_crop: Option<bool>,
    /// Regenerate every E epochs (E_RG); 0: never
    #[arg(long, value_name = "E", help_heading = "When to regenerate")]
    pub(crate) regen_every: Option<u64>,
    /// The first epoch to regenerate at [default: E; the author's code starts at 1]
    #[arg(long, value_name = "S", help_heading = "When to regenerate")]
    pub(crate) regen_start: Option<u64>,
    /// The last epoch to regenerate at; the first, to do it once
    #[arg(long, value_name = "U", help_heading = "When to regenerate")]
    pub(crate) regen_until: Option<u64>,
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    /// What the optimizer keeps for the regenerated γ: keep it, as in the paper, or reset it, as
    /// `apply --optimizer reset` does
    #[arg(long, value_name = "STATE", value_parser = ["keep", "reset"])]
    #[arg(help_heading = "What to regenerate")]
    pub(crate) regen_state: Option<String>,
    /// Count and lift pruned channels too, as the public code of the paper does: they are pruned no more
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", help_heading = "What to regenerate")]
    pub(crate) pruned_as_public: Option<bool>,
    /// Penalty λ·Σ|γ|, which network slimming trains with, as in 1e-4
    #[arg(long, value_name = "λ", help_heading = "Pruning")]
    pub(crate) sparsity: Option<f64>,
    /// Prune this share of the channels of the weights given by --resume before the first epoch
    #[arg(long, value_name = "SHARE", help_heading = "Pruning")]
    pub(crate) prune_ratio: Option<f64>,
    /// By what --prune-ratio chooses: slimming (|γ| over the network) or fpgm (filters nearest the geometric
    /// median of their convolution)
    #[arg(long, value_name = "METHOD", help_heading = "Pruning")]
    pub(crate) prune_method: Option<Method>,
    /// fpgm: prune this share of a convolution's filters by their norm first
    #[arg(long, value_name = "SHARE", help_heading = "Pruning")]
    pub(crate) norm_ratio: Option<f64>,
    /// Channels that each layer keeps whatever is pruned
    #[arg(long, value_name = "N", help_heading = "Pruning")]
    pub(crate) min_channels: Option<usize>,
    /// Set this share of each convolution's filters to 0 after each epoch, chosen anew: fpgm:0.4, or none
    #[arg(long, value_name = "fpgm:SHARE", help_heading = "Pruning")]
    pub(crate) soft: Option<Soft>,
    /// Look for an Early-Bird ticket that prunes this share of the channels, and keep it in ticket/ of the
    /// run
    #[arg(long, value_name = "SHARE", help_heading = "Pruning")]
    pub(crate) early_bird: Option<f64>,
    /// When the ticket is found: stop; or go on, pruned, with its weights (inherit) or weights drawn anew
    /// (reinit)
    #[arg(long = "continue", value_name = "HOW", value_parser = ["stop", "inherit", "reinit"])]
    #[arg(help_heading = "Pruning")]
    pub(crate) after_ticket: Option<String>,
}
