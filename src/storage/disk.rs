//! The few ways in which this crate changes a disk. All of them pass through here, so that syncs
//! are counted in one place and a test can make any one of them fail.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Patch, Progress, platform};
use crate::error::{Error, Result};
use crate::file::{directory, read_exact_at};

/// What syncing cost: its share of a run's time is the disk's, not the program's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// How many files and directories were synced.
    pub count: u32,
    /// Time spent waiting for that.
    pub time: Duration,
}

/// Changes of the file system, each named in the error that it gives.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Bytes that are written at a time.
    pub(super) piece: usize,
    pub(super) syncs: Cell<Syncs>,
    #[cfg(test)]
    pub(super) fault: super::tests::Fault,
}

/// Bytes read and written at a time, where the kernel cannot copy by itself.
const BUFFER: usize = 1 << 20;

/// Bytes that the kernel copies between two reports of progress.
const CHUNK: usize = 64 << 20;

impl Default for Disk {
    fn default() -> Disk {
        Disk {
            piece: usize::MAX,
            syncs: Cell::default(),
            #[cfg(test)]
            fault: super::tests::Fault::default(),
        }
    }
}

impl Disk {
    pub(crate) fn syncs(&self) -> Syncs {
        self.syncs.get()
    }

    /// A new, empty file that only we can read as yet.
    pub(super) fn create(&self, path: &Path) -> Result<File> {
        self.step().map_err(Error::io("create", path))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map_err(Error::io("create", path))
    }

    /// Opens a file to patch it.
    pub(super) fn open_to_patch(&self, path: &Path) -> Result<File> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::io("open for writing", path))
    }

    pub(super) fn write_at(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<()> {
        for (number, piece) in bytes.chunks(self.piece).enumerate() {
            self.step()
                .and_then(|()| {
                    platform::write_all_at(file, piece, at + (number * self.piece) as u64)
                })
                .map_err(Error::io("write", path))?;
        }
        Ok(())
    }

    /// Copies all `len` bytes of `source` into the empty `target`, which goes by `path`.
    pub(super) fn copy(
        &self,
        source: &File,
        target: &File,
        path: &Path,
        len: u64,
        progress: Progress<'_>,
    ) -> Result<()> {
        let copy = || {
            self.step()?;
            if platform::share_blocks(source, target) {
                return going_on(progress(len, len));
            }
            platform::reserve(target, len)?;
            let mut buffer = Vec::new();
            let mut done = 0;
            while done < len {
                let left = usize::try_from(len - done).unwrap_or(CHUNK).min(CHUNK);
                done += match platform::copy_in_kernel(source, target, done, left)? {
                    Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(copied) => copied as u64,
                    None => {
                        buffer.resize(BUFFER.min(left), 0);
                        read_exact_at(source, &mut buffer, done)?;
                        platform::write_all_at(target, &buffer, done)?;
                        buffer.len() as u64
                    }
                };
                going_on(progress(done, len))?;
            }
            Ok(())
        };
        copy().map_err(Error::io(format!("write a copy of {len} bytes to"), path))
    }

    /// Writes `len` bytes of `source` into the empty `target` with the patches applied, which may
    /// change lengths.
    pub(super) fn splice(
        &self,
        source: &File,
        target: &File,
        path: &Path,
        len: u64,
        patches: &[Patch],
        progress: Progress<'_>,
    ) -> Result<()> {
        let (mut from, mut to) = (0, 0);
        let end = Patch {
            offset: len,
            old: Vec::new(),
            new: Vec::new(),
        };
        for patch in patches.iter().chain([&end]) {
            while from < patch.offset {
                let piece = (patch.offset - from).min(BUFFER as u64);
                let mut buffer = vec![0; piece as usize];
                read_exact_at(source, &mut buffer, from).map_err(Error::io("copy to", path))?;
                self.write_at(target, path, &buffer, to)?;
                (from, to) = (from + piece, to + piece);
                going_on(progress(from, len)).map_err(Error::io("copy to", path))?;
            }
            self.write_at(target, path, &patch.new, to)?;
            (from, to) = (from + patch.old.len() as u64, to + patch.new.len() as u64);
        }
        Ok(())
    }

    /// Waits until the file's contents are durable.
    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        self.step()
            .and_then(|()| self.timed(|| file.sync_all()))
            .map_err(Error::io("sync", path))
    }

    /// Waits until the entries of the directory of `path` are durable.
    pub(super) fn sync_directory_of(&self, path: &Path) -> Result<()> {
        let directory = directory(path);
        self.step()
            .and_then(|()| self.timed(|| platform::sync_directory(directory)))
            .map_err(Error::io("sync", directory))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step()
            .and_then(|()| fs::rename(from, to))
            .map_err(Error::io(
                format!("rename {} to this name", from.display()),
                to,
            ))
    }

    /// Removes a file; it is fine if there is none.
    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        match self.step().and_then(|()| fs::remove_file(path)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(err))
            }
            _ => Ok(()),
        }
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = work();
        let Syncs { count, time } = self.syncs.get();
        self.syncs.set(Syncs {
            count: count + 1,
            time: time + begin.elapsed(),
        });
        result
    }

    #[cfg(not(test))]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        self.fault.step()
    }
}

/// An error where the caller asked to stop.
fn going_on(answer: ControlFlow<()>) -> io::Result<()> {
    match answer {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(io::ErrorKind::Interrupted.into()),
    }
}
