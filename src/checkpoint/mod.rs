//! A path → its format, by content → a table of tensors: name, type, shape and where the bytes lie.
//!
//! Only headers are read here. The bytes of a tensor are read when asked for
//! ([`Checkpoint::read`]), a few kilobytes for a γ, so that nothing depends on the file's size.

mod declared;
pub(crate) mod directory;
mod epochs;
mod foreign;
mod format;
mod newest;
mod npz;
mod onnx;
mod open;
mod optimizer;
mod patches;
mod resolve;
mod role;
mod safetensors;
mod shards;
mod table;
mod torch;
mod training;
mod unique;
mod weight;
mod zip;

use std::ops::Range;
use std::path::{Path, PathBuf};

pub(crate) use declared::DeclaredNorm;
pub(crate) use directory::TrainerState;
pub use epochs::{Epochs, Number};
pub use format::FormatName;
pub use newest::newest;
#[cfg(feature = "train")]
pub(crate) use onnx::{Attribute, Dim, Elements, Node, Program, Type};
pub(crate) use optimizer::Slot;
pub(crate) use patches::Patches;
pub(crate) use resolve::model_file;
pub use role::Role;
pub(crate) use role::{Mark, marked};
pub(crate) use shards::is_index;
pub use table::{StateDict, Tensor};
#[cfg(feature = "train")]
pub(crate) use torch::{Pickled, Value};
pub(crate) use training::SlotTensor;
pub use training::Training;
pub use weight::Weight;

pub use crate::dtype::Dtype;
pub use crate::file::{Reading, Source};

use crate::error::Result;
use declared::Declared;
use format::{Contents, DataFiles};

/// An opened checkpoint: one file, the files of a shard set, or a model with its data files.
///
/// ```
/// # fn main() -> Result<(), ckpt_regen::Error> {
/// use ckpt_regen::Checkpoint;
///
/// // Headers are read, no tensor.
/// let checkpoint = Checkpoint::open("fixtures/mobilenet_v2_025/model.safetensors")?;
/// assert_eq!(checkpoint.format().to_string(), "safetensors");
/// assert_eq!(checkpoint.dicts().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    /// What the user named.
    path: PathBuf,
    anchor: PathBuf,
    format: FormatName,
    index: Option<Source>,
    /// Files of the model first, then companions (an optimizer's file).
    sources: Vec<Source>,
    /// How many of them are the model's.
    model_sources: usize,
    dicts: Vec<StateDict>,
    training: Training,
    warnings: Vec<String>,
    notes: Vec<String>,
    parts: Vec<Part>,
    /// Which data files are among the sources.
    files: DataFiles,
}

/// A file of a checkpoint, with its data files.
#[derive(Debug)]
struct Part {
    sources: Range<usize>,
    contents: Box<dyn Contents>,
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
    pub fn format(&self) -> FormatName {
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
        self.model().map_or(&[], Contents::other_files)
    }

    /// All files that it consists of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let read = self.sources.iter().chain(self.index());
        let others = self.other_files().iter().map(PathBuf::as_path);
        read.map(Source::path).chain(others)
    }

    /// The BatchNorm layers that the file itself declares, where the format can do that.
    pub(crate) fn declared_norms(&self) -> Option<&[DeclaredNorm]> {
        Some(&self.declared()?.norms)
    }

    /// Whether an export folded BatchNorm into the convolutions.
    pub(crate) fn is_folded(&self) -> bool {
        self.declared().is_some_and(|declared| declared.folded)
    }

    fn declared(&self) -> Option<&Declared> {
        self.model()?.declared()
    }

    /// What the format knows of the model's first file.
    fn model(&self) -> Option<&dyn Contents> {
        Some(&*self.parts.first()?.contents)
    }

    /// Gives the maps of its files up, before one of them is replaced.
    pub(crate) fn unmap(&mut self) {
        self.sources.iter_mut().for_each(Source::unmap);
        self.index.iter_mut().for_each(Source::unmap);
    }

    /// Adds a file, with its data files.
    fn add(&mut self, sources: Vec<Source>, contents: Box<dyn Contents>) {
        let first = self.sources.len();
        self.sources.extend(sources);
        self.parts.push(Part {
            sources: first..self.sources.len(),
            contents,
        });
    }

    /// What may be a mistake of the user's, in sentences.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Facts about the files that a user should hear of before an edit.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The bytes of a tensor of this checkpoint, by positioned reads.
    pub fn read(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        let source = &self.sources[tensor.source];
        let part = self
            .parts
            .iter()
            .find(|part| part.sources.contains(&tensor.source));
        match part {
            Some(part) => part.contents.read(tensor, source),
            None => tensor.piece(source),
        }
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
