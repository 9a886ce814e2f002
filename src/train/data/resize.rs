//! Other sizes: bilinear, averaging over all pixels that one comes from, as Pillow's `BILINEAR` does.

use fast_image_resize::images::{Image as Target, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Image;
use crate::net::Resolution;

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

/// Width and height in the proportions of an image that just cover `size`: one side is as asked, the
/// other as long or longer (cut to whole pixels, as torchvision does).
pub(super) fn covering((width, height): (usize, usize), size: Resolution) -> (usize, usize) {
    if width * size.height <= height * size.width {
        (size.width, size.width * height / width.max(1))
    } else {
        (size.height * width / height.max(1), size.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportions_are_kept_to_a_pixel() {
        assert_eq!(covering((500, 375), 256.into()), (341, 256));
        assert_eq!(covering((375, 500), 256.into()), (256, 341));
        assert_eq!(covering((64, 64), 256.into()), (256, 256));
        let wide = Resolution {
            height: 180,
            width: 240,
        };
        assert_eq!(covering((480, 360), wide), (240, 180));
        assert_eq!(covering((480, 480), wide), (240, 240));
        assert_eq!(covering((960, 360), wide), (480, 180));
    }
}
