//! A label map: PNG of up to eight bits, grey or with a palette, whose raw values stand for classes.

use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Transformations};

use super::values::Values;
use crate::error::{Error, Result};
use crate::train::data::decode;

/// No label map of the largest size that is read is larger.
const MAX_BYTES: u64 = 1 << 27;

/// The classes of an image's pixels, row by row; 255 where a pixel does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap {
    width: usize,
    height: usize,
    labels: Vec<u8>,
}

impl LabelMap {
    /// A map of these labels, row by row.
    ///
    /// # Panics
    /// There are not `width · height` of them.
    pub fn new(width: usize, height: usize, labels: Vec<u8>) -> LabelMap {
        assert_eq!(
            labels.len(),
            width * height,
            "labels of {width}×{height} pixels"
        );
        LabelMap {
            width,
            height,
            labels,
        }
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Row by row.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The label of a pixel.
    pub(super) fn at(&self, row: usize, column: usize) -> u8 {
        self.labels[row * self.width + column]
    }

    /// Reads a file in place of what it holds.
    pub(super) fn read(&mut self, path: &Path, values: &Values) -> Result<()> {
        let len = std::fs::metadata(path)
            .map_err(Error::io("read", path))?
            .len();
        if len > MAX_BYTES {
            let expected = format!("at most {MAX_BYTES} bytes");
            return Err(Error::malformed(path, "label map", expected, len));
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        self.decode(&bytes, path)?;
        let width = self.width.max(1);
        for (at, value) in self.labels.iter_mut().enumerate() {
            *value = values.label(*value).ok_or_else(|| {
                let place = format!("row {}, column {}", at / width, at % width);
                let expected = format!(
                    "a value of a class or one that is ignored: {}",
                    values.known()
                );
                Error::malformed(path, place, expected, *value)
            })?;
        }
        Ok(())
    }

    /// Reads the raw values: indices into a palette, not its colours; of fewer than eight bits, as they
    /// are.
    fn decode(&mut self, bytes: &[u8], path: &Path) -> Result<()> {
        let corrupt = |err: &dyn std::fmt::Display| {
            let found = format!("damage ({err})");
            Error::malformed(path, "label map", "a whole PNG file", found)
        };
        if !bytes.starts_with(b"\x89PNG") {
            let expected = "a PNG file, as other formats change values";
            return Err(Error::malformed(
                path,
                "label map",
                expected,
                "something else",
            ));
        }
        let mut decoder = png::Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(Transformations::IDENTITY);
        let header = decoder.read_header_info().map_err(|err| corrupt(&err))?;
        let (width, height) = (header.width as usize, header.height as usize);
        decode::check((width, height), path)?;
        let (color, depth) = (header.color_type, header.bit_depth);
        if !matches!(color, ColorType::Grayscale | ColorType::Indexed) || depth == BitDepth::Sixteen
        {
            let expected = "one value a pixel: grey or with a palette, of up to 8 bits";
            let found = format!("{color:?} of {} bits", depth as u8);
            return Err(Error::malformed(path, "label map", expected, found));
        }
        let mut reader = decoder.read_info().map_err(|err| corrupt(&err))?;
        // The size is checked: both products are small.
        let line = (width * depth as usize).div_ceil(8);
        let mut raw = vec![0; line * height];
        reader.next_frame(&mut raw).map_err(|err| corrupt(&err))?;
        (self.width, self.height) = (width, height);
        self.labels.clear();
        for row in raw.chunks_exact(line.max(1)) {
            self.labels
                .extend(unpacked(row, depth as usize).take(width));
        }
        Ok(())
    }
}

/// The values of so many bits in a row, from the highest bits of each byte on.
fn unpacked(row: &[u8], bits: usize) -> impl Iterator<Item = u8> {
    let each = 8 / bits;
    let mask = u8::MAX >> (8 - bits);
    let values = move |byte: &u8| {
        let byte = *byte;
        (0..each).rev().map(move |at| (byte >> (at * bits)) & mask)
    };
    row.iter().flat_map(values)
}

#[cfg(test)]
mod tests {
    use super::super::values::LabelValues;
    use super::*;

    fn png(color: ColorType, depth: BitDepth, size: (u32, u32), raw: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            // Colours that are nothing like the indices.
            encoder.set_palette([9, 8, 7].repeat(256 >> (8 - depth as usize)));
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(raw).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<LabelMap> {
        let mut map = LabelMap::default();
        map.decode(bytes, Path::new("map.png")).map(|()| map)
    }

    #[test]
    fn values_are_those_in_the_file_whatever_their_colours() {
        for color in [ColorType::Grayscale, ColorType::Indexed] {
            for (depth, raw, expected) in [
                (
                    BitDepth::Eight,
                    &[0, 7, 255, 1, 2, 3][..],
                    [0, 7, 255, 1, 2, 3],
                ),
                (
                    BitDepth::Four,
                    &[0x0f, 0x30, 0x12, 0x40],
                    [0, 15, 3, 1, 2, 4],
                ),
                (
                    BitDepth::Two,
                    &[0b00_11_10_00, 0b01_00_11_00],
                    [0, 3, 2, 1, 0, 3],
                ),
                (
                    BitDepth::One,
                    &[0b1010_0000, 0b0110_0000],
                    [1, 0, 1, 0, 1, 1],
                ),
            ] {
                let map = read(&png(color, depth, (3, 2), raw)).unwrap();
                assert_eq!((map.width(), map.height()), (3, 2));
                assert_eq!(map.labels(), expected, "{color:?} {depth:?}");
            }
        }
    }

    #[test]
    fn what_has_no_single_value_of_eight_bits_is_refused() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        let colour = png(ColorType::Rgb, BitDepth::Eight, (1, 1), &[1, 2, 3]);
        assert!(
            refused(&colour).contains("found Rgb of 8 bits"),
            "{}",
            refused(&colour)
        );
        let deep = png(ColorType::Grayscale, BitDepth::Sixteen, (1, 1), &[1, 2]);
        assert!(refused(&deep).contains("found Grayscale of 16 bits"));
        assert!(refused(b"\xff\xd8\xff").contains("expected a PNG file"));
        let whole = png(ColorType::Grayscale, BitDepth::Eight, (40, 40), &[3; 1600]);
        for len in [8, 20, whole.len() / 2, whole.len() - 14] {
            refused(&whole[..len]);
        }
    }

    #[test]
    fn an_unknown_value_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map.png");
        let bytes = png(
            ColorType::Grayscale,
            BitDepth::Eight,
            (3, 2),
            &[0, 1, 0, 1, 1, 9],
        );
        std::fs::write(&path, bytes).unwrap();
        let values = LabelValues::default().table(&[0, 1]).unwrap();
        let refused = LabelMap::default()
            .read(&path, &values)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("row 1, column 2"), "{refused}");
        assert!(refused.ends_with("0-1,255, found 9"), "{refused}");
    }
}
