//! The Python version: a pickled dict with a NumPy array of pixels and a list of labels. Nothing of
//! the pickle is executed.

use std::path::{Path, PathBuf};

use super::{IMAGE, Kind, Planes};
use crate::checkpoint::{Pickled, Value};
use crate::error::{Error, Result};

pub(super) fn read(kind: Kind, file: &Path, into: &mut Planes) -> Result<()> {
    let pickled = Pickled::read(file)?;
    let data = entry(&pickled, file, "data")?;
    let planes = array(&pickled, data).ok_or_else(|| {
        let expected = format!("a NumPy array of bytes, {IMAGE} an image");
        Error::malformed(file, "data", expected, data.kind())
    })?;
    let key = match kind {
        Kind::Cifar10 => "labels",
        Kind::Cifar100 => "fine_labels",
    };
    let listed = entry(&pickled, file, key)?;
    let labels: Option<Vec<u32>> = listed.items().and_then(|items| {
        let labels = items.map(|item| u32::try_from(item.as_i64()?).ok());
        labels.collect()
    });
    let labels = labels.ok_or_else(|| {
        let expected = "a list of labels, none of them negative";
        Error::malformed(file, key, expected, listed.kind())
    })?;
    if labels.len() * IMAGE != planes.len() {
        let expected = format!("{} labels, one an image", planes.len() / IMAGE);
        return Err(Error::malformed(file, key, expected, labels.len()));
    }
    into.labels.extend(labels);
    into.planes.extend_from_slice(planes);
    Ok(())
}

/// The names of the classes and the file they stand in, where it is there.
pub(super) fn classes(kind: Kind, dir: &Path) -> Result<Option<(PathBuf, Vec<String>)>> {
    let (name, key) = match kind {
        Kind::Cifar10 => ("batches.meta", "label_names"),
        Kind::Cifar100 => ("meta", "fine_label_names"),
    };
    let file = dir.join(name);
    if !file.is_file() {
        return Ok(None);
    }
    let pickled = Pickled::read(&file)?;
    let listed = entry(&pickled, &file, key)?;
    let names: Option<Vec<String>> = listed.items().and_then(|items| {
        let names = items.map(|item| text(&pickled, item).map(str::to_owned));
        names.collect()
    });
    let names =
        names.ok_or_else(|| Error::malformed(&file, key, "a list of names", listed.kind()))?;
    Ok(Some((file, names)))
}

/// An entry of the dict; its key is a string of Python 2 or 3, or bytes.
fn entry<'a>(pickled: &'a Pickled, file: &Path, key: &'static str) -> Result<Value<'a>> {
    let root = pickled.root();
    let entries = root.entries().into_iter().flatten();
    let found = entries
        .filter(|(k, _)| text(pickled, *k) == Some(key))
        .last();
    found.map(|(_, value)| value).ok_or_else(|| {
        let expected = format!("a dict with the entry {key:?}");
        Error::malformed(file, "pickle", expected, root.kind())
    })
}

fn text<'a>(pickled: &'a Pickled, value: Value<'a>) -> Option<&'a str> {
    let bytes = || std::str::from_utf8(pickled.bytes_of(value)?).ok();
    value.as_str().or_else(bytes)
}

/// The elements of an array of bytes with a row for each image, in C order.
fn array<'a>(pickled: &'a Pickled, value: Value<'a>) -> Option<&'a [u8]> {
    let (function, args) = value.call()?;
    let (dtype, shape, plain, bytes) = match function.as_global()? {
        (module, "_reconstruct") if module.ends_with("multiarray") => {
            let state = value.state()?;
            let plain = state.item(3)?.as_bool()?;
            (state.item(2)?, state.item(1)?, !plain, state.item(4)?)
        }
        (module, "_frombuffer") if module.ends_with("numeric") => {
            let plain = args.item(3)?.as_str()? == "C";
            (args.item(1)?, args.item(2)?, plain, args.item(0)?)
        }
        _ => return None,
    };
    let (class, of) = dtype.call()?;
    let name = text(pickled, of.item(0)?)?;
    let bytes = pickled.bytes_of(bytes)?;
    let rows = shape.item(0)?.as_i64()?;
    let right = class.as_global()? == ("numpy", "dtype")
        && matches!(name, "u1" | "|u1" | "uint8")
        && plain
        && shape.items()?.len() == 2
        && shape.item(1)?.as_i64()? == IMAGE as i64
        && usize::try_from(rows).ok()?.checked_mul(IMAGE)? == bytes.len();
    right.then_some(bytes)
}
