//! Other sizes: bilinear, averaging over all pixels that one comes from, as Pillow's `BILINEAR` does.

use fast_image_resize::images::{Image as Target, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Image;

/// Makes `image` a picture of `size`, width and height, in `into`. Neither has no pixels.
pub(super) fn resize(resizer: &mut Resizer, image: &Image, size: (usize, usize), into: &mut Image) {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let (width, height) = (image.width() as u32, image.height() as u32);
    let kind = PixelType::U8x3;
    let from = ImageRef::new(width, height, image.pixels(), kind);
    let to = into.reshape(size.0, size.1);
    let to = Target::from_slice_u8(size.0 as u32, size.1 as u32, to, kind);
    let (Ok(from), Ok(mut to)) = (from, to) else {
        unreachable!("an image has as many bytes as its size says");
    };
    let done = resizer.resize(&from, &mut to, &options);
    done.expect("both images have the same kind of pixels");
}

/// The size that has `side` as its shorter side, in the proportions of `size` (the longer one cut
/// to whole pixels, as torchvision does).
pub(super) fn shorter_side((width, height): (usize, usize), side: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| side * long / short.max(1);
    if width <= height {
        (side, longer(height, width))
    } else {
        (longer(width, height), side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportions_are_kept_to_a_pixel() {
        assert_eq!(shorter_side((500, 375), 256), (341, 256));
        assert_eq!(shorter_side((375, 500), 256), (256, 341));
        assert_eq!(shorter_side((64, 64), 256), (256, 256));
    }
}
