//! Bytes of PNG files.

use std::io;

use png::{ColorType, Encoder};

/// A PNG of 8 bits a sample; `size` is width and height. A palette of 256 colours belongs to
/// [`ColorType::Indexed`].
///
/// # Errors
/// `raw` is not as long as the size asks for.
pub(crate) fn png(
    size: (usize, usize),
    color: ColorType,
    palette: Option<Vec<u8>>,
    raw: &[u8],
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, size.0 as u32, size.1 as u32);
    encoder.set_color(color);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(raw)?;
    writer.finish()?;
    Ok(bytes)
}
