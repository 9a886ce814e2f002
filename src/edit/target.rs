//! Where an edit reads, where it writes, and whether links allow that.

use std::fs;
use std::path::{Path, PathBuf};

use super::Destination;
use crate::checkpoint::{Checkpoint, Patches, is_index, model_file};
use crate::error::{Error, Refusal, Result};
use crate::file::Source;
use crate::file::{link_count, same_file, same_place};
use crate::record::{Place, record_path};
use crate::storage::Purpose;

/// The names of an edit.
#[derive(Debug)]
pub(super) struct Target {
    /// What to open.
    pub(super) path: PathBuf,
    /// What that is named by: the model file, or the index of a shard set.
    pub(super) anchor: PathBuf,
    /// The file or index to write instead of that.
    pub(super) output: Option<PathBuf>,
    pub(super) in_place: bool,
    pub(super) record: Place,
    /// The symbolic link that was followed to the file to edit.
    link: Option<PathBuf>,
    purpose: Purpose,
    /// The output's directory: removed again if the edit leaves nothing in it.
    made: Option<PathBuf>,
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(directory) = &self.made {
            let _ = fs::remove_dir(directory);
        }
    }
}

impl Target {
    /// Resolves names; reads no contents.
    pub(super) fn resolve(
        path: &Path,
        destination: &Destination,
        purpose: Purpose,
    ) -> Result<Target> {
        let mut anchor = model_file(path)?;
        let path = path.to_owned();
        if destination.in_place && destination.output.is_some() {
            let message = "an output file and an edit in place exclude each other";
            return Err(Error::Usage(message.to_owned()));
        }
        let Some(output) = &destination.output else {
            let mut link = None;
            if is_link(&anchor) {
                if !destination.follow_symlinks {
                    return Err(refuse_link(&anchor, purpose));
                }
                if is_index(&anchor) {
                    let reason = "is a shard index behind a symbolic link";
                    return Err(Error::refused_for(Refusal::LinkedIndex, &anchor, reason));
                }
                let named = anchor.clone();
                anchor = fs::canonicalize(&named).map_err(Error::io("follow", &named))?;
                link = Some(named);
            }
            let record = Place::of(&anchor, destination.record.as_deref());
            return Ok(Target {
                path,
                anchor,
                output: None,
                in_place: destination.in_place,
                record,
                link,
                purpose,
                made: None,
            });
        };
        let (mut output, made) = Self::output_file(&anchor, output, destination.dry_run)?;
        if is_link(&output) {
            if !destination.follow_symlinks {
                return Err(refuse_link(&output, purpose));
            }
            output = fs::canonicalize(&output).map_err(Error::io("follow", &output))?;
        }
        if output
            .symlink_metadata()
            .is_ok_and(|metadata| !metadata.is_file())
        {
            let reason = "is no regular file, and would be replaced by one";
            return Err(Error::refused(&output, reason));
        }
        if same_place(&anchor, &output) {
            let reason = "it is the checkpoint itself";
            return Err(Error::argument("output", output.display(), reason));
        }
        let record = Place::of(&output, destination.record.as_deref());
        Ok(Target {
            path,
            anchor,
            output: Some(output),
            in_place: false,
            record,
            link: None,
            purpose,
            made,
        })
    }

    /// The file, or shard index, that `output` means, and the directory that was made for it.
    fn output_file(
        anchor: &Path,
        output: &Path,
        dry_run: bool,
    ) -> Result<(PathBuf, Option<PathBuf>)> {
        let name = anchor.file_name().unwrap_or_default();
        let slash = output
            .as_os_str()
            .to_string_lossy()
            .ends_with(std::path::is_separator);
        let sharded = is_index(anchor);
        if output.is_dir() || slash || (sharded && !is_index(output)) {
            let made = (!output.is_dir() && !dry_run).then(|| output.to_owned());
            if dry_run {
                return Ok((output.join(name), made));
            }
            fs::create_dir_all(output).map_err(Error::io("create the directory", output))?;
            return Ok((output.join(name), made));
        }
        Ok((output.to_owned(), None))
    }

    /// That the file to edit goes by another name too, beside the link to it: Lightning's `last.ckpt`
    /// is a link to one of the best checkpoints.
    pub(super) fn linked_warning(&self) -> Option<String> {
        let link = self.link.as_ref()?;
        Some(format!(
            "{} is a link to {}, and that file is edited: if it is kept as one of the best, it does not \
             hold the weights any more that its score is of",
            link.display(),
            self.anchor.display()
        ))
    }

    /// The file to edit, by the name that was given.
    pub(super) fn named(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.anchor)
    }

    /// The record of the checkpoint that is read, where another than the one beside it was named.
    pub(super) fn own_record(&self) -> Option<&Path> {
        // With an output, the one that was named is the output's.
        self.output.is_none().then_some(&self.record.read)
    }

    /// The file beside which lock, journal and record of this edit stand.
    pub(super) fn edited(&self) -> &Path {
        self.output.as_ref().unwrap_or(&self.anchor)
    }

    /// Where each file of the checkpoint goes, of those that are `written`.
    pub(super) fn files(
        &self,
        checkpoint: &Checkpoint,
        written: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<PathBuf>> {
        let fresh = self.output.as_ref().is_some_and(|output| !output.exists());
        let mut files = Vec::new();
        for (i, source) in checkpoint.sources().iter().enumerate() {
            let file = self.moved(source.path());
            if self.output.is_some() && written(i) {
                let overwritten = if same_place(&file, source.path()) {
                    source.path().display().to_string()
                } else if fresh && file != self.edited() && file.exists() {
                    format!("{}, which another checkpoint may need", file.display())
                } else {
                    files.push(file);
                    continue;
                };
                let reason = format!(
                    "it would overwrite {overwritten}; an output in another directory would not"
                );
                return Err(Error::argument("output", "", reason));
            }
            files.push(file);
        }
        Ok(files)
    }

    /// Whether these patches could be written: what [`files`](Self::files) and
    /// [`check_links`](Self::check_links) have against it, without writing anything.
    pub(super) fn check(&self, checkpoint: &Checkpoint, patches: &Patches) -> Result<()> {
        let copied = |i: usize| self.output.is_some() && i < checkpoint.model_sources();
        let written = |i: usize| copied(i) || !patches.files[i].is_empty();
        self.files(checkpoint, &written)?;
        let sources = checkpoint.sources().iter().enumerate();
        sources
            .filter(|(i, _)| written(*i))
            .try_for_each(|(_, source)| self.check_links(source))
    }

    /// Refuses to save what `argument` names over what the edit reads or writes.
    pub(super) fn check_free(
        &self,
        checkpoint: &Checkpoint,
        argument: &'static str,
        plan: &Path,
    ) -> Result<()> {
        let own = record_path(&self.anchor);
        let records = [&own, &self.record.read, &self.record.write];
        let written = self.files(checkpoint, &|_| false)?;
        let mut files = checkpoint
            .files()
            .chain(records.into_iter().chain(&written).map(PathBuf::as_path))
            .chain([self.edited()]);
        if let Some(file) = files.find(|file| same_file(file, plan)) {
            let reason = format!(
                "it would overwrite {}, which this edit reads or writes",
                file.display()
            );
            return Err(Error::argument(argument, plan.display(), reason));
        }
        Ok(())
    }

    /// Files without γ that an output needs beside it, and where they go.
    pub(super) fn other_files(&self, checkpoint: &Checkpoint) -> Vec<(PathBuf, PathBuf)> {
        let others = checkpoint
            .other_files()
            .iter()
            .filter(|_| self.output.is_some());
        let moved = others.map(|other| (other.clone(), self.moved(other)));
        moved.filter(|(from, to)| !same_place(from, to)).collect()
    }

    /// Where a file of the checkpoint is written.
    fn moved(&self, file: &Path) -> PathBuf {
        if file == self.named() {
            return self.edited().to_owned();
        }
        if self.output.is_none() {
            // Behind a link to the model its data may lie behind links too.
            let is_followed = self.link.is_some() && is_link(file);
            let followed = is_followed.then(|| fs::canonicalize(file).ok()).flatten();
            return followed.unwrap_or_else(|| file.to_owned());
        }
        let from = self.anchor.parent().unwrap_or(Path::new(""));
        let to = self.edited().parent().unwrap_or(Path::new(""));
        to.join(file.strip_prefix(from).unwrap_or(file))
    }

    /// Refuses to edit a file that goes by other names as well, where that would change them too
    /// (in place) or cut them off (a link).
    pub(super) fn check_links(&self, source: &Source) -> Result<()> {
        if self.output.is_some() {
            return Ok(());
        }
        if self.link.is_none() && is_link(source.path()) {
            return Err(refuse_link(source.path(), self.purpose));
        }
        let metadata = source
            .file()
            .metadata()
            .map_err(Error::io("read the links of", source.path()))?;
        let links = link_count(&metadata);
        if self.in_place && links > 1 {
            let reason = format!(
                "has {links} hard links, and editing in place would change it under all its names"
            );
            return Err(Error::refused_for(
                Refusal::HardLinks,
                source.path(),
                reason,
            ));
        }
        Ok(())
    }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_symlink())
}

fn refuse_link(path: &Path, purpose: Purpose) -> Error {
    let leads = fs::read_link(path)
        .map(|to| format!(" to {}", to.display()))
        .unwrap_or_default();
    let refusal = match purpose {
        Purpose::Apply => Refusal::SymbolicLink,
        Purpose::Undo => Refusal::UndoneLink,
    };
    let reason =
        format!("is a symbolic link{leads}, and the file there may be shared (a model cache)");
    Error::refused_for(refusal, path, reason)
}
