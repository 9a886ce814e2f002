//! Elements that do not lie in one piece: how they are read, and what to write to change them.

use super::model::{Run, Varints};
use super::wire::{Fields, Length, Reader, Span, Value, encode_varint};
use crate::error::{Error, Result};
use crate::file::Source;
use crate::storage::Patch;

/// Where the elements of a tensor lie when they are not one piece of their file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In pieces of fixed width: `float_data`, `double_data` or `value_floats`, packed or not.
    Runs(Vec<Run>),
    /// 16-bit floats, each as the varint of its bits: `int32_data`.
    Varints(Varints),
}

impl Place {
    /// The `len` bytes of the elements, little-endian and in order.
    pub(super) fn read(&self, source: &Source, len: u64) -> Result<Vec<u8>> {
        match self {
            Place::Runs(runs) => {
                let mut reader = Reader::positioned(source);
                let mut bytes = Vec::new();
                for piece in runs.iter().flat_map(|run| pieces(*run)) {
                    reader.append(piece, &mut bytes)?;
                }
                Ok(bytes)
            }
            Place::Varints(varints) => {
                let elements = varints.read(source, len)?;
                Ok(elements
                    .iter()
                    .flat_map(|element| element.bits.to_le_bytes())
                    .collect())
            }
        }
    }
}

fn pieces(run: Run) -> impl Iterator<Item = Span> {
    (0..run.count).map(move |i| {
        let start = run.start + i * run.stride;
        Span {
            start,
            end: start + run.width,
        }
    })
}

/// Patches of the pieces in which `old` and `new` differ: of each, from its first to its last
/// element of `width` bytes that differs.
pub(super) fn patch_runs(runs: &[Run], width: usize, old: &[u8], new: &[u8]) -> Vec<Patch> {
    let mut patches = Vec::new();
    let (mut old, mut new) = (old, new);
    for piece in runs.iter().flat_map(|run| pieces(*run)) {
        let len = usize::try_from(piece.len())
            .unwrap_or(usize::MAX)
            .min(old.len())
            .min(new.len());
        let (was, shall);
        (was, old) = old.split_at(len);
        (shall, new) = new.split_at(len);
        let differs = |(was, shall): (&[u8], &[u8])| was != shall;
        let mut elements = was.chunks(width).zip(shall.chunks(width));
        let Some(first) = elements.clone().position(differs) else {
            continue;
        };
        let last = elements.rposition(differs).unwrap_or(first);
        let range = first * width..((last + 1) * width).min(len);
        patches.push(Patch {
            offset: piece.start + range.start as u64,
            old: was[range.clone()].to_vec(),
            new: shall[range].to_vec(),
        });
    }
    patches
}

/// One element of `int32_data`.
pub(super) struct Element {
    /// The float's bits.
    bits: u16,
    span: Span,
    /// The packed field it lies in.
    packed: Option<Length>,
}

impl Varints {
    /// The elements of a tensor of `len` bytes.
    pub(super) fn read(&self, source: &Source, len: u64) -> Result<Vec<Element>> {
        let mut reader = Reader::positioned(source);
        let mut elements = Vec::new();
        let message = self
            .lengths
            .last()
            .map_or(Span { start: 0, end: 0 }, |length| length.body);
        let mut fields = Fields::from(message);
        while let Some(field) = reader.next(&mut fields)? {
            match field.value {
                _ if field.number != self.field => {}
                Value::Varint(value, span) => {
                    elements.push(element(&reader, value, span, None)?);
                }
                Value::Bytes(packed) => {
                    let mut start = packed.body.start;
                    while start < packed.body.end {
                        let (value, end) = reader.varint(start, packed.body.end)?;
                        let span = Span { start, end };
                        elements.push(element(&reader, value, span, Some(packed))?);
                        start = end;
                    }
                }
                Value::Fixed(_) => {}
            }
            if elements.len() as u64 > len / 2 {
                break;
            }
        }
        if elements.len() as u64 != len / 2 {
            let found = if elements.len() as u64 > len / 2 {
                "more"
            } else {
                "fewer"
            };
            return Err(reader.malformed(message.start, format!("{} elements", len / 2), found));
        }
        Ok(elements)
    }

    /// Patches of the elements that differ from `new`, and every length around one whose
    /// encoding gets another length. The lengths themselves are not patched.
    pub(super) fn patch(&self, source: &Source, new: &[u8]) -> Result<(Vec<Patch>, Vec<Length>)> {
        let elements = self.read(source, new.len() as u64)?;
        let (mut patches, mut lengths) = (Vec::new(), Vec::new());
        for (element, new) in elements.iter().zip(new.as_chunks::<2>().0) {
            let bits = u16::from_le_bytes(*new);
            if bits == element.bits {
                continue;
            }
            let old = source.read_at(element.span.start, element.span.len() as usize)?;
            if old != encode_varint(element.bits.into()) {
                let reason = "holds a γ in a form of which the bytes could not be restored \
                              afterwards: load it and save it again with onnx.save";
                return Err(Error::refused(source.path(), reason));
            }
            let new = encode_varint(bits.into());
            if old.len() != new.len() {
                if lengths.is_empty() {
                    lengths.extend(&self.lengths);
                }
                if let Some(packed) = element.packed
                    && lengths.last() != Some(&packed)
                {
                    lengths.push(packed);
                }
            }
            patches.push(Patch {
                offset: element.span.start,
                old,
                new,
            });
        }
        Ok((patches, lengths))
    }
}

/// The bits of a 16-bit float stand in an int32: extended by zeros, or by some writers as a
/// negative number.
fn element(reader: &Reader<'_>, value: u64, span: Span, packed: Option<Length>) -> Result<Element> {
    match value.cast_signed() {
        -0x8000..=0xffff => Ok(Element {
            bits: value as u16,
            span,
            packed,
        }),
        other => Err(reader.malformed(span.start, "the bits of a 16-bit float", other)),
    }
}
