//! The picture of [`Svg`] in pixels, the same on every machine: its letters are built in.

use std::io;

use resvg::{tiny_skia, usvg};

use super::{Render, Svg};

/// Pixels of the raster for one of the SVG.
const SCALE: u32 = 2;
/// Above this the raster takes more memory than a picture is worth.
const TALLEST: u32 = 32_767;

/// A PNG file, at twice the size of the SVG.
#[derive(Debug, Clone, Copy)]
pub struct Png;

impl<View: ?Sized> Render<View> for Png
where
    Svg: Render<View>,
{
    fn render(&self, view: &View, out: &mut dyn io::Write) -> io::Result<()> {
        let mut svg = Vec::new();
        Svg.render(view, &mut svg)?;
        out.write_all(&raster(&svg)?)
    }
}

fn raster(svg: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = usvg::Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let tree = usvg::Tree::from_data(svg, &options).map_err(io::Error::other)?;
    let size = tree.size().to_int_size();
    let (width, height) = (size.width() * SCALE, size.height().saturating_mul(SCALE));
    let pixmap = (height <= TALLEST).then(|| tiny_skia::Pixmap::new(width, height));
    let mut pixmap = pixmap.flatten().ok_or_else(|| {
        let reason = format!(
            "the picture would be {height} pixels high, more than {TALLEST}: --layer shows fewer \
             layers, --svg has no limit"
        );
        io::Error::new(io::ErrorKind::InvalidInput, reason)
    })?;
    let scale = tiny_skia::Transform::from_scale(SCALE as f32, SCALE as f32);
    resvg::render(&tree, scale, &mut pixmap.as_mut());
    pixmap.encode_png().map_err(io::Error::other)
}
