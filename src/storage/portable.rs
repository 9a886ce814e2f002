//! The same as `linux.rs` with the standard library alone: correct on any system, without shared
//! blocks and extended attributes. On Linux it can be tried with `--cfg ckpt_regen_portable`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

pub(crate) fn write_all_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(unix)]
pub(crate) fn sync_directory(directory: &std::path::Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Windows journals its directories itself and cannot open one as a file.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_directory: &std::path::Path) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "train")]
pub(crate) fn exchange(_a: &std::path::Path, _b: &std::path::Path) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn share_blocks(_source: &File, _target: &File) -> bool {
    false
}

pub(crate) fn reserve(_target: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

pub(crate) fn copy_in_kernel(
    _source: &File,
    _target: &File,
    _offset: u64,
    _len: usize,
) -> io::Result<Option<usize>> {
    Ok(None)
}

pub(crate) fn copy_attributes(source: &File, target: &File) -> io::Result<Vec<String>> {
    target.set_permissions(source.metadata()?.permissions())?;
    Ok(Vec::new())
}
