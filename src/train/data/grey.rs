//! Colours to grey.

use super::Image;

/// Shares of red, green and blue in grey (ITU-R 601-2).
pub(crate) const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Sets each pixel's three bytes to its grey, as Pillow's `convert("L")` rounds it.
pub(super) fn grayscale(image: &mut Image) {
    for pixel in image.pixels_mut().as_chunks_mut::<3>().0 {
        let [red, green, blue] = pixel.map(u32::from);
        let grey = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;
        *pixel = [grey as u8; 3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_the_grey_of_pillow() {
        let colours = [
            [255, 0, 0],
            [0, 255, 0],
            [0, 0, 255],
            [1, 2, 3],
            [250, 128, 114],
            [7; 3],
        ];
        let mut image = Image::new(colours.len(), 1, colours.concat());
        grayscale(&mut image);
        // [Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in colours]
        assert_eq!(
            image.pixels(),
            [76, 150, 29, 2, 163, 7]
                .map(|grey| [grey; 3])
                .as_flattened()
        );
    }
}
