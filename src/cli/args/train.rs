//! What `train` and `eval` take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{NormArgs, RuleArgs, SceneArgs};
use crate::net::Resolution;
use crate::regen::Method;
use crate::train::{Device, EngineName, Machine, Precision, Soft};

/// Train a network with regeneration every E epochs; or resume a run or an edited checkpoint
///
/// `train --model mobilenet_v2 --data DIR --recipe cifar --regen-every 5 --out runs/a` is the paper's
/// method in one command. At the end of an epoch: test, metrics, best checkpoint, regeneration if it
/// is due, last checkpoint.
///
/// The directory of a run holds the checkpoints last/ and best/ (for `inspect`, `apply --every`, `eval`
/// and `--resume`); metrics.jsonl, one JSON object an epoch; and settings.toml, all settings of the run
/// (for --config).
///
/// A network from an ONNX file begins with the weights in that file, and `export` writes the trained
/// ones back into it.
///
/// A run may be killed at any moment: `--resume DIR` continues after the last finished epoch, and ends
/// with the same bits as an uninterrupted run. Editing last/ with `apply` in between gives the same bits
/// as regenerating at that epoch.
///
/// Every setting below has the value of the recipe unless a flag or the --config file says otherwise
/// (docs/training.md lists them).
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The directory of the run; new, unless it is the one that --resume names
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    pub(crate) out: Option<PathBuf>,
    /// Resume from this: the directory of a run; a checkpoint of a run; or weights in any format that is
    /// read, which begin a new run. Repeat it for files that each hold a part of the network, such as
    /// encoder and decoder
    #[arg(long, value_name = "PATH")]
    pub(crate) resume: Vec<PathBuf>,
    /// --resume with weights: load what fits and initialise the rest; a file may hold the encoder, the
    /// decoder or the backbone alone
    #[arg(long, requires = "resume")]
    pub(crate) partial: bool,
    /// --resume with weights: the network, where the file holds several
    #[arg(long, value_name = "ROOT", requires = "resume")]
    pub(crate) root: Option<String>,
    /// Mask of pruned channels in the --resume weights (from prune --mask-out); they stay at 0
    #[arg(long, value_name = "FILE", requires = "resume")]
    pub(crate) mask: Option<PathBuf>,
    /// Settings as TOML; keys are named like the flags
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Stop after N finished epochs; the learning-rate schedule still spans all --epochs
    #[arg(long, value_name = "N")]
    pub(crate) stop_after: Option<u64>,
    /// Write TensorBoard event files too, into tensorboard/ of the run
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
/// A checkpoint of a run knows its network and data; of the directory of a run, the best checkpoint is
/// measured. Averaged weights (ema.safetensors) are taken where there are any. Any other checkpoint, in
/// any format that is read, needs --model, --data and --recipe; an ONNX file is a network itself.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The directory of a run; or a checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Print the accuracy of each class
    #[arg(long, conflicts_with = "json")]
    pub(crate) per_class: bool,
    /// Write the confusion matrix as comma-separated values: one row a class, one column a predicted class
    #[arg(long, value_name = "FILE")]
    pub(crate) confusion: Option<PathBuf>,
    /// segmentation: write what is predicted into this directory: a PNG an image, whose values are the
    /// classes from 0 up and whose palette has their colours, and a legend
    #[arg(long, value_name = "DIR")]
    pub(crate) save_predictions: Option<PathBuf>,
    /// Print a JSON object instead; it has the classes and the confusion matrix too
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) examine: ExamineArgs,
}

/// Write trained weights back into the ONNX file that the network comes from
///
/// OUT is a copy of that file in which only weights and BatchNorm statistics differ, so that it deploys
/// as before; its data files go beside OUT. Of a run, the best checkpoint is taken; averaged weights
/// (ema.safetensors) where there are any.
///
/// If the exporter stored several equal tensors as one, their trained values have no place in the file,
/// and export refuses (docs/onnx.md says how to export).
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The directory of a run; or a checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The ONNX file [default: the one that the run was trained from]
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<String>,
    /// Write the result here; if the ONNX file has data files, in another directory
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
}

/// How checkpoints are opened and measured.
#[derive(Debug, Args)]
pub(crate) struct ExamineArgs {
    /// The network in the checkpoint, where it holds several
    #[arg(long, value_name = "ROOT")]
    pub(crate) root: Option<String>,
    /// Batch size [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// Device, precision and engine. Engines agree up to rounding; the number of threads changes no bit.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Device: auto or cpu (the processor), or cuda or cuda:N (an NVIDIA GPU, in builds with `--features
    /// cuda`)
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub(crate) device: Device,
    /// Precision: f32, or f64 (plain and candle engine only)
    #[arg(
        long,
        value_enum,
        value_name = "TYPE",
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) precision: PrecisionArg,
    /// Engine: auto (the fastest for this device and precision), fast, candle (candle's tensors, on its
    /// own number of threads), or plain (simple loops on one thread, the reference for the others)
    #[arg(
        long,
        value_enum,
        value_name = "ENGINE",
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) engine: EngineArg,
    /// Threads [default: one for each processor]
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

/// The network and its data set.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network and data")]
pub(crate) struct NetworkArgs {
    /// The network, as in mobilenet_v2 (see `ckpt-regen model`), or an ONNX file (docs/onnx.md)
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Stem: native, or cifar (for images of 32 × 32: fewer strides and no pooling at the start)
    #[arg(long, value_name = "STEM", value_parser = ["native", "cifar"])]
    pub(crate) stem: Option<String>,
    /// Width multiplier: factor of the channel counts, which are rounded to multiples of 8
    #[arg(long, value_name = "W")]
    pub(crate) width: Option<f64>,
    #[command(flatten)]
    pub(crate) norm: NormArgs,
    /// Input height and width, as in 224 or 192x256 [default: those that an ONNX file fixes, or those of
    /// the data set]
    #[arg(long, value_name = "R|HxW")]
    pub(crate) resolution: Option<Resolution>,
    /// Data set (docs/data.md): a directory; digits, which is built in; or hf:OWNER/NAME, in builds with
    /// `--features hub`
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// Task: classification, or segmentation (a class for each pixel; docs/segmentation.md) [default: the
    /// recipe's]
    #[arg(long, value_name = "TASK", value_parser = ["classification", "segmentation"])]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) scenes: SceneArgs,
    /// Recipe, which gives every other setting its default: cifar, cifar-public, tiny-imagenet, imagenet,
    /// ade20k (segmentation), digits [default: digits for --data digits]
    #[arg(long, value_name = "RECIPE")]
    #[arg(value_parser = ["cifar", "cifar-public", "tiny-imagenet", "imagenet", "ade20k", "digits"])]
    pub(crate) recipe: Option<String>,
    /// Mean of red, green and blue in 0..1, or one number for all [default: the recipe's]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1)]
    pub(crate) mean: Option<Vec<f64>>,
    /// Standard deviation of red, green and blue, or one number for all [default: the recipe's]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1)]
    pub(crate) std: Option<Vec<f64>>,
}

/// Settings of training and regeneration, in place of the recipe's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct SettingArgs {
    /// Random seed of initial weights, order of the images, augmentation and dropout [default: 0]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Number of epochs
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u64>,
    /// Updates in an epoch; 0: as many as go through all images once
    #[arg(long, value_name = "N")]
    pub(crate) epoch_updates: Option<u64>,
    /// Batch size
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    /// Gradient accumulation: batches in one optimizer step
    #[arg(long, value_name = "N")]
    pub(crate) accumulate: Option<usize>,
    /// Optimizer: sgd, adamw
    #[arg(long, value_name = "RULE", value_parser = ["sgd", "adamw"])]
    pub(crate) optimizer: Option<String>,
    /// Peak learning rate
    #[arg(long, value_name = "LR")]
    pub(crate) lr: Option<f64>,
    /// segmentation: peak learning rate of the decoder [default: that of --lr]
    #[arg(long, value_name = "LR")]
    pub(crate) decoder_lr: Option<f64>,
    /// sgd: momentum, 0 ≤ M < 1
    #[arg(long, value_name = "M")]
    pub(crate) momentum: Option<f64>,
    /// sgd: Nesterov momentum
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) nesterov: Option<bool>,
    /// Weight decay
    #[arg(long, value_name = "WD")]
    pub(crate) weight_decay: Option<f64>,
    /// Apply weight decay to γ, β and biases too, as in the paper
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) decay_vectors: Option<bool>,
    /// Gradient clipping: largest norm of the whole gradient; 0: no clipping
    #[arg(long, value_name = "NORM")]
    pub(crate) clip_norm: Option<f64>,
    /// Learning-rate schedule: constant, step, multi-step, cosine, one-cycle, poly (power 0.9)
    #[arg(long, value_name = "SHAPE")]
    #[arg(value_parser = ["constant", "step", "multi-step", "cosine", "one-cycle", "poly"])]
    pub(crate) schedule: Option<String>,
    /// multi-step: numbers of finished epochs at which the learning rate falls
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1)]
    pub(crate) milestones: Option<Vec<u64>>,
    /// step: epochs between two falls of the learning rate
    #[arg(long, value_name = "N")]
    pub(crate) step_epochs: Option<u64>,
    /// step, multi-step: factor that multiplies the learning rate at each fall
    #[arg(long, value_name = "F")]
    pub(crate) lr_factor: Option<f64>,
    /// Epochs of linear learning-rate warm-up
    #[arg(long, value_name = "N")]
    pub(crate) warmup_epochs: Option<u64>,
    /// Label smoothing, from 0 to 1
    #[arg(long, value_name = "S")]
    pub(crate) label_smoothing: Option<f64>,
    /// Momentum of every BatchNorm: the weight of a new batch in its running statistics [default: the
    /// network's own]
    #[arg(long, value_name = "M")]
    pub(crate) bn_momentum: Option<f64>,
    /// Decay of an exponential moving average (EMA) of the weights, which is then tested; 0: none
    #[arg(long, value_name = "DECAY")]
    pub(crate) ema: Option<f64>,
    /// Early stopping: end after N epochs without a better test accuracy (segmentation: score); 0: never
    #[arg(long, value_name = "N")]
    pub(crate) patience: Option<u64>,
    /// Before each test, recompute BatchNorm's running statistics as the mean over N training batches
    #[arg(long, value_name = "N")]
    pub(crate) recalibrate: Option<usize>,
    /// Number of latest checkpoints to keep: last/ and, before it, epoch-N/
    #[arg(long, value_name = "K")]
    pub(crate) keep: Option<u64>,
    /// Record γ of every channel after each epoch, for `report`, and the mean |gradient| of its filter: in
    /// the layers named, or else in all
    #[arg(long, value_name = "LAYER", num_args = 0..)]
    pub(crate) record: Option<Vec<String>>,
    /// Random crop: black pixels of padding on every side; 0: no crop
    #[arg(long, value_name = "N", help_heading = "Augmentation")]
    pub(crate) crop_padding: Option<usize>,
    /// Random horizontal flip
    #[arg(long, value_name = "BOOL", help_heading = "Augmentation")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) flip: Option<bool>,
    /// Random rotation by up to so many degrees
    #[arg(long, value_name = "DEGREES", help_heading = "Augmentation")]
    pub(crate) rotation: Option<f64>,
    /// Random resized crop
    #[arg(long, value_name = "BOOL", help_heading = "Augmentation")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) random_resized_crop: Option<bool>,
    /// segmentation: lengths of the images' shorter side, one of which is drawn for each batch; 0: their own
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1)]
    #[arg(help_heading = "Augmentation")]
    pub(crate) short_sides: Option<Vec<usize>>,
    /// Regenerate every E epochs (E_RG); 0: never
    #[arg(long, value_name = "E", help_heading = "When to regenerate")]
    pub(crate) regen_every: Option<u64>,
    /// The first epoch to regenerate at [default: E; the author's code starts at 1]
    #[arg(long, value_name = "S", help_heading = "When to regenerate")]
    pub(crate) regen_start: Option<u64>,
    /// The last epoch to regenerate at; equal to the first, it happens once
    #[arg(long, value_name = "U", help_heading = "When to regenerate")]
    pub(crate) regen_until: Option<u64>,
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    /// Optimizer state of the regenerated γ: keep it, as in the paper, or reset it, as `apply --optimizer
    /// reset` does
    #[arg(long, value_name = "STATE", value_parser = ["keep", "reset"])]
    #[arg(help_heading = "What to regenerate")]
    pub(crate) regen_state: Option<String>,
    /// Count and regenerate pruned channels too, as the paper's public code does: they are pruned no more
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", help_heading = "What to regenerate")]
    pub(crate) pruned_as_public: Option<bool>,
    /// Sparsity penalty λ·Σ|γ| of network slimming, as in 1e-4
    #[arg(long, value_name = "λ", help_heading = "Pruning")]
    pub(crate) sparsity: Option<f64>,
    /// Before the first epoch, prune this share of the channels of the --resume weights
    #[arg(long, value_name = "SHARE", help_heading = "Pruning")]
    pub(crate) prune_ratio: Option<f64>,
    /// Criterion of --prune-ratio: slimming (smallest |γ| of the network) or fpgm (filters nearest the
    /// geometric median of their convolution)
    #[arg(long, value_name = "METHOD", help_heading = "Pruning")]
    pub(crate) prune_method: Option<Method>,
    /// fpgm: first prune this share of each convolution's filters, those of the smallest L2 norm
    #[arg(long, value_name = "SHARE", help_heading = "Pruning")]
    pub(crate) norm_ratio: Option<f64>,
    /// Fewest channels that pruning leaves in a layer
    #[arg(long, value_name = "N", help_heading = "Pruning")]
    pub(crate) min_channels: Option<usize>,
    /// Soft pruning: after each epoch, set this share of each convolution's filters to 0, chosen anew:
    /// fpgm:0.4, or none
    #[arg(long, value_name = "fpgm:SHARE", help_heading = "Pruning")]
    pub(crate) soft: Option<Soft>,
    /// Search for an Early-Bird ticket that prunes this share of the channels; it is saved in ticket/ of
    /// the run
    #[arg(long, value_name = "SHARE", help_heading = "Pruning")]
    pub(crate) early_bird: Option<f64>,
    /// When the ticket is found: stop; or train the pruned network, with the weights it has (inherit) or
    /// newly initialised ones (reinit)
    #[arg(long = "continue", value_name = "HOW", value_parser = ["stop", "inherit", "reinit"])]
    #[arg(help_heading = "Pruning")]
    pub(crate) after_ticket: Option<String>,
}
