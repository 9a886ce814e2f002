//! The header of a safetensors file: a length, then JSON that tiles the rest of the file.
//!
//! Stricter than the reference reader in one point: a key that occurs twice is an error, since two
//! programs may disagree on which one counts.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::checkpoint::Tensor;
use crate::checkpoint::unique::unique_entries_except;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::file::Source;

/// Longest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes of the length in front of the header.
const PREFIX: u64 = 8;

/// Reads the table of a safetensors file; tensors are marked as lying in source number `index`.
pub(super) fn read_table(source: &Source, index: usize) -> Result<Vec<Tensor>> {
    let path = source.path();
    let malformed = |place: &str, expected: String, found: String| {
        Error::malformed(path, place, expected, found)
    };
    if source.len() == 0 {
        return Err(malformed(
            "file",
            "a checkpoint".into(),
            "an empty file".into(),
        ));
    }
    if source.len() < PREFIX {
        let found = format!("a file of {} bytes", source.len());
        return Err(malformed("header length", "8 bytes".into(), found));
    }
    let prefix = source.slice(0, PREFIX as usize)?;
    let header_len = u64::from_le_bytes(prefix[..].try_into().expect("8 bytes were read"));
    if header_len > MAX_HEADER {
        let expected = format!(
            "a safetensors header of at most {MAX_HEADER} bytes (or a file of PyTorch or ONNX)"
        );
        let found = format!("{header_len} bytes: the file begins with {prefix:02x?}");
        return Err(malformed("header length", expected, found));
    }
    let body = PREFIX + header_len;
    if body > source.len() {
        let expected = format!("at most {} bytes", source.len() - PREFIX);
        let found = format!("{header_len} bytes, past the end of the file");
        return Err(malformed("header length", expected, found));
    }
    let json = source.slice(PREFIX, header_len as usize)?;
    let entries = parse(&json)
        .map_err(|err| malformed("header", "safetensors JSON".into(), err.to_string()))?;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        tensors.push(entry.into_tensor(source, index, name, body)?);
    }
    check_tiling(source, body, &tensors)?;
    Ok(tensors)
}

/// Tensors tile the data: sorted by offset, each begins where the one before ended.
fn check_tiling(source: &Source, body: u64, tensors: &[Tensor]) -> Result<()> {
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_by_key(|t| (t.offset, t.len));
    let mut end = body;
    for tensor in order {
        if tensor.offset != end {
            let fault = if tensor.offset < end {
                "an overlap"
            } else {
                "a hole"
            };
            return Err(Error::malformed(
                source.path(),
                &tensor.name,
                format!(
                    "data that begins at {}, where the tensor before ends",
                    end - body
                ),
                format!("{}: {fault}", tensor.offset - body),
            ));
        }
        end += tensor.len;
    }
    if end != source.len() {
        return Err(Error::malformed(
            source.path(),
            "file",
            format!("{end} bytes, as the header says"),
            format!("{} bytes", source.len()),
        ));
    }
    Ok(())
}

/// One tensor's line in the header.
struct Entry<'h> {
    dtype: Cow<'h, str>,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// By hand, since 50,000 of them are read: what stands under unknown keys is checked as the
/// reference reader checks it, at no cost where there is none.
impl<'de> Deserialize<'de> for Entry<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Key {
            Dtype,
            Shape,
            DataOffsets,
            #[serde(other)]
            Unknown,
        }

        #[derive(Deserialize)]
        struct Text<'h>(#[serde(borrow)] Cow<'h, str>);

        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Entry<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut dtype, mut shape, mut data_offsets) = (None, None, None);
                while let Some(key) = map.next_key()? {
                    let twice = match key {
                        Key::Dtype => dtype.replace(map.next_value::<Text<'de>>()?.0).is_some(),
                        Key::Shape => shape.replace(map.next_value()?).is_some(),
                        Key::DataOffsets => data_offsets.replace(map.next_value()?).is_some(),
                        Key::Unknown => {
                            map.next_value::<serde_json::Value>()?;
                            false
                        }
                    };
                    if twice {
                        return Err(A::Error::custom("a field twice"));
                    }
                }
                let missing = A::Error::missing_field;
                Ok(Entry {
                    dtype: dtype.ok_or_else(|| missing("dtype"))?,
                    shape: shape.ok_or_else(|| missing("shape"))?,
                    data_offsets: data_offsets.ok_or_else(|| missing("data_offsets"))?,
                })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl Entry<'_> {
    fn into_tensor(self, source: &Source, index: usize, name: String, body: u64) -> Result<Tensor> {
        let path = source.path();
        let Some(dtype) = Dtype::from_name(&self.dtype) else {
            return Err(Error::malformed(path, name, "a known dtype", self.dtype));
        };
        let (start, end) = self.data_offsets;
        let len = end
            .checked_sub(start)
            .filter(|_| end <= source.len() - body)
            .ok_or_else(|| {
                let expected = format!("data within {} bytes", source.len() - body);
                Error::malformed(path, &name, expected, format!("offsets [{start}, {end}]"))
            })?;
        let wanted = byte_len(&self.shape, dtype);
        if wanted != Some(len) {
            let expected = match wanted {
                Some(wanted) => format!("{wanted} bytes for {dtype} {:?}", self.shape),
                None => format!(
                    "a shape whose size can be counted, not {dtype} {:?}",
                    self.shape
                ),
            };
            return Err(Error::malformed(
                path,
                name,
                expected,
                format!("{len} bytes"),
            ));
        }
        Ok(Tensor {
            name,
            dtype,
            shape: self.shape,
            source: index,
            offset: body + start,
            len,
            fixed: None,
            scattered: None,
            strides: None,
        })
    }
}

/// Bytes of a tensor; `None` when that overflows or is no whole number.
fn byte_len(shape: &[u64], dtype: Dtype) -> Option<u64> {
    let elements = shape.iter().try_fold(1_u64, |n, dim| n.checked_mul(*dim))?;
    let bits = elements.checked_mul(dtype.bits())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// The tensors of a header, in its order; `__metadata__` is none of them.
fn parse(json: &[u8]) -> Result<Vec<(String, Entry<'_>)>, String> {
    // As a whole: what is skipped must be text too.
    let text = std::str::from_utf8(json).map_err(|err| err.to_string())?;
    let mut json = serde_json::Deserializer::from_str(text);
    let entries = unique_entries_except(&mut json, Some("__metadata__"));
    entries
        .and_then(|entries| json.end().map(|()| entries))
        .map_err(|err| err.to_string())
}
