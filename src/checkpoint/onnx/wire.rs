//! Protobuf's wire format, walked through a small window: what a field is, and where in the file it
//! lies. The content of a length-delimited field is read only when it is asked for.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. Groups, which ONNX does not use,
//! are refused; so are field number 0, varints over ten bytes and lengths that reach beyond the
//! message around them.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::file::Source;

/// Bytes read at once where reading goes on from the last read.
const WINDOW: u64 = 64 << 10;
/// Bytes read at once after a jump, which has skipped a tensor and often leads to the next.
const WINDOW_AFTER_JUMP: u64 = 4 << 10;

/// A byte range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Span {
    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }
}

/// A length-delimited field: the varint that gives its length ends where `body` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    /// Where the varint begins.
    pub(super) at: u64,
    /// The content.
    pub(super) body: Span,
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) number: u32,
    /// Offset of its tag.
    pub(super) at: u64,
    pub(super) value: Value,
}

/// A field's value, by wire type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    /// Wire type 0, and the bytes that encode it.
    Varint(u64, Span),
    /// Wire types 5 (four bytes) and 1 (eight bytes).
    Fixed(Span),
    /// Wire type 2.
    Bytes(Length),
}

/// What is left to walk of a message.
#[derive(Debug)]
pub(super) struct Fields {
    at: u64,
    end: u64,
}

impl From<Span> for Fields {
    fn from(span: Span) -> Fields {
        Fields {
            at: span.start,
            end: span.end,
        }
    }
}

/// Reads a file through a small window.
pub(super) struct Reader<'a> {
    source: &'a Source,
    fetch: Fetch<'a>,
    window: Cow<'a, [u8]>,
    start: u64,
}

type Fetch<'a> = fn(&'a Source, u64, usize) -> Result<Cow<'a, [u8]>>;

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source) -> Reader<'a> {
        Reader {
            source,
            fetch: Source::slice,
            window: Cow::Borrowed(&[]),
            start: 0,
        }
    }

    /// One that does not use the file's map, for elements that may be written back.
    pub(super) fn positioned(source: &'a Source) -> Reader<'a> {
        Reader {
            fetch: |source, offset, len| source.read_at(offset, len).map(Cow::Owned),
            ..Reader::new(source)
        }
    }

    /// The whole file.
    pub(super) fn all(&self) -> Span {
        Span {
            start: 0,
            end: self.source.len(),
        }
    }

    /// The next field of a message; `None` at its end.
    pub(super) fn next(&mut self, fields: &mut Fields) -> Result<Option<Field>> {
        if fields.at >= fields.end {
            return Ok(None);
        }
        let at = fields.at;
        let (tag, mut end) = self.varint(at, fields.end)?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number @ 1..0x2000_0000) => number,
            _ => {
                let expected = "a field number from 1 to 536870911";
                return Err(self.malformed(at, expected, tag >> 3));
            }
        };
        let value = match tag & 7 {
            0 => {
                let start = end;
                let (value, after) = self.varint(start, fields.end)?;
                end = after;
                Value::Varint(value, Span { start, end })
            }
            wire @ (1 | 5) => {
                let body = self.take(end, if wire == 1 { 8 } else { 4 }, fields.end)?;
                end = body.end;
                Value::Fixed(body)
            }
            2 => {
                let at = end;
                let (len, start) = self.varint(at, fields.end)?;
                let body = self.take(start, len, fields.end)?;
                end = body.end;
                Value::Bytes(Length { at, body })
            }
            3 | 4 => {
                return Err(self.malformed(at, "a field", "a group, which ONNX does not use"));
            }
            wire => return Err(self.malformed(at, "a wire type from 0 to 5", wire)),
        };
        fields.at = end;
        Ok(Some(Field { number, at, value }))
    }

    /// The varint at `at`, which ends by `limit`, and the offset after it.
    pub(super) fn varint(&mut self, at: u64, limit: u64) -> Result<(u64, u64)> {
        let mut value = 0;
        for count in 0..10 {
            let here = at + count;
            if here >= limit {
                return Err(self.malformed(at, "a varint", "the end of its message"));
            }
            let byte = self.byte(here)?;
            if count == 9 && byte > 1 {
                return Err(self.malformed(at, "a varint of at most 64 bits", "a longer one"));
            }
            value |= u64::from(byte & 0x7f) << (7 * count);
            if byte < 0x80 {
                return Ok((value, here + 1));
            }
        }
        Err(self.malformed(at, "a varint of at most 10 bytes", "a longer one"))
    }

    /// The bytes of a range, all at once: from the window where they lie in it.
    pub(super) fn bytes(&self, span: Span) -> Result<Cow<'a, [u8]>> {
        let index = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok();
        if let (Some(start), Some(end)) = (index(span.start), index(span.end))
            && let Some(bytes) = self.window.get(start..end)
        {
            return Ok(Cow::Owned(bytes.to_vec()));
        }
        let len = usize::try_from(span.len()).map_err(|_| {
            self.malformed(
                span.start,
                "a field that fits in memory",
                format!("{} bytes", span.len()),
            )
        })?;
        (self.fetch)(self.source, span.start, len)
    }

    /// Appends a range, which is best short: it is read through the window where it fits.
    pub(super) fn append(&mut self, span: Span, to: &mut Vec<u8>) -> Result<()> {
        if span.len() > WINDOW_AFTER_JUMP {
            to.extend_from_slice(&self.bytes(span)?);
            return Ok(());
        }
        for at in span.start..span.end {
            to.push(self.byte(at)?);
        }
        Ok(())
    }

    /// An error about the byte at `at`.
    pub(super) fn malformed(
        &self,
        at: u64,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        Error::malformed(
            self.source.path(),
            format!("ONNX, byte {at}"),
            expected,
            found,
        )
    }

    fn take(&self, start: u64, len: u64, limit: u64) -> Result<Span> {
        match start.checked_add(len).filter(|end| *end <= limit) {
            Some(end) => Ok(Span { start, end }),
            None => {
                let expected = format!("at most {} bytes up to the message's end", limit - start);
                Err(self.malformed(start, expected, format!("a field of {len} bytes")))
            }
        }
    }

    fn byte(&mut self, at: u64) -> Result<u8> {
        let inside = |window: &[u8], start: u64| {
            let index = at
                .checked_sub(start)
                .and_then(|i| usize::try_from(i).ok())?;
            window.get(index).copied()
        };
        if let Some(byte) = inside(&self.window, self.start) {
            return Ok(byte);
        }
        let goes_on = at == self.start + self.window.len() as u64;
        let wanted = if goes_on { WINDOW } else { WINDOW_AFTER_JUMP };
        let len = wanted.min(self.source.len().saturating_sub(at)).max(1);
        self.window = (self.fetch)(self.source, at, len as usize)?;
        self.start = at;
        Ok(self.window[0])
    }
}

/// The shortest varint of a value.
pub(super) fn encode_varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(3);
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
