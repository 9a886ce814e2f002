//! Storages: the byte ranges of a file that PyTorch's persistent ids name.

use std::collections::HashMap;
use std::path::Path;

use super::value::Value;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// A byte range of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// The storages of a file, by the key that persistent ids give.
#[derive(Debug, Default)]
pub(super) struct Storages(HashMap<String, Extent>);

impl Storages {
    /// Adds a storage; `false` when its key is taken.
    pub(super) fn insert(&mut self, key: String, extent: Extent) -> bool {
        self.0.insert(key, extent).is_none()
    }
}

/// A persistent id of a storage: `('storage', type, key, location, numel)`, in the legacy format
/// with a sixth field, `None` or the part of the storage that is meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct StorageId<'a> {
    /// The type of its elements; bytes for an untyped storage.
    pub(super) dtype: Dtype,
    pub(super) key: &'a str,
    /// Length of the whole storage, in elements.
    pub(super) numel: u64,
    /// First element and number of elements of the part that is meant.
    view: Option<(u64, u64)>,
}

impl<'a> StorageId<'a> {
    /// What `id`, the argument of a persistent load, says. The error is what was found instead.
    pub(super) fn parse(id: Value<'a>) -> std::result::Result<StorageId<'a>, String> {
        let fields: Vec<Value<'a>> = id.items().into_iter().flatten().take(7).collect();
        let (&[kind, class, key, _location, numel], view) = match &fields[..] {
            [five @ .., view] if five.len() == 5 => (five.first_chunk().ok_or("no fields")?, *view),
            five => (
                five.first_chunk()
                    .ok_or_else(|| format!("{} fields", five.len()))?,
                id,
            ),
        };
        if kind.as_str() != Some("storage") || fields.len() > 6 {
            return Err(format!("{} fields, the first not 'storage'", fields.len()));
        }
        let key = key
            .as_str()
            .ok_or_else(|| format!("{} as its key", key.kind()))?;
        let (module, name) = class.as_global().ok_or("no type")?;
        let dtype = dtype_of(name).ok_or_else(|| format!("the type {module}.{name}"))?;
        let count = |value: Value<'_>| value.as_i64().and_then(|n| u64::try_from(n).ok());
        let numel = count(numel).ok_or("no number of elements")?;
        let view = if fields.len() == 6 && !view.is_none() {
            let part = |n| view.item(n).and_then(count).ok_or("a view without a range");
            Some((part(1)?, part(2)?))
        } else {
            None
        };
        Ok(StorageId {
            dtype,
            key,
            numel,
            view,
        })
    }

    /// The bytes meant, which lie within the file's storage of that key.
    pub(super) fn locate(&self, storages: &Storages, path: &Path, name: &str) -> Result<Extent> {
        let malformed =
            |expected: String, found: String| Err(Error::malformed(path, name, expected, found));
        let Some(extent) = storages.0.get(self.key) else {
            return malformed(
                format!("a storage {}", self.key),
                "none in the file".to_owned(),
            );
        };
        let width = self.dtype.bits() / 8;
        let len = self
            .numel
            .checked_mul(width)
            .filter(|len| *len <= extent.len);
        let Some(len) = len else {
            let expected = format!("{} elements of {width} bytes in storage", self.numel);
            return malformed(expected, format!("{} bytes in {}", extent.len, self.key));
        };
        let Some((first, count)) = self.view else {
            return Ok(Extent {
                offset: extent.offset,
                len,
            });
        };
        let part = first.checked_add(count).filter(|end| *end <= self.numel);
        if part.is_none() {
            let found = format!("{count} elements from {first}");
            return malformed(format!("a view within {} elements", self.numel), found);
        }
        Ok(Extent {
            offset: extent.offset + first * width,
            len: count * width,
        })
    }
}

/// The element type that a storage class (`FloatStorage`) or a dtype (`float32`) stands for.
pub(super) fn dtype_of(name: &str) -> Option<Dtype> {
    Some(match name {
        "FloatStorage" | "float32" | "float" => Dtype::F32,
        "DoubleStorage" | "float64" | "double" => Dtype::F64,
        "HalfStorage" | "float16" | "half" => Dtype::F16,
        "BFloat16Storage" | "bfloat16" => Dtype::BF16,
        "LongStorage" | "int64" | "long" => Dtype::I64,
        "IntStorage" | "int32" | "int" => Dtype::I32,
        "ShortStorage" | "int16" | "short" => Dtype::I16,
        "CharStorage" | "int8" => Dtype::I8,
        "ByteStorage" | "UntypedStorage" | "_UntypedStorage" | "uint8" => Dtype::U8,
        "BoolStorage" | "bool" => Dtype::Bool,
        "ComplexFloatStorage" | "complex64" | "cfloat" => Dtype::C64,
        "ComplexDoubleStorage" | "complex128" | "cdouble" => Dtype::C128,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        "float8_e4m3fnuz" => Dtype::F8_E4M3FNUZ,
        "float8_e5m2fnuz" => Dtype::F8_E5M2FNUZ,
        "float8_e8m0fnu" => Dtype::F8_E8M0,
        // Quantized elements are bytes or words with a scale that stands elsewhere.
        "QInt8Storage" | "qint8" => Dtype::I8,
        "QUInt8Storage" | "quint8" => Dtype::U8,
        "QInt32Storage" | "qint32" => Dtype::I32,
        _ => return None,
    })
}
