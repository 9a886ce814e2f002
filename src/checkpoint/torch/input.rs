//! The bytes of a pickle, read one opcode and argument after another, and what can be wrong there.

use std::path::Path;

use super::opcode;
use crate::error::Error;

/// Why a pickle cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// The opcode that was being read: its name, or its value where it has none.
    pub(super) opcode: String,
    /// Its offset in the input.
    pub(super) at: usize,
    pub(super) expected: &'static str,
    pub(super) found: String,
    /// Whether the input ended too early, so that a longer piece of the file may do.
    pub(super) truncated: bool,
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

/// A place in the bytes of a pickle.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the opcode stands that is being read.
    opcode_at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input {
            bytes,
            at: 0,
            opcode_at: 0,
        }
    }

    /// How many bytes have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Begins the next opcode: faults are reported at it from here on.
    pub(super) fn opcode(&mut self) -> Result<u8> {
        self.opcode_at = self.at;
        self.u8()
    }

    /// Checks that `len` more bytes are there.
    pub(super) fn check_left(&self, len: u64) -> Result<()> {
        let left = self.bytes.len() - self.at;
        if usize::try_from(len).is_ok_and(|len| len <= left) {
            return Ok(());
        }
        let mut fault = self.fault(
            "bytes that are there",
            format!("{len} where {left} are left"),
        );
        fault.truncated = true;
        Err(fault)
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        self.check_left(len)?;
        let start = self.at;
        self.at += len as usize;
        Ok(&self.bytes[start..self.at])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length of 32 bits with a sign, which must not be negative.
    pub(super) fn length_i32(&mut self) -> Result<u64> {
        let len = self.u32()? as i32;
        u64::try_from(len).map_err(|_| self.fault("a length", len.to_string()))
    }

    /// The bytes up to the next newline, without it.
    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().position(|byte| *byte == b'\n') else {
            let mut fault = self.fault("a line of text", "no end of line".into());
            fault.truncated = true;
            return Err(fault);
        };
        self.at += len + 1;
        Ok(&rest[..len])
    }

    pub(super) fn fault(&self, expected: &'static str, found: String) -> Fault {
        let code = self.bytes.get(self.opcode_at).copied();
        let opcode = match code.map(|code| (opcode::name(code), code)) {
            Some((Some(name), _)) => format!("opcode {name}"),
            Some((None, code)) => format!("opcode {code:#04x}"),
            None => "end of input".to_owned(),
        };
        Fault {
            opcode,
            at: self.opcode_at,
            expected,
            found,
            truncated: false,
        }
    }
}

impl Fault {
    /// The error for a pickle that begins at `start` of a file.
    pub(super) fn into_error(self, path: &Path, what: &str, start: u64) -> Error {
        let place = format!("{what}: {} at byte {}", self.opcode, start + self.at as u64);
        Error::malformed(path, place, self.expected, self.found)
    }
}
