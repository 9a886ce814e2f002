//! Files on disk, safely: several files change together or not at all, whenever the process is
//! killed.
//!
//! Every edit is a transaction. New contents are staged in temporary files in the folder
//! `.ckpt-regen` beside their targets (`home.rs`) and synced; then a journal that lists what remains to do (renames, removals, patches of
//! a file in place) is synced: from there on the edit will happen. After the last step the journal
//! is removed. A process that dies before the journal exists leaves the old state and temporary
//! files; one that dies after it leaves a journal, which the next transaction on that file
//! completes before it does anything else (`recover.rs`).

mod disk;
#[cfg(feature = "train")]
pub(crate) mod folder;
mod home;
mod journal;
mod lock;
mod recover;
mod transaction;

#[cfg(all(target_os = "linux", not(ckpt_regen_portable)))]
#[path = "linux.rs"]
mod platform;
#[cfg(not(all(target_os = "linux", not(ckpt_regen_portable))))]
#[path = "portable.rs"]
mod platform;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

pub use disk::Syncs;
pub(crate) use home::Kept;
pub use home::is_companion;
pub use journal::{Purpose, journal_path, pending};
pub use recover::Recovery;
pub(crate) use transaction::Transaction;

/// Called with the bytes done so far and the bytes to do in all; [`ControlFlow::Break`] stops the work.
pub type Progress<'a> = &'a dyn Fn(u64, u64) -> ControlFlow<()>;

/// A change of a byte range: `new` takes the place of `old`. Only a copy can be given bytes of
/// another length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Offset of the range in its file.
    pub offset: u64,
    /// The bytes that stand there.
    pub old: Vec<u8>,
    /// The bytes that shall stand there.
    pub new: Vec<u8>,
}

/// Writes a file that is no checkpoint, replacing an older one as a whole.
pub(crate) fn replace_file(path: &std::path::Path, bytes: &[u8]) -> crate::error::Result<()> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "set up on Unix only"))]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file, less what the umask takes; a temporary one is private.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(crate::file::directory(path))
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|err| err.error)?;
            Ok(())
        })
        .map_err(crate::error::Error::io("write", path))
}

/// `path` with `suffix` appended to its file name.
fn beside(path: &std::path::Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
