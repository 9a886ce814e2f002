//! Scenes in pictures: a colour for each class.

use std::io;

use png::ColorType;

use crate::render::canvas::{Anchor, Drawing, Frame, Type};
use crate::render::{INK, PAPER, Rgb};
use crate::train::SceneSample;
use crate::train::data::encode;

/// The colour of a class, as Pascal VOC numbers them; class 0 has its second, so that black is what does
/// not count.
pub(super) fn color(class: u8) -> Rgb {
    let number = class.wrapping_add(1);
    let channel = |first: u8| {
        let bits = (0..3).map(|at| (number >> (3 * at + first).min(7)) & 1);
        let seen = |at: u8| 3 * at + first < 8;
        let bits = bits
            .zip(0..)
            .map(|(bit, at)| if seen(at) { bit << (7 - at) } else { 0 });
        bits.fold(0, |all, bit| all | bit)
    };
    Rgb(channel(0), channel(1), channel(2))
}

/// A PNG of a map of classes: its values are the classes, its palette their colours.
///
/// # Errors
/// The map is too large for a picture.
///
/// # Panics
/// There are not `width · height` classes.
pub fn colored(width: usize, height: usize, classes: &[u8]) -> io::Result<Vec<u8>> {
    assert_eq!(
        classes.len(),
        width * height,
        "classes of {width}×{height} pixels"
    );
    let palette = (0..=u8::MAX).flat_map(|class| {
        let Rgb(red, green, blue) = match class {
            SceneSample::IGNORED => Rgb(0, 0, 0),
            class => color(class),
        };
        [red, green, blue]
    });
    let palette = Some(palette.collect());
    encode::png((width, height), ColorType::Indexed, palette, classes)
}

/// Width of a column of the legend, its row's height and the side of a patch, in pixels.
const COLUMN: f64 = 150.0;
const ROW: f64 = 18.0;
const PATCH: f64 = 11.0;
/// Letters that fit beside a patch.
const LETTERS: usize = 20;

/// Which colour is which class, in a drawing of about this width.
pub(super) fn legend(classes: &[String], width: f64) -> Drawing {
    let columns = ((width / COLUMN) as usize).clamp(1, classes.len().max(1));
    let rows = classes.len().div_ceil(columns);
    let size = (columns as f64 * COLUMN, rows as f64 * ROW + 6.0);
    let (drawing, ()) = Drawing::new(size, "The colours of the classes", |canvas| {
        let frame = |left, top, width, height| Frame {
            left,
            top,
            width,
            height,
        };
        canvas.fill(frame(0.0, 0.0, size.0, size.1), PAPER);
        for (number, name) in classes.iter().enumerate() {
            let (column, row) = (number / rows, number % rows);
            let (left, top) = (column as f64 * COLUMN + 6.0, row as f64 * ROW + 6.0);
            canvas.fill(frame(left, top, PATCH, PATCH), color(number as u8));
            let name: String = name.chars().take(LETTERS).collect();
            let at = (left + PATCH + 6.0, top + PATCH / 2.0);
            canvas.text(&name, at, Anchor::Start, Type::new(11.0, INK));
        }
    });
    drawing
}

/// The legend as a file: its name and bytes. A PNG where this build can draw one, else an SVG.
///
/// # Errors
/// There are too many classes for a picture.
pub fn legend_file(classes: &[String]) -> io::Result<(&'static str, Vec<u8>)> {
    let drawing = legend(classes, 4.0 * COLUMN);
    #[cfg(feature = "png")]
    {
        let mut bytes = Vec::new();
        crate::render::Png::write(&drawing, &mut bytes)?;
        Ok(("legend.png", bytes))
    }
    #[cfg(not(feature = "png"))]
    Ok(("legend.svg", drawing.svg().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_the_colours_of_pascal_voc_from_its_second_on() {
        let first: Vec<Rgb> = (0..4).map(color).collect();
        let expected = [
            Rgb(128, 0, 0),
            Rgb(0, 128, 0),
            Rgb(128, 128, 0),
            Rgb(0, 0, 128),
        ];
        assert_eq!(first, expected);
        assert_eq!(
            [7, 15, 254].map(color),
            [Rgb(64, 0, 0), Rgb(0, 64, 0), Rgb(224, 224, 192)]
        );
        let all: std::collections::BTreeSet<_> =
            (0..255).map(color).map(|Rgb(r, g, b)| (r, g, b)).collect();
        assert_eq!(all.len(), 255);
    }

    #[test]
    fn a_map_in_colours_still_has_its_values() {
        let bytes = colored(3, 1, &[0, 255, 7]).unwrap();
        let mut decoder = png::Decoder::new(io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::IDENTITY);
        let mut reader = decoder.read_info().unwrap();
        let mut raw = vec![0; 3];
        reader.next_frame(&mut raw).unwrap();
        assert_eq!(raw, [0, 255, 7]);
        let palette = reader.info().palette.as_ref().unwrap();
        assert_eq!(palette[..3], [128, 0, 0]);
        assert_eq!(palette[3 * 255..], [0, 0, 0]);
    }
}
