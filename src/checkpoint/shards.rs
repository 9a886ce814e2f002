//! A shard index: which file holds which tensor. The table is that of all shards together.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::Checkpoint;
use super::unique::unique_entries;
use crate::error::{Error, Result};
use crate::file::Source;

/// An index with 10,000 tensors has about a megabyte; this bounds what a hostile one may cost.
const MAX_INDEX: u64 = 100_000_000;

/// Whether a file is taken as a shard index, by its name.
pub(crate) fn is_index(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".index.json")
}

/// What an index says.
pub(super) struct Shards {
    /// The shard files, in order of their names.
    pub(super) files: Vec<PathBuf>,
    weight_map: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(deserialize_with = "unique_entries")]
    weight_map: Vec<(String, String)>,
}

/// Reads an index; the shards it names lie beside it and are there.
pub(super) fn read_index(index: &Source) -> Result<Shards> {
    let path = index.path();
    if index.len() > MAX_INDEX {
        let expected = format!("at most {MAX_INDEX} bytes");
        let found = format!("{} bytes", index.len());
        return Err(Error::malformed(path, "shard index", expected, found));
    }
    let json = index.slice(0, index.len() as usize)?;
    let malformed = |found: &dyn std::fmt::Display| {
        Error::malformed(path, "shard index", "JSON with a weight_map", found)
    };
    let text = std::str::from_utf8(&json).map_err(|err| malformed(&err))?;
    let Index { weight_map } = serde_json::from_str(text).map_err(|err| malformed(&err))?;
    let names: BTreeSet<&String> = weight_map.iter().map(|(_, file)| file).collect();
    if names.is_empty() {
        let found = "an empty weight_map";
        return Err(Error::malformed(
            path,
            "shard index",
            "at least one shard",
            found,
        ));
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        check_inside(path, name)?;
        let shard = dir.join(name);
        if !fs::exists(&shard).map_err(Error::io("open", &shard))? {
            let found = "no such file beside the index";
            let expected = format!("the shard {name}");
            return Err(Error::malformed(path, "weight_map", expected, found));
        }
        files.push(shard);
    }
    Ok(Shards { files, weight_map })
}

impl Shards {
    /// Checks that every tensor lies in one shard, and those of the index where it says.
    pub(super) fn check(&self, path: &Path, checkpoint: &Checkpoint) -> Result<()> {
        let dir = path.parent().unwrap_or(Path::new(""));
        let name = |source: usize| {
            let file = &self.files[source];
            file.strip_prefix(dir).unwrap_or(file).display().to_string()
        };
        let mut holder: HashMap<&str, usize> = HashMap::new();
        for tensor in checkpoint.dicts().iter().flat_map(|dict| &dict.tensors) {
            if let Some(other) = holder.insert(&tensor.name, tensor.source) {
                let found = format!("it in {} and in {}", name(other), name(tensor.source));
                return Err(Error::malformed(
                    path,
                    &tensor.name,
                    "a tensor in one shard",
                    found,
                ));
            }
        }
        for (tensor, file) in &self.weight_map {
            let found = holder.get(&tensor[..]).copied();
            if found.is_none_or(|source| self.files[source] != dir.join(file)) {
                let found = found.map_or("no such tensor".to_owned(), |s| {
                    format!("it in {}", name(s))
                });
                let expected = format!("this tensor in {file}");
                return Err(Error::malformed(path, tensor, expected, found));
            }
        }
        Ok(())
    }
}

/// A shard is named relative to its index, and lies in its directory or below.
fn check_inside(index: &Path, file: &str) -> Result<()> {
    let inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !file.is_empty() && Path::new(file).components().all(inside) {
        return Ok(());
    }
    let expected = "shards inside the directory of the index";
    Err(Error::malformed(
        index,
        "weight_map",
        expected,
        format!("{file:?}"),
    ))
}
