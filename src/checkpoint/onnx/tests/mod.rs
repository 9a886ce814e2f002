//! What each test file proves: layers of small models (`layers`), edits against onnx's own
//! (`edits`), real networks (`material`), data files (`data_files`), hostile bytes (`hostile`).

mod data_files;
mod edits;
mod hostile;
mod layers;
mod material;

use std::fs;
use std::path::{Path, PathBuf};

use super::{Opened, patches};
use crate::checkpoint::{Patches, Tensor};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::file::Source;
use crate::storage::Patch;

/// The folder of small models; `make.py` there writes them.
fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/onnx/tests/models")
}

fn try_open(path: impl AsRef<Path>) -> Result<Opened> {
    let path = path.as_ref();
    super::open(
        Source::open(path)?,
        crate::file::directory(path),
        super::Files::Gamma,
    )
}

/// A model of the folder.
fn load(name: &str) -> Opened {
    try_open(models().join(format!("{name}.onnx"))).unwrap()
}

/// The message of a model that cannot be opened.
fn refusal(name: &str) -> String {
    try_open(models().join(format!("{name}.onnx")))
        .unwrap_err()
        .to_string()
}

/// Layer, reason and whether it is shared, of every layer.
fn summary(opened: &Opened) -> Vec<(&str, &str, bool)> {
    let norms = opened.declared.norms.iter();
    norms
        .map(|norm| {
            let reason = norm.editable.as_ref().err().map_or("", String::as_str);
            (&norm.layer[..], reason, norm.shared)
        })
        .collect()
}

fn read_bytes(opened: &Opened, tensor: &Tensor) -> Result<Vec<u8>> {
    let source = &opened.sources[tensor.source];
    match tensor.scattered {
        Some(number) => opened.places[number].read(source, tensor.len),
        None => source.read_at(tensor.offset, tensor.len as usize),
    }
}

fn read(opened: &Opened, tensor: &Tensor) -> Vec<u8> {
    read_bytes(opened, tensor).unwrap()
}

/// The table's lines of all editable γ.
fn editable(opened: &Opened) -> Vec<&Tensor> {
    let norms = opened
        .declared
        .norms
        .iter()
        .filter(|norm| norm.editable.is_ok());
    norms
        .map(|norm| &opened.tensors[norm.gamma.unwrap()])
        .collect()
}

/// A γ with every second element 1.5, beginning with the first, as `make.py` edits it.
fn edited(dtype: Dtype, bytes: &[u8]) -> Vec<u8> {
    let mut new = Vec::new();
    for (i, value) in dtype.decode(bytes).into_iter().enumerate() {
        dtype.encode(if i % 2 == 0 { 1.5 } else { value }, &mut new);
    }
    new
}

fn patch(opened: &Opened, edits: &[(&Tensor, &[u8])]) -> Result<Patches> {
    patches(&opened.sources, &opened.places, &opened.checksums, edits)
}

/// The contents of every source with patches applied; each patch must find its old bytes.
fn apply(opened: &Opened, patches: &[Vec<Patch>]) -> Vec<Vec<u8>> {
    let contents = |source: &Source| fs::read(source.path()).unwrap();
    let mut files: Vec<Vec<u8>> = opened.sources.iter().map(contents).collect();
    for (file, patches) in files.iter_mut().zip(patches) {
        for patch in patches.iter().rev() {
            let start = patch.offset as usize;
            let range = start..start + patch.old.len();
            assert_eq!(file[range.clone()], patch.old);
            file.splice(range, patch.new.iter().copied());
        }
    }
    files
}

/// The contents of every source after all editable γ got `make.py`'s edit, and whether a file's
/// length changes, and the notes.
fn edit_all(opened: &Opened) -> (Vec<Vec<u8>>, bool, Vec<String>) {
    let new: Vec<(&Tensor, Vec<u8>)> = editable(opened)
        .into_iter()
        .map(|tensor| (tensor, edited(tensor.dtype, &read(opened, tensor))))
        .collect();
    let edits: Vec<(&Tensor, &[u8])> = new.iter().map(|(t, bytes)| (*t, &bytes[..])).collect();
    let edits = patch(opened, &edits).unwrap();
    (apply(opened, &edits.files), edits.resizes, edits.notes)
}
