//! The format of PyTorch before 1.6: pickles one after another (magic number, protocol version,
//! system, object, storage keys), then every storage as its element count and raw bytes.

use std::collections::HashMap;

use super::node::Node;
use super::pickle::{self, Parsed};
use super::storage::{Extent, StorageId, Storages};
use super::value::{Saved, Value};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::file::bytes::u64_at;

/// 0x1950a86a20f9469cfc6c, as `LONG1` writes it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;
/// The first piece of a file that is tried as a pickle.
const FIRST_PIECE: u64 = 1 << 20;
/// A pickle of 100,000 tensors has about 15 MB; this bounds what a hostile one may cost.
pub(super) const MAX_PICKLE: u64 = 1 << 27;

/// Reads the object and finds its storages.
pub(super) fn read(source: &Source) -> Result<(Saved, Storages)> {
    let mut at = 0;
    let magic = next_pickle(source, &mut at, "magic number")?;
    match magic.arena.node(magic.root) {
        Node::BigInt(digits) if **digits == MAGIC => {}
        other => {
            let expected = "PyTorch's magic number, as torch.save writes it";
            let found = format!("{} (a pickle by another program?)", other.kind());
            return Err(Error::malformed(
                source.path(),
                "first pickle",
                expected,
                found,
            ));
        }
    }
    let version = saved(next_pickle(source, &mut at, "protocol version")?);
    if version.root().as_i64() != Some(PROTOCOL) {
        let found = match version.root().as_i64() {
            Some(other) => other.to_string(),
            None => version.root().kind().to_owned(),
        };
        return Err(Error::malformed(
            source.path(),
            "protocol version",
            PROTOCOL,
            found,
        ));
    }
    let system = saved(next_pickle(source, &mut at, "system information")?);
    if system.root().get("little_endian").and_then(Value::as_bool) != Some(true) {
        let reason = "was saved on a big-endian machine: load it and save it again on this one";
        return Err(Error::refused(source.path(), reason));
    }
    let object = saved(next_pickle(source, &mut at, "object")?);
    let keys = saved(next_pickle(source, &mut at, "storage keys")?);
    let storages = storages(source, &object, keys.root(), at)?;
    Ok((object, storages))
}

fn saved(Parsed { arena, root, .. }: Parsed) -> Saved {
    Saved { arena, root }
}

/// Reads the pickle at `at` and moves `at` past it. Its length is not written down anywhere, so
/// ever longer pieces of the file are tried.
fn next_pickle(source: &Source, at: &mut u64, what: &str) -> Result<Parsed> {
    let left = source.len() - *at;
    let mut piece = FIRST_PIECE.min(left);
    loop {
        let bytes = source.slice(*at, piece as usize)?;
        match pickle::parse(&bytes) {
            Ok(parsed) => {
                *at += parsed.len as u64;
                return Ok(parsed);
            }
            Err(fault) if fault.truncated && piece < left.min(MAX_PICKLE) => {
                piece = piece.saturating_mul(4).min(left).min(MAX_PICKLE);
            }
            Err(fault) => return Err(fault.into_error(source.path(), what, *at)),
        }
    }
}

/// Walks the storages that follow the pickles, in the order of `keys`.
fn storages(source: &Source, object: &Saved, keys: Value<'_>, mut at: u64) -> Result<Storages> {
    let path = source.path();
    let mut ids: HashMap<&str, StorageId<'_>> = HashMap::new();
    for id in object.arena.ids() {
        let value = Value {
            arena: &object.arena,
            id,
        };
        if let Some(Ok(id)) = value.persistent_id().map(StorageId::parse) {
            ids.entry(id.key).or_insert(id);
        }
    }
    let keys = keys
        .items()
        .ok_or_else(|| Error::malformed(path, "storage keys", "a list", keys.kind()))?;
    let mut storages = Storages::default();
    for key in keys {
        let id = key.as_str().and_then(|key| ids.get(key)).ok_or_else(|| {
            let found = key.as_str().unwrap_or(key.kind()).to_owned();
            Error::malformed(path, "storage keys", "keys that the object uses", found)
        })?;
        let place = || format!("storage {}", id.key);
        let count = u64_at(&source.slice(at, 8)?, 0).unwrap_or_default();
        if count != id.numel {
            let expected = format!("{} elements, as the object says", id.numel);
            return Err(Error::malformed(path, place(), expected, count));
        }
        let offset = at + 8;
        let len = count.checked_mul(id.dtype.bits() / 8);
        let end = len
            .and_then(|len| offset.checked_add(len))
            .filter(|end| *end <= source.len());
        let (Some(len), Some(end)) = (len, end) else {
            let expected = format!("{count} elements of {}", id.dtype);
            let found = format!("the end of the file, {} bytes on", source.len() - offset);
            return Err(Error::malformed(path, place(), expected, found));
        };
        if !storages.insert(id.key.to_owned(), Extent { offset, len }) {
            return Err(Error::malformed(
                path,
                place(),
                "one storage of this key",
                "two",
            ));
        }
        at = end;
    }
    Ok(storages)
}
