//! Data files: which file a location means, and which bytes of it are whose.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::element;
use super::model::{Data, External, Model, TensorProto};
use super::wire::Span;
use crate::error::{Error, Result};
use crate::file::{Source, directory, link_count};

/// The data files of a model.
pub(super) struct DataFiles {
    files: Vec<DataFile>,
    /// Where each tensor's data lies, by the tensor's index: file and range.
    ranges: HashMap<usize, (usize, Span)>,
}

struct DataFile {
    path: PathBuf,
    len: u64,
}

impl DataFiles {
    /// Finds the file and the range of every tensor with external data, and opens none. They lie
    /// in the directory `home` or below.
    pub(super) fn find(model_file: &Source, home: &Path, model: &Model) -> Result<DataFiles> {
        let mut files = Vec::new();
        let (mut by_location, mut by_path) = (HashMap::new(), HashMap::new());
        let mut ranges = HashMap::new();
        for (index, tensor) in model.tensors.iter().enumerate() {
            let Data::External(external) = &tensor.data else {
                continue;
            };
            let file = match by_location.get(&external.location) {
                Some(file) => *file,
                None => {
                    let path = locate(model_file, home, tensor, &external.location)?;
                    let (canonical, len) = examine(model_file, home, tensor, &path)?;
                    let file = *by_path.entry(canonical).or_insert(files.len());
                    if file == files.len() {
                        files.push(DataFile { path, len });
                    }
                    by_location.insert(external.location.clone(), file);
                    file
                }
            };
            let span = range(model_file, tensor, external, &files[file])?;
            ranges.insert(index, (file, span));
        }
        Ok(DataFiles { files, ranges })
    }

    /// The file and the range of a tensor's external data.
    pub(super) fn range(&self, tensor: usize) -> Option<(usize, Span)> {
        self.ranges.get(&tensor).copied()
    }

    pub(super) fn open(&self, file: usize) -> Result<Source> {
        Source::open(&self.files[file].path)
    }

    /// The files for which `left_out` is false.
    pub(super) fn except(&self, left_out: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.files.len())
            .filter(|file| !left_out(*file))
            .collect()
    }

    pub(super) fn path(&self, file: usize) -> PathBuf {
        self.files[file].path.clone()
    }

    /// What onnx's checker has against a file, if anything.
    pub(super) fn note(&self, file: usize) -> Result<Option<String>> {
        let path = &self.files[file].path;
        let metadata = fs::symlink_metadata(path).map_err(Error::io("examine", path))?;
        let fault = if metadata.is_symlink() {
            "is a symbolic link".to_owned()
        } else {
            match link_count(&metadata) {
                0 | 1 => return Ok(None),
                n => format!("has {n} hard links"),
            }
        };
        Ok(Some(format!(
            "{} {fault}: onnx.checker refuses such a data file",
            path.display()
        )))
    }

    /// For each tensor whose data overlaps that of others, one of them.
    pub(super) fn overlaps(&self) -> HashMap<usize, usize> {
        let mut order: Vec<(usize, u64, u64, usize)> = self
            .ranges
            .iter()
            .filter(|(_, (_, span))| span.len() > 0)
            .map(|(tensor, (file, span))| (*file, span.start, span.end, *tensor))
            .collect();
        order.sort_unstable();
        let mut overlaps = HashMap::new();
        // The range that reaches farthest so far: (file, end, tensor).
        let mut farthest: Option<(usize, u64, usize)> = None;
        for (file, start, end, tensor) in order {
            match farthest {
                Some((its_file, its_end, other)) if its_file == file && start < its_end => {
                    overlaps.entry(tensor).or_insert(other);
                    overlaps.entry(other).or_insert(tensor);
                    if end > its_end {
                        farthest = Some((file, end, tensor));
                    }
                }
                _ => farthest = Some((file, end, tensor)),
            }
        }
        overlaps
    }
}

fn place(tensor: &TensorProto) -> String {
    format!("tensor {:?}", tensor.name)
}

/// The path of a data file, which lies in the model's directory or below.
fn locate(
    model_file: &Source,
    home: &Path,
    tensor: &TensorProto,
    location: &str,
) -> Result<PathBuf> {
    let inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(inside) {
        let expected = "data inside the directory of the model";
        let found = format!("the location {location:?}");
        return Err(Error::malformed(
            model_file.path(),
            place(tensor),
            expected,
            found,
        ));
    }
    Ok(home.join(location))
}

/// The canonical path of a data file, and its length.
fn examine(
    model_file: &Source,
    home: &Path,
    tensor: &TensorProto,
    path: &Path,
) -> Result<(PathBuf, u64)> {
    let malformed = |expected: &str, found: &str| {
        let expected = format!("{expected} {}", path.display());
        Error::malformed(model_file.path(), place(tensor), expected, found)
    };
    let metadata = fs::metadata(path).map_err(|err| match err.kind() {
        ErrorKind::NotFound => malformed("its data in", "no such file"),
        _ => malformed("its data in", &err.to_string()),
    })?;
    if !metadata.is_file() {
        return Err(malformed("a regular file", "something else"));
    }
    let canonical = |path: &Path| fs::canonicalize(path).map_err(Error::io("find", path));
    let root = canonical(home)?;
    // The file itself may be a link, as in a Hugging Face cache; the directories may not lead out.
    if !canonical(directory(path))?.starts_with(root) {
        return Err(malformed(
            "data inside the directory of the model, not",
            "a link out of it",
        ));
    }
    let canonical_path = canonical(path)?;
    if canonical_path == canonical(model_file.path())? {
        return Err(malformed(
            "data in another file than",
            "the model file itself",
        ));
    }
    Ok((canonical_path, metadata.len()))
}

/// The range of a tensor's data in its file.
fn range(
    model_file: &Source,
    tensor: &TensorProto,
    external: &External,
    file: &DataFile,
) -> Result<Span> {
    let malformed = |expected: String, found: String| {
        Error::malformed(model_file.path(), place(tensor), expected, found)
    };
    let wanted = element::byte_len(&tensor.dims, tensor.data_type);
    let len = match (wanted, external.length) {
        (Some(wanted), Some(len)) if wanted != len => {
            let expected = format!("{wanted} bytes of data for dimensions {:?}", tensor.dims);
            return Err(malformed(expected, format!("a length of {len}")));
        }
        (Some(len), _) | (None, Some(len)) => len,
        (None, None) => file.len.saturating_sub(external.offset),
    };
    let start = external.offset;
    match start.checked_add(len).filter(|end| *end <= file.len) {
        Some(end) => Ok(Span { start, end }),
        None => {
            let expected = format!(
                "data within the {} bytes of {}",
                file.len,
                file.path.display()
            );
            Err(malformed(expected, format!("{len} bytes at {start}")))
        }
    }
}
