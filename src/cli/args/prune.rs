//! What `prune` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use regex_lite::Regex;

use super::DestinationArgs;
use crate::regen::Method;

/// Prune channels in a checkpoint file: γ and β of the weakest become 0
///
/// Network slimming (Liu et al., ICCV 2017) prunes the RATIO of the network's channels with the smallest
/// |γ|, and one more. FPGM (He et al., CVPR 2019) prunes the RATIO of each convolution's filters nearest
/// their geometric median; filters, γ and β become 0.
///
/// The file is edited as by apply, and undo takes it back. The mask is kept in the record of the edit
/// (.ckpt-regen/NAME.json), where apply finds it: pruned channels do not count in the median and are not
/// regenerated. The network keeps its size.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// The checkpoint: a file, a shard index (*.index.json) or a directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,

    /// Criterion: slimming (smallest |γ| of the network), fpgm (filters nearest the geometric median of
    /// their convolution)
    #[arg(long, value_name = "METHOD", default_value_t = Method::Slimming)]
    #[arg(help_heading = "What to prune")]
    pub(crate) method: Method,
    /// Share of the channels that is pruned afterwards, 0 ≤ RATIO < 1; channels pruned before count in it
    #[arg(long, value_name = "RATIO", help_heading = "What to prune")]
    pub(crate) ratio: f64,
    /// fpgm: first prune this share of the filters, those of the smallest L2 norm (1 - rate_norm of the
    /// authors' code)
    #[arg(
        long,
        value_name = "RATIO",
        default_value_t = 0.0,
        help_heading = "What to prune"
    )]
    pub(crate) norm_ratio: f64,
    /// Keep at least the N strongest channels of a layer; with 0, layers may end empty, as in the public
    /// code
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "What to prune"
    )]
    pub(crate) min_channels: usize,
    /// fpgm: set filters to 0 and leave γ and β as they are, as the authors' code does
    #[arg(long, help_heading = "What to prune")]
    pub(crate) filters_only: bool,
    /// fpgm: default leaves 1x1 shortcuts and depthwise convolutions alone, as its authors do; all prunes
    /// them too
    #[arg(long, value_enum, value_name = "LAYERS", default_value = "default")]
    #[arg(help_heading = "What to prune")]
    pub(crate) layers: Layers,
    /// fpgm: the network (a name of `ckpt-regen model`, or its ONNX file), which tells the convolution of
    /// each BatchNorm [default: PATH, if that is an ONNX file]
    #[arg(long, value_name = "NETWORK", help_heading = "What to prune")]
    pub(crate) model: Option<String>,
    /// Count and prune only layers whose name matches; may be repeated
    #[arg(long, value_name = "RE", help_heading = "What to prune")]
    pub(crate) include: Vec<Regex>,
    /// Leave out layers whose name matches; may be repeated
    #[arg(long, value_name = "RE", help_heading = "What to prune")]
    pub(crate) exclude: Vec<Regex>,
    /// The network to prune, where the file holds several in training; or the part of one whose
    /// names begin with this and a dot
    #[arg(long, value_name = "PREFIX", help_heading = "What to prune")]
    pub(crate) root: Option<String>,
    /// Find γ as this file says (see `ckpt-regen schema`)
    #[arg(long, value_name = "FILE", help_heading = "What to prune")]
    pub(crate) schema: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) to: DestinationArgs,
    /// Write the mask into this file too, for --mask of apply, inspect, diff and track
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    pub(crate) mask_out: Option<PathBuf>,

    /// Print a JSON object instead
    #[arg(long)]
    pub(crate) json: bool,
    /// Say how files were read, how long it took, and how much of that was waiting for the disk
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Which convolutions FPGM prunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layers {
    Default,
    All,
}
