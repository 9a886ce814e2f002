//! Letters as outlines: those of DejaVu Sans, which are built in, so that a picture is the same on
//! every machine.

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::{Anchor, Point, Type};

/// A face in both weights.
pub(super) struct Letters {
    regular: Face<'static>,
    bold: Face<'static>,
}

impl Letters {
    pub(super) fn new() -> Letters {
        let face = |data| Face::parse(data, 0).expect("DejaVu Sans is a font");
        Letters {
            regular: face(dejavu::sans::regular()),
            bold: face(dejavu::sans::bold()),
        }
    }

    /// The outline of a line of text, whose lower-case letters have their middle at the height of
    /// `at`; `None` where there is nothing to see.
    pub(super) fn outline(
        &self,
        text: &str,
        at: Point,
        anchor: Anchor,
        font: Type,
    ) -> Option<Path> {
        let face = if font.bold { &self.bold } else { &self.regular };
        let scale = font.size / f64::from(face.units_per_em());
        // A character that the face does not have is its box, glyph 0.
        let glyphs = text
            .chars()
            .map(|c| face.glyph_index(c).unwrap_or_default());
        let glyphs: Vec<GlyphId> = glyphs.collect();
        let advance =
            |glyph: GlyphId| f64::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
        let width: f64 = glyphs.iter().copied().map(advance).sum();
        let mut left = match anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - width / 2.0,
            Anchor::End => at.0 - width,
        };
        let base = at.1 + scale * x_height(face) / 2.0;
        let mut path = PathBuilder::new();
        for glyph in glyphs {
            let mut pen = Pen {
                path: &mut path,
                origin: (left, base),
                scale,
            };
            face.outline_glyph(glyph, &mut pen);
            left += advance(glyph);
        }
        path.finish()
    }
}

/// The height of lower-case letters, in units of the face, whose tables do not tell it.
fn x_height(face: &Face<'_>) -> f64 {
    let glyph = face.glyph_index('x');
    let bounds = glyph.and_then(|glyph| face.glyph_bounding_box(glyph));
    bounds.map_or(0.0, |bounds| f64::from(bounds.y_max))
}

/// Draws a glyph, in units of the face and upwards, into a path in pixels and downwards.
struct Pen<'a> {
    path: &'a mut PathBuilder,
    origin: Point,
    scale: f64,
}

impl Pen<'_> {
    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        let x = self.origin.0 + self.scale * f64::from(x);
        let y = self.origin.1 - self.scale * f64::from(y);
        (x as f32, y as f32)
    }
}

impl OutlineBuilder for Pen<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.place(x1, y1), self.place(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2)) = (self.place(x1, y1), self.place(x2, y2));
        let (x, y) = self.place(x, y);
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::INK;
    use super::*;

    #[test]
    fn a_text_ends_where_it_is_anchored() {
        let letters = Letters::new();
        let bounds = |anchor| {
            let path = letters.outline("HH", (100.0, 50.0), anchor, Type::new(20.0, INK));
            path.unwrap().bounds()
        };
        let [start, middle, end] = [Anchor::Start, Anchor::Middle, Anchor::End].map(bounds);
        assert!(start.left() > 100.0 && end.right() < 100.0);
        assert!((middle.left() + middle.right() - 200.0).abs() < 0.1);
        assert!(
            letters
                .outline(" ", (0.0, 0.0), Anchor::Start, Type::new(20.0, INK))
                .is_none()
        );
    }
}
