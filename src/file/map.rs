//! A file mapped into memory, read-only: the one place of the file side that is `unsafe`.

use std::fs::File;

use memmap2::Mmap;

/// Maps the whole of a file. `None` where that is refused, where it is empty, and on file systems
/// across a network: there a map turns a lost connection into a signal, and positioned reads into an
/// error.
pub(super) fn map(file: &File) -> Option<Mmap> {
    if !is_local(file) {
        return None;
    }
    #[expect(
        unsafe_code,
        reason = "no system can map a file so that nobody else changes it"
    )]
    // SAFETY: The map is read-only, and nothing of this crate writes to a file that it has mapped: an
    // edit writes to a copy, or after it has dropped the map. Other programs are not kept from it.
    // Bytes that they change may be seen changed or not; they are only ever read as bytes, checked
    // as those of any file are, and no edit writes them back (that takes positioned reads). A file
    // that they cut short while it is mapped ends this process by SIGBUS when a page behind the new
    // end is touched: `Source::slice` looks at the length first, which leaves the time between the
    // look and the touch.
    let map = unsafe { Mmap::map(file) };
    map.ok().filter(|map| !map.is_empty())
}

/// Whether a file lies on a disk of this machine, as far as its file system says.
#[cfg(all(target_os = "linux", not(ckpt_regen_portable)))]
fn is_local(file: &File) -> bool {
    /// NFS, SMB (three numbers), FUSE, Lustre, 9P, AFS, Ceph, GPFS, BeeGFS, Coda, OCFS2, GFS2.
    const REMOTE: [u32; 14] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0bd0_0bd0,
        0x0102_1997,
        0x5346_414f,
        0x00c3_6400,
        0x4750_4653,
        0x1983_0326,
        0x7375_7245,
        0x7461_636f,
        0x0116_1970,
    ];
    rustix::fs::fstatfs(file).is_ok_and(|stat| !REMOTE.contains(&(stat.f_type as u32)))
}

/// What other systems say of it is not known here.
#[cfg(not(all(target_os = "linux", not(ckpt_regen_portable))))]
fn is_local(_file: &File) -> bool {
    false
}
