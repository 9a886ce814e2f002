//! A path → its format, by content → a table of tensors: name, type, shape and where the bytes lie.
//!
//! Only headers are read here. The bytes of a tensor are read when asked for
//! ([`Checkpoint::read`]), a few kilobytes for a γ, so that nothing depends on the file's size.

mod dtype;
mod resolve;
mod safetensors;
mod shards;
mod source;
mod unique;

use std::fmt;
use std::path::{Path, PathBuf};

pub use dtype::Dtype;
pub(crate) use resolve::model_file;
pub use source::Source;

use crate::error::{Error, Result};
use crate::storage::Patch;

/// An opened checkpoint: one file, or the files of a shard set.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the user named.
    path: PathBuf,
    anchor: PathBuf,
    format: Format,
    index: Option<Source>,
    sources: Vec<Source>,
    dicts: Vec<StateDict>,
}

/// The format of a checkpoint, found by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// A `model.safetensors.index.json` and its shards.
    ShardedSafetensors,
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
    /// Length in bytes.
    pub len: u64,
}

/// Which tensor of a checkpoint: state dict and number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TensorAt {
    pub(crate) dict: usize,
    pub(crate) tensor: usize,
}

impl Checkpoint {
    /// Opens a file, a shard index or a directory and reads its table of tensors.
    ///
    /// In a directory the model is the first of `model.safetensors.index.json`,
    /// `model.safetensors`, `pytorch_model.bin.index.json`, `pytorch_model.bin`; a directory that
    /// holds both safetensors and `.bin`, or none of the four, is an error that lists what is there.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        let anchor = resolve::model_file(path)?;
        let (format, index, sources, tensors) = if shards::is_index(&anchor) {
            let set = shards::open(&anchor)?;
            (
                Format::ShardedSafetensors,
                Some(set.index),
                set.sources,
                set.tensors,
            )
        } else {
            let source = Source::open(&anchor)?;
            let tensors = safetensors::read_table(&source, 0)?;
            (Format::Safetensors, None, vec![source], tensors)
        };
        let dicts = vec![StateDict {
            root: String::new(),
            tensors,
            ordered: false,
        }];
        Ok(Checkpoint {
            path: path.to_owned(),
            anchor,
            format,
            index,
            sources,
            dicts,
        })
    }

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

    /// Reads the tables of `paths`, which stand for [`sources`](Self::sources), as this checkpoint
    /// was read: what was staged for it, say.
    pub(crate) fn reread(&self, paths: &[PathBuf]) -> Result<Checkpoint> {
        let (mut sources, mut tensors) = (Vec::new(), Vec::new());
        for path in paths {
            let source = Source::open(path)?;
            tensors.extend(safetensors::read_table(&source, sources.len())?);
            sources.push(source);
        }
        let dicts = vec![StateDict {
            root: String::new(),
            tensors,
            ordered: false,
        }];
        let (path, anchor) = (self.path.clone(), self.anchor.clone());
        Ok(Checkpoint {
            path,
            anchor,
            format: self.format,
            index: None,
            sources,
            dicts,
        })
    }

    /// The bytes of a tensor of this checkpoint.
    pub fn read(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        let source = &self.sources[tensor.source];
        let len = usize::try_from(tensor.len).map_err(|_| {
            let found = format!("{} bytes", tensor.len);
            Error::malformed(
                source.path(),
                &tensor.name,
                "a tensor that fits in memory",
                found,
            )
        })?;
        source.read_at(tensor.offset, len)
    }

    /// The patches, one list for each of [`sources`](Self::sources), that give these tensors new
    /// bytes of the same length.
    pub(crate) fn patches(&self, changes: &[(TensorAt, &[u8])]) -> Result<Vec<Vec<Patch>>> {
        let mut patches = vec![Vec::new(); self.sources.len()];
        for (at, new) in changes {
            let tensor = &self.dicts[at.dict].tensors[at.tensor];
            let old = self.read(tensor)?;
            assert_eq!(
                old.len(),
                new.len(),
                "{}: an edit keeps the length",
                tensor.name
            );
            patches[tensor.source].push(Patch {
                offset: tensor.offset,
                old,
                new: new.to_vec(),
            });
        }
        Ok(patches)
    }

    /// Whether `other` has the same tensors at the same places in files of the same length.
    pub(crate) fn same_table(&self, other: &Checkpoint) -> bool {
        let lengths = |c: &Checkpoint| c.sources.iter().map(Source::len).collect::<Vec<_>>();
        self.format == other.format
            && lengths(self) == lengths(other)
            && self.dicts.len() == other.dicts.len()
            && self.dicts.iter().zip(&other.dicts).all(|(a, b)| {
                a.root == b.root
                    && a.tensors.len() == b.tensors.len()
                    && a.tensors
                        .iter()
                        .zip(&b.tensors)
                        .all(|(a, b)| a.same_place(b))
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

    fn same_place(&self, other: &Tensor) -> bool {
        self.name == other.name
            && self.dtype == other.dtype
            && self.shape == other.shape
            && (self.source, self.offset, self.len) == (other.source, other.offset, other.len)
    }
}

impl Format {
    /// The name used in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::ShardedSafetensors => "safetensors-sharded",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Safetensors => "safetensors",
            Format::ShardedSafetensors => "sharded safetensors",
        })
    }
}
