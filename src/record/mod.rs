//! The record beside an edited file: what was done, and the bytes that take it back.

mod fingerprint;
mod history;
mod mask;
mod old;
mod run;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Tensor};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::file;
use crate::regen::{Mask, Options, OptionsText, Plan};
use crate::storage::Kept;

pub(crate) use fingerprint::fingerprint;
pub use history::{Replaced, is_edited, recorded, replaced};
pub(crate) use mask::check_mask;
pub use mask::{Known, MaskFile, known_mask};
pub(crate) use old::OldBytes;

const VERSION: u32 = 1;

/// Old bytes of the γ of the largest networks, many times over.
const MAX_LEN: u64 = 1 << 30;

/// Stands for the state dict of what an optimizer keeps.
pub(crate) const OPTIMIZER: &str = "(optimizer)";

/// All edits that can be taken back, the last one last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// The file that was edited, relative to the record.
    file: String,
    pub(crate) edits: Vec<Edit>,
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edit {
    tool: String,
    root: String,
    /// The rule that regenerated; `None` where channels were pruned.
    #[serde(flatten)]
    options: Option<OptionsText>,
    /// How channels were pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pruning: Option<Pruning>,
    include: Vec<String>,
    exclude: Vec<String>,
    threshold: Option<f64>,
    target: Option<f64>,
    /// How many channels changed.
    pub(crate) regenerated: usize,
    /// Of all γ of the network, in bytes, before and after; of a pruning also of β and the filters.
    pub(crate) sha256_before: String,
    pub(crate) sha256_after: String,
    /// The tensors that these cover.
    gamma: Vec<TensorName>,
    /// The channels of the network that are pruned after this edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mask: Option<Mask>,
    /// Of what the optimizer keeps for the γ that changed, after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optimizer_sha256_after: Option<String>,
    /// The bytes of those that changed, before.
    pub(crate) old: Vec<OldBytes>,
}

/// A tensor by name, so that an edit can be taken back wherever in the file it lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct TensorName {
    /// The state dict, empty for a flat file.
    pub(crate) dict: String,
    pub(crate) name: String,
}

/// How channels were pruned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pruning {
    pub(crate) method: String,
    pub(crate) ratio: f64,
    pub(crate) norm_ratio: f64,
    pub(crate) min_channels: usize,
    pub(crate) filters_only: bool,
    /// In how many layers.
    pub(crate) layers: usize,
}

/// Where the record of the edits of `anchor` stands, or would: `.ckpt-regen/NAME.json`. One of an
/// earlier version (`NAME.regen.json`) is found too.
pub fn record_path(anchor: &Path) -> PathBuf {
    Kept::Record.found(anchor)
}

/// The record of a checkpoint, and where it is kept.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where it is read.
    pub(crate) read: PathBuf,
    /// Where it is written.
    pub(crate) write: PathBuf,
}

impl Place {
    /// The record of the edits of `anchor`, or the one that was named instead.
    pub(crate) fn of(anchor: &Path, named: Option<&Path>) -> Place {
        match named {
            Some(path) => Place {
                read: path.to_owned(),
                write: path.to_owned(),
            },
            None => Place {
                read: record_path(anchor),
                write: Kept::Record.path(anchor),
            },
        }
    }
}

impl Record {
    /// The record at `path`, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Option<Record>> {
        let expected = "a record of ckpt-regen (if it is none, move it away)";
        let damaged =
            |found: &dyn std::fmt::Display| Error::malformed(path, "record", expected, found);
        let text = match file::read_small_file(path, MAX_LEN) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) if err.kind() == io::ErrorKind::InvalidData => return Err(damaged(&err)),
            Err(err) => return Err(Error::io("read", path)(err)),
            Ok(text) => text,
        };
        let record: Record = serde_json::from_str(&text).map_err(|err| damaged(&err))?;
        if record.version != VERSION || record.edits.is_empty() {
            let found = format!("version {}, {} edits", record.version, record.edits.len());
            return Err(damaged(&found));
        }
        Ok(Some(record))
    }

    /// A record at `path` of no edit of `anchor` yet.
    pub(crate) fn new(anchor: &Path, path: &Path) -> Record {
        Record {
            version: VERSION,
            file: relative(anchor, path),
            edits: Vec::new(),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a record is plain JSON");
        json.push(b'\n');
        json
    }
}

/// `anchor` as seen from the directory of `path`, or else its name.
fn relative(anchor: &Path, path: &Path) -> String {
    let name = anchor.file_name().unwrap_or_default();
    let (home, folder) = (file::directory(anchor), file::directory(path));
    let seen = match folder.strip_prefix(home) {
        Ok(inside) => {
            let up = inside.components().map(|_| "..");
            up.collect::<PathBuf>().join(name)
        }
        Err(_) => name.into(),
    };
    seen.to_string_lossy().into_owned()
}

/// Tensors with the bytes that they had before an edit.
pub(crate) type Restored<'c> = Vec<(&'c Tensor, Vec<u8>)>;

/// An edit that is about to be carried out.
pub(crate) struct Made<'e> {
    /// The network.
    pub(crate) root: &'e str,
    pub(crate) by: By<'e>,
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) plan: Option<&'e Plan>,
    /// How many channels change.
    pub(crate) channels: usize,
    /// All γ of the network, and whatever else of it changes.
    pub(crate) tensors: Vec<Held<'e>>,
    /// What changes of an optimizer's state.
    pub(crate) slots: Vec<Held<'e>>,
    /// The pruned channels after it, where there are any.
    pub(crate) mask: Option<&'e Mask>,
}

/// By what an edit is made.
pub(crate) enum By<'e> {
    /// A rule of regeneration.
    Rule(&'e Options),
    /// A pruning.
    Pruning(Pruning),
    /// Nothing: it carries a mask over to a copy.
    Nothing,
}

/// The bytes of a tensor, before and after.
pub(crate) struct Held<'e> {
    /// The state dict, empty for a flat file.
    pub(crate) dict: &'e str,
    pub(crate) name: &'e str,
    pub(crate) dtype: Dtype,
    pub(crate) before: &'e [u8],
    /// The same as before where the tensor does not change.
    pub(crate) after: &'e [u8],
    /// Keep only the bytes that change, not the whole tensor.
    pub(crate) large: bool,
}

impl Held<'_> {
    fn tensor(&self) -> TensorName {
        TensorName {
            dict: self.dict.to_owned(),
            name: self.name.to_owned(),
        }
    }
}

/// Name and version of this program, as it signs its files.
pub(crate) fn tool() -> String {
    format!("ckpt-regen {}", env!("CARGO_PKG_VERSION"))
}

impl Edit {
    pub(crate) fn new<'e>(made: &'e Made<'e>) -> Edit {
        let fingerprint_of = |held: &'e [Held<'e>], bytes: fn(&'e Held<'e>) -> &'e [u8]| {
            fingerprint(held.iter().map(|held| (held.name, held.dtype, bytes(held))))
        };
        let changed = made
            .tensors
            .iter()
            .filter(|tensor| tensor.before != tensor.after);
        let old = |held: &Held<'_>, tensor: TensorName| {
            if held.large {
                OldBytes::changed(tensor, held.before, held.after)
            } else {
                OldBytes::whole(tensor, held.before)
            }
        };
        let slot = |slot: &Held<'_>| TensorName {
            dict: OPTIMIZER.to_owned(),
            name: slot.name.to_owned(),
        };
        Edit {
            tool: tool(),
            root: made.root.to_owned(),
            options: match made.by {
                By::Rule(options) => Some(OptionsText::from(options)),
                By::Pruning(_) | By::Nothing => None,
            },
            pruning: match &made.by {
                By::Rule(_) | By::Nothing => None,
                By::Pruning(pruning) => Some(pruning.clone()),
            },
            include: made.include.clone(),
            exclude: made.exclude.clone(),
            threshold: made.plan.and_then(|plan| plan.threshold),
            target: made.plan.and_then(|plan| plan.target),
            regenerated: made.channels,
            sha256_before: fingerprint_of(&made.tensors, |held| held.before),
            sha256_after: fingerprint_of(&made.tensors, |held| held.after),
            gamma: made.tensors.iter().map(Held::tensor).collect(),
            mask: made.mask.cloned(),
            optimizer_sha256_after: (!made.slots.is_empty())
                .then(|| fingerprint_of(&made.slots, |held| held.after)),
            old: changed
                .map(|gamma| old(gamma, gamma.tensor()))
                .chain(made.slots.iter().map(|held| old(held, slot(held))))
                .collect(),
        }
    }

    /// The fingerprint, now, of the tensors that this edit covers; `None` when one is missing.
    pub(crate) fn fingerprint_now(&self, checkpoint: &Checkpoint) -> Result<Option<String>> {
        self.fingerprint_with(checkpoint, &HashMap::new())
    }

    /// The fingerprint that they will have when the old bytes are back.
    pub(crate) fn fingerprint_restored(&self, checkpoint: &Checkpoint) -> Result<Option<String>> {
        let old = self.old.iter().map(|old| (&old.tensor, old)).collect();
        self.fingerprint_with(checkpoint, &old)
    }

    fn fingerprint_with(
        &self,
        checkpoint: &Checkpoint,
        instead: &HashMap<&TensorName, &OldBytes>,
    ) -> Result<Option<String>> {
        let index = Index::of(checkpoint);
        let mut gammas = Vec::with_capacity(self.gamma.len());
        for name in &self.gamma {
            let Some(tensor) = index.find(name) else {
                return Ok(None);
            };
            let now = checkpoint.read(tensor)?;
            let bytes = match instead.get(name) {
                Some(old) => old.in_place_of(now),
                None => Some(now),
            };
            let Some(bytes) = bytes else {
                return Ok(None);
            };
            gammas.push((&name.name[..], tensor.dtype, bytes));
        }
        let gammas = gammas
            .iter()
            .map(|(name, dtype, bytes)| (*name, *dtype, &bytes[..]));
        Ok(Some(fingerprint(gammas)))
    }

    /// By which options it was made, if it was of all layers.
    pub(crate) fn options(&self) -> Option<Options> {
        let whole = self.include.is_empty() && self.exclude.is_empty();
        whole.then(|| self.options.as_ref()?.parse().ok())?
    }

    /// Whether it reset a part of the optimizer's state.
    pub(crate) fn changed_optimizer(&self) -> bool {
        self.optimizer_sha256_after.is_some()
    }

    /// Whether the optimizer's state, as far as it was changed, is what this edit left.
    pub(crate) fn slots_as_left(&self, checkpoint: &Checkpoint) -> Result<bool> {
        let Some(expected) = &self.optimizer_sha256_after else {
            return Ok(true);
        };
        let index = Index::of(checkpoint);
        let mut slots = Vec::new();
        for old in self.old.iter().filter(|old| old.tensor.dict == OPTIMIZER) {
            let Some(tensor) = index.find(&old.tensor) else {
                return Ok(false);
            };
            slots.push((&old.tensor.name[..], tensor.dtype, checkpoint.read(tensor)?));
        }
        let slots = slots
            .iter()
            .map(|(name, dtype, bytes)| (*name, *dtype, &bytes[..]));
        Ok(fingerprint(slots) == *expected)
    }

    /// How many layers it changed.
    pub(crate) fn layers(&self) -> usize {
        if let Some(pruning) = &self.pruning {
            return pruning.layers;
        }
        self.old
            .iter()
            .filter(|old| old.tensor.dict != OPTIMIZER)
            .count()
    }

    /// The tensors to restore, with their old bytes; `None` when the record names one that this
    /// edit cannot have changed.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn old_tensors<'c>(
        &'c self,
        checkpoint: &'c Checkpoint,
    ) -> Result<Option<Restored<'c>>> {
        let index = Index::of(checkpoint);
        let gammas: HashSet<&TensorName> = self.gamma.iter().collect();
        let mut seen = HashSet::new();
        let mut restored = Vec::with_capacity(self.old.len());
        for old in &self.old {
            let ours = gammas.contains(&old.tensor) || old.tensor.dict == OPTIMIZER;
            let tensor = index
                .find(&old.tensor)
                .filter(|_| ours && seen.insert(&old.tensor));
            let Some(tensor) = tensor else {
                return Ok(None);
            };
            let Some(bytes) = old.in_place_of(checkpoint.read(tensor)?) else {
                return Ok(None);
            };
            restored.push((tensor, bytes));
        }
        Ok(Some(restored))
    }
}

/// The tensors of a checkpoint, and of its optimizer, by name.
struct Index<'c>(HashMap<(&'c str, &'c str), &'c Tensor>);

impl<'c> Index<'c> {
    fn of(checkpoint: &'c Checkpoint) -> Index<'c> {
        let mut index = HashMap::new();
        for dict in checkpoint.dicts() {
            for tensor in &dict.tensors {
                index.insert((&dict.root[..], &tensor.name[..]), tensor);
            }
        }
        for slot in checkpoint.training().slots() {
            index.insert((OPTIMIZER, &slot.name[..]), slot);
        }
        Index(index)
    }

    fn find(&self, name: &TensorName) -> Option<&'c Tensor> {
        self.0.get(&(&name.dict[..], &name.name[..])).copied()
    }
}
