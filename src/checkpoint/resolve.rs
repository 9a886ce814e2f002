//! What a user may name (a file, a shard index, a directory) → the one file that stands for the model.

use std::fs;
use std::path::{Path, PathBuf};

use super::torch;
use crate::error::{Error, Result};

/// What a directory may hold, in the order in which transformers looks for it.
const SAFETENSORS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];
const PYTORCH: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The model file or shard index that `path` means.
pub(crate) fn model_file(path: &Path) -> Result<PathBuf> {
    let metadata = fs::metadata(path).map_err(Error::io("open", path))?;
    if metadata.is_dir() {
        in_directory(path)
    } else {
        Ok(path.to_owned())
    }
}

/// Whether a directory is a checkpoint itself.
pub(super) fn is_model(dir: &Path) -> bool {
    let mut names = SAFETENSORS.into_iter().chain(PYTORCH);
    names.any(|name| dir.join(name).is_file())
}

/// What else in the directory of a model file could have been meant, and is not.
pub(super) fn passed_over(dir: &Path, chosen: &Path) -> Vec<&'static str> {
    let names = SAFETENSORS.into_iter().chain(PYTORCH);
    let others = names.filter(|name| chosen.file_name().is_none_or(|chosen| *name != chosen));
    others.filter(|name| dir.join(name).is_file()).collect()
}

fn in_directory(dir: &Path) -> Result<PathBuf> {
    let present =
        |names: [&'static str; 2]| names.into_iter().find(|name| dir.join(name).is_file());
    match (present(SAFETENSORS), present(PYTORCH)) {
        (Some(safetensors), Some(pytorch)) => Err(Error::refused(
            dir,
            format!(
                "holds both {safetensors} and {pytorch}: name the one that training resumes from"
            ),
        )),
        (Some(name), None) | (None, Some(name)) => Ok(dir.join(name)),
        (None, None) => {
            if let Some(reason) = torch::refuse_directory(&names(dir)?) {
                return Err(Error::refused(dir, reason));
            }
            let wanted = [SAFETENSORS, PYTORCH].concat().join(", ");
            Err(Error::malformed(
                dir,
                "directory",
                format!("one of {wanted}"),
                listing(dir)?,
            ))
        }
    }
}

/// The first few names in a directory, for an error message.
fn listing(dir: &Path) -> Result<String> {
    const SHOWN: usize = 8;
    let mut names = names(dir)?;
    alphanumeric_sort::sort_str_slice(&mut names);
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    Ok(match (names.is_empty(), more) {
        (true, _) => "an empty directory".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    })
}

/// The names in a directory; those of directories end in a slash.
fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).map_err(Error::io("list", dir))?;
    let name = |entry: fs::DirEntry| {
        let slash = if entry.path().is_dir() { "/" } else { "" };
        format!("{}{slash}", entry.file_name().to_string_lossy())
    };
    Ok(entries.filter_map(|entry| entry.ok()).map(name).collect())
}
