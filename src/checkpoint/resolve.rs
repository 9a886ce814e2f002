//! What a user may name (a file, a shard index, a directory) → the one file that stands for the model.

use std::fs;
use std::path::{Path, PathBuf};

use super::format;
use crate::error::{Error, Result};

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
    let mut names = format::file_names().flatten();
    names.any(|name| dir.join(name).is_file())
}

/// What else in the directory of a model file could have been meant, and is not.
pub(super) fn passed_over(dir: &Path, chosen: &Path) -> Vec<&'static str> {
    let names = format::file_names().flatten().copied();
    let others = names.filter(|name| chosen.file_name().is_none_or(|chosen| *name != chosen));
    others.filter(|name| dir.join(name).is_file()).collect()
}

fn in_directory(dir: &Path) -> Result<PathBuf> {
    let present = |names: &'static [&str]| names.iter().find(|name| dir.join(name).is_file());
    let found: Vec<&&str> = format::file_names().filter_map(present).collect();
    match found[..] {
        [name] => Ok(dir.join(name)),
        [first, second, ..] => Err(Error::refused(
            dir,
            format!("holds both {first} and {second}: name the one that training resumes from"),
        )),
        [] => {
            if let Some(reason) = format::refuse_directory(&names(dir)?) {
                return Err(Error::refused(dir, reason));
            }
            let wanted: Vec<&str> = format::file_names().flatten().copied().collect();
            Err(Error::malformed(
                dir,
                "directory",
                format!("one of {}", wanted.join(", ")),
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
