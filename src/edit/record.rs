//! The record beside an edited file: what was done, and the bytes that take it back.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fingerprint;
use super::optimizer::SlotReset;
use super::plan::Planned;
use super::plan_file::{OptionsText, tool};
use super::{Filter, base64_bytes};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::error::{Error, Result};
use crate::regen::Options;
use crate::storage::{self, Kept};

const VERSION: u32 = 1;

/// Old bytes of the γ of the largest networks, many times over.
const MAX_LEN: u64 = 1 << 30;

/// Stands for the state dict of what an optimizer keeps.
pub(super) const OPTIMIZER: &str = "(optimizer)";

/// All edits that can be taken back, the last one last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// The file that was edited, relative to the record.
    file: String,
    pub(super) edits: Vec<Edit>,
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Edit {
    tool: String,
    root: String,
    #[serde(flatten)]
    options: OptionsText,
    include: Vec<String>,
    exclude: Vec<String>,
    threshold: Option<f64>,
    target: Option<f64>,
    pub(super) regenerated: usize,
    /// Of all γ of the network, in bytes, before and after.
    pub(super) sha256_before: String,
    pub(super) sha256_after: String,
    /// The tensors that these cover.
    gamma: Vec<TensorName>,
    /// Of what the optimizer keeps for the γ that changed, after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optimizer_sha256_after: Option<String>,
    /// The bytes of those that changed, before.
    pub(super) old: Vec<OldBytes>,
}

/// A tensor by name, so that an edit can be taken back wherever in the file it lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct TensorName {
    /// The state dict, empty for a flat file.
    pub(super) dict: String,
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OldBytes {
    #[serde(flatten)]
    pub(super) tensor: TensorName,
    #[serde(with = "base64_bytes")]
    pub(super) bytes: Vec<u8>,
}

/// Where the record of the edits of `anchor` stands, or would: `.ckpt-regen/NAME.json`. One of an
/// earlier version (`NAME.regen.json`) is found too.
pub fn record_path(anchor: &Path) -> PathBuf {
    Kept::Record.found(anchor)
}

/// The record of a checkpoint, and where it is kept.
#[derive(Debug)]
pub(super) struct Place {
    /// Where it is read.
    pub(super) read: PathBuf,
    /// Where it is written.
    pub(super) write: PathBuf,
}

impl Place {
    /// The record of the edits of `anchor`, or the one that was named instead.
    pub(super) fn of(anchor: &Path, named: Option<&Path>) -> Place {
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
    pub(super) fn read(path: &Path) -> Result<Option<Record>> {
        let expected = "a record of ckpt-regen (if it is none, move it away)";
        let damaged =
            |found: &dyn std::fmt::Display| Error::malformed(path, "record", expected, found);
        let text = match storage::read_small_file(path, MAX_LEN) {
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
    pub(super) fn new(anchor: &Path, path: &Path) -> Record {
        Record {
            version: VERSION,
            file: relative(anchor, path),
            edits: Vec::new(),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a record is plain JSON");
        json.push(b'\n');
        json
    }
}

/// `anchor` as seen from the directory of `path`, or else its name.
fn relative(anchor: &Path, path: &Path) -> String {
    let name = anchor.file_name().unwrap_or_default();
    let (home, folder) = (storage::directory(anchor), storage::directory(path));
    let seen = match folder.strip_prefix(home) {
        Ok(inside) => {
            let up = inside.components().map(|_| "..");
            up.collect::<PathBuf>().join(name)
        }
        Err(_) => name.into(),
    };
    seen.to_string_lossy().into_owned()
}

impl Edit {
    pub(super) fn new<'r>(
        checkpoint: &Checkpoint,
        planned: &Planned,
        filter: &Filter,
        new_bytes: &[(&fingerprint::GammaBytes, Vec<u8>)],
        reset: &'r [SlotReset],
    ) -> Edit {
        let name = |gamma: &fingerprint::GammaBytes| TensorName {
            dict: checkpoint.dicts()[gamma.layer.dict].root.clone(),
            name: gamma.tensor.clone(),
        };
        let texts = |list: &[regex::Regex]| list.iter().map(|r| r.as_str().to_owned()).collect();
        let changed: HashMap<&str, &Vec<u8>> = new_bytes
            .iter()
            .map(|(gamma, bytes)| (&gamma.tensor[..], bytes))
            .collect();
        let after = planned.gammas.iter().map(|gamma| {
            let bytes = changed
                .get(&gamma.tensor[..])
                .copied()
                .unwrap_or(&gamma.bytes);
            (&gamma.tensor[..], gamma.dtype, &bytes[..])
        });
        let old = |(gamma, _): &(&fingerprint::GammaBytes, Vec<u8>)| OldBytes {
            tensor: name(gamma),
            bytes: gamma.bytes.clone(),
        };
        let slot = |reset: &SlotReset| OldBytes {
            tensor: TensorName {
                dict: OPTIMIZER.to_owned(),
                name: reset.tensor.name.clone(),
            },
            bytes: reset.old.clone(),
        };
        Edit {
            tool: tool(),
            root: planned.network.root.clone(),
            options: OptionsText::from(&planned.options),
            include: texts(&filter.include),
            exclude: texts(&filter.exclude),
            threshold: planned.plan.threshold,
            target: planned.plan.target,
            regenerated: planned.plan.regenerated(),
            sha256_before: fingerprint::of(&planned.gammas),
            sha256_after: fingerprint::fingerprint(after),
            gamma: planned.gammas.iter().map(name).collect(),
            optimizer_sha256_after: (!reset.is_empty()).then(|| {
                let after = |r: &'r SlotReset| (&r.tensor.name[..], r.tensor.dtype, &r.new[..]);
                fingerprint::fingerprint(reset.iter().map(after))
            }),
            old: new_bytes
                .iter()
                .map(old)
                .chain(reset.iter().map(slot))
                .collect(),
        }
    }

    /// The fingerprint, now, of the tensors that this edit covers; `None` when one is missing.
    pub(super) fn fingerprint_now(&self, checkpoint: &Checkpoint) -> Result<Option<String>> {
        self.fingerprint_with(checkpoint, &HashMap::new())
    }

    /// The fingerprint that they will have when the old bytes are back.
    pub(super) fn fingerprint_restored(&self, checkpoint: &Checkpoint) -> Result<Option<String>> {
        let old = self
            .old
            .iter()
            .map(|old| (&old.tensor, &old.bytes[..]))
            .collect();
        self.fingerprint_with(checkpoint, &old)
    }

    fn fingerprint_with(
        &self,
        checkpoint: &Checkpoint,
        instead: &HashMap<&TensorName, &[u8]>,
    ) -> Result<Option<String>> {
        let index = Index::of(checkpoint);
        let mut gammas = Vec::with_capacity(self.gamma.len());
        for name in &self.gamma {
            let Some(tensor) = index.find(name) else {
                return Ok(None);
            };
            let bytes = match instead.get(name) {
                Some(bytes) => bytes.to_vec(),
                None => checkpoint.read(tensor)?,
            };
            gammas.push((&name.name[..], tensor.dtype, bytes));
        }
        let gammas = gammas
            .iter()
            .map(|(name, dtype, bytes)| (*name, *dtype, &bytes[..]));
        Ok(Some(fingerprint::fingerprint(gammas)))
    }

    /// By which options it was made, if it was of all layers.
    pub(super) fn options(&self) -> Option<Options> {
        let whole = self.include.is_empty() && self.exclude.is_empty();
        whole.then(|| self.options.parse().ok())?
    }

    /// Whether it reset a part of the optimizer's state.
    pub(super) fn changed_optimizer(&self) -> bool {
        self.optimizer_sha256_after.is_some()
    }

    /// Whether the optimizer's state, as far as it was changed, is what this edit left.
    pub(super) fn slots_as_left(&self, checkpoint: &Checkpoint) -> Result<bool> {
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
        Ok(fingerprint::fingerprint(slots) == *expected)
    }

    /// How many layers it changed.
    pub(super) fn layers(&self) -> usize {
        self.old
            .iter()
            .filter(|old| old.tensor.dict != OPTIMIZER)
            .count()
    }

    /// The tensors to restore, with their old bytes; `None` when the record names one that this
    /// edit cannot have changed.
    pub(super) fn old_tensors<'c>(
        &'c self,
        checkpoint: &'c Checkpoint,
    ) -> Option<Vec<(&'c Tensor, &'c [u8])>> {
        let index = Index::of(checkpoint);
        let gammas: HashSet<&TensorName> = self.gamma.iter().collect();
        let mut seen = HashSet::new();
        let old = self.old.iter().map(|old| {
            let ours = gammas.contains(&old.tensor) || old.tensor.dict == OPTIMIZER;
            let tensor = index
                .find(&old.tensor)
                .filter(|_| ours && seen.insert(&old.tensor))?;
            (tensor.len == old.bytes.len() as u64).then_some((tensor, &old.bytes[..]))
        });
        old.collect()
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
