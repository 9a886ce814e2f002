//! An edit of several files that happens as a whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::disk::{Disk, Syncs};
use super::home::{self, Kept};
use super::journal::{self, Action, Purpose, Range};
use super::lock::Lock;
use super::recover::{self, Recovery};
use super::{Patch, Progress, platform};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::file::{Identity, directory};

/// An edit that is being staged. Dropped before [`commit`](Self::commit), it leaves no trace.
#[derive(Debug)]
pub(crate) struct Transaction {
    anchor: PathBuf,
    disk: Disk,
    staged: Vec<PathBuf>,
    actions: Vec<Action>,
    /// Files that the edit was computed from: they must be the same when it is decided.
    sources: Vec<(PathBuf, Identity)>,
    recovery: Option<Recovery>,
    warnings: Vec<String>,
    /// Declared last: it is given up when everything else is done.
    _lock: Lock,
}

/// An edit that was carried out; its journal is still there.
#[derive(Debug)]
#[must_use = "finish() removes the journal"]
pub(crate) struct Committed(Transaction);

impl Transaction {
    /// Takes the lock on `anchor`, completes an edit that a killed run has left pending, and
    /// removes the temporary files of dead runs.
    pub(crate) fn begin(anchor: &Path) -> Result<Transaction> {
        Self::begin_on(Disk::default(), anchor)
    }

    pub(super) fn begin_on(disk: Disk, anchor: &Path) -> Result<Transaction> {
        let lock = Lock::take(&disk, anchor)?;
        let recovery = recover::recover(&disk, anchor)?;
        let transaction = Transaction {
            anchor: anchor.to_owned(),
            disk,
            staged: Vec::new(),
            actions: Vec::new(),
            sources: Vec::new(),
            recovery,
            warnings: lock.unsupported.iter().cloned().collect(),
            _lock: lock,
        };
        home::remove_leftovers(&transaction.disk, anchor, anchor)?;
        Ok(transaction)
    }

    /// What `begin` found to complete.
    pub(crate) fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// Asks that `source` be unchanged when the edit is decided.
    pub(crate) fn depends_on(&mut self, source: &Source) {
        self.sources
            .push((source.path().to_owned(), source.identity()));
    }

    /// Stages `target` as a copy of `source` with `patches` applied, which are disjoint and in
    /// order, and returns the staged file. `target` is `source` itself, or any other name.
    pub(crate) fn replace(
        &mut self,
        source: &Source,
        target: &Path,
        patches: &[Patch],
        progress: Progress<'_>,
    ) -> Result<PathBuf> {
        self.depends_on(source);
        let (file, staged) = self.stage(target)?;
        if patches
            .iter()
            .all(|patch| patch.old.len() == patch.new.len())
        {
            self.disk
                .copy(source.file(), &file, &staged, source.len(), progress)?;
            for patch in patches {
                self.disk
                    .write_at(&file, &staged, &patch.new, patch.offset)?;
            }
        } else {
            self.disk.splice(
                source.file(),
                &file,
                &staged,
                source.len(),
                patches,
                progress,
            )?;
        }
        let lost = platform::copy_attributes(source.file(), &file)
            .map_err(Error::io("set the attributes of", &staged))?;
        if !lost.is_empty() {
            self.warnings.push(format!(
                "{}: could not keep its {}",
                target.display(),
                lost.join(", ")
            ));
        }
        self.disk.sync(&file, &staged)?;
        Ok(staged)
    }

    /// Stages a small file with the given contents, with the mode of `like`.
    pub(crate) fn write(&mut self, target: &Path, contents: &[u8], like: &Source) -> Result<()> {
        let (file, staged) = self.stage(target)?;
        self.disk.write_at(&file, &staged, contents, 0)?;
        let permissions = like
            .file()
            .metadata()
            .map(|metadata| metadata.permissions());
        permissions
            .and_then(|permissions| file.set_permissions(permissions))
            .map_err(Error::io("set the mode of", &staged))?;
        self.disk.sync(&file, &staged)
    }

    /// Has what was asked for last done first.
    pub(crate) fn last_first(&mut self) {
        self.actions.rotate_right(1);
    }

    /// Has `path` removed, if it is there by then.
    pub(crate) fn remove(&mut self, path: &Path) -> Result<()> {
        let was = Identity::at(path).map_err(Error::io("look at", path))?;
        self.actions.push(Action::Remove {
            path: journal::relative(&self.anchor, path)?,
            was,
        });
        Ok(())
    }

    /// Has ranges of `source` itself rewritten, whose name without links is `path`.
    pub(crate) fn patch_in_place(
        &mut self,
        source: &Source,
        path: &Path,
        patches: &[Patch],
    ) -> Result<()> {
        self.depends_on(source);
        // A file that cannot be written shall be found out before the edit is decided.
        self.disk.open_to_patch(path)?;
        let ranges = patches.iter().cloned();
        self.actions.push(Action::Patch {
            path: journal::relative(&self.anchor, path)?,
            len: source.len(),
            ranges: ranges
                .map(|Patch { offset, old, new }| Range { offset, old, new })
                .collect(),
        });
        Ok(())
    }

    /// Decides the edit and carries it out. An error before the decision leaves everything as it
    /// was; one after it leaves a journal, and says so.
    pub(crate) fn commit(mut self, purpose: Purpose) -> Result<Committed> {
        for (path, was) in &self.sources {
            if Identity::at(path).map_err(Error::io("look at", path))? != Some(*was) {
                let reason = "another program changed it meanwhile; nothing was written, run again";
                return Err(Error::refused(path, reason));
            }
        }
        // A name that is lost with the power would later look like a rename that was done.
        let elsewhere = self
            .staged
            .iter()
            .filter(|path| path.parent() != Some(&*home::home(&self.anchor)));
        elsewhere
            .into_iter()
            .try_for_each(|path| self.disk.sync_directory_of(path))?;
        let (_, journal) = self.temporary(&self.anchor)?;
        self.staged.push(journal.clone());
        let written = journal::write(&self.disk, &self.anchor, &journal, purpose, &self.actions);
        if let Err(err) = written {
            return Err(self.take_back(err));
        }
        match recover::perform(&self.disk, directory(&self.anchor), &self.actions) {
            Ok(()) => {
                self.staged.clear();
                Ok(Committed(self))
            }
            // Nothing has changed yet.
            Err((0, err)) if matches!(self.actions[0], Action::Rename { .. }) => {
                Err(self.take_back(err))
            }
            Err((_, err)) => Err(self.leave(&err)),
        }
    }

    /// Takes the decision back, as long as nothing was done about it, because of `err`.
    fn take_back(&mut self, err: Error) -> Error {
        // Durably, before what is staged goes with this value.
        match recover::finish(&self.disk, &self.anchor) {
            Ok(()) => err,
            Err(_) if !journal::pending(&self.anchor) => err,
            Err(second) => self.leave(&second),
        }
    }

    /// Leaves the rest of the edit to the next run, because of `err`.
    fn leave(&mut self, err: &Error) -> Error {
        // The journal needs what is staged.
        self.staged.clear();
        self.interrupted(err)
    }

    fn interrupted(&self, err: &Error) -> Error {
        let cause = match err {
            Error::Io { source, .. } => format!("{err}: {source}"),
            _ => err.to_string(),
        };
        Error::refused(
            &self.anchor,
            format!(
                "the edit is decided but not complete: {cause}. Nothing is lost: {} has the rest, \
                 and the next apply or undo completes it",
                journal::journal_path(&self.anchor).display()
            ),
        )
    }

    /// A new temporary file that will be renamed to `target`.
    fn stage(&mut self, target: &Path) -> Result<(File, PathBuf)> {
        let to = journal::relative(&self.anchor, target)?;
        let was = Identity::at(target).map_err(Error::io("look at", target))?;
        let (from, staged) = self.temporary(target)?;
        let directory = directory(target);
        fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
        home::make(&self.disk, self.neighbour(target))?;
        self.disk.remove(&staged)?;
        let file = self.disk.create(&staged)?;
        self.staged.push(staged.clone());
        self.actions.push(Action::Rename { from, to, was });
        Ok((file, staged))
    }

    /// The name of the next temporary file for `target`: as the journal has it, and whole.
    fn temporary(&self, target: &Path) -> Result<(PathBuf, PathBuf)> {
        let neighbour = self.neighbour(target);
        let path = home::temporary(&self.anchor, neighbour, self.staged.len());
        Ok((journal::relative(&self.anchor, &path)?, path))
    }

    /// The file beside which `target` is staged: a record lies in such a folder itself.
    fn neighbour<'p>(&'p self, target: &'p Path) -> &'p Path {
        if Kept::Record.is_at(target) {
            &self.anchor
        } else {
            target
        }
    }

    /// Whether a file can be a part of this edit: whether it lies in the directory of the anchor.
    pub(crate) fn reaches(&self, path: &Path) -> bool {
        journal::relative(&self.anchor, path).is_ok()
    }

    /// Removes the temporary files of dead runs beside these files.
    pub(crate) fn clear_beside<'p>(&self, files: impl Iterator<Item = &'p Path>) -> Result<()> {
        let mut files: Vec<&Path> = files.collect();
        files.sort_unstable_by_key(|file| directory(file));
        files.dedup_by_key(|file| directory(file));
        files.retain(|file| directory(file) != directory(&self.anchor));
        files
            .into_iter()
            .try_for_each(|file| home::remove_leftovers(&self.disk, &self.anchor, file))
    }
}

impl Committed {
    /// Removes the journal. Returns what syncing cost, and what a user should be told.
    pub(crate) fn finish(self) -> Result<(Syncs, Vec<String>)> {
        let Committed(mut transaction) = self;
        recover::finish(&transaction.disk, &transaction.anchor)?;
        Ok((
            transaction.disk.syncs(),
            std::mem::take(&mut transaction.warnings),
        ))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        for path in &self.staged {
            let _ = self.disk.remove(path);
        }
        // The folders beside files in other directories than the anchor's.
        for action in &self.actions {
            if let Action::Rename { to, .. } = action {
                home::remove_if_empty(&directory(&self.anchor).join(to));
            }
        }
    }
}
