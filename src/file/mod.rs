//! A file as bytes: how it is read, and what tells that a path still leads to it.

pub(crate) mod base64_bytes;
pub(crate) mod bytes;
mod identity;
mod map;
mod platform;
mod source;

use std::path::Path;

pub(crate) use identity::{Identity, same_file, same_place};
pub(crate) use platform::{link_count, read_exact_at};
pub use source::{Reading, Source};

/// The directory of a file, never empty.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// The text of a file of at most `max` bytes.
///
/// # Errors
/// `InvalidData` when it is longer, no text, or no regular file (to read a pipe is to wait).
pub(crate) fn read_small_file(path: &Path, max: u64) -> std::io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    let invalid = |what: String| Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    if !metadata.is_file() {
        return invalid("something that is no regular file".to_owned());
    }
    if metadata.len() > max {
        return invalid(format!("{} bytes", metadata.len()));
    }
    std::fs::read_to_string(path)
}
