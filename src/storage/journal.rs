//! The journal: what remains to be done for an edit that has been decided.
//!
//! A line with the SHA-256 of the rest, then JSON. Paths are relative to the journal's directory
//! and stay inside it, so that a journal that came with a downloaded folder can do no more than
//! the folder itself.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::disk::Disk;
use super::{Identity, beside, directory};
use crate::error::{Error, Result};

const VERSION: u32 = 1;

/// One step of an edit; each can be repeated after it was done, in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// Give the staged file `from` the name `to`, which was `was` when this was decided.
    Rename {
        from: PathBuf,
        to: PathBuf,
        was: Option<Identity>,
    },
    /// Remove a file.
    Remove {
        path: PathBuf,
        was: Option<Identity>,
    },
    /// Write ranges of a file of `len` bytes.
    Patch {
        path: PathBuf,
        len: u64,
        ranges: Vec<Range>,
    },
}

/// A range of [`Action::Patch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) offset: u64,
    #[serde(with = "crate::edit::base64_bytes")]
    pub(super) old: Vec<u8>,
    #[serde(with = "crate::edit::base64_bytes")]
    pub(super) new: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    version: u32,
    actions: Vec<Action>,
}

impl Action {
    /// The file it changes, relative to the journal.
    pub(super) fn target(&self) -> &Path {
        match self {
            Action::Rename { to, .. } => to,
            Action::Remove { path, .. } | Action::Patch { path, .. } => path,
        }
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let (first, second) = match self {
            Action::Rename { from, to, .. } => (from, Some(to)),
            Action::Remove { path, .. } | Action::Patch { path, .. } => (path, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// Where the journal of an edit of `anchor` stands.
pub fn journal_path(anchor: &Path) -> PathBuf {
    beside(anchor, ".regen.journal")
}

/// Whether an interrupted edit of `anchor` waits to be completed.
pub fn pending(anchor: &Path) -> bool {
    journal_path(anchor).symlink_metadata().is_ok()
}

/// Makes the decision durable: once this returns, the edit will be completed.
pub(super) fn write(disk: &Disk, anchor: &Path, staged: &Path, actions: Vec<Action>) -> Result<()> {
    let path = journal_path(anchor);
    let json = serde_json::to_string(&Body {
        version: VERSION,
        actions,
    })
    .map_err(|err| Error::refused(anchor, format!("its name cannot be noted: {err}")))?;
    let text = format!("{}\n{json}\n", digest(&json));
    let file = disk.create(staged)?;
    disk.write_at(&file, staged, text.as_bytes(), 0)?;
    disk.sync(&file, staged)?;
    disk.rename(staged, &path)?;
    disk.sync_directory_of(&path)
}

/// The actions of the journal beside `anchor`, if there is one.
pub(super) fn read(anchor: &Path) -> Result<Option<Vec<Action>>> {
    let path = journal_path(anchor);
    let text = match fs::read_to_string(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(Error::io("read", &path)(err)),
        Ok(text) => text,
    };
    let damaged = |found: &dyn std::fmt::Display| {
        let expected = "a journal of ckpt-regen (if you know that it is none, move it away)";
        Error::malformed(&path, "journal", expected, found)
    };
    let (sum, json) = text.split_once('\n').ok_or_else(|| damaged(&"one line"))?;
    if sum != digest(json.trim_end()) {
        return Err(damaged(&"a checksum that does not fit"));
    }
    let body: Body = serde_json::from_str(json).map_err(|err| damaged(&err))?;
    if body.version != VERSION {
        return Err(damaged(&format!("version {}", body.version)));
    }
    let plain = |path: &PathBuf| path.components().all(|c| matches!(c, Component::Normal(_)));
    if let Some(outside) = body
        .actions
        .iter()
        .flat_map(Action::paths)
        .find(|path| !plain(path))
    {
        return Err(damaged(&format!("the path {}", outside.display())));
    }
    Ok(Some(body.actions))
}

/// `path` as a journal beside `anchor` names it.
pub(super) fn relative(anchor: &Path, path: &Path) -> Result<PathBuf> {
    path.strip_prefix(anchor.parent().unwrap_or(Path::new("")))
        .map(Path::to_owned)
        .map_err(|_| {
            let place = directory(anchor).display();
            Error::refused(
                path,
                format!("lies outside of {place}, where this edit is journaled"),
            )
        })
}

fn digest(json: &str) -> String {
    Sha256::digest(json)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
