//! Opening: which format a file has, and its table of tensors.

use std::path::{Path, PathBuf};

use super::onnx::Files;
use super::{
    Checkpoint, Format, OnnxParts, Parts, Role, StateDict, Tensor, TorchParts, Training, foreign,
    onnx, resolve, safetensors, shards, torch, training,
};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::file::directory;

impl Checkpoint {
    /// Opens a file, a shard index or a directory and reads its table of tensors.
    ///
    /// In a directory the model is the first of `model.safetensors`, `model.safetensors.index.json`,
    /// `pytorch_model.bin`, `pytorch_model.bin.index.json`, as transformers loads them; a directory
    /// that holds both safetensors and `.bin`, or none of the four, is an error that lists what is
    /// there.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        let anchor = resolve::model_file(path)?;
        let mut checkpoint = if shards::is_index(&anchor) {
            let index = Source::open(&anchor)?;
            let shards = shards::read_index(&index)?;
            let mut checkpoint = open_shards(path, &anchor, &shards.files)?;
            shards.check(&anchor, &checkpoint)?;
            checkpoint.index = Some(index);
            checkpoint
        } else {
            open_file(
                path,
                &anchor,
                Source::open(&anchor)?,
                directory(&anchor),
                Files::Gamma,
            )?
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
            training::read_directory(path, &mut checkpoint)?;
        }
        Ok(checkpoint)
    }

    /// Opens an ONNX model as a program, and as a checkpoint whose table holds every tensor of it, in
    /// whichever data file.
    ///
    /// # Errors
    /// As [`open`](Self::open); another format.
    #[cfg(feature = "train")]
    pub(crate) fn open_program(path: &Path) -> Result<(Checkpoint, onnx::Program)> {
        let source = Source::open(path)?;
        if is_torch(&source)? || !onnx::detect(&source) {
            return Err(Error::malformed(
                path,
                "file",
                "an ONNX model",
                "another format",
            ));
        }
        let (opened, program) = onnx::Program::open(source, directory(path))?;
        Ok((of_onnx(path, path, opened, Files::All), program))
    }

    /// Reads the tables of `paths`, which stand for [`sources`](Self::sources), as this checkpoint
    /// was read: what was staged for it, say.
    pub(crate) fn reread(&self, paths: &[PathBuf]) -> Result<Checkpoint> {
        let (model, companions) = paths.split_at(self.model_sources);
        let mut read = match self.format {
            Format::ShardedSafetensors | Format::ShardedPytorch => {
                open_shards(&self.path, &self.anchor, model)?
            }
            // The data files of a staged model are those that it was made from.
            _ => {
                let home = directory(self.sources[0].path());
                let files = self
                    .parts
                    .onnx
                    .as_ref()
                    .map_or(Files::Gamma, |onnx| onnx.files);
                open_file(
                    &self.path,
                    &self.anchor,
                    Source::open(&model[0])?,
                    home,
                    files,
                )?
            }
        };
        for path in companions {
            training::add_optimizer(&mut read, Source::open(path)?)?;
        }
        Ok(read)
    }

    fn new(path: &Path, anchor: &Path, format: Format) -> Checkpoint {
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
            parts: Parts::default(),
        }
    }
}

/// A whole model in one file, as far as its tensors do not lie in data files below `home`.
fn open_file(
    path: &Path,
    anchor: &Path,
    source: Source,
    home: &Path,
    files: Files,
) -> Result<Checkpoint> {
    foreign::refuse(&source)?;
    if is_torch(&source)? {
        let mut opened = torch::open(&source, 0)?;
        let format = match opened.zip {
            Some(_) => Format::PytorchZip,
            None => Format::PytorchLegacy,
        };
        let mut checkpoint = Checkpoint::new(path, anchor, format);
        checkpoint.training = Training::of_file(&mut opened);
        if let Some(first) = opened.unread.first() {
            let count = opened.unread.len();
            checkpoint.notes.push(format!(
                "{count} tensors are of kinds that are not read, such as {first}"
            ));
        }
        if opened.layout == torch::Layout::Ultralytics {
            let note = "Ultralytics resumes from ema, which is the network that is edited";
            checkpoint.notes.push(note.to_owned());
        }
        checkpoint.training.set_optimizers(opened.optimizers);
        checkpoint.dicts = opened.dicts;
        checkpoint.add_source(
            source,
            Some(TorchParts {
                zip: opened.zip,
                uses: opened.uses,
            }),
        );
        return Ok(checkpoint);
    }
    if onnx::detect(&source) {
        let opened = onnx::open(source, home, files)?;
        return Ok(of_onnx(path, anchor, opened, files));
    }
    let mut checkpoint = Checkpoint::new(path, anchor, Format::Safetensors);
    checkpoint
        .dicts
        .push(flat(safetensors::read_table(&source, 0)?, false));
    checkpoint.add_source(source, None);
    Ok(checkpoint)
}

fn of_onnx(path: &Path, anchor: &Path, opened: onnx::Opened, files: Files) -> Checkpoint {
    let mut checkpoint = Checkpoint::new(path, anchor, Format::Onnx);
    checkpoint.dicts.push(flat(opened.tensors, true));
    for source in opened.sources {
        checkpoint.add_source(source, None);
    }
    checkpoint.notes = opened.notes;
    checkpoint.parts.onnx = Some(OnnxParts {
        norms: opened.norms,
        folded: opened.folded,
        checksums: opened.checksums,
        others: opened.others,
        elsewhere: opened.elsewhere,
        aliases: opened.aliases,
        files,
    });
    checkpoint
}

/// The table of all shards together; they are of one format.
fn open_shards(path: &Path, anchor: &Path, files: &[PathBuf]) -> Result<Checkpoint> {
    let mut checkpoint = Checkpoint::new(path, anchor, Format::ShardedSafetensors);
    let mut tensors = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let source = Source::open(file)?;
        foreign::refuse(&source)?;
        if !is_torch(&source)? {
            tensors.extend(safetensors::read_table(&source, number)?);
            checkpoint.add_source(source, None);
            continue;
        }
        checkpoint.format = Format::ShardedPytorch;
        let opened = torch::open(&source, number)?;
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
        checkpoint.add_source(
            source,
            Some(TorchParts {
                zip: opened.zip,
                uses: opened.uses,
            }),
        );
    }
    checkpoint.dicts.push(flat(tensors, false));
    Ok(checkpoint)
}

impl Checkpoint {
    fn add_source(&mut self, source: Source, parts: Option<TorchParts>) {
        self.sources.push(source);
        self.parts.torch.push(parts);
        self.model_sources += 1;
    }

    /// Adds a file that belongs to the checkpoint and is none of the model's.
    pub(super) fn add_companion(&mut self, source: Source, parts: Option<TorchParts>) {
        self.sources.push(source);
        self.parts.torch.push(parts);
    }
}

fn flat(tensors: Vec<Tensor>, ordered: bool) -> StateDict {
    StateDict {
        root: String::new(),
        tensors,
        ordered,
        role: Role::Raw,
    }
}

pub(super) fn is_torch(source: &Source) -> Result<bool> {
    let prefix = source.read_at(0, source.len().min(262) as usize)?;
    Ok(torch::is_torch(&prefix))
}
