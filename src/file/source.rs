//! One open file: its map, and positioned reads.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;

use super::{Identity, map, read_exact_at};
use crate::error::{Error, Result};

/// An open file of a checkpoint, with what it was when it was opened.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    identity: Identity,
    map: Option<Mmap>,
}

/// How the files of this process were read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many were mapped.
    pub mapped: u64,
    /// How many were not: they lie on a file system across a network, or mapping was refused.
    pub positioned: u64,
    /// How many of their bytes were looked at, as slices of a map or by positioned reads.
    pub bytes: u64,
}

static MAPPED: AtomicU64 = AtomicU64::new(0);
static POSITIONED: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

impl Reading {
    /// Of all files that were opened as a [`Source`].
    pub fn so_far() -> Reading {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reading {
            mapped: value(&MAPPED),
            positioned: value(&POSITIONED),
            bytes: value(&BYTES),
        }
    }
}

impl Source {
    /// Opens a regular file for reading, and maps it where it lies on a disk of this machine.
    pub fn open(path: &Path) -> Result<Source> {
        // Before it is opened: to open a pipe is to wait for its other end.
        let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
        Self::check_regular(path, &metadata)?;
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file
            .metadata()
            .map_err(Error::io("read the size of", path))?;
        Self::check_regular(path, &metadata)?;
        let identity = Identity::of(&metadata);
        // One that changed its length meanwhile is found out by who reads it.
        let map = map::map(&file).filter(|map| map.len() as u64 == identity.len);
        let counter = if map.is_some() { &MAPPED } else { &POSITIONED };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Source {
            path: path.to_owned(),
            file,
            identity,
            map,
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

    /// Gives the map up. Windows refuses to replace a mapped file.
    pub(crate) fn unmap(&mut self) {
        self.map = None;
    }

    /// The `len` bytes at `offset`, of the map where there is one, for who only looks at them.
    ///
    /// # Errors
    /// The file is shorter than that, or shorter than when it was opened.
    pub fn slice(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        let Some(map) = &self.map else {
            return self.read_at(offset, len).map(Cow::Owned);
        };
        self.check_range(offset, len)?;
        let now = self
            .file
            .metadata()
            .map_err(Error::io("read the size of", &self.path))?;
        if now.len() < self.len() {
            return Err(self.truncated());
        }
        BYTES.fetch_add(len as u64, Ordering::Relaxed);
        Ok(Cow::Borrowed(&map[offset as usize..][..len]))
    }

    /// The `len` bytes at `offset`, read now, for who writes them back.
    ///
    /// # Errors
    /// The file is shorter than that.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.check_range(offset, len)?;
        let mut bytes = vec![0; len];
        read_exact_at(&self.file, &mut bytes, offset).map_err(|source| {
            if source.kind() == std::io::ErrorKind::UnexpectedEof {
                self.truncated()
            } else {
                Error::io("read", &self.path)(source)
            }
        })?;
        BYTES.fetch_add(len as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn check_range(&self, offset: u64, len: usize) -> Result<()> {
        let end = offset.checked_add(len as u64);
        if end.is_some_and(|end| end <= self.len()) {
            return Ok(());
        }
        let asked = format!("{len} bytes at {offset}");
        let found = format!("a file of {} bytes", self.len());
        Err(Error::malformed(&self.path, "file", asked, found))
    }

    fn truncated(&self) -> Error {
        let found = "that it was truncated meanwhile";
        Error::malformed(&self.path, "file", format!("{} bytes", self.len()), found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_short_meanwhile_is_an_error_either_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 10_000]).unwrap();
        let source = Source::open(file.path()).unwrap();
        assert_eq!(source.slice(9_000, 3).unwrap()[..], [7; 3]);
        file.as_file().set_len(100).unwrap();
        let slice = source.slice(9_000, 3).map(Cow::into_owned);
        for result in [slice, source.read_at(9_000, 3)] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains("truncated meanwhile"), "{message}");
        }
    }

    #[test]
    fn without_a_map_positioned_reads_do_everything() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1, 2, 3]).unwrap();
        let mut source = Source::open(file.path()).unwrap();
        source.unmap();
        assert!(matches!(source.slice(1, 2).unwrap(), Cow::Owned(bytes) if bytes == [2, 3]));
        assert!(source.slice(2, 2).is_err() && source.read_at(u64::MAX, 2).is_err());
    }

    #[test]
    fn an_empty_file_is_read_as_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::open(file.path()).unwrap();
        assert!(source.slice(0, 0).unwrap().is_empty());
    }
}
