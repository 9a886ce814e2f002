//! A path → its format, by content → a table of tensors: name, type, shape and where the bytes lie.
//!
//! Only headers are read here. The bytes of a tensor are read when asked for
//! ([`Checkpoint::read`]), a few kilobytes for a γ, so that nothing depends on the file's size.

mod epochs;
mod foreign;
mod newest;
mod onnx;
mod open;
mod patches;
mod resolve;
mod role;
pub(crate) mod run;
mod safetensors;
mod shards;
mod torch;
mod trainer;
mod training;
mod unique;
mod weight;

use std::fmt;
use std::path::{Path, PathBuf};

pub use epochs::Epochs;
pub(crate) use newest::newest;
pub(crate) use onnx::DeclaredNorm;
#[cfg(feature = "train")]
pub(crate) use onnx::{Attribute, Dim, Elements, Node, Program, Type};
pub(crate) use patches::Patches;
pub(crate) use resolve::model_file;
pub use role::Role;
pub(crate) use role::{Mark, marked};
#[cfg(feature = "train")]
pub(crate) use torch::{Pickled, Slot, Value};
pub(crate) use trainer::TrainerState;
pub(crate) use training::SlotTensor;
pub use training::Training;
pub use weight::Weight;

pub use crate::dtype::Dtype;
pub use crate::file::Source;

use crate::error::{Error, Result};

/// An opened checkpoint: one file, the files of a shard set, or a model with its data files.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the user named.
    path: PathBuf,
    anchor: PathBuf,
    format: Format,
    index: Option<Source>,
    /// Files of the model first, then companions (an optimizer's file).
    sources: Vec<Source>,
    /// How many of them are the model's.
    model_sources: usize,
    dicts: Vec<StateDict>,
    training: Training,
    warnings: Vec<String>,
    notes: Vec<String>,
    parts: Parts,
}

/// What an edit of a format has to know beside the table.
#[derive(Debug, Default)]
struct Parts {
    /// Of each source that PyTorch wrote: its directory, and who else uses its bytes.
    torch: Vec<Option<TorchParts>>,
    onnx: Option<OnnxParts>,
}

#[derive(Debug)]
struct TorchParts {
    zip: Option<torch::Directory>,
    uses: torch::Uses,
}

#[derive(Debug)]
struct OnnxParts {
    norms: Vec<onnx::DeclaredNorm>,
    folded: bool,
    checksums: Vec<onnx::Checksum>,
    /// Data files that hold no γ.
    others: Vec<PathBuf>,
    /// Tensors that lie in those; their source is an index into them.
    elsewhere: Vec<Tensor>,
    /// Other names of tensors of the table.
    aliases: Vec<Tensor>,
    /// Which data files are among the sources.
    files: onnx::Files,
}

/// The format of a checkpoint, found by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// A `model.safetensors.index.json` and its shards.
    ShardedSafetensors,
    /// A zip archive that `torch.save` wrote (PyTorch 1.6 and later).
    PytorchZip,
    /// Pickles that `torch.save` wrote (before PyTorch 1.6).
    PytorchLegacy,
    /// A `pytorch_model.bin.index.json` and its shards.
    ShardedPytorch,
    /// An ONNX model, with its data files.
    Onnx,
}

/// One network's worth of tensors: the whole of a flat file or shard set, or one of the state
/// dicts inside a training file.
#[derive(Debug)]
pub struct StateDict {
    /// Where it lies in its file (`model`, `model_ema`), empty for a flat file.
    pub root: String,
    /// The tensors, in the file's order.
    pub tensors: Vec<Tensor>,
    /// Whether that order is the network's own, as `state_dict()` gives it.
    pub ordered: bool,
    /// What the format says that it is for.
    pub role: Role,
}

/// One entry of the table.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Its name inside the state dict.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions; empty for a scalar.
    pub shape: Vec<u64>,
    /// Which of [`Checkpoint::sources`] holds the bytes.
    pub source: usize,
    /// Offset of the first byte in that file.
    pub offset: u64,
    /// Length in bytes: of the elements, where they do not lie in one piece; of the range that they
    /// are spread over where [`fixed`](Self::fixed) says that they are strided.
    pub len: u64,
    /// Why the bytes are not simply the elements and cannot be edited; `None` where they can.
    pub fixed: Option<String>,
    /// Where the elements lie, when that is not one piece of the file.
    pub(crate) place: Option<onnx::Place>,
    /// Steps between neighbours along each dimension, in elements, when the bytes are not in
    /// row-major order.
    pub(crate) strides: Option<Vec<u64>>,
}

impl StateDict {
    /// The path in its file of what stands at `inside`: the two joined with a dot.
    pub(crate) fn path_of(&self, inside: &str) -> String {
        let parts = [&self.root[..], inside].into_iter();
        parts
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>()
            .join(".")
    }
}

impl Checkpoint {
    /// The path as it was given to [`open`](Self::open).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file beside which record, journal and lock stand: the model file, or the index of a
    /// shard set.
    pub fn anchor(&self) -> &Path {
        &self.anchor
    }

    /// The format found.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The files that hold tensors.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The index of a shard set.
    pub fn index(&self) -> Option<&Source> {
        self.index.as_ref()
    }

    /// The state dicts, in the file's order.
    pub fn dicts(&self) -> &[StateDict] {
        &self.dicts
    }

    /// What the checkpoint says about the training run that wrote it.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// How many of [`sources`](Self::sources) are the model's; the rest are companions.
    pub(crate) fn model_sources(&self) -> usize {
        self.model_sources
    }

    /// Files that the model refers to and that hold no γ.
    pub(crate) fn other_files(&self) -> &[PathBuf] {
        self.parts.onnx.as_ref().map_or(&[], |onnx| &onnx.others)
    }

    /// All files that it consists of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let read = self.sources.iter().chain(self.index());
        let others = self.other_files().iter().map(PathBuf::as_path);
        read.map(Source::path).chain(others)
    }

    /// The BatchNorm layers that the format itself declares, as ONNX does.
    pub(crate) fn declared_norms(&self) -> Option<&[onnx::DeclaredNorm]> {
        self.parts.onnx.as_ref().map(|onnx| &onnx.norms[..])
    }

    /// Whether an export folded BatchNorm into the convolutions.
    pub(crate) fn is_folded(&self) -> bool {
        self.parts.onnx.as_ref().is_some_and(|onnx| onnx.folded)
    }

    /// What may be a mistake of the user's, in sentences.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Facts about the files that a user should hear of before an edit.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The bytes of a tensor of this checkpoint.
    pub fn read(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        tensor.read(&self.sources[tensor.source])
    }

    /// Whether `other` has the same tensors; unless an edit resized files, at the same places in
    /// files of the same length.
    pub(crate) fn same_table(&self, other: &Checkpoint, resized: bool) -> bool {
        let lengths = |c: &Checkpoint| c.sources.iter().map(Source::len).collect::<Vec<_>>();
        self.format == other.format
            && (resized || lengths(self) == lengths(other))
            && self.dicts.len() == other.dicts.len()
            && self.dicts.iter().zip(&other.dicts).all(|(a, b)| {
                a.root == b.root
                    && a.tensors.len() == b.tensors.len()
                    && a.tensors
                        .iter()
                        .zip(&b.tensors)
                        .all(|(a, b)| a.same_entry(b) && (resized || a.same_place(b)))
            })
    }
}

impl Tensor {
    /// Number of elements, when the tensor has one dimension.
    pub fn channels(&self) -> Option<u64> {
        match self.shape[..] {
            [n] => Some(n),
            _ => None,
        }
    }

    fn read(&self, source: &Source) -> Result<Vec<u8>> {
        let len = usize::try_from(self.len).map_err(|_| {
            let found = format!("{} bytes", self.len);
            Error::malformed(
                source.path(),
                &self.name,
                "a tensor that fits in memory",
                found,
            )
        })?;
        match &self.place {
            Some(place) => place.read(source, self.len),
            None => source.read_at(self.offset, len),
        }
    }

    fn same_entry(&self, other: &Tensor) -> bool {
        self.name == other.name && self.dtype == other.dtype && self.shape == other.shape
    }

    fn same_place(&self, other: &Tensor) -> bool {
        (self.source, self.offset, self.len) == (other.source, other.offset, other.len)
            && self.place == other.place
            && self.strides == other.strides
    }
}

impl Format {
    /// The name used in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::ShardedSafetensors => "safetensors-sharded",
            Format::PytorchZip => "pytorch-zip",
            Format::PytorchLegacy => "pytorch-legacy",
            Format::ShardedPytorch => "pytorch-sharded",
            Format::Onnx => "onnx",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Safetensors => "safetensors",
            Format::ShardedSafetensors => "sharded safetensors",
            Format::PytorchZip => "PyTorch",
            Format::PytorchLegacy => "PyTorch, legacy format",
            Format::ShardedPytorch => "sharded PyTorch",
            Format::Onnx => "ONNX",
        })
    }
}
