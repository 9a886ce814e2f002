//! What a file format is to a checkpoint. One is a folder beside this file and a line in
//! [`FORMATS`]; nothing else names it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::declared::Declared;
use super::{
    Patches, StateDict, Tensor, Training, foreign, npz, onnx, patches, safetensors, torch,
};
use crate::error::Result;
use crate::file::Source;

/// All of them; a file is of the first that takes it for one of its own.
const FORMATS: [&dyn Format; 4] = [
    &npz::Npz,
    &torch::Torch,
    &onnx::Onnx,
    // Takes every file: what is none of the others is told what one of these begins with.
    &safetensors::Safetensors,
];

/// A way to lay tensors out in a file.
pub(super) trait Format {
    /// Whether a file is one, complete or not, by its content.
    fn detect(&self, source: &Source) -> Result<bool>;

    /// Reads the table of a file, and of data files below a directory that it refers to.
    ///
    /// # Errors
    /// A file that is damaged, or whose tensors cannot be edited.
    fn open(&self, file: Opening<'_>) -> Result<Opened>;

    /// What shards of it are called together; `None` where it has none.
    fn shards(&self) -> Option<FormatName> {
        None
    }

    /// The names of its files in a directory, in the order in which transformers looks for them.
    fn file_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Why a directory with these names in it is no checkpoint, with what to do.
    fn refuse_directory(&self, _names: &[String]) -> Option<String> {
        None
    }
}

/// A file to be opened.
pub(super) struct Opening<'o> {
    pub(super) source: Source,
    /// Which of the checkpoint's sources it becomes; others that it needs follow it.
    pub(super) number: usize,
    /// The directory of the files that it refers to.
    pub(super) home: &'o Path,
    pub(super) files: DataFiles,
}

/// Which of the data files that a file refers to are opened as sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataFiles {
    /// Those that hold a γ: an edit changes nothing else.
    Gamma,
    /// All of them, so that every tensor can be changed.
    All,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) format: FormatName,
    /// The file itself, then data files.
    pub(super) sources: Vec<Source>,
    pub(super) dicts: Vec<StateDict>,
    pub(super) training: Training,
    /// Facts that a user should hear of before an edit.
    pub(super) notes: Vec<String>,
    pub(super) contents: Box<dyn Contents>,
}

/// What a format knows of an opened file beside the table.
pub(super) trait Contents: fmt::Debug + Send + Sync {
    /// The bytes of one of its tensors, little-endian, by positioned reads.
    fn read(&self, tensor: &Tensor, source: &Source) -> Result<Vec<u8>> {
        tensor.piece(source)
    }

    /// The patches of all sources that give these tensors, each named once, new bytes of the same
    /// length.
    fn patches(&self, sources: &[Source], changes: &[(&Tensor, &[u8])]) -> Result<Patches> {
        patches::in_place(sources, changes)
    }

    /// Of `gammas` (state dict and tensor, as indices), those whose bytes something that is none of
    /// them uses too, and what that is.
    fn shared(
        &self,
        _dicts: &[StateDict],
        _gammas: &HashSet<(usize, usize)>,
    ) -> HashMap<(usize, usize), String> {
        HashMap::new()
    }

    /// The BatchNorm layers that the file itself declares, if the format can.
    fn declared(&self) -> Option<&Declared> {
        None
    }

    /// Data files that are none of the sources.
    fn other_files(&self) -> &[PathBuf] {
        &[]
    }

    /// Tensors that lie in those; their source is an index into them.
    fn elsewhere(&self) -> &[Tensor] {
        &[]
    }

    /// Other names of tensors of the table.
    fn aliases(&self) -> &[Tensor] {
        &[]
    }
}

/// A format without anything beside the table.
#[derive(Debug)]
pub(super) struct Plain;

impl Contents for Plain {}

/// The name of a format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FormatName {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
}

impl FormatName {
    /// The name used in `--json`.
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl fmt::Display for FormatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title)
    }
}

/// Opens a file of any format.
pub(super) fn open(file: Opening<'_>) -> Result<Opened> {
    foreign::refuse(&file.source)?;
    of(&file.source)?.open(file)
}

/// The format of a file.
pub(super) fn of(source: &Source) -> Result<&'static dyn Format> {
    let (last, others) = FORMATS.split_last().expect("there are some");
    for format in others {
        if format.detect(source)? {
            return Ok(*format);
        }
    }
    Ok(*last)
}

/// The names of model files in a directory, those of each format by themselves.
pub(super) fn file_names() -> impl Iterator<Item = &'static [&'static str]> {
    let all = FORMATS.iter().rev().map(|format| format.file_names());
    all.filter(|names| !names.is_empty())
}

/// Why a directory with these names in it is no checkpoint of any format.
pub(super) fn refuse_directory(names: &[String]) -> Option<String> {
    FORMATS
        .iter()
        .find_map(|format| format.refuse_directory(names))
}
