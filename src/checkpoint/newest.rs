//! The newest checkpoint of a directory in which a training program keeps several.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Checkpoint, resolve};
use crate::error::{Error, Result};
use crate::file;
use crate::name;

/// Directories in directories: `lightning_logs/version_0/checkpoints`, `output/train/RUN`.
const MAX_DEPTH: usize = 4;
/// Of so many that were written last, what they say about their epochs is read.
const MAX_READ: usize = 16;
/// Entries of a directory that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of a file that names a checkpoint.
const MAX_NAME: u64 = 1 << 16;
/// How the names of checkpoints end.
const ENDS: [&str; 9] = [
    "pth",
    "pt",
    "ckpt",
    "bin",
    "safetensors",
    "npz",
    "tar",
    "th",
    "pkl",
];
/// Names of files beside a checkpoint that are none.
const OTHERS: [&str; 7] = [
    "optimizer",
    "scheduler",
    "scaler",
    "rng_state",
    "random_states",
    "training_args",
    "trainer_state",
];

/// Of a directory that holds checkpoints and is none itself, the newest: the one with the most
/// finished epochs; of those, one called `last`, or the one that was written last. `None` for
/// anything else.
///
/// Understands what timm, Lightning, mmengine (`last_checkpoint`), transformers (`checkpoint-N`) and
/// `ckpt-regen train` (`last`) lay out. A link to a directory is given as what it leads to; one to a
/// file as it is, for an edit to say that it follows it.
///
/// # Errors
/// The directory cannot be listed.
pub fn newest(path: &Path) -> Result<Option<PathBuf>> {
    if !path.is_dir() || resolve::is_model(path) {
        return Ok(None);
    }
    if let Some(named) = named(path) {
        return Ok(Some(named));
    }
    let mut found = Vec::new();
    collect(path, 0, &mut found)?;
    found.sort_by_key(|candidate: &Candidate| std::cmp::Reverse(candidate.modified));
    found.truncate(MAX_READ);
    let epochs = |path: &Path| Checkpoint::open(path).ok().map(|c| c.training().epoch());
    let known = found.into_iter().filter_map(|candidate| {
        // What cannot be read is no checkpoint.
        let epochs = epochs(&candidate.path)?;
        Some((epochs, candidate))
    });
    let best =
        known.max_by_key(|(epochs, candidate)| (*epochs, candidate.rank, candidate.modified));
    Ok(best.map(|(_, candidate)| candidate.path))
}

/// The checkpoint that mmengine's `last_checkpoint` names.
fn named(directory: &Path) -> Option<PathBuf> {
    let file = directory.join("last_checkpoint");
    let text = file::read_small_file(&file, MAX_NAME).ok()?;
    let named = PathBuf::from(text.trim());
    let here = directory.join(named.file_name()?);
    // The directory may have been moved or copied since: its own file goes first.
    [here, named].into_iter().find(|path| path.is_file())
}

struct Candidate {
    path: PathBuf,
    modified: SystemTime,
    /// Of several of one epoch: 2 for one that is called the last, 0 for one called the best.
    rank: u8,
}

/// Adds the checkpoints of a directory, or else those of the directories in it.
fn collect(directory: &Path, depth: usize, found: &mut Vec<Candidate>) -> Result<()> {
    let entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
    let mut inside = Vec::new();
    let before = found.len();
    for entry in entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let is_directory = entry.path().is_dir();
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let path = if is_link && is_directory {
            fs::canonicalize(entry.path()).map_err(Error::io("follow", entry.path()))?
        } else {
            entry.path()
        };
        if is_directory && !resolve::is_model(&path) {
            inside.push(path);
            continue;
        }
        let metadata = fs::metadata(newest_file(&path));
        let modified = metadata.and_then(|metadata| metadata.modified());
        if (is_directory || is_checkpoint(&name))
            && let Ok(modified) = modified
        {
            let words = name::words(name.split('.').next().unwrap_or_default());
            let called = |names: &[&str]| words.iter().any(|word| names.contains(&&word[..]));
            let rank = match () {
                () if called(&["last", "latest"]) => 2,
                () if called(&["best"]) => 0,
                () => 1,
            };
            found.push(Candidate {
                path,
                modified,
                rank,
            });
        }
    }
    if found.len() == before && depth < MAX_DEPTH {
        inside.sort();
        for directory in inside {
            collect(&directory, depth + 1, found)?;
        }
    }
    Ok(())
}

/// The file whose time counts: the model of a directory.
fn newest_file(path: &Path) -> PathBuf {
    resolve::model_file(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether a file may be a checkpoint, by its name.
fn is_checkpoint(name: &str) -> bool {
    let lower = name.to_lowercase();
    let end = lower.rsplit('.').next().unwrap_or_default();
    let is_tar = end == "tar" && !lower.ends_with(".pth.tar") && !lower.ends_with(".ckpt.tar");
    let is_shard = lower.contains("-of-");
    let is_other = OTHERS.iter().any(|other| lower.starts_with(other));
    ENDS.contains(&end) && !is_tar && !is_shard && !is_other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checkpoints_are_told_from_those_of_what_lies_beside_them() {
        for name in [
            "last.pth.tar",
            "epoch=4.ckpt",
            "checkpoint-7.pth",
            "model.safetensors",
            "epoch_5.pth",
        ] {
            assert!(is_checkpoint(name), "{name}");
        }
        for name in [
            "optimizer.pt",
            "rng_state.pth",
            "training_args.bin",
            "data.tar",
            "events.out",
            "README.md",
            "model-00001-of-00002.safetensors",
            "random_states_0.pkl",
            "scheduler.pt",
        ] {
            assert!(!is_checkpoint(name), "{name}");
        }
    }
}
