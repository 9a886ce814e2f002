//! The directory of a zip archive whose entries are stored as they are: names, places, and where
//! the checksums of each entry stand (APPNOTE.TXT 4.3.7 to 4.3.12).
//!
//! Only headers are read. What cannot be patched in place is refused: compression, encryption,
//! several disks, entries that overlap.

mod checksum;
mod end;

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::file::Source;
use crate::file::bytes::{u16_at, u32_at, u64_at};
use end::MIN_HEADER;

pub(super) use checksum::Refreshed;

const LOCAL_HEADER: u64 = 30;
const FLAG_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const ZIP64_EXTRA: u16 = 1;

/// The entries of an archive, in the order of its central directory.
#[derive(Debug)]
pub(in crate::checkpoint) struct Directory {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// A stored entry.
#[derive(Debug)]
pub(in crate::checkpoint) struct Entry {
    pub(in crate::checkpoint) name: String,
    /// Offset of its data in the file.
    pub(in crate::checkpoint) offset: u64,
    /// Length of its data in bytes.
    pub(in crate::checkpoint) len: u64,
    /// Where its CRC-32 is written down, the central directory first.
    pub(in crate::checkpoint) crcs: Vec<CrcField>,
}

/// A CRC-32 as it stands in the file, which need not be the true one.
#[derive(Debug, Clone, Copy)]
pub(in crate::checkpoint) struct CrcField {
    pub(in crate::checkpoint) offset: u64,
    pub(in crate::checkpoint) value: u32,
}

impl Directory {
    /// Reads the central directory and the header of every entry. `check` sees all names first: an
    /// archive of another kind is better refused as that than for how its entries are stored.
    /// `save_again` says how to write one that is not compressed.
    pub(in crate::checkpoint) fn read(
        source: &Source,
        save_again: &str,
        check: impl FnOnce(&[Cow<'_, str>]) -> Result<()>,
    ) -> Result<Directory> {
        let end = end::find(source)?;
        let bytes = source.slice(end.offset, end.len as usize)?;
        let mut at = 0;
        let mut headers = Vec::with_capacity(end.entries as usize);
        for n in 0..end.entries {
            let header = bytes.get(at..).and_then(Header::parse).ok_or_else(|| {
                let place = format!("central directory, entry {n}");
                let found = format!("none at byte {}", end.offset + at as u64);
                Error::malformed(source.path(), place, "a whole header", found)
            })?;
            let next = at + header.total_len;
            headers.push((header, end.offset + at as u64));
            at = next;
        }
        let names = headers
            .iter()
            .map(|(header, _)| String::from_utf8_lossy(header.name));
        check(&names.collect::<Vec<_>>())?;
        let mut entries = Vec::with_capacity(headers.len());
        let mut spans = Vec::with_capacity(headers.len());
        let mut by_name = HashMap::with_capacity(headers.len());
        for (header, header_at) in headers {
            let (entry, span) = header.locate(source, header_at, end.offset, save_again)?;
            if by_name.insert(entry.name.clone(), entries.len()).is_some() {
                let found = "two entries of this name";
                return Err(Error::malformed(
                    source.path(),
                    entry.name,
                    "one entry",
                    found,
                ));
            }
            spans.push((span, entries.len()));
            entries.push(entry);
        }
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let [((_, end), before), ((start, _), after)] = pair else {
                continue;
            };
            if start < end {
                let found = format!("an overlap with {}", entries[*before].name);
                let name = &entries[*after].name;
                return Err(Error::malformed(
                    source.path(),
                    name,
                    "bytes of its own",
                    found,
                ));
            }
        }
        Ok(Directory { entries, by_name })
    }

    pub(in crate::checkpoint) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(in crate::checkpoint) fn find(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|n| &self.entries[*n])
    }
}

impl Entry {
    /// Its CRC-32, as the central directory has it.
    pub(in crate::checkpoint) fn central_crc(&self) -> u32 {
        self.crcs.first().map_or(0, |field| field.value)
    }
}

/// Whether a file begins as an archive does.
pub(super) fn is_zip(prefix: &[u8]) -> bool {
    prefix.starts_with(b"PK\x03\x04") || prefix.starts_with(b"PK\x05\x06")
}

/// The name of the entry that a file begins with, if it does.
pub(super) fn first_name(source: &Source) -> Result<Option<String>> {
    let len = source.len().min(LOCAL_HEADER);
    let header = source.slice(0, len as usize)?;
    let name_len = u16_at(&header, 26).filter(|_| header.starts_with(b"PK\x03\x04"));
    let Some(name_len) = name_len.filter(|n| LOCAL_HEADER + u64::from(*n) <= source.len()) else {
        return Ok(None);
    };
    let name = source.slice(LOCAL_HEADER, name_len.into())?;
    Ok(Some(String::from_utf8_lossy(&name).into_owned()))
}

/// A header of the central directory.
struct Header<'a> {
    flags: u16,
    method: u16,
    crc: u32,
    stored_len: u64,
    len: u64,
    disk: u32,
    local_at: u64,
    name: &'a [u8],
    /// Whether sizes or place are given in a zip64 extra field.
    zip64: bool,
    total_len: usize,
}

impl<'a> Header<'a> {
    /// The header that `bytes` begin with; `None` when it is none or not whole.
    fn parse(bytes: &'a [u8]) -> Option<Header<'a>> {
        if !bytes.starts_with(b"PK\x01\x02") {
            return None;
        }
        let [name_len, extra_len, comment_len] =
            [u16_at(bytes, 28)?, u16_at(bytes, 30)?, u16_at(bytes, 32)?].map(usize::from);
        let name_end = MIN_HEADER as usize + name_len;
        let total_len = name_end + extra_len + comment_len;
        let name = bytes.get(MIN_HEADER as usize..name_end)?;
        let extra = bytes.get(name_end..name_end + extra_len)?;
        bytes.get(..total_len)?;
        let mut long = extra_field(extra, ZIP64_EXTRA);
        let zip64 = long.is_some();
        // Each stands in the extra field only where the short field is full of ones, in this order.
        let mut widen = |short: u32| -> Option<u64> {
            if short != u32::MAX {
                return Some(short.into());
            }
            let field = long?;
            long = Some(field.get(8..)?);
            u64_at(field, 0)
        };
        let len = widen(u32_at(bytes, 24)?)?;
        let stored_len = widen(u32_at(bytes, 20)?)?;
        let local_at = widen(u32_at(bytes, 42)?)?;
        let disk = match u16_at(bytes, 34)? {
            u16::MAX => u32_at(long?, 0)?,
            disk => disk.into(),
        };
        let (flags, method, crc) = (u16_at(bytes, 8)?, u16_at(bytes, 10)?, u32_at(bytes, 16)?);
        Some(Header {
            flags,
            method,
            crc,
            stored_len,
            len,
            disk,
            local_at,
            name,
            zip64,
            total_len,
        })
    }

    /// The entry, with the range from its local header to the end of its data descriptor.
    ///
    /// `header_at` is where this header stands in the file; nothing of the entry may reach `limit`.
    fn locate(
        &self,
        source: &Source,
        header_at: u64,
        limit: u64,
        save_again: &str,
    ) -> Result<(Entry, (u64, u64))> {
        let name = String::from_utf8_lossy(self.name).into_owned();
        let malformed = |expected: &str, found: &str| {
            Error::malformed(source.path(), format!("zip entry {name}"), expected, found)
        };
        if std::str::from_utf8(self.name).is_err() {
            return Err(malformed("a name in UTF-8", "other bytes"));
        }
        self.check_plain(source, &name, save_again)?;
        if self.stored_len != self.len {
            let found = format!(
                "{} bytes stored and {} to unpack",
                self.stored_len, self.len
            );
            return Err(malformed("a stored entry of one length", &found));
        }
        let outside = || {
            malformed(
                "an entry before the central directory",
                "one that reaches it",
            )
        };
        let name_at = self
            .local_at
            .checked_add(LOCAL_HEADER)
            .ok_or_else(outside)?;
        let name_end = name_at
            .checked_add(self.name.len() as u64)
            .ok_or_else(outside)?;
        if name_end > limit {
            return Err(outside());
        }
        // They lie far apart: by position, or the map would take in the pages around each.
        let local = source.read_at(self.local_at, (name_end - self.local_at) as usize)?;
        let lens = u16_at(&local, 26).zip(u16_at(&local, 28));
        let fields = u16_at(&local, 6)
            .zip(u16_at(&local, 8))
            .zip(u32_at(&local, 14));
        let (Some((name_len, extra_len)), Some(((flags, method), crc)), true) =
            (lens, fields, local.starts_with(b"PK\x03\x04"))
        else {
            return Err(malformed("a local header", "other bytes"));
        };
        if usize::from(name_len) != self.name.len() || !local.ends_with(self.name) {
            return Err(malformed("the same name in its local header", "another"));
        }
        if method != self.method || (flags ^ self.flags) & (FLAG_ENCRYPTED | FLAG_DESCRIPTOR) != 0 {
            return Err(malformed(
                "the same method and flags in its local header",
                "others",
            ));
        }
        let offset = name_end + u64::from(extra_len);
        let end = offset
            .checked_add(self.len)
            .filter(|end| *end <= limit)
            .ok_or_else(outside)?;

        let mut crcs = vec![CrcField {
            offset: header_at + 16,
            value: self.crc,
        }];
        let has_descriptor = flags & FLAG_DESCRIPTOR != 0;
        if !has_descriptor || crc != 0 {
            crcs.push(CrcField {
                offset: self.local_at + 14,
                value: crc,
            });
        }
        let mut span_end = end;
        if has_descriptor {
            let available = (limit - end).min(24) as usize;
            let bytes = source.read_at(end, available)?;
            let (at, len) = self
                .descriptor(&bytes)
                .ok_or_else(|| malformed("a data descriptor after the data", "other bytes"))?;
            let value = u32_at(&bytes, at).unwrap_or_default();
            crcs.push(CrcField {
                offset: end + at as u64,
                value,
            });
            span_end += len as u64;
        }
        Ok((
            Entry {
                name,
                offset,
                len: self.len,
                crcs,
            },
            (self.local_at, span_end),
        ))
    }

    /// Refuses what cannot be patched in place.
    fn check_plain(&self, source: &Source, name: &str, save_again: &str) -> Result<()> {
        let why = if self.flags & FLAG_ENCRYPTED != 0 {
            "is encrypted: decrypt the archive first".to_owned()
        } else if self.method != 0 {
            let method = self.method;
            format!("is compressed (zip method {method}): {save_again}")
        } else if self.disk != 0 {
            "lies on another disk of a split archive: save it again as one file".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::refused(
            source.path(),
            format!("its zip entry {name} {why}"),
        ))
    }

    /// Where the CRC stands in a data descriptor, and the descriptor's length. The signature is
    /// optional, and sizes have 32 or 64 bits; they tell which form it is.
    fn descriptor(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let signed = usize::from(bytes.starts_with(b"PK\x07\x08")) * 4;
        let short = u32_at(bytes, signed + 4).zip(u32_at(bytes, signed + 8));
        let long = u64_at(bytes, signed + 4).zip(u64_at(bytes, signed + 12));
        let short = short.filter(|(a, b)| [u64::from(*a), u64::from(*b)] == [self.len; 2]);
        let long = long.filter(|pair| *pair == (self.len, self.len));
        match (short, long) {
            (Some(_), Some(_)) if self.zip64 => Some((signed, signed + 20)),
            (Some(_), _) => Some((signed, signed + 12)),
            (None, Some(_)) => Some((signed, signed + 20)),
            (None, None) => None,
        }
    }
}

/// The body of an extra field.
fn extra_field(mut extra: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (id, len) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        let body = extra.get(4..4 + len)?;
        if id == wanted {
            return Some(body);
        }
        extra = &extra[4 + len..];
    }
}
