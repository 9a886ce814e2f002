//! Rotation about the centre, each pixel from the nearest one, as Pillow's `rotate` does.

use super::Image;

/// The fraction bits of a place.
const FRACTION: u32 = 16;

/// Turns `image` by `degrees` against the clock into `into`, of the same size; what comes from
/// outside is black.
pub(super) fn rotate(image: &Image, degrees: f64, into: &mut Image) {
    let (width, height) = (image.width(), image.height());
    let radians = -degrees.to_radians();
    let (sin, cos) = radians.sin_cos();
    let center = (width as f64 / 2.0, height as f64 / 2.0);
    // Where the middle of the first pixel comes from, and how that moves by column and by row.
    let from = |a: f64, b: f64, center_there: f64| {
        a * (0.5 - center.0) + b * (0.5 - center.1) + center_there
    };
    let fixed = |value: f64| (value * f64::from(1 << FRACTION) + 0.5).floor() as i64;
    let (mut row_x, mut row_y) = (
        fixed(from(cos, sin, center.0)),
        fixed(from(-sin, cos, center.1)),
    );
    let (column_x, column_y) = (fixed(cos), fixed(-sin));
    let (next_x, next_y) = (fixed(sin), fixed(cos));

    let pixels = image.pixels().as_chunks::<3>().0;
    let turned = into.reshape(width, height).as_chunks_mut::<3>().0;
    for row in turned.chunks_exact_mut(width.max(1)) {
        let (mut x, mut y) = (row_x, row_y);
        for pixel in row {
            let (column, line) = (x >> FRACTION, y >> FRACTION);
            let inside = (0..width as i64).contains(&column) && (0..height as i64).contains(&line);
            *pixel = if inside {
                pixels[line as usize * width + column as usize]
            } else {
                [0; 3]
            };
            (x, y) = (x + column_x, y + column_y);
        }
        (row_x, row_y) = (row_x + next_x, row_y + next_y);
    }
}
