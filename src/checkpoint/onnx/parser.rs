//! What reading any ONNX message needs: typed access to fields, and bounds on depth and memory.

use super::wire::{Field, Fields, Length, Reader, Value};
use crate::error::{Error, Result};
use crate::file::Source;

/// Messages inside messages; protobuf's own readers stop here as well.
const MAX_DEPTH: usize = 100;
/// Bytes that names and structure of a model may take in memory: a graph of 200,000 nodes takes
/// about a third of it.
const MAX_HEADER: u64 = 256 << 20;
/// What a small allocation costs beside its content.
pub(super) const OVERHEAD: u64 = 32;

/// A reader of messages.
pub(super) struct Parser<'a> {
    pub(super) reader: Reader<'a>,
    /// Lengths around what is being read, the outermost first.
    pub(super) lengths: Vec<Length>,
    left: u64,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a Source) -> Parser<'a> {
        Parser {
            reader: Reader::new(source),
            lengths: Vec::new(),
            left: MAX_HEADER,
        }
    }

    /// Walks the message in `field` with `read`.
    pub(super) fn message<T>(
        &mut self,
        field: &Field,
        read: impl FnOnce(&mut Self, Fields) -> Result<T>,
    ) -> Result<T> {
        let length = self.length(field)?;
        if self.lengths.len() == MAX_DEPTH {
            let expected = format!("at most {MAX_DEPTH} messages inside each other");
            return Err(self.reader.malformed(field.at, expected, "another one"));
        }
        self.lengths.push(length);
        let result = read(self, Fields::from(length.body));
        self.lengths.pop();
        result
    }

    /// Accounts for memory that stays in use.
    pub(super) fn charge(&mut self, field: &Field, bytes: u64) -> Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            let expected = format!("a graph that fits in {} MiB of memory", MAX_HEADER >> 20);
            self.reader.malformed(field.at, expected, "a larger one")
        })?;
        Ok(())
    }

    pub(super) fn length(&self, field: &Field) -> Result<Length> {
        match field.value {
            Value::Bytes(length) => Ok(length),
            _ => Err(self.wrong_type(field, "length-delimited")),
        }
    }

    pub(super) fn varint(&self, field: &Field) -> Result<u64> {
        match field.value {
            Value::Varint(value, _) => Ok(value),
            _ => Err(self.wrong_type(field, "varint")),
        }
    }

    pub(super) fn string(&mut self, field: &Field) -> Result<String> {
        let body = self.length(field)?.body;
        self.charge(field, body.len() + OVERHEAD)?;
        String::from_utf8(self.reader.bytes(body)?.into_owned()).map_err(|err| {
            let at = body.start + err.utf8_error().valid_up_to() as u64;
            self.reader.malformed(at, "a name in UTF-8", "other bytes")
        })
    }

    /// Sets what may occur once: of two values, programs may disagree on which one counts.
    pub(super) fn set<T>(&self, slot: &mut Option<T>, value: T, field: &Field) -> Result<()> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => {
                let expected = format!("field {} once", field.number);
                Err(self
                    .reader
                    .malformed(field.at, expected, "it a second time"))
            }
        }
    }

    pub(super) fn wrong_type(&self, field: &Field, expected: &str) -> Error {
        let found = match field.value {
            Value::Varint(..) => "a varint",
            Value::Fixed(body) if body.len() == 4 => "four fixed bytes",
            Value::Fixed(_) => "eight fixed bytes",
            Value::Bytes(_) => "a length-delimited field",
        };
        let expected = format!("field {} as {expected}", field.number);
        self.reader.malformed(field.at, expected, found)
    }
}
