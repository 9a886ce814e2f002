//! One file that is read with positioned reads: nothing is mapped, so a file that another program
//! truncates gives an error here and not a signal.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};

use super::{Identity, read_exact_at};
use crate::error::{Error, Result};

/// An open file of a checkpoint, with what it was when it was opened.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    identity: Identity,
}

impl Source {
    /// Opens a regular file for reading.
    pub fn open(path: &Path) -> Result<Source> {
        // Before it is opened: to open a pipe is to wait for its other end.
        let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
        Self::check_regular(path, &metadata)?;
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file
            .metadata()
            .map_err(Error::io("read the size of", path))?;
        Self::check_regular(path, &metadata)?;
        Ok(Source {
            path: path.to_owned(),
            file,
            identity: Identity::of(&metadata),
        })
    }

    fn check_regular(path: &Path, metadata: &Metadata) -> Result<()> {
        if metadata.is_file() {
            return Ok(());
        }
        let found = if metadata.is_dir() {
            "a directory"
        } else {
            "a device, pipe or socket"
        };
        Err(Error::malformed(
            path,
            "checkpoint",
            "a regular file",
            found,
        ))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes when it was opened.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.identity.len
    }

    /// What the file was when it was opened; an edit refuses when the path leads elsewhere by then.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The `len` bytes at `offset`.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let end = offset.checked_add(len as u64);
        if end.is_none_or(|end| end > self.len()) {
            let asked = format!("{len} bytes at {offset}");
            return Err(Error::malformed(
                &self.path,
                "file",
                asked,
                format!("a file of {} bytes", self.len()),
            ));
        }
        let mut bytes = vec![0; len];
        read_exact_at(&self.file, &mut bytes, offset).map_err(|source| {
            if source.kind() == std::io::ErrorKind::UnexpectedEof {
                let found = "that it was truncated meanwhile";
                Error::malformed(&self.path, "file", format!("{} bytes", self.len()), found)
            } else {
                Error::io("read", &self.path)(source)
            }
        })?;
        Ok(bytes)
    }
}
