//! JPEG, PNG and WebP, told apart by their first bytes → red, green and blue of eight bits.
//!
//! As Pillow's `convert("RGB")` does: grey is repeated, a palette is looked up, alpha is dropped
//! (what lies under it shows), CMYK is mixed; of 16 bits the upper eight stay. The orientation that
//! a camera noted is ignored, as torchvision ignores it. Of an animation the first frame is taken.

use std::fmt::Display;
use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use png::{ColorType, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Image;
use crate::error::{Error, Result};

/// Larger pictures are not decoded: a file of some kilobytes can promise any size.
pub(super) const MAX_PIXELS: usize = 1 << 26;

enum Format {
    Jpeg,
    Png,
    Webp,
}

impl Format {
    fn of(prefix: &[u8], name: &Path) -> Result<Format> {
        let webp = prefix.get(..4) == Some(b"RIFF") && prefix.get(8..12) == Some(b"WEBP");
        match prefix {
            [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
            [0x89, b'P', b'N', b'G', ..] => Ok(Format::Png),
            _ if webp => Ok(Format::Webp),
            [] => Err(wrong(name, "an empty file")),
            _ => Err(wrong(name, "something else")),
        }
    }
}

fn wrong(name: &Path, found: &str) -> Error {
    Error::malformed(name, "image", "a JPEG, PNG or WebP file", found)
}

fn corrupt(name: &Path, format: &str) -> impl Fn(&dyn Display) -> Error {
    move |err| {
        let expected = format!("a whole {format} file");
        Error::malformed(name, "image", expected, format!("damage ({err})"))
    }
}

/// Width and height, as the header says; the pixels are left alone.
pub(super) fn size(mut file: impl BufRead + Seek, name: &Path) -> Result<(usize, usize)> {
    let prefix = file.fill_buf().map_err(Error::io("read", name))?;
    let size = match Format::of(prefix, name)? {
        Format::Jpeg => {
            let mut decoder = JpegDecoder::new_with_options(file, options());
            let headers = decoder.decode_headers();
            headers.map_err(|err| corrupt(name, "JPEG")(&err))?;
            jpeg_size(&decoder)
        }
        Format::Png => {
            let mut decoder = png::Decoder::new(file);
            let header = decoder.read_header_info();
            let header = header.map_err(|err| corrupt(name, "PNG")(&err))?;
            (header.width as usize, header.height as usize)
        }
        Format::Webp => {
            let decoder = image_webp::WebPDecoder::new(file);
            let (width, height) = decoder
                .map_err(|err| corrupt(name, "WebP")(&err))?
                .dimensions();
            (width as usize, height as usize)
        }
    };
    check(size, name)?;
    Ok(size)
}

pub(super) fn check((width, height): (usize, usize), name: &Path) -> Result<()> {
    let pixels = width.checked_mul(height);
    if pixels.is_some_and(|pixels| (1..=MAX_PIXELS).contains(&pixels)) {
        return Ok(());
    }
    let expected = format!("1 to {MAX_PIXELS} pixels");
    Err(Error::malformed(
        name,
        "size",
        expected,
        format!("{width}×{height}"),
    ))
}

/// Decodes a file's `bytes`.
pub(in crate::train) fn decode(bytes: &[u8], name: &Path, into: &mut Image) -> Result<()> {
    match Format::of(bytes, name)? {
        Format::Jpeg => jpeg(bytes, name, into),
        Format::Png => png(bytes, name, into),
        Format::Webp => webp(bytes, name, into),
    }
}

fn options() -> DecoderOptions {
    // The size is checked before anything is decoded.
    DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB)
}

fn jpeg_size<T: zune_jpeg::zune_core::bytestream::ZByteReaderTrait>(
    decoder: &JpegDecoder<T>,
) -> (usize, usize) {
    let info = decoder.info();
    info.map_or((0, 0), |info| (info.width.into(), info.height.into()))
}

fn jpeg(bytes: &[u8], name: &Path, into: &mut Image) -> Result<()> {
    let corrupt = corrupt(name, "JPEG");
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options());
    decoder.decode_headers().map_err(|err| corrupt(&err))?;
    let size = jpeg_size(&decoder);
    check(size, name)?;
    // The decoder paints what is missing grey, as libjpeg does; Pillow refuses such a file.
    if !is_complete(bytes) {
        return Err(corrupt(&"it ends before the image does"));
    }
    let pixels = into.reshape(size.0, size.1);
    match decoder.output_buffer_size() {
        Some(len) if len == pixels.len() => {
            let decoded = decoder.decode_into(pixels);
            decoded.map_err(|err| corrupt(&err))
        }
        _ => Err(corrupt(&"a kind of colour that is unknown")),
    }
}

/// Whether an end of image follows the last start of a scan.
fn is_complete(bytes: &[u8]) -> bool {
    const START_OF_SCAN: [u8; 2] = [0xFF, 0xDA];
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
    let mut pairs = bytes.windows(2).rev();
    pairs.find(|pair| *pair == START_OF_SCAN || *pair == END_OF_IMAGE) == Some(&END_OF_IMAGE)
}

fn png(bytes: &[u8], name: &Path, into: &mut Image) -> Result<()> {
    let corrupt = corrupt(name, "PNG");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(|err| corrupt(&err))?;
    let size = (header.width as usize, header.height as usize);
    check(size, name)?;
    let mut reader = decoder.read_info().map_err(|err| corrupt(&err))?;
    let (color, _) = reader.output_color_type();
    if color == ColorType::Rgb {
        let pixels = into.reshape(size.0, size.1);
        return match reader.next_frame(pixels) {
            Ok(_) => Ok(()),
            Err(err) => Err(corrupt(&err)),
        };
    }
    let samples = color.samples();
    let mut raw = vec![0; samples * size.0 * size.1];
    reader.next_frame(&mut raw).map_err(|err| corrupt(&err))?;
    convert(&raw, samples, into.reshape(size.0, size.1));
    Ok(())
}

fn webp(bytes: &[u8], name: &Path, into: &mut Image) -> Result<()> {
    let corrupt = corrupt(name, "WebP");
    let decoder = image_webp::WebPDecoder::new(Cursor::new(bytes));
    let mut decoder = decoder.map_err(|err| corrupt(&err))?;
    let (width, height) = decoder.dimensions();
    let size = (width as usize, height as usize);
    check(size, name)?;
    if !decoder.has_alpha() {
        let read = decoder.read_image(into.reshape(size.0, size.1));
        return read.map_err(|err| corrupt(&err));
    }
    let mut raw = vec![0; 4 * size.0 * size.1];
    decoder.read_image(&mut raw).map_err(|err| corrupt(&err))?;
    convert(&raw, 4, into.reshape(size.0, size.1));
    Ok(())
}

/// Grey, grey with alpha, or colour with alpha → colour.
fn convert(raw: &[u8], samples: usize, into: &mut [u8]) {
    let pixels = into.as_chunks_mut::<3>().0.iter_mut();
    for (pixel, raw) in pixels.zip(raw.chunks_exact(samples)) {
        *pixel = match *raw {
            [grey] | [grey, _] => [grey; 3],
            [red, green, blue, ..] => [red, green, blue],
            [] => [0; 3],
        };
    }
}

#[cfg(test)]
mod tests;
