//! What `model` takes.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use super::NormArgs;
use crate::engine::cpu::Isa;
use crate::net::Resolution;
use crate::net::zoo::Stem;

/// Show a network: layers, shapes, parameters, multiply-adds
///
/// One line a layer: its name in the state dict; what it is, a convolution together with its
/// BatchNorm and activation (conv 3×3/2 g32: stride 2, 32 groups; dw: depthwise); its output for one
/// image; its parameters and multiply-adds (MACs), those of convolutions and linear layers, as
/// torchvision counts them. Lines without either are left out, but where the size of the map
/// changes.
///
/// Networks, names and initialisation are torchvision's; resnet20 to resnet110 are those of He et
/// al. 2016 for CIFAR; those with `dilated` in their names are segmentation networks for ADE20K, counted
/// with their auxiliary head. Without NAME: a list of all, with BatchNorm layers, channels and the
/// options that each takes.
///
/// NAME may be an ONNX file with its BatchNorm intact; everything in it that is not supported is listed
/// at once (docs/onnx.md).
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The network, as in mobilenet_v2, or an ONNX file
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Height and width of the images, as in 224 or 192x256 [default: 224; 32 for the CIFAR ResNets and
    /// the CIFAR stem, 512 or 520 for segmentation; those that an ONNX file fixes]
    #[arg(long, value_name = "R|HxW", requires = "name")]
    pub(crate) resolution: Option<Resolution>,
    /// Number of classes [default: 1000; 10 for the CIFAR ResNets, 150 or 21 for segmentation;
    /// those of an ONNX file]
    #[arg(long, value_name = "N", requires = "name")]
    pub(crate) classes: Option<usize>,
    /// Stem: native, or cifar (for images of 32 × 32: fewer strides and no pooling at the start)
    #[arg(long, value_enum, value_name = "STEM", requires = "name")]
    pub(crate) stem: Option<StemName>,
    /// Width multiplier: factor of the channel counts, which are rounded to multiples of 8
    #[arg(long, value_name = "W", requires = "name")]
    #[arg(allow_negative_numbers = true)]
    pub(crate) width: Option<f64>,
    #[command(flatten)]
    pub(crate) norm: NormArgs,
    /// Say instead whether this checkpoint (a file, a shard index or a directory) fits the network,
    /// and list all that is missing, unexpected or of another shape; reads headers only
    #[arg(long, value_name = "PATH", requires = "name")]
    #[arg(conflicts_with_all = ["json", "dot"])]
    pub(crate) weights: Option<PathBuf>,
    /// The network in that checkpoint, where it holds several
    #[arg(long, value_name = "ROOT", requires = "weights")]
    pub(crate) root: Option<String>,
    /// Fail when anything is missing, unexpected or of another shape [default]
    #[arg(long, requires = "weights", conflicts_with = "partial")]
    pub(crate) strict: bool,
    /// Fail only when nothing of the checkpoint fits
    #[arg(long, requires = "weights")]
    pub(crate) partial: bool,
    /// Print JSON instead: every node with its settings, every tensor; with --plan or --profile,
    /// every step
    #[arg(long)]
    pub(crate) json: bool,
    /// Print a drawing for Graphviz instead: … --dot | dot -Tsvg > network.svg
    #[arg(long, requires = "name", conflicts_with = "json")]
    pub(crate) dot: bool,

    /// Show instead how the engine computes a batch: one line a step, with the fused operations, the
    /// output, its memory layout and its memory; runs nothing
    #[arg(long, requires = "name", conflicts_with_all = ["weights", "dot"])]
    #[arg(group = "engine", help_heading = "On the engine")]
    pub(crate) plan: bool,
    /// Run training steps on made-up images instead, and show how long each kind of step takes, and
    /// the ten slowest
    #[arg(long, requires = "name", conflicts_with_all = ["weights", "dot"])]
    #[arg(group = "engine", help_heading = "On the engine")]
    pub(crate) profile: bool,
    /// Batch size [default: 128]
    #[arg(
        long,
        value_name = "N",
        requires = "engine",
        help_heading = "On the engine"
    )]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) batch: Option<usize>,
    /// Forward only (inference)
    #[arg(long, requires = "engine", help_heading = "On the engine")]
    pub(crate) evaluate: bool,
    /// Number of timed batches, after two of warm-up [default: 10]
    #[arg(
        long,
        value_name = "N",
        requires = "profile",
        conflicts_with = "plan",
        help_heading = "On the engine"
    )]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub(crate) steps: Option<usize>,
    /// Threads [default: one for each processor]
    #[arg(
        long,
        value_name = "N",
        requires = "engine",
        help_heading = "On the engine"
    )]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// Vector instructions [default: the fastest that the processor has]
    #[arg(
        long,
        value_enum,
        value_name = "ISA",
        requires = "profile",
        conflicts_with = "plan"
    )]
    #[arg(help_heading = "On the engine")]
    pub(crate) isa: Option<IsaName>,
}

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsaName {
    Avx512,
    Avx2,
    Portable,
}

impl From<IsaName> for Isa {
    fn from(name: IsaName) -> Isa {
        match name {
            IsaName::Avx512 => Isa::Avx512,
            IsaName::Avx2 => Isa::Avx2,
            IsaName::Portable => Isa::Portable,
        }
    }
}

/// The stem of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StemName {
    Native,
    Cifar,
}

impl From<StemName> for Stem {
    fn from(name: StemName) -> Stem {
        match name {
            StemName::Native => Stem::Native,
            StemName::Cifar => Stem::Cifar,
        }
    }
}
