//! One edit at a time: an advisory lock on a file beside the target, held until dropped.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::home::{self, Kept};
use crate::error::{Error, Result};
use crate::file::{Identity, directory};

/// The lock on a checkpoint, named by its anchor.
#[derive(Debug)]
pub(super) struct Lock {
    anchor: PathBuf,
    path: PathBuf,
    /// Kept open: closing it gives the lock up.
    file: Option<File>,
    /// Why no lock could be had although nobody holds it.
    pub(super) unsupported: Option<String>,
}

impl Lock {
    /// Takes the lock, or says at once that another run holds it.
    pub(super) fn take(disk: &Disk, anchor: &Path) -> Result<Lock> {
        let path = Kept::Lock.path(anchor);
        loop {
            home::make(disk, anchor)?;
            if let Ok(metadata) = path.symlink_metadata()
                && !metadata.is_file()
            {
                let found = "something that is no regular file";
                return Err(Error::malformed(&path, "lock", "a lock file", found));
            }
            let mut options = OpenOptions::new();
            let file = options.create(true).truncate(false).write(true).open(&path);
            let file = match file {
                // The folder went with the lock of another run.
                Err(err) if err.kind() == io::ErrorKind::NotFound && directory(anchor).is_dir() => {
                    continue;
                }
                file => file.map_err(Error::io("create the lock file", &path))?,
            };
            let mut unsupported = None;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let reason =
                        "another ckpt-regen is editing this checkpoint; try again when it is done";
                    return Err(Error::refused(anchor, reason));
                }
                Err(TryLockError::Error(err)) if err.kind() == io::ErrorKind::Unsupported => {
                    unsupported = Some(format!(
                        "the file system of {} has no locks: make sure that no other ckpt-regen edits this checkpoint now",
                        path.display()
                    ));
                }
                Err(TryLockError::Error(err)) => return Err(Error::io("lock", &path)(err)),
            }
            // The run that held it before may have removed it between our open and our lock.
            if still_at(&file, &path).map_err(Error::io("lock", &path))? {
                return Ok(Lock {
                    anchor: anchor.to_owned(),
                    path,
                    file: Some(file),
                    unsupported,
                });
            }
        }
    }
}

fn still_at(file: &File, path: &Path) -> io::Result<bool> {
    Ok(Identity::at(path)? == Some(Identity::of(&file.metadata()?)))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still held, so that nobody can lock a file that is about to vanish and
        // believe to be alone. Where an open file cannot be removed, it stays: harmless.
        let _ = fs::remove_file(&self.path);
        self.file.take();
        home::remove_if_empty(&self.anchor);
    }
}
