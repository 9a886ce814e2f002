//! A picture in memory.

/// Pixels row by row, each as red, green, blue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// A picture of these pixels, three bytes each.
    ///
    /// # Panics
    /// There are not `3 · width · height` of them.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Image {
        assert_eq!(
            pixels.len(),
            3 * width * height,
            "bytes of {width}×{height} pixels"
        );
        Image {
            width,
            height,
            pixels,
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

    /// Row by row, each pixel as red, green, blue.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub(super) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Makes it a picture of this size, whatever its pixels, in the memory it has where that is
    /// enough.
    pub(super) fn reshape(&mut self, width: usize, height: usize) -> &mut [u8] {
        (self.width, self.height) = (width, height);
        self.pixels.resize(3 * width * height, 0);
        &mut self.pixels
    }

    /// Each row, from the top.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.pixels.chunks_exact((3 * self.width).max(1))
    }
}
