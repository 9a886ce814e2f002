//! All that is no γ: equal or not, by bytes.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Serialize;

use super::pairs::pairs;
use crate::checkpoint::{Checkpoint, StateDict, Tensor};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Progress;

/// Bytes read of either file at a time.
const CHUNK: u64 = 1 << 20;

/// What an optimizer keeps, as in the record of an edit.
const OPTIMIZER: &str = "(optimizer)";

/// Tensors of both checkpoints beside each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tensors {
    /// How many are of one type and shape and have the same bytes.
    pub equal: usize,
    /// Those of one type and shape whose bytes differ.
    pub changed: Vec<TensorName>,
    /// Those of the first that the second has not.
    pub only_in_a: Vec<TensorName>,
    /// The other way round.
    pub only_in_b: Vec<TensorName>,
    /// Those of different types or shapes.
    pub incompatible: Vec<Mismatch>,
    /// What could not be compared.
    pub not_compared: Vec<Uncompared>,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorName {
    /// The state dict that it lies in, empty for a flat file; `(optimizer)` for what an optimizer
    /// keeps.
    pub root: String,
    /// Its name there.
    pub name: String,
}

/// A tensor that has another type or shape in the second checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mismatch {
    /// Which.
    #[serde(flatten)]
    pub tensor: TensorName,
    /// Type and shape in the first.
    pub a: String,
    /// Type and shape in the second.
    pub b: String,
}

/// What could not be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Uncompared {
    /// Which.
    #[serde(flatten)]
    pub tensor: TensorName,
    /// Why.
    pub reason: String,
}

/// The tensors that were compared as γ, by identity.
#[derive(Default)]
pub(super) struct Gammas(HashSet<*const Tensor>);

impl Gammas {
    pub(super) fn add(&mut self, tensors: Vec<&Tensor>) {
        self.0.extend(tensors.into_iter().map(std::ptr::from_ref));
    }

    /// Adds the other names of what was compared.
    pub(super) fn add_ties(&mut self, checkpoint: &Checkpoint) {
        let place = |tensor: &Tensor| (tensor.source, tensor.offset, tensor.len);
        let tensors = || checkpoint.dicts().iter().flat_map(|dict| &dict.tensors);
        let known: HashSet<_> = tensors().filter(|t| self.holds(t)).map(place).collect();
        let ties = tensors().filter(|t| t.len > 0 && known.contains(&place(t)));
        self.add(ties.collect());
    }

    fn holds(&self, tensor: &Tensor) -> bool {
        self.0.contains(&std::ptr::from_ref(tensor))
    }
}

impl Tensors {
    pub(super) fn all_equal(&self) -> bool {
        self.changed.is_empty()
            && self.only_in_a.is_empty()
            && self.only_in_b.is_empty()
            && self.incompatible.is_empty()
            && self.not_compared.is_empty()
    }
}

impl TensorName {
    fn new(root: &str, name: &str) -> TensorName {
        TensorName {
            root: root.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// Something of both whose bytes are to be compared.
struct Pair<'c> {
    name: TensorName,
    content: Content<'c>,
}

enum Content<'c> {
    /// Of one type and shape.
    Tensors(&'c Tensor, &'c Tensor),
    /// Of one name.
    Files(Source, Source),
}

pub(super) fn compare(
    a: &Checkpoint,
    b: &Checkpoint,
    gammas: &Gammas,
    progress: Progress<'_>,
) -> Result<Tensors> {
    let mut found = Tensors::default();
    let mut pending = Vec::new();
    let dicts = pairs(a.dicts(), b.dicts(), |dict| (&dict.root, dict.role));
    let rest = |dict: &'_ StateDict| -> Vec<TensorName> {
        let tensors = dict.tensors.iter().filter(|tensor| !gammas.holds(tensor));
        tensors
            .map(|tensor| TensorName::new(&dict.root, &tensor.name))
            .collect()
    };
    for (of_a, of_b) in dicts.both {
        let others = |dict: &'_ StateDict| -> Vec<usize> {
            (0..dict.tensors.len())
                .filter(|i| !gammas.holds(&dict.tensors[*i]))
                .collect()
        };
        let in_a = others(of_a).into_iter().map(|i| &of_a.tensors[i]);
        let in_b = others(of_b).into_iter().map(|i| &of_b.tensors[i]);
        found.sort_out(
            &of_a.root,
            in_a.collect(),
            &of_b.root,
            in_b.collect(),
            &mut pending,
        );
    }
    found
        .only_in_a
        .extend(dicts.only_a.into_iter().flat_map(rest));
    found
        .only_in_b
        .extend(dicts.only_b.into_iter().flat_map(rest));
    let (slots_a, slots_b) = (
        a.training().slots().collect(),
        b.training().slots().collect(),
    );
    found.sort_out(OPTIMIZER, slots_a, OPTIMIZER, slots_b, &mut pending);
    found.sort_out_files(a.other_files(), b.other_files(), &mut pending)?;

    let total: u64 = pending.iter().map(|pair| pair.content.len()).sum();
    let mut done = 0;
    for pair in pending {
        let len = pair.content.len();
        let same = pair
            .content
            .is_equal(a, b, &|bytes| progress(done + bytes, total))?;
        done += len;
        if same {
            found.equal += 1;
        } else {
            found.changed.push(pair.name);
        }
    }
    Ok(found)
}

impl Tensors {
    /// Sets aside what need not be read; the rest is `pending`.
    fn sort_out<'c>(
        &mut self,
        root_a: &str,
        in_a: Vec<&'c Tensor>,
        root_b: &str,
        in_b: Vec<&'c Tensor>,
        pending: &mut Vec<Pair<'c>>,
    ) {
        let mut left: HashMap<&str, &Tensor> = in_b
            .iter()
            .map(|tensor| (&tensor.name[..], *tensor))
            .collect();
        for tensor in in_a {
            let name = TensorName::new(root_a, &tensor.name);
            let Some(other) = left.remove(&tensor.name[..]) else {
                self.only_in_a.push(name);
                continue;
            };
            if tensor.dtype != other.dtype || tensor.shape != other.shape {
                self.incompatible.push(Mismatch {
                    tensor: name,
                    a: kind(tensor),
                    b: kind(other),
                });
            } else if let Some(reason) = why_not(tensor, other) {
                self.not_compared.push(Uncompared {
                    tensor: name,
                    reason,
                });
            } else {
                let content = Content::Tensors(tensor, other);
                pending.push(Pair { name, content });
            }
        }
        let only_in_b = in_b
            .iter()
            .filter(|tensor| left.contains_key(&tensor.name[..]));
        self.only_in_b
            .extend(only_in_b.map(|tensor| TensorName::new(root_b, &tensor.name)));
    }

    /// The same for data files of ONNX models that hold no γ, and of which there is no table.
    fn sort_out_files(
        &mut self,
        in_a: &[PathBuf],
        in_b: &[PathBuf],
        pending: &mut Vec<Pair<'_>>,
    ) -> Result<()> {
        let name = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default();
            TensorName::new("", &name.to_string_lossy())
        };
        for file in in_a {
            let Some(other) = in_b
                .iter()
                .find(|other| other.file_name() == file.file_name())
            else {
                self.only_in_a.push(name(file));
                continue;
            };
            pending.push(Pair {
                name: name(file),
                content: Content::Files(Source::open(file)?, Source::open(other)?),
            });
        }
        let missing = in_b.iter().filter(|file| {
            in_a.iter()
                .all(|other| other.file_name() != file.file_name())
        });
        self.only_in_b.extend(missing.map(name));
        Ok(())
    }
}

impl Content<'_> {
    fn len(&self) -> u64 {
        match self {
            Content::Tensors(a, _) => a.len,
            Content::Files(a, _) => a.len(),
        }
    }

    fn is_equal(
        &self,
        a: &Checkpoint,
        b: &Checkpoint,
        progress: &dyn Fn(u64) -> ControlFlow<()>,
    ) -> Result<bool> {
        match self {
            // Not in one piece: read as a whole.
            Content::Tensors(of_a, of_b)
                if of_a.scattered.is_some() || of_b.scattered.is_some() =>
            {
                Ok(a.read(of_a)? == b.read(of_b)?)
            }
            Content::Tensors(of_a, of_b) => same_range(
                (&a.sources()[of_a.source], of_a.offset, of_a.len),
                (&b.sources()[of_b.source], of_b.offset, of_b.len),
                progress,
            ),
            Content::Files(a, b) => same_range((a, 0, a.len()), (b, 0, b.len()), progress),
        }
    }
}

/// Type and shape, as `F32 [16, 3, 3, 3]`.
fn kind(tensor: &Tensor) -> String {
    format!("{} {:?}", tensor.dtype, tensor.shape)
}

/// Why the bytes of two tensors do not tell whether they are equal.
fn why_not(a: &Tensor, b: &Tensor) -> Option<String> {
    let elements = a.shape.iter().try_fold(1_u64, |n, dim| n.checked_mul(*dim));
    let dense = elements
        .and_then(|n| n.checked_mul(a.dtype.bits()))
        .map(|bits| bits.div_ceil(8));
    match (&a.fixed, &b.fixed) {
        (None, None) => None,
        // Laid out alike, without gaps between the elements: the bytes are the elements.
        (Some(of_a), Some(of_b)) if of_a == of_b && a.len == b.len && Some(a.len) == dense => None,
        (Some(reason), _) => Some(format!("in A, {reason}")),
        (None, Some(reason)) => Some(format!("in B, {reason}")),
    }
}

/// Compares offset and length of two files, a piece at a time.
fn same_range(
    (a, start_a, len): (&Source, u64, u64),
    (b, start_b, len_b): (&Source, u64, u64),
    progress: &dyn Fn(u64) -> ControlFlow<()>,
) -> Result<bool> {
    if len != len_b {
        return Ok(false);
    }
    let mut at = 0;
    while at < len {
        let piece = CHUNK.min(len - at);
        let of_a = a.slice(start_a + at, piece as usize)?;
        if of_a != b.slice(start_b + at, piece as usize)? {
            return Ok(false);
        }
        at += piece;
        if progress(at).is_break() {
            return Err(Error::io("compare", a.path())(
                io::ErrorKind::Interrupted.into(),
            ));
        }
    }
    Ok(true)
}
