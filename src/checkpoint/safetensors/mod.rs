//! safetensors: a header of JSON, then the bytes of the tensors.

mod header;

use super::format::{Format, FormatName, Opened, Opening, Plain};
use super::{StateDict, Training};
use crate::error::Result;
use crate::file::Source;

const NAME: FormatName = FormatName {
    name: "safetensors",
    title: "safetensors",
};
const SHARDS: FormatName = FormatName {
    name: "safetensors-sharded",
    title: "sharded safetensors",
};

pub(super) struct Safetensors;

impl Format for Safetensors {
    /// A file begins with a length: nothing tells one from any other file.
    fn detect(&self, _source: &Source) -> Result<bool> {
        Ok(true)
    }

    fn open(&self, file: Opening<'_>) -> Result<Opened> {
        let tensors = header::read_table(&file.source, file.number)?;
        Ok(Opened {
            format: NAME,
            sources: vec![file.source],
            dicts: vec![StateDict::flat(tensors, false)],
            training: Training::default(),
            notes: Vec::new(),
            contents: Box::new(Plain),
        })
    }

    fn file_names(&self) -> &'static [&'static str] {
        &["model.safetensors", "model.safetensors.index.json"]
    }

    fn shards(&self) -> Option<FormatName> {
        Some(SHARDS)
    }
}
