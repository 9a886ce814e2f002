//! The image files below a folder, in the order of their names.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Extensions of images, in any case of letters.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Files, as the folder and the name of each.
#[derive(Default)]
pub(in crate::train::data) struct Listed {
    folders: Vec<PathBuf>,
    files: Vec<(u32, Box<OsStr>)>,
    /// The folders that were walked, without links.
    seen: HashSet<PathBuf>,
}

/// The names of the folders in `folder`, in their order; those that begin with a dot are left out.
pub(in crate::train::data) fn subfolders(folder: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in entries(folder)? {
        if is_folder(&entry) {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let read = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = read.map_err(Error::io("list", folder))?;
    entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.sort_by_cached_key(DirEntry::file_name);
    Ok(entries)
}

/// Follows links; a link to nothing is no folder.
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => entry.path().is_dir(),
        kind => kind.is_ok_and(|kind| kind.is_dir()),
    }
}

fn is_image(name: &OsStr) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

impl Listed {
    pub(in crate::train::data) fn len(&self) -> usize {
        self.files.len()
    }

    pub(in crate::train::data) fn path(&self, index: usize) -> PathBuf {
        let (folder, name) = &self.files[index];
        self.folders[*folder as usize].join(&**name)
    }

    /// Adds the images in `folder` and in the folders below it.
    ///
    /// # Errors
    /// A folder that cannot be read, or that is met a second time: by a link that leads back up, or
    /// by two names.
    pub(in crate::train::data) fn walk(&mut self, folder: &Path) -> Result<()> {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            let real = fs::canonicalize(&folder).map_err(Error::io("open", &folder))?;
            if !self.seen.insert(real) {
                let reason = "is a folder that another name led to already: its images would count \
                              twice; remove the link";
                return Err(Error::refused(&folder, reason));
            }
            let number = self.folders.len() as u32;
            let mut below = Vec::new();
            for entry in entries(&folder)? {
                let name = entry.file_name();
                if is_image(&name) && !is_folder(&entry) {
                    self.files.push((number, name.into()));
                } else if is_folder(&entry) {
                    below.push(entry.path());
                }
            }
            self.folders.push(folder);
            below.reverse();
            waiting.append(&mut below);
        }
        Ok(())
    }
}
