//! What the `safetensors` crate sees in the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ckpt_regen::batchnorm::{self, Schema};
use ckpt_regen::edit::{self, Request};
use ckpt_regen::{Checkpoint, inspect};
use safetensors::SafeTensors;

use crate::sandbox::Dir;

/// Reads a file in every way there is. Whether it was accepted, or what is wrong with that.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<bool, String> {
    let ours = catch_unwind(AssertUnwindSafe(|| {
        let checkpoint = Checkpoint::open(path).ok()?;
        let schema = Schema::default();
        let _ = batchnorm::locate(&checkpoint, &schema);
        let _ = batchnorm::explain(&checkpoint, &schema);
        let _ = inspect::inspect(&checkpoint, &schema);
        let _ = edit::plan(&checkpoint, &Request::default());
        Some(checkpoint)
    }));
    match ours {
        Err(_) => Err("a panic".to_owned()),
        Ok(None) => Ok(false),
        Ok(Some(ours)) => same_as_the_crate(&ours, bytes).map(|()| true),
    }
}

/// What a reader sees of one tensor: dtype, shape, offset in the file, bytes.
type Seen = (String, Vec<u64>, u64, Vec<u8>);

fn same_as_the_crate(ours: &Checkpoint, bytes: &[u8]) -> Result<(), String> {
    let theirs = seen_by_the_crate(bytes)?;
    let ours = seen_here(ours);
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("other tensors: {ours:?} here, {theirs:?} there"))
    }
}

fn seen_by_the_crate(bytes: &[u8]) -> Result<BTreeMap<String, Seen>, String> {
    let refused = |err| format!("accepted, but the safetensors crate says: {err}");
    let (header, table) = SafeTensors::read_metadata(bytes).map_err(refused)?;
    let views = SafeTensors::deserialize(bytes).map_err(refused)?;
    let seen = views.iter().map(|(name, view)| {
        let shape = view.shape().iter().map(|n| *n as u64).collect();
        let offset = 8 + header + table.info(name).unwrap().data_offsets.0;
        let seen = (
            format!("{:?}", view.dtype()),
            shape,
            offset as u64,
            view.data().to_vec(),
        );
        (name.to_owned(), seen)
    });
    Ok(seen.collect())
}

pub(crate) fn holds_what_the_index_says(
    ours: &Checkpoint,
    text: &[u8],
    dir: &Dir,
) -> Result<(), String> {
    let index: serde_json::Value = serde_json::from_slice(text).map_err(|err| err.to_string())?;
    let map = index["weight_map"].as_object().ok_or("no weight_map")?;
    let mut files = BTreeSet::new();
    let mut there = BTreeMap::new();
    for (tensor, file) in map {
        let file = file.as_str().ok_or("no file name")?;
        if file.contains("..") || file.starts_with('/') {
            return Err(format!("it leads to {file}"));
        }
        let seen = seen_by_the_crate(&dir.read(file))?;
        if !seen.contains_key(tensor) {
            return Err(format!("{tensor} is not in {file}"));
        }
        files.insert(file);
        there.extend(seen);
    }
    let ours = seen_here(ours);
    if ours == there {
        Ok(())
    } else {
        Err(format!("other tensors than in {files:?}"))
    }
}

fn seen_here(ours: &Checkpoint) -> BTreeMap<String, Seen> {
    let tensors = ours.dicts().iter().flat_map(|dict| &dict.tensors);
    let seen = tensors.map(|t| {
        let bytes = ours.read(t).unwrap();
        (
            t.name.clone(),
            (t.dtype.to_string(), t.shape.clone(), t.offset, bytes),
        )
    });
    seen.collect()
}
