//! Pieces and mirror images.

use super::Image;

/// Copies `size`, width and height, from `place`, left and top, which may lie outside `image`: there
/// it is black.
pub(super) fn crop(image: &Image, place: (isize, isize), size: (usize, usize), into: &mut Image) {
    let (columns, from_column) = overlap(place.0, size.0, image.width());
    let (rows, from_row) = overlap(place.1, size.1, image.height());
    into.reshape(size.0, size.1).fill(0);
    if columns.is_empty() || rows.is_empty() {
        return;
    }
    let (stride, len) = (3 * size.0, 3 * columns.len());
    let target = &mut into.pixels_mut()[rows.start * stride..rows.end * stride];
    for (to, from) in target
        .chunks_exact_mut(stride)
        .zip(image.rows().skip(from_row))
    {
        to[3 * columns.start..][..len].copy_from_slice(&from[3 * from_column..][..len]);
    }
}

/// Which part of `size` pixels at `place` of a line of `len` lies inside of it, and where in the
/// line that part begins.
fn overlap(place: isize, size: usize, len: usize) -> (std::ops::Range<usize>, usize) {
    let begin = place.min(0).unsigned_abs();
    let from = place.max(0).unsigned_abs();
    let count = size.saturating_sub(begin).min(len.saturating_sub(from));
    (begin..begin + count, from)
}

/// Where a piece of `size` begins that lies in the middle of `len`; where the difference is odd, as
/// torchvision rounds it.
pub(super) fn middle(len: usize, size: usize) -> isize {
    if size > len {
        // The image is padded: the smaller half comes first.
        return -(((size - len) / 2) as isize);
    }
    ((len - size) as f64 / 2.0).round_ties_even() as isize
}

/// Exchanges left and right.
pub(super) fn flip(image: &mut Image) {
    let stride = (3 * image.width()).max(1);
    for row in image.pixels_mut().chunks_exact_mut(stride) {
        row.as_chunks_mut::<3>().0.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels in row `y` and column `x` have the value 10·y + x + 1.
    fn numbered(width: usize, height: usize) -> Image {
        let values = (0..height).flat_map(|y| (0..width).map(move |x| (10 * y + x + 1) as u8));
        Image::new(width, height, values.flat_map(|value| [value; 3]).collect())
    }

    fn values(image: &Image) -> Vec<u8> {
        image.pixels().iter().step_by(3).copied().collect()
    }

    #[test]
    fn a_piece_is_black_outside_the_image() {
        let image = numbered(3, 2);
        let mut piece = Image::default();
        for (place, expected) in [
            ((0, 0), [1, 2, 11, 12]),
            ((1, 0), [2, 3, 12, 13]),
            ((-1, -1), [0, 0, 0, 1]),
            ((2, 1), [13, 0, 0, 0]),
            ((-2, 0), [0; 4]),
            ((3, 2), [0; 4]),
            ((-9, 9), [0; 4]),
        ] {
            crop(&image, place, (2, 2), &mut piece);
            assert_eq!(values(&piece), expected, "{place:?}");
        }
    }

    #[test]
    fn a_mirror_image_has_its_rows_reversed() {
        let mut image = numbered(3, 2);
        flip(&mut image);
        assert_eq!(values(&image), [3, 2, 1, 13, 12, 11]);
    }
}
