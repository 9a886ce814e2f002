//! The journal: what remains to be done for an edit that has been decided.
//!
//! A line with the SHA-256 of the rest, then JSON. Paths are relative to the checkpoint's directory
//! and stay inside it, so that a journal that came with a downloaded folder can do no more than
//! the folder itself.

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::disk::Disk;
use super::home::Kept;
use crate::error::{Error, Result};
use crate::file::{Identity, directory, read_small_file};
use crate::text::hex;

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
    #[serde(with = "crate::file::base64_bytes")]
    pub(super) old: Vec<u8>,
    #[serde(with = "crate::file::base64_bytes")]
    pub(super) new: Vec<u8>,
}

/// What an edit was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To change γ.
    Apply,
    /// To take a change back.
    Undo,
}

/// A decided edit.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) purpose: Purpose,
    pub(super) actions: Vec<Action>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    version: u32,
    purpose: Purpose,
    actions: Vec<Action>,
}

/// Old and new bytes of the γ of the largest networks, many times over.
const MAX_LEN: u64 = 1 << 30;

impl Action {
    /// The file it changes, relative to the checkpoint's directory.
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

/// Where the journal of an edit of `anchor` stands, or would.
pub fn journal_path(anchor: &Path) -> PathBuf {
    Kept::Journal.found(anchor)
}

/// Whether an interrupted edit of `anchor` waits to be completed.
pub fn pending(anchor: &Path) -> bool {
    journal_path(anchor).symlink_metadata().is_ok()
}

/// Makes the decision durable: once this returns, the edit will be completed.
pub(super) fn write(
    disk: &Disk,
    anchor: &Path,
    staged: &Path,
    purpose: Purpose,
    actions: &[Action],
) -> Result<()> {
    let path = Kept::Journal.path(anchor);
    let actions = actions.to_vec();
    let json = serde_json::to_string(&Body {
        version: VERSION,
        purpose,
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

/// The journal beside `anchor`, if there is one.
pub(super) fn read(anchor: &Path) -> Result<Option<Journal>> {
    let path = journal_path(anchor);
    let damaged = |found: &dyn std::fmt::Display| {
        let expected = "a journal of ckpt-regen (if you know that it is none, move it away)";
        Error::malformed(&path, "journal", expected, found)
    };
    let text = match read_small_file(&path, MAX_LEN) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) if err.kind() == io::ErrorKind::InvalidData => return Err(damaged(&err)),
        Err(err) => return Err(Error::io("read", &path)(err)),
        Ok(text) => text,
    };
    let (sum, json) = text.split_once('\n').ok_or_else(|| damaged(&"one line"))?;
    if sum != digest(json.trim_end()) {
        return Err(damaged(&"a checksum that does not fit"));
    }
    let body: Body = serde_json::from_str(json).map_err(|err| damaged(&err))?;
    if body.version != VERSION {
        return Err(damaged(&format!("version {}", body.version)));
    }
    for path in body.actions.iter().flat_map(Action::paths) {
        if !is_inside(directory(anchor), path) {
            return Err(damaged(&format!("the path {}", path.display())));
        }
    }
    for action in &body.actions {
        let Action::Patch { path, len, ranges } = action else {
            continue;
        };
        let fits = |range: &Range| {
            let end = range.offset.checked_add(range.new.len() as u64);
            range.old.len() == range.new.len() && end.is_some_and(|end| end <= *len)
        };
        if !ranges.iter().all(fits) {
            return Err(damaged(&format!(
                "a range that does not fit {}",
                path.display()
            )));
        }
    }
    Ok(Some(Journal {
        purpose: body.purpose,
        actions: body.actions,
    }))
}

/// Whether a relative path stays in `directory`: plain names, none of them a symbolic link.
fn is_inside(directory: &Path, path: &Path) -> bool {
    let mut place = directory.to_owned();
    let plain = |component: Component<'_>| {
        place.push(component);
        let link = place
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_symlink());
        matches!(component, Component::Normal(_)) && !link
    };
    path.components().next().is_some() && path.components().all(plain)
}

/// `path` as a journal beside `anchor` names it.
pub(super) fn relative(anchor: &Path, path: &Path) -> Result<PathBuf> {
    let home = anchor.parent().unwrap_or(Path::new(""));
    let inside = path.strip_prefix(home).ok().map(|path| -> PathBuf {
        path.components()
            .filter(|component| *component != Component::CurDir)
            .collect()
    });
    inside
        .filter(|path| is_inside(directory(anchor), path))
        .ok_or_else(|| {
            let place = directory(anchor).display();
            let reason =
                format!("lies outside of {place}, or behind a link, where no edit is journaled");
            Error::refused(path, reason)
        })
}

fn digest(json: &str) -> String {
    hex(&Sha256::digest(json))
}
