//! A directory of files that is replaced as a whole.
//!
//! The new one is written under a hidden name and synced before it takes the place of the old one:
//! whenever the process dies, a complete directory stands under the name, or, on systems that
//! cannot exchange two names in one step, under the hidden name of the old one until
//! [`recover`] gives it back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::platform;
use crate::error::{Error, Result};
use crate::file::directory;

/// Writes `files` as the directory `target`. The one that stood there moves to `archive`, or goes
/// away.
///
/// # Errors
/// A file cannot be written, as on a full disk: then what stood at `target` still does.
pub(crate) fn replace_directory(
    target: &Path,
    files: &[(&str, Vec<u8>)],
    archive: Option<&Path>,
) -> Result<()> {
    let (staged, old) = (hidden(target, "new"), hidden(target, "old"));
    remove(&staged)?;
    if let Err(err) = write(&staged, files) {
        // What is left of it is removed by the next one.
        let _ = fs::remove_dir_all(&staged);
        return Err(err);
    }
    let rename = |from: &Path, to: &Path| {
        let action = format!("rename {} to this name", from.display());
        fs::rename(from, to).map_err(Error::io(action, to))
    };
    if !target.exists() {
        rename(&staged, target)?;
        return sync(directory(target));
    }
    let exchanged =
        platform::exchange(&staged, target).map_err(Error::io("put a new directory at", target))?;
    let replaced = if exchanged {
        &staged
    } else {
        remove(&old)?;
        rename(target, &old)?;
        rename(&staged, target)?;
        &old
    };
    sync(directory(target))?;
    match archive {
        Some(archive) => {
            remove(archive)?;
            rename(replaced, archive)
        }
        None => remove(replaced),
    }
}

/// After a process died in [`replace_directory`]: gives the old directory its name back where there
/// is none. What else was left is returned: a directory that is not complete, or the old one on its
/// way out.
pub(crate) fn recover(target: &Path) -> Result<Vec<PathBuf>> {
    let left = [hidden(target, "new"), hidden(target, "old")];
    if !target.exists() && left[1].exists() {
        fs::rename(&left[1], target).map_err(Error::io("give its name back to", target))?;
    }
    Ok(left.into_iter().filter(|left| left.exists()).collect())
}

/// Removes a directory; it is fine if there is none.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(err)),
        _ => Ok(()),
    }
}

fn write(directory: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    fs::create_dir(directory).map_err(Error::io("create the directory", directory))?;
    for (name, bytes) in files {
        let path = directory.join(name);
        File::create(&path)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .map_err(Error::io("write", &path))?;
    }
    sync(directory)
}

fn sync(directory: &Path) -> Result<()> {
    platform::sync_directory(directory).map_err(Error::io("sync", directory))
}

/// `.last.new` for `last`.
fn hidden(target: &Path, end: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path) -> String {
        fs::read_to_string(directory.join("f")).unwrap()
    }

    #[test]
    fn the_new_directory_takes_the_place_of_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let (target, archive) = (home.path().join("last"), home.path().join("epoch-1"));
        for (text, archive) in [("1", None), ("2", Some(&archive)), ("3", None)] {
            let files = [("f", text.as_bytes().to_vec())];
            replace_directory(&target, &files, archive.map(PathBuf::as_path)).unwrap();
        }
        assert_eq!((&file(&target)[..], &file(&archive)[..]), ("3", "1"));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_directory() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("last");
        replace_directory(&target, &[("f", b"1".to_vec())], None).unwrap();
        let broken = [("f", b"2".to_vec()), ("no/such/folder", Vec::new())];
        replace_directory(&target, &broken, None).unwrap_err();
        assert_eq!(file(&target), "1");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_lost_its_name_half_way_gets_it_back() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("last");
        replace_directory(&target, &[("f", b"1".to_vec())], None).unwrap();
        fs::rename(&target, home.path().join(".last.old")).unwrap();
        fs::create_dir(home.path().join(".last.new")).unwrap();
        assert_eq!(recover(&target).unwrap(), [home.path().join(".last.new")]);
        assert_eq!(file(&target), "1");
    }
}
