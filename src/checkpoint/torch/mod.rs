//! PyTorch checkpoints: what `torch.save` wrote, as zip archive (1.6 and later) or in the legacy
//! format → state dicts with the place of every tensor's bytes.
//!
//! Nothing of the pickle is executed. What torch would compute on loading is understood for plain
//! tensors and parameters, and left as an opaque record for everything else.

mod checksum;
mod epochs;
mod input;
mod layout;
mod legacy;
mod literal;
mod node;
mod opcode;
mod optimizer;
mod pickle;
#[cfg(feature = "train")]
mod pickled;
mod scalars;
mod state;
mod storage;
mod tensor;
#[cfg(test)]
mod tests;
mod uses;
mod value;

#[cfg(feature = "train")]
pub(crate) use pickled::Pickled;
#[cfg(feature = "train")]
pub(crate) use value::Value;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::epochs::{Epochs, Scalar};
use super::format::{self, Contents, Format, FormatName, Opening};
use super::optimizer::Optimizer;
use super::zip::{Directory, is_zip};
use super::{Patches, StateDict, Tensor, Training, foreign, patches};
use crate::error::{Error, Result};
use crate::file::Source;
use layout::Layout;
use legacy::MAX_PICKLE;
use storage::{Extent, Storages};
use tensor::Reader;
use uses::Uses;
use value::Saved;
#[cfg(not(feature = "train"))]
use value::Value;

const ZIP: FormatName = FormatName {
    name: "pytorch-zip",
    title: "PyTorch",
};
const LEGACY: FormatName = FormatName {
    name: "pytorch-legacy",
    title: "PyTorch, legacy format",
};
const SHARDS: FormatName = FormatName {
    name: "pytorch-sharded",
    title: "sharded PyTorch",
};

/// How to write an archive that can be edited.
const SAVE_AGAIN: &str = "save the checkpoint again with torch.save";

pub(super) struct Torch;

impl Format for Torch {
    fn detect(&self, source: &Source) -> Result<bool> {
        // A tar archive says so at 257.
        let prefix = source.slice(0, source.len().min(262) as usize)?;
        Ok(is_zip(&prefix) || is_pickle(&prefix) || is_tar(&prefix))
    }

    fn open(&self, file: Opening<'_>) -> Result<format::Opened> {
        let opened = open(&file.source, file.number)?;
        let mut notes = Vec::new();
        if let Some(first) = opened.unread.first() {
            let count = opened.unread.len();
            notes.push(format!(
                "{count} tensors are of kinds that are not read, such as {first}"
            ));
        }
        if opened.layout == Layout::Ultralytics {
            let note = "Ultralytics resumes from ema, which is the network that is edited";
            notes.push(note.to_owned());
        }
        Ok(format::Opened {
            format: match opened.zip {
                Some(_) => ZIP,
                None => LEGACY,
            },
            sources: vec![file.source],
            dicts: opened.dicts,
            training: Training {
                layout: opened.layout.name(),
                epochs: opened.epochs,
                scalars: opened.scalars,
                optimizers: opened.optimizers,
            },
            notes,
            contents: Box::new(Archive {
                source: file.number,
                zip: opened.zip,
                uses: opened.uses,
            }),
        })
    }

    fn file_names(&self) -> &'static [&'static str] {
        &["pytorch_model.bin", "pytorch_model.bin.index.json"]
    }

    fn shards(&self) -> Option<FormatName> {
        Some(SHARDS)
    }

    /// A distributed checkpoint (`.metadata`, `*.distcp`).
    fn refuse_directory(&self, names: &[String]) -> Option<String> {
        let is_part = |name: &&String| *name == ".metadata" || name.ends_with(".distcp");
        let part = names.iter().find(is_part)?;
        Some(format!(
            "is a distributed checkpoint (it holds {part}): convert it to one file with \
             python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
        ))
    }
}

/// What an edit has to know of a file beside its tensors.
#[derive(Debug)]
struct Archive {
    /// Which of the sources it is.
    source: usize,
    /// The archive's directory; `None` in the legacy format, which has no checksums.
    zip: Option<Directory>,
    /// Who else uses which bytes.
    uses: Uses,
}

impl Contents for Archive {
    fn patches(&self, sources: &[Source], changes: &[(&Tensor, &[u8])]) -> Result<Patches> {
        let mut all = patches::in_place(sources, changes)?;
        let own = &mut all.files[self.source];
        if let Some(zip) = &self.zip {
            own.extend(checksum::patches(&sources[self.source], zip, own)?);
            own.sort_by_key(|patch| patch.offset);
        }
        Ok(all)
    }

    fn shared(
        &self,
        dicts: &[StateDict],
        gammas: &HashSet<(usize, usize)>,
    ) -> HashMap<(usize, usize), String> {
        // The ranges of one file say nothing about those of another.
        let is_here = |(d, t): &(usize, usize)| dicts[*d].tensors[*t].source == self.source;
        let gammas: Vec<(usize, usize)> = gammas.iter().copied().filter(is_here).collect();
        let conflicts = self.uses.conflicts(dicts, &gammas);
        let conflict = |conflict: uses::Conflict| (conflict.gamma, conflict.with);
        conflicts.into_iter().map(conflict).collect()
    }
}

/// An opened PyTorch file.
#[derive(Debug)]
struct Opened {
    /// The state dicts, in the object's order; those without a BatchNorm too.
    dicts: Vec<StateDict>,
    layout: Layout,
    /// Finished epochs, where the layout says it.
    epochs: Option<Epochs>,
    /// The numbers beside the weights.
    scalars: Vec<Scalar>,
    /// The optimizers' states, or why one cannot be read.
    optimizers: Vec<Result<Optimizer>>,
    /// Tensors of kinds that are not read (sparse, quantized, distributed), as `name (function)`.
    unread: Vec<String>,
    /// Who else uses which bytes.
    uses: Uses,
    /// The archive's directory; `None` in the legacy format, which has no checksums.
    zip: Option<Directory>,
}

fn is_pickle(prefix: &[u8]) -> bool {
    matches!(prefix, [0x80, 2..=5, ..])
}

fn is_tar(prefix: &[u8]) -> bool {
    prefix.get(257..262) == Some(b"ustar")
}

/// Reads the table of a PyTorch file, the `index`th source of its checkpoint.
///
/// # Errors
/// If the file is damaged, or of a kind whose tensors cannot be edited in place: TorchScript, big
/// endian, compressed or encrypted, the tar form of the first PyTorch
/// versions, FSDP's flat parameters.
fn open(source: &Source, index: usize) -> Result<Opened> {
    let prefix = source.slice(0, source.len().min(262) as usize)?;
    let (saved, storages, zip) = if is_zip(&prefix) {
        let zip = Directory::read(source, SAVE_AGAIN, |names| refuse_script(source, names))?;
        let (saved, storages) = read_archive(source, &zip)?;
        (saved, storages, Some(zip))
    } else if is_pickle(&prefix) {
        let (saved, storages) = legacy::read(source)?;
        (saved, storages, None)
    } else if is_tar(&prefix) {
        let reason = "is a tar archive, as the first versions of PyTorch wrote them: load it with torch.load \
                      and save it again with torch.save";
        return Err(Error::refused(source.path(), reason));
    } else {
        let expected = "a zip archive or a pickle by torch.save";
        return Err(Error::malformed(
            source.path(),
            "first bytes",
            expected,
            "neither",
        ));
    };
    let reader = Reader {
        path: source.path(),
        source: index,
        storages: &storages,
    };
    if saved.root().get("StructuredToParameterName@@").is_some() {
        let reason = "is a Paddle checkpoint (.pdparams), which is not read: load it with paddle.load and \
                      save its arrays with safetensors.numpy.save_file";
        return Err(Error::refused(source.path(), reason));
    }
    let mut found = state::find(&saved, reader)?;
    refuse_distributed(source, &found.unread)?;
    refuse_flat(source, &found.dicts)?;
    let uses = Uses::find(&saved, reader, &found.listed)?;
    let layout = Layout::of(&saved, &found.dicts, found.has_module);
    layout.set_roles(&mut found.dicts);
    let optimizers = found.optimizers.iter().map(|(root, id)| {
        let value = Value {
            arena: &saved.arena,
            id: *id,
        };
        optimizer::read(root, value, reader)
    });
    Ok(Opened {
        layout,
        epochs: layout.finished_epochs(&saved),
        scalars: scalars::find(&saved, reader),
        optimizers: optimizers.collect(),
        unread: found.unread,
        uses,
        dicts: found.dicts,
        zip,
    })
}

/// Refuses an archive that holds code beside tensors.
fn refuse_script(source: &Source, names: &[Cow<'_, str>]) -> Result<()> {
    let is_script = |name: &str| {
        let (_, inside) = name.split_once('/').unwrap_or(("", name));
        inside == "constants.pkl" || inside.starts_with("code/")
    };
    if !names.iter().any(|name| is_script(name)) {
        return Ok(());
    }
    let reason = "is a TorchScript archive: save the module's state_dict() with torch.save and \
                  edit that";
    Err(Error::refused(source.path(), reason))
}

/// Reads the object of an archive and finds its storages.
fn read_archive(source: &Source, zip: &Directory) -> Result<(Saved, Storages)> {
    let path = source.path();
    let names = || zip.entries().iter().map(|entry| &entry.name[..]);
    let mut roots = names().filter_map(|name| {
        let folder = name.strip_suffix("data.pkl")?;
        let top = folder.is_empty() || folder.find('/') == Some(folder.len() - 1);
        top.then_some(folder)
    });
    let (Some(folder), None) = (roots.next(), roots.next()) else {
        if let Some(what) = foreign::zip(names()) {
            return Err(Error::refused(path, what));
        }
        let found = names().take(3).collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() {
            "an empty archive".to_owned()
        } else {
            found
        };
        return Err(Error::malformed(
            path,
            "zip archive",
            "one data.pkl of torch.save",
            found,
        ));
    };
    let in_folder = |name: &str| zip.find(&format!("{folder}{name}"));
    if let Some(entry) = in_folder("byteorder") {
        let order = source.slice(entry.offset, entry.len.min(16) as usize)?;
        if order.trim_ascii() != b"little" {
            let order = String::from_utf8_lossy(&order).into_owned();
            let reason = format!(
                "has byte order {order:?}: load it and save it again on a \
                                  little-endian machine"
            );
            return Err(Error::refused(path, reason));
        }
    }
    let Some(pickle) = in_folder("data.pkl") else {
        return Err(Error::malformed(path, "zip archive", "data.pkl", "none"));
    };
    if pickle.len > MAX_PICKLE {
        let expected = format!("at most {MAX_PICKLE} bytes");
        return Err(Error::malformed(
            path,
            "data.pkl",
            expected,
            format!("{} bytes", pickle.len),
        ));
    }
    let bytes = source.slice(pickle.offset, pickle.len as usize)?;
    let parsed =
        pickle::parse(&bytes).map_err(|fault| fault.into_error(path, "data.pkl", pickle.offset))?;
    let mut storages = Storages::default();
    let data = format!("{folder}data/");
    for entry in zip.entries() {
        if let Some(key) = entry.name.strip_prefix(&data) {
            storages.insert(
                key.to_owned(),
                Extent {
                    offset: entry.offset,
                    len: entry.len,
                },
            );
        }
    }
    Ok((
        Saved {
            arena: parsed.arena,
            root: parsed.root,
        },
        storages,
    ))
}

/// Refuses parts of tensors that are spread over devices.
fn refuse_distributed(source: &Source, unread: &[String]) -> Result<()> {
    let end = format!(" ({})", tensor::DISTRIBUTED);
    match unread.iter().find_map(|tensor| tensor.strip_suffix(&end)) {
        None => Ok(()),
        Some(name) => Err(Error::refused(
            source.path(),
            format!(
                "holds tensors that are spread over devices (DTensor: {name}, …): save full ones, \
                 with get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)) of \
                 torch.distributed.checkpoint.state_dict"
            ),
        )),
    }
}

/// Refuses parameters that FSDP flattened into one: where a γ lies in them is not written down.
fn refuse_flat(source: &Source, dicts: &[StateDict]) -> Result<()> {
    let is_flat = |name: &str| {
        let leaf = name.rsplit('.').next().unwrap_or(name);
        leaf == "_flat_param" || leaf == "flat_param" || leaf.starts_with("flat_param_")
    };
    let flat = dicts
        .iter()
        .flat_map(|dict| &dict.tensors)
        .find(|tensor| is_flat(&tensor.name));
    match flat {
        None => Ok(()),
        Some(tensor) => Err(Error::refused(
            source.path(),
            format!(
                "holds parameters that FSDP flattened ({}): save a full state dict \
                 (StateDictType.FULL_STATE_DICT)",
                tensor.name
            ),
        )),
    }
}
