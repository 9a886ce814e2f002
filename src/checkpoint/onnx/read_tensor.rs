//! TensorProto and SparseTensorProto: type, dimensions and where the elements lie.

use super::element;
use super::model::{Data, External, Model, Run, TensorProto, Varints};
use super::parser::{OVERHEAD, Parser};
use super::wire::{Field, Fields, Span, Value};
use crate::error::Result;

/// TensorProto.DataType of 32-bit floats.
pub(super) const FLOAT: u64 = 1;
/// Bytes of an element of `float_data`.
pub(super) const FLOAT_WIDTH: u64 = 4;
/// Bytes of an element of `double_data`.
pub(super) const DOUBLE_WIDTH: u64 = 8;

/// Bytes that a tensor costs in memory, beside its name.
const TENSOR: u64 = 256;

/// A StringStringEntryProto.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: (String, Span),
}

/// Fields of a TensorProto as they are met.
#[derive(Default)]
struct Parts {
    name: Option<String>,
    dims: Vec<u64>,
    data_type: Option<u64>,
    /// The field that holds the data, and where it was met first.
    holder: Option<Field>,
    raw: Option<Span>,
    runs: Vec<Run>,
    location: Option<u64>,
    entries: Vec<Entry>,
}

/// Adds a piece; whether that took memory.
pub(super) fn push_piece(runs: &mut Vec<Run>, span: Span) -> bool {
    if let Some(last) = runs.last_mut().filter(|last| last.width == span.len()) {
        let end_of_last = last.start + (last.count - 1) * last.stride;
        let distance = span.start - end_of_last;
        if last.count == 1 || last.stride == distance {
            last.stride = distance;
            last.count += 1;
            return false;
        }
    }
    runs.push(Run::contiguous(span));
    true
}

impl Parser<'_> {
    /// Reads the tensor in `field` to a new place in the arena.
    pub(super) fn tensor(&mut self, field: &Field, model: &mut Model) -> Result<usize> {
        self.charge(field, TENSOR)?;
        let tensor = self.message(field, |p, fields| p.tensor_fields(field, fields))?;
        model.tensors.push(tensor);
        Ok(model.tensors.len() - 1)
    }

    /// Reads both tensors of the sparse tensor in `field`; its name is that of the values.
    pub(super) fn sparse_tensor(&mut self, field: &Field, model: &mut Model) -> Result<String> {
        let mut name = String::new();
        self.message(field, |p, mut fields| {
            while let Some(field) = p.reader.next(&mut fields)? {
                if matches!(field.number, 1 | 2) {
                    let tensor = p.tensor(&field, model)?;
                    if field.number == 1 {
                        name.clone_from(&model.tensors[tensor].name);
                    }
                }
            }
            Ok(())
        })?;
        Ok(name)
    }

    fn tensor_fields(&mut self, whole: &Field, mut fields: Fields) -> Result<TensorProto> {
        let mut parts = Parts::default();
        while let Some(field) = self.reader.next(&mut fields)? {
            self.tensor_field(&field, &mut parts)?;
        }
        let name = parts.name.take().unwrap_or_default();
        let data_type = parts.data_type.unwrap_or(0);
        let dims = std::mem::take(&mut parts.dims);
        let data = match parts.location {
            Some(1) => Data::External(self.external(whole, &parts)?),
            None | Some(0) => self.inline(whole, &dims, data_type, parts)?,
            Some(other) => {
                return Err(self
                    .reader
                    .malformed(whole.at, "data_location 0 or 1", other));
            }
        };
        Ok(TensorProto {
            name,
            node: None,
            dims,
            data_type,
            data,
        })
    }

    fn tensor_field(&mut self, field: &Field, parts: &mut Parts) -> Result<()> {
        match field.number {
            1 => self.dims(field, &mut parts.dims)?,
            2 => {
                let value = self.varint(field)?;
                self.set(&mut parts.data_type, value, field)?;
            }
            3 => {
                return Err(self
                    .reader
                    .malformed(field.at, "a whole tensor", "a segment of one"));
            }
            4..=7 | 9..=11 => self.data(field, parts)?,
            8 => {
                let name = self.string(field)?;
                self.set(&mut parts.name, name, field)?;
            }
            13 => {
                let entry = self.message(field, |p, fields| p.entry(fields))?;
                if parts.entries.iter().any(|other| other.key == entry.key) {
                    let found = format!("{:?} a second time", entry.key);
                    return Err(self.reader.malformed(field.at, "each key once", found));
                }
                parts.entries.push(entry);
            }
            14 => {
                let value = self.varint(field)?;
                self.set(&mut parts.location, value, field)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, field: &Field, parts: &mut Parts) -> Result<()> {
        let packed_nothing = matches!(field.value, Value::Bytes(length) if length.body.len() == 0);
        if packed_nothing && !matches!(field.number, 6 | 9) {
            return Ok(());
        }
        let holder = parts.holder.get_or_insert(*field).number;
        if holder != field.number {
            let found = format!("it in fields {holder} and {}", field.number);
            return Err(self
                .reader
                .malformed(field.at, "a tensor's data in one field", found));
        }
        match (field.number, field.value) {
            (4, _) => self.fixed(field, FLOAT_WIDTH, &mut parts.runs),
            (10, _) => self.fixed(field, DOUBLE_WIDTH, &mut parts.runs),
            (9, _) => {
                let span = self.length(field)?.body;
                self.set(&mut parts.raw, span, field)
            }
            (6, _) => self.length(field).map(|_| ()),
            (_, Value::Varint(..) | Value::Bytes(_)) => Ok(()),
            _ => Err(self.wrong_type(field, "varints")),
        }
    }

    fn dims(&mut self, field: &Field, dims: &mut Vec<u64>) -> Result<()> {
        let mut push = |p: &mut Self, value: u64| {
            p.charge(field, 8)?;
            if i64::try_from(value).is_err() {
                let found = value.cast_signed();
                return Err(p.reader.malformed(field.at, "a dimension from 0", found));
            }
            dims.push(value);
            Ok(())
        };
        match field.value {
            Value::Bytes(length) => self.packed(length.body, push),
            _ => {
                let value = self.varint(field)?;
                push(self, value)
            }
        }
    }

    fn packed(
        &mut self,
        span: Span,
        mut each: impl FnMut(&mut Self, u64) -> Result<()>,
    ) -> Result<()> {
        let mut at = span.start;
        while at < span.end {
            let (value, after) = self.reader.varint(at, span.end)?;
            each(self, value)?;
            at = after;
        }
        Ok(())
    }

    fn inline(
        &mut self,
        whole: &Field,
        dims: &[u64],
        data_type: u64,
        parts: Parts,
    ) -> Result<Data> {
        let Some(holder) = parts.holder else {
            return Ok(Data::None);
        };
        if !element::may_lie_in(data_type, holder.number) {
            let expected = format!("a field for data type {data_type}");
            let found = format!("data in field {}", holder.number);
            return Err(self.reader.malformed(holder.at, expected, found));
        }
        let runs = match (holder.number, parts.raw) {
            (6, _) => return Ok(Data::Strings),
            (5 | 7 | 11, _) => {
                let lengths = match data_type {
                    element::FLOAT16 | element::BFLOAT16 => self.lengths.clone(),
                    _ => self.lengths.last().copied().into_iter().collect(),
                };
                self.charge(whole, lengths.len() as u64 * 24)?;
                return Ok(Data::Varints(Varints {
                    field: holder.number,
                    lengths,
                }));
            }
            (_, Some(raw)) => vec![Run::contiguous(raw)],
            _ => parts.runs,
        };
        let there: u64 = runs.iter().map(|run| run.len()).sum();
        match element::byte_len(dims, data_type) {
            None if element::is_sized(data_type) => {
                let found = format!("dimensions {dims:?}");
                Err(self
                    .reader
                    .malformed(whole.at, "a size that can be counted", found))
            }
            Some(wanted) if wanted != there => {
                let expected = format!("{wanted} bytes of data for dimensions {dims:?}");
                Err(self
                    .reader
                    .malformed(holder.at, expected, format!("{there} bytes")))
            }
            _ => Ok(Data::Fixed(runs)),
        }
    }

    fn external(&mut self, whole: &Field, parts: &Parts) -> Result<External> {
        if let Some(holder) = parts.holder {
            let expected = "no data beside a reference to another file";
            let found = format!("some in field {}", holder.number);
            return Err(self.reader.malformed(holder.at, expected, found));
        }
        let mut external = External::default();
        let mut location = None;
        for Entry {
            key,
            value: (text, span),
        } in &parts.entries
        {
            let number = || {
                text.parse::<u64>().map_err(|_| {
                    let found = format!("{text:?}");
                    self.reader
                        .malformed(span.start, format!("a number as {key}"), found)
                })
            };
            match &key[..] {
                "location" => location = Some(text.clone()),
                "offset" => external.offset = number()?,
                "length" => external.length = Some(number()?),
                "checksum" => external.checksum = Some(*span),
                _ => {}
            }
        }
        external.location = location.ok_or_else(|| {
            self.reader
                .malformed(whole.at, "the location of the data", "none")
        })?;
        self.charge(whole, external.location.len() as u64 + OVERHEAD)?;
        Ok(external)
    }

    /// A StringStringEntryProto.
    pub(super) fn entry(&mut self, mut fields: Fields) -> Result<Entry> {
        let (mut key, mut value) = (None, None);
        while let Some(field) = self.reader.next(&mut fields)? {
            match field.number {
                1 => {
                    let text = self.string(&field)?;
                    self.set(&mut key, text, &field)?;
                }
                2 => {
                    let text = (self.string(&field)?, self.length(&field)?.body);
                    self.set(&mut value, text, &field)?;
                }
                _ => {}
            }
        }
        let nowhere = (String::new(), Span { start: 0, end: 0 });
        Ok(Entry {
            key: key.unwrap_or_default(),
            value: value.unwrap_or(nowhere),
        })
    }
}
