//! What tells that a path still leads to the file that was read.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{directory, platform};

/// Length, time of the last write and inode of a file. A file that was rewritten or replaced by
/// another program differs in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) len: u64,
    modified_ns: u64,
    inode: u64,
}

/// Whether two names lead to one place, through whatever links and spellings, also where nothing is
/// yet.
pub(crate) fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| -> io::Result<PathBuf> {
        fs::canonicalize(path).or_else(|_| {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            Ok(fs::canonicalize(directory(path))?.join(name))
        })
    };
    matches!((place(a), place(b)), (Ok(a), Ok(b)) if a == b)
}

/// Whether two names lead to one file: to one place, or by hard links.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    let identities = (Identity::at(a), Identity::at(b));
    same_place(a, b) || matches!(identities, (Ok(Some(a)), Ok(Some(b))) if a == b)
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Identity {
        let since_epoch = metadata
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        Identity {
            len: metadata.len(),
            modified_ns: since_epoch.map_or(0, |d| d.as_nanos() as u64),
            inode: platform::inode(metadata),
        }
    }

    /// The identity of what `path` leads to now; `None` when there is nothing.
    pub(crate) fn at(path: &Path) -> io::Result<Option<Identity>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Identity::of(&metadata))),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }
}
