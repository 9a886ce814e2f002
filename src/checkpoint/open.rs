//! Opening: a path → the files that it means → a table of tensors.

use std::path::{Path, PathBuf};

use super::format::{self, DataFiles, FormatName, Opened, Opening};
use super::{Checkpoint, StateDict, Training, directory, resolve, shards};
use crate::error::{Error, Result};
use crate::file::{self, Source};

impl Checkpoint {
    /// Opens a file, a shard index or a directory and reads its table of tensors.
    ///
    /// In a directory the model is the first of `model.safetensors`, `model.safetensors.index.json`,
    /// `pytorch_model.bin`, `pytorch_model.bin.index.json`, as transformers loads them; a directory
    /// that holds both safetensors and `.bin`, or none of the four, is an error that lists what is
    /// there.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Checkpoint::open_with(path.as_ref(), DataFiles::Gamma)
    }

    /// The same, with all data files of an ONNX model, so that every tensor can be changed.
    pub(crate) fn open_whole(path: &Path) -> Result<Checkpoint> {
        Checkpoint::open_with(path, DataFiles::All)
    }

    fn open_with(path: &Path, files: DataFiles) -> Result<Checkpoint> {
        let anchor = resolve::model_file(path)?;
        let mut checkpoint = if shards::is_index(&anchor) {
            let index = Source::open(&anchor)?;
            let shards = shards::read_index(&index)?;
            let mut checkpoint = open_shards(path, &anchor, &shards.files)?;
            shards.check(&anchor, &checkpoint)?;
            checkpoint.index = Some(index);
            checkpoint
        } else {
            let opened = format::open(Opening {
                source: Source::open(&anchor)?,
                number: 0,
                home: file::directory(&anchor),
                files,
            })?;
            Checkpoint::of(path, &anchor, opened, files)
        };
        if path.is_dir() {
            let others = resolve::passed_over(path, &anchor);
            if !others.is_empty() {
                let chosen = anchor.file_name().unwrap_or_default().to_string_lossy();
                checkpoint.warnings.push(format!(
                    "of {} {chosen} is taken, as transformers does; it also holds {}",
                    path.display(),
                    others.join(", ")
                ));
            }
            directory::read(path, &mut checkpoint)?;
        }
        Ok(checkpoint)
    }

    /// Reads the tables of `paths`, which stand for [`sources`](Self::sources), as this checkpoint
    /// was read: what was staged for it, say.
    pub(crate) fn reread(&self, paths: &[PathBuf]) -> Result<Checkpoint> {
        let (model, companions) = paths.split_at(self.model_sources);
        let mut read = match self.index {
            Some(_) => open_shards(&self.path, &self.anchor, model)?,
            // The data files of a staged model are those that it was made from.
            None => {
                let opened = format::open(Opening {
                    source: Source::open(&model[0])?,
                    number: 0,
                    home: file::directory(self.sources[0].path()),
                    files: self.files,
                })?;
                Checkpoint::of(&self.path, &self.anchor, opened, self.files)
            }
        };
        read.training.layout = self.training.layout;
        for path in companions {
            directory::add_optimizer(&mut read, Source::open(path)?)?;
        }
        Ok(read)
    }

    /// A model in one file, with its data files.
    pub(super) fn of(path: &Path, anchor: &Path, opened: Opened, files: DataFiles) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            dicts: opened.dicts,
            training: opened.training,
            notes: opened.notes,
            files,
            ..Checkpoint::empty(path, anchor, opened.format)
        };
        checkpoint.add(opened.sources, opened.contents);
        checkpoint.model_sources = checkpoint.sources.len();
        checkpoint
    }

    fn empty(path: &Path, anchor: &Path, format: FormatName) -> Checkpoint {
        Checkpoint {
            path: path.to_owned(),
            anchor: anchor.to_owned(),
            format,
            index: None,
            sources: Vec::new(),
            model_sources: 0,
            dicts: Vec::new(),
            training: Training::default(),
            warnings: Vec::new(),
            notes: Vec::new(),
            parts: Vec::new(),
            files: DataFiles::Gamma,
        }
    }
}

/// The table of all shards together.
fn open_shards(path: &Path, anchor: &Path, files: &[PathBuf]) -> Result<Checkpoint> {
    let mut checkpoint = None;
    let mut tensors = Vec::new();
    for file in files {
        let source = Source::open(file)?;
        let Some(format) = format::of(&source)?.shards() else {
            return Err(Error::malformed(
                file,
                "shard",
                "a format that has shards",
                "another",
            ));
        };
        let checkpoint = checkpoint.get_or_insert_with(|| Checkpoint::empty(path, anchor, format));
        let opened = format::open(Opening {
            source,
            number: checkpoint.sources.len(),
            home: file::directory(file),
            files: DataFiles::Gamma,
        })?;
        let count = opened.dicts.len();
        match <[StateDict; 1]>::try_from(opened.dicts) {
            Ok([dict]) if dict.root.is_empty() => tensors.extend(dict.tensors),
            _ => {
                let found = format!("{count} state dicts under keys of their own");
                return Err(Error::malformed(
                    file,
                    "shard",
                    "one flat state dict",
                    found,
                ));
            }
        }
        checkpoint.add(opened.sources, opened.contents);
    }
    let mut checkpoint = checkpoint.expect("an index names a shard");
    checkpoint.model_sources = checkpoint.sources.len();
    checkpoint.dicts.push(StateDict::flat(tensors, false));
    Ok(checkpoint)
}
