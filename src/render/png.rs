//! The picture in pixels, the same on every machine: its letters are built in.

use std::io;

use super::canvas::Drawing;

/// Pixels of the raster for one of the drawing.
const SCALE: u32 = 2;
/// Above this the raster takes more memory than a picture is worth.
const TALLEST: u32 = 32_767;

/// A PNG file, at twice the size of the SVG.
#[derive(Debug, Clone, Copy)]
pub struct Png;

impl Png {
    /// Writes a drawing.
    ///
    /// # Errors
    /// That it is too tall, and those of `out`.
    pub(crate) fn write(drawing: &Drawing, out: &mut dyn io::Write) -> io::Result<()> {
        let pixmap = drawing.raster(SCALE, TALLEST).map_err(|height| {
            let reason = format!(
                "the picture would be {height} pixels high, more than {TALLEST}: --layer shows fewer \
                 layers, --svg has no limit"
            );
            io::Error::new(io::ErrorKind::InvalidInput, reason)
        })?;
        let mut encoder = png::Encoder::new(out, pixmap.width(), pixmap.height());
        encoder.set_color(png::ColorType::Rgba);
        let mut writer = encoder.write_header().map_err(io::Error::other)?;
        let pixels: Vec<u8> = pixmap
            .pixels()
            .iter()
            .flat_map(|pixel| {
                let color = pixel.demultiply();
                [color.red(), color.green(), color.blue(), color.alpha()]
            })
            .collect();
        writer.write_image_data(&pixels).map_err(io::Error::other)
    }
}
