//! A shard index: which file holds which tensor. The table is that of all shards together.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path};

use serde::Deserialize;

use super::unique::unique_entries;
use super::{Source, Tensor, safetensors};
use crate::error::{Error, Result};

/// An index with 10,000 tensors has about a megabyte; this bounds what a hostile one may cost.
const MAX_INDEX: u64 = 100_000_000;

/// Whether a file is taken as a shard index, by its name.
pub(super) fn is_index(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".index.json")
}

/// An opened shard set.
pub(super) struct ShardSet {
    pub(super) index: Source,
    pub(super) sources: Vec<Source>,
    pub(super) tensors: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(deserialize_with = "unique_entries")]
    weight_map: Vec<(String, String)>,
}

/// Opens an index and every shard it names, and checks that each tensor lies where it says.
pub(super) fn open(path: &Path) -> Result<ShardSet> {
    let index = Source::open(path)?;
    if index.len() > MAX_INDEX {
        let expected = format!("at most {MAX_INDEX} bytes");
        return Err(Error::malformed(
            path,
            "shard index",
            expected,
            format!("{} bytes", index.len()),
        ));
    }
    let json = index.read_at(0, index.len() as usize)?;
    let Index { weight_map } = serde_json::from_slice(&json)
        .map_err(|err| Error::malformed(path, "shard index", "JSON with a weight_map", err))?;
    let files: BTreeSet<&String> = weight_map.iter().map(|(_, file)| file).collect();
    let files: Vec<&String> = files.into_iter().collect();
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut sources = Vec::with_capacity(files.len());
    let mut tensors = Vec::new();
    let mut holder: HashMap<String, usize> = HashMap::new();
    for file in &files {
        check_inside(path, file)?;
        let shard = dir.join(file);
        if !fs::exists(&shard).map_err(Error::io("open", &shard))? {
            let found = "no such file beside the index";
            return Err(Error::malformed(
                path,
                "weight_map",
                format!("the shard {file}"),
                found,
            ));
        }
        let source = Source::open(&shard)?;
        for tensor in safetensors::read_table(&source, sources.len())? {
            if let Some(other) = holder.insert(tensor.name.clone(), sources.len()) {
                let other = files[other];
                let found = format!("it in {other} and in {file}");
                return Err(Error::malformed(
                    path,
                    tensor.name,
                    "a tensor in one shard",
                    found,
                ));
            }
            tensors.push(tensor);
        }
        sources.push(source);
    }
    for (name, file) in &weight_map {
        let found = holder.get(name).map(|n| files[*n]);
        if found != Some(file) {
            let found = found.map_or("no such tensor".to_owned(), |f| format!("it in {f}"));
            return Err(Error::malformed(
                path,
                name,
                format!("this tensor in {file}"),
                found,
            ));
        }
    }
    Ok(ShardSet {
        index,
        sources,
        tensors,
    })
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
