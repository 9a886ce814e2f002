//! The end of a zip file: where its central directory lies and how many entries it has
//! (APPNOTE.TXT 4.3.14 to 4.3.16).

use crate::error::{Error, Result};
use crate::file::Source;
use crate::file::bytes::{u16_at, u32_at, u64_at};

/// Length of an end record without its comment, and the longest comment.
const END: usize = 22;
const MAX_COMMENT: usize = u16::MAX as usize;
const LOCATOR: u64 = 20;
const END64: usize = 56;
/// A central header is never shorter.
pub(super) const MIN_HEADER: u64 = 46;
/// 100,000 tensors take about 8 MB; this bounds what a hostile file may cost.
const MAX_DIRECTORY: u64 = 1 << 28;

/// The place of the central directory.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) entries: u64,
}

/// Finds the end record, its zip64 form where there is one, and checks what they say.
pub(super) fn find(source: &Source) -> Result<End> {
    let tail_len = source.len().min((END + MAX_COMMENT) as u64);
    let tail_at = source.len() - tail_len;
    let tail = source.slice(tail_at, tail_len as usize)?;
    let Some((at, record)) = last_record(&tail) else {
        return Err(malformed(
            source,
            "an end of central directory record",
            "none",
        ));
    };
    let end_at = tail_at + at as u64;
    let locator = match end_at.checked_sub(LOCATOR) {
        Some(at) => Some(source.slice(at, LOCATOR as usize)?),
        None => None,
    };
    let locator = locator.filter(|bytes| bytes.starts_with(b"PK\x06\x07"));
    let (disks, limit, end) = match &locator {
        Some(locator) => zip64(source, locator, end_at - LOCATOR)?,
        None => (record.disks, end_at, record.end),
    };
    if locator.is_some() && !record.agrees_with(&end) {
        let expected = "an end record that agrees with its zip64 form";
        return Err(malformed(source, expected, "other numbers"));
    }
    if disks != [0; 2] {
        return Err(Error::refused(
            source.path(),
            "is one part of a zip archive split over several disks: save it again as one file",
        ));
    }
    let fits = end
        .offset
        .checked_add(end.len)
        .is_some_and(|end| end <= limit);
    if !fits || end.entries > end.len / MIN_HEADER || end.len > MAX_DIRECTORY {
        let expected = format!("a central directory before byte {limit}");
        let End {
            offset,
            len,
            entries,
        } = end;
        let found = format!("{entries} entries in {len} bytes at {offset}");
        return Err(malformed(source, &expected, &found));
    }
    Ok(end)
}

struct Record {
    /// The number of this disk, and of the one where the directory begins.
    disks: [u32; 2],
    end: End,
}

impl Record {
    /// Whether every number is that of the zip64 record, or says to look there.
    fn agrees_with(&self, zip64: &End) -> bool {
        let same = |short: u64, long: u64, none: u64| short == long || short == none;
        same(self.end.entries, zip64.entries, u16::MAX.into())
            && same(self.end.len, zip64.len, u32::MAX.into())
            && same(self.end.offset, zip64.offset, u32::MAX.into())
    }
}

/// The last end record in the file's tail whose comment ends where the file does, but for zeros that
/// a copy or a disk image left there: torch reads past them too.
fn last_record(tail: &[u8]) -> Option<(usize, Record)> {
    let last = tail.len().checked_sub(END)?;
    (0..=last).rev().find_map(|at| {
        let bytes = tail.get(at..)?;
        let comment = usize::from(u16_at(bytes, 20)?);
        let behind = bytes.get(END + comment..)?;
        if !bytes.starts_with(b"PK\x05\x06") || behind.iter().any(|byte| *byte != 0) {
            return None;
        }
        let here = u16_at(bytes, 8)?;
        let entries = u16_at(bytes, 10)?;
        // Entries elsewhere than on this disk mean several disks.
        let disks = [
            u16_at(bytes, 4)?.into(),
            (u16_at(bytes, 6)? | (here ^ entries)).into(),
        ];
        let (len, offset) = (u32_at(bytes, 12)?.into(), u32_at(bytes, 16)?.into());
        Some((
            at,
            Record {
                disks,
                end: End {
                    offset,
                    len,
                    entries: entries.into(),
                },
            },
        ))
    })
}

/// The zip64 record that a locator points at.
fn zip64(source: &Source, locator: &[u8], locator_at: u64) -> Result<([u32; 2], u64, End)> {
    let missing = || malformed(source, "a zip64 end record where its locator says", "none");
    let at = u64_at(locator, 8).ok_or_else(missing)?;
    if at
        .checked_add(END64 as u64)
        .is_none_or(|end| end > locator_at)
    {
        return Err(missing());
    }
    let record = source.slice(at, END64)?;
    if !record.starts_with(b"PK\x06\x06") {
        return Err(missing());
    }
    let read = || {
        let here = u64_at(&record, 24)?;
        let entries = u64_at(&record, 32)?;
        let disks = [
            u32_at(&record, 16)? | u32_at(locator, 4)?,
            u32_at(&record, 20)? | u32::from(here != entries),
        ];
        Some((
            disks,
            at,
            End {
                offset: u64_at(&record, 48)?,
                len: u64_at(&record, 40)?,
                entries,
            },
        ))
    };
    read().ok_or_else(missing)
}

fn malformed(source: &Source, expected: &str, found: &str) -> Error {
    Error::malformed(source.path(), "end of the zip archive", expected, found)
}
