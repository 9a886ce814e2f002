//! The folder `.ckpt-regen` beside a checkpoint: what edits keep lies there, where no trainer that
//! looks for `last*` finds it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::beside;
use super::disk::Disk;
use crate::error::{Error, Result};
use crate::file::directory;

/// Its name.
const HOME: &str = ".ckpt-regen";

/// What is kept for a file, by how its name ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Record,
    Journal,
    Lock,
}

impl Kept {
    const ALL: [Kept; 3] = [Kept::Record, Kept::Journal, Kept::Lock];

    fn end(self) -> &'static str {
        match self {
            Kept::Record => "json",
            Kept::Journal => "journal",
            Kept::Lock => "lock",
        }
    }

    /// Where it is kept for `file`.
    pub(crate) fn path(self, file: &Path) -> PathBuf {
        home(file).join(name_of(file, self.end()))
    }

    /// Where earlier versions kept it: `NAME.regen.json` beside the file.
    pub(crate) fn earlier(self, file: &Path) -> PathBuf {
        beside(file, &format!(".regen.{}", self.end()))
    }

    /// Where it is: where earlier versions kept it, if only there is something.
    pub(crate) fn found(self, file: &Path) -> PathBuf {
        let (path, earlier) = (self.path(file), self.earlier(file));
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        if !is_there(&path) && is_there(&earlier) {
            earlier
        } else {
            path
        }
    }

    /// Whether a path is where this is kept for some file.
    pub(super) fn is_at(self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let end = name.rsplit_once('.').map(|(_, end)| end);
        let in_home = path.parent().and_then(Path::file_name) == Some(OsStr::new(HOME));
        let earlier = name.rsplit_once(".regen.").map(|(_, end)| end);
        (in_home && end == Some(self.end())) || earlier == Some(self.end())
    }
}

/// Whether a path is one of those that edits keep beside a checkpoint, or the folder of them.
pub fn is_companion(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new(HOME)) || Kept::ALL.iter().any(|kept| kept.is_at(path))
}

/// The folder beside a file.
pub(super) fn home(file: &Path) -> PathBuf {
    file.with_file_name(HOME)
}

/// The name of what is kept for `file` and ends in `end`.
pub(super) fn name_of(file: &Path, end: &str) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}.{end}")
}

/// Makes the folder beside a file, if there is none.
///
/// # Errors
/// Something else goes by its name: a link would lead an edit out of the checkpoint's directory.
pub(super) fn make(disk: &Disk, file: &Path) -> Result<PathBuf> {
    let home = home(file);
    match fs::create_dir(&home) {
        Ok(()) => disk.sync_directory_of(&home)?,
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        Err(err) => return Err(Error::io("create .ckpt-regen/ beside it", file)(err)),
    }
    match home.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            let found = "something else of its name";
            Err(Error::malformed(&home, "folder", "a directory", found))
        }
        // It may vanish with the lock of another run.
        _ => Ok(home),
    }
}

/// Removes the folder beside a file, if nothing is in it.
pub(super) fn remove_if_empty(file: &Path) {
    let _ = fs::remove_dir(home(file));
}

/// Removes temporary files that dead runs have left for edits of `anchor`, beside `file`.
pub(super) fn remove_leftovers(disk: &Disk, anchor: &Path, file: &Path) -> Result<()> {
    let name = anchor.file_name().unwrap_or_default().to_string_lossy();
    let places = [
        (home(file), format!("{name}."), TEMPORARY),
        // Of earlier versions.
        (directory(file).to_owned(), format!(".{name}."), "regen-tmp"),
    ];
    for (place, prefix, end) in places {
        let entries = match fs::read_dir(&place) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::io("list", &place))?,
        };
        for entry in entries.filter_map(|entry| entry.ok()) {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let number = name
                .strip_prefix(&prefix)
                .and_then(|rest| rest.strip_suffix(end));
            let number = number.and_then(|number| number.strip_suffix('.'));
            if number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
                disk.remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// How the name of a temporary file ends.
const TEMPORARY: &str = "tmp";

/// The `number`th temporary file of an edit of `anchor` that will be renamed to `target`. Under the
/// lock on the anchor, all of them belong to us or to the dead.
pub(super) fn temporary(anchor: &Path, target: &Path, number: usize) -> PathBuf {
    home(target).join(name_of(anchor, &format!("{number}.{TEMPORARY}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_kept_begins_as_the_file_does_beside_it() {
        let file = Path::new("dir/last.ckpt");
        for (kept, path, earlier) in [
            (
                Kept::Record,
                "dir/.ckpt-regen/last.ckpt.json",
                "dir/last.ckpt.regen.json",
            ),
            (
                Kept::Journal,
                "dir/.ckpt-regen/last.ckpt.journal",
                "dir/last.ckpt.regen.journal",
            ),
            (
                Kept::Lock,
                "dir/.ckpt-regen/last.ckpt.lock",
                "dir/last.ckpt.regen.lock",
            ),
        ] {
            assert_eq!(kept.path(file), Path::new(path));
            assert_eq!(kept.earlier(file), Path::new(earlier));
            assert!(kept.is_at(Path::new(path)) && kept.is_at(Path::new(earlier)));
            assert!(is_companion(Path::new(path)));
        }
        assert_eq!(
            Kept::Record.path(Path::new("m")),
            Path::new(".ckpt-regen/m.json")
        );
        assert!(is_companion(Path::new("dir/.ckpt-regen")));
        assert!(!is_companion(file) && !is_companion(Path::new("config.json")));
    }
}
