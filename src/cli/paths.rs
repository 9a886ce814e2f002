//! What is named by patterns that no shell has expanded, and by directories of checkpoints.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::checkpoint::newest;
use crate::error::{Error, Result};
use crate::storage::is_companion;

/// The checkpoint to edit. Of a directory of checkpoints none is edited unless that was asked for; the
/// newest may be a link, which is to be followed.
pub(super) fn to_edit(path: PathBuf, take_newest: bool) -> Result<PathBuf> {
    match (newest(&path)?, take_newest) {
        (None, _) => Ok(path),
        (Some(newest), true) => Ok(newest),
        (Some(newest), false) => Err(Error::Usage(format!(
            "{} is a directory of checkpoints, of which {} is the newest: name that one, or use \
             --newest",
            path.display(),
            newest.display()
        ))),
    }
}

/// The files and directories that are named: what exists is taken as it is, anything else with `*`,
/// `?` or `[` in it as a pattern, whose finds are taken unless they are there already. What this
/// program keeps beside checkpoints is left out.
pub(super) fn expand(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for path in named {
        match path.to_str() {
            Some(pattern) if !path.exists() && pattern.contains(['*', '?', '[']) => {
                for path in matches(path, pattern)? {
                    if seen.insert(path.clone()) {
                        found.push(path);
                    }
                }
            }
            _ => {
                seen.insert(path.clone());
                found.push(path.clone());
            }
        }
    }
    found.retain(|path| !is_companion(path));
    if found.is_empty() {
        let expected = "checkpoints";
        let reason = "nothing but records of ckpt-regen";
        return Err(Error::malformed(&named[0], "path", expected, reason));
    }
    Ok(found)
}

fn matches(path: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let entries = glob::glob(pattern)
        .map_err(|err| Error::Usage(format!("{pattern}: no pattern: {}", err.msg)))?;
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.map_err(|err| {
            let path = err.path().to_owned();
            Error::io("list", path)(err.into())
        })?);
    }
    if found.is_empty() {
        let expected = "files or directories that match";
        return Err(Error::malformed(path, "pattern", expected, "none"));
    }
    Ok(found)
}
