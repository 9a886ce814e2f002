//! The table of a checkpoint: state dicts of tensors, and where in which file each one's bytes lie.

use std::borrow::Cow;

use super::Role;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::file::Source;

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
    /// Which of [`Checkpoint::sources`](super::Checkpoint::sources) holds the bytes.
    pub source: usize,
    /// Offset of the first byte in that file.
    pub offset: u64,
    /// Length in bytes: of the elements, where they do not lie in one piece; of the range that they
    /// are spread over where [`fixed`](Self::fixed) says that they are strided.
    pub len: u64,
    /// Why the bytes are not simply the elements and cannot be edited; `None` where they can.
    pub fixed: Option<String>,
    /// The number by which the format knows where the elements lie, when that is not one piece of
    /// the file.
    pub(crate) scattered: Option<usize>,
    /// Steps between neighbours along each dimension, in elements, when the bytes are not in
    /// row-major order.
    pub(crate) strides: Option<Vec<u64>>,
}

impl StateDict {
    /// The only state dict of a file.
    pub(super) fn flat(tensors: Vec<Tensor>, ordered: bool) -> StateDict {
        StateDict {
            root: String::new(),
            tensors,
            ordered,
            role: Role::Raw,
        }
    }

    /// The path in its file of what stands at `inside`: the two joined with a dot.
    pub(crate) fn path_of(&self, inside: &str) -> String {
        let parts = [&self.root[..], inside].into_iter();
        parts
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>()
            .join(".")
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

    /// The bytes of one that lies in one piece.
    pub(super) fn piece(&self, source: &Source) -> Result<Vec<u8>> {
        source.read_at(self.offset, self.bytes(source)?)
    }

    /// The same, of the map of the file where there is one.
    pub(super) fn mapped<'s>(&self, source: &'s Source) -> Result<Cow<'s, [u8]>> {
        source.slice(self.offset, self.bytes(source)?)
    }

    fn bytes(&self, source: &Source) -> Result<usize> {
        usize::try_from(self.len).map_err(|_| {
            let found = format!("{} bytes", self.len);
            crate::Error::malformed(
                source.path(),
                &self.name,
                "a tensor that fits in memory",
                found,
            )
        })
    }

    pub(super) fn same_entry(&self, other: &Tensor) -> bool {
        self.name == other.name && self.dtype == other.dtype && self.shape == other.shape
    }

    pub(super) fn same_place(&self, other: &Tensor) -> bool {
        (self.source, self.offset, self.len) == (other.source, other.offset, other.len)
            && self.scattered == other.scattered
            && self.strides == other.strides
    }
}
