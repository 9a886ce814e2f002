//! What is specific to Linux: copies that share blocks or stay in the kernel, and the owner and
//! extended attributes of a file.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use rustix::fs as sys;
use rustix::io::Errno;

pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(directory: &std::path::Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Exchanges two names in one step. `false`: the file system cannot.
#[cfg(feature = "train")]
pub(crate) fn exchange(a: &std::path::Path, b: &std::path::Path) -> io::Result<bool> {
    match sys::renameat_with(sys::CWD, a, sys::CWD, b, sys::RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// Makes the whole of `source` the contents of the empty `target` by sharing its blocks, where
/// the file system can (btrfs, xfs). `false`: it cannot, and `target` is still empty.
pub(crate) fn share_blocks(source: &File, target: &File) -> bool {
    sys::ioctl_ficlone(target, source).is_ok()
}

/// Reserves space for `len` bytes, so that a full disk is known before anything is copied and
/// blocks lie together.
pub(crate) fn reserve(target: &File, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    match sys::fallocate(target, sys::FallocateFlags::empty(), 0, len) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Copies up to `len` bytes at `offset` between two files without passing them through this
/// process. `None`: these two files need an ordinary copy.
pub(crate) fn copy_in_kernel(
    source: &File,
    target: &File,
    offset: u64,
    len: usize,
) -> io::Result<Option<usize>> {
    let (mut from, mut to) = (offset, offset);
    match sys::copy_file_range(source, Some(&mut from), target, Some(&mut to), len) {
        Ok(copied) => Ok(Some(copied)),
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// Gives `target` the mode, owner and extended attributes of `source`; returns what could not be
/// kept.
pub(crate) fn copy_attributes(source: &File, target: &File) -> io::Result<Vec<String>> {
    let metadata = source.metadata()?;
    let mut lost = Vec::new();
    let there = target.metadata()?;
    if (there.uid(), there.gid()) != (metadata.uid(), metadata.gid())
        && std::os::unix::fs::fchown(target, Some(metadata.uid()), Some(metadata.gid())).is_err()
    {
        lost.push(format!("owner {}:{}", metadata.uid(), metadata.gid()));
    }
    // After the owner: a change of owner clears the set-id bits.
    target.set_permissions(std::fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    for name in attribute_names(source)? {
        if copy_attribute(source, target, &name).is_err() {
            lost.push(format!("attribute {}", name.to_string_lossy()));
        }
    }
    Ok(lost)
}

fn attribute_names(file: &File) -> io::Result<Vec<OsString>> {
    let mut buffer = vec![0; 65_536];
    match sys::flistxattr(file, &mut buffer[..]) {
        Ok(len) => Ok(buffer[..len]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| OsString::from_vec(name.to_vec()))
            .collect()),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(err) => Err(err.into()),
    }
}

fn copy_attribute(source: &File, target: &File, name: &OsString) -> io::Result<()> {
    let mut value = vec![0; 65_536];
    let len = sys::fgetxattr(source, name.as_os_str(), &mut value[..])?;
    sys::fsetxattr(
        target,
        name.as_os_str(),
        &value[..len],
        sys::XattrFlags::empty(),
    )?;
    Ok(())
}
