//! What stands in front of an array's elements: a magic number, then a Python dict as text
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::file::Source;
use crate::file::bytes::{u16_at, u32_at};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The header of an array of 32 dimensions has 600 bytes.
const MAX_HEADER: u64 = 1 << 16;
/// NumPy's own limit.
const MAX_DIMS: usize = 64;

/// The header of an array.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// The type, where this crate has it.
    pub(super) dtype: Option<Dtype>,
    /// The type as NumPy writes it: `<f4`.
    pub(super) descr: String,
    big_endian: bool,
    fortran: bool,
    pub(super) shape: Vec<u64>,
    /// Where the elements begin in the file.
    pub(super) data: u64,
}

impl Header {
    /// Reads the header of the array `name`, which lies at this offset and length.
    ///
    /// # Errors
    /// It is none, or its elements take another number of bytes.
    pub(super) fn read(source: &Source, name: &str, (offset, len): (u64, u64)) -> Result<Header> {
        let malformed = |expected: String, found: String| {
            Error::malformed(source.path(), format!("array {name}"), expected, found)
        };
        let front = source.slice(offset, len.min(12) as usize)?;
        let length = || {
            let version = front.strip_prefix(MAGIC)?.first()?;
            match version {
                1 => Some((10, u64::from(u16_at(&front, 8)?))),
                2 | 3 => Some((12, u64::from(u32_at(&front, 8)?))),
                _ => None,
            }
        };
        let Some((start, header)) = length() else {
            let found = format!("{:02x?}", &front[..front.len().min(8)]);
            return Err(malformed("an array of NumPy, version 1 to 3".into(), found));
        };
        let data = start + header;
        if header > MAX_HEADER || data > len {
            let expected = format!("a header of at most {} bytes", MAX_HEADER.min(len));
            return Err(malformed(expected, format!("{header} bytes")));
        }
        let text = source.slice(offset + start, header as usize)?;
        let text = String::from_utf8_lossy(&text);
        let Some(mut read) = parse(&text) else {
            let expected = "a dict with descr, fortran_order and shape";
            return Err(malformed(expected.into(), text.trim().to_owned()));
        };
        read.data = offset + data;
        let elements = read
            .shape
            .iter()
            .try_fold(1_u64, |n, dim| n.checked_mul(*dim));
        if let Some(dtype) = read.dtype {
            let wanted = elements.and_then(|n| n.checked_mul(dtype.bits() / 8));
            if wanted != Some(len - data) {
                let expected = format!("the elements of {} {:?}", read.descr, read.shape);
                return Err(malformed(expected, format!("{} bytes", len - data)));
            }
        }
        Ok(read)
    }

    /// Why the bytes are not simply the elements.
    pub(super) fn fixed(&self) -> Option<String> {
        match (self.big_endian, self.fortran) {
            (true, _) => Some(format!("its elements are big-endian ({})", self.descr)),
            (_, true) => Some("its elements are in Fortran's order".to_owned()),
            _ => None,
        }
    }

    /// Steps between neighbours of an array in Fortran's order.
    pub(super) fn strides(&self) -> Option<Vec<u64>> {
        let mut step = 1;
        let strides = self.shape.iter().map(|dim| {
            let own = step;
            step *= dim;
            own
        });
        (self.fortran && !self.big_endian).then(|| strides.collect())
    }
}

/// The dict; `None` where it is not one of an array.
fn parse(text: &str) -> Option<Header> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = string(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        let twice = match key {
            "descr" => {
                let (value, after) = string(rest).or_else(|| list(rest))?;
                rest = after;
                descr.replace(value).is_some()
            }
            "fortran_order" => {
                let (value, after) = boolean(rest)?;
                rest = after;
                fortran.replace(value).is_some()
            }
            "shape" => {
                let (value, after) = numbers(rest)?;
                rest = after;
                shape.replace(value).is_some()
            }
            _ => return None,
        };
        if twice {
            return None;
        }
        rest = rest.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    let descr = descr?;
    Some(Header {
        dtype: dtype_of(descr),
        descr: descr.to_owned(),
        big_endian: descr.starts_with('>'),
        fortran: fortran?,
        shape: shape?,
        data: 0,
    })
}

/// A string in quotes, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// A list, which describes a record, as it stands.
fn list(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => return None,
            _ => {}
        }
        if depth == 0 {
            return Some(text.split_at(at + 1));
        }
    }
    None
}

fn boolean(text: &str) -> Option<(bool, &str)> {
    let value = |word, value| Some((value, text.strip_prefix(word)?));
    value("True", true).or_else(|| value("False", false))
}

/// A tuple of natural numbers.
fn numbers(text: &str) -> Option<(Vec<u64>, &str)> {
    let (inside, after) = text.strip_prefix('(')?.split_once(')')?;
    let inside = inside.trim();
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    let mut numbers = Vec::new();
    for number in inside.split(',').filter(|_| !inside.is_empty()) {
        // Python 2 wrote 3L.
        let digits = number.trim().trim_end_matches('L');
        numbers.push(digits.parse().ok()?);
    }
    (numbers.len() <= MAX_DIMS).then_some((numbers, after))
}

/// The type that NumPy writes as `descr`, in either order of bytes.
fn dtype_of(descr: &str) -> Option<Dtype> {
    Some(match descr.trim_start_matches(['<', '>', '|', '=']) {
        "b1" => Dtype::Bool,
        "u1" => Dtype::U8,
        "i1" => Dtype::I8,
        "u2" => Dtype::U16,
        "i2" => Dtype::I16,
        "f2" => Dtype::F16,
        "u4" => Dtype::U32,
        "i4" => Dtype::I32,
        "f4" => Dtype::F32,
        "u8" => Dtype::U64,
        "i8" => Dtype::I64,
        "f8" => Dtype::F64,
        "c8" => Dtype::C64,
        "c16" => Dtype::C128,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_python_would() {
        for (text, descr, fortran, shape) in [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (16,), }   \n",
                "<f4",
                false,
                &[16][..],
            ),
            (
                "{'shape': (2, 3), \"fortran_order\": True, 'descr': '>f8'}",
                ">f8",
                true,
                &[2, 3],
            ),
            (
                "{'descr': '<i8', 'fortran_order': False, 'shape': (), }",
                "<i8",
                false,
                &[],
            ),
            (
                "{'descr': [('a', '<f4'), ('b', '<i4', (2,))], 'fortran_order': False, 'shape': (3L,)}",
                "[('a', '<f4'), ('b', '<i4', (2,))]",
                false,
                &[3],
            ),
        ] {
            let header = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(header.descr, descr);
            assert_eq!((header.fortran, &header.shape[..]), (fortran, shape));
        }
    }

    #[test]
    fn what_is_no_header_is_not_guessed() {
        for text in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
            "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
            "{'descr': [('a', '<f4'), 'fortran_order': False, 'shape': (1,)}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn strides_in_fortrans_order_begin_with_one() {
        let header = parse("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3, 4)}").unwrap();
        assert_eq!(header.strides(), Some(vec![1, 2, 6]));
        assert!(header.fixed().unwrap().contains("Fortran"));
    }
}
