//! A drawing in pixels.

use tiny_skia::{
    FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform,
};

use super::super::Rgb;
use super::letters::Letters;
use super::{DASH, Drawing, Frame, Point, Shape};

impl Drawing {
    /// The picture with `scale` × `scale` pixels for one of the drawing.
    ///
    /// # Errors
    /// Its height, where that is more than `tallest`.
    pub(crate) fn raster(&self, scale: u32, tallest: u32) -> Result<Pixmap, u32> {
        let side = |length: f64| (length.round() as u32).max(1).saturating_mul(scale);
        let (width, height) = (side(self.size.0), side(self.size.1));
        let pixmap = (height <= tallest).then(|| Pixmap::new(width, height));
        let mut pixmap = pixmap.flatten().ok_or(height)?;
        let letters = Letters::new();
        let transform = Transform::from_scale(scale as f32, scale as f32);
        for shape in &self.shapes {
            paint(shape, &letters, &mut pixmap, transform);
        }
        Ok(pixmap)
    }
}

fn paint(shape: &Shape, letters: &Letters, pixmap: &mut Pixmap, transform: Transform) {
    let fill = |pixmap: &mut Pixmap, path: Option<Path>, color, opacity| {
        if let Some(path) = path {
            let paint = ink(color, opacity);
            pixmap.fill_path(&path, &paint, FillRule::Winding, transform, None);
        }
    };
    match shape {
        Shape::Fill {
            frame,
            color,
            opacity,
        } => fill(
            pixmap,
            rect(*frame).map(PathBuilder::from_rect),
            *color,
            *opacity,
        ),
        Shape::Area { points, color } => {
            fill(pixmap, along(points, true), *color, 1.0);
        }
        Shape::Path {
            points,
            color,
            width,
            dashed,
        } => {
            if let Some(path) = along(points, false) {
                let (dash, gap) = DASH;
                let dash = || StrokeDash::new(vec![dash as f32, gap as f32], 0.0);
                let stroke = Stroke {
                    width: *width as f32,
                    line_cap: LineCap::Butt,
                    dash: dashed.then(dash).flatten(),
                    ..Stroke::default()
                };
                pixmap.stroke_path(&path, &ink(*color, 1.0), &stroke, transform, None);
            }
        }
        Shape::Dot { at, radius, color } => {
            let path = PathBuilder::from_circle(at.0 as f32, at.1 as f32, *radius as f32);
            fill(pixmap, path, *color, 1.0);
        }
        Shape::Text {
            text,
            at,
            anchor,
            font,
        } => {
            let path = letters.outline(text, *at, *anchor, *font);
            fill(pixmap, path, font.color, 1.0);
        }
        #[cfg(feature = "train")]
        Shape::Shades {
            frame,
            columns,
            shades,
            color,
            opacity,
        } => {
            let (width, height) = (
                frame.width / *columns as f64,
                frame.height / (shades.len() / columns) as f64,
            );
            for (i, shade) in shades.iter().enumerate() {
                let cell = Frame {
                    left: frame.left + width * (i % columns) as f64,
                    top: frame.top + height * (i / columns) as f64,
                    width,
                    height,
                };
                let path = rect(cell).map(PathBuilder::from_rect);
                fill(pixmap, path, *color, opacity * f64::from(*shade) / 255.0);
            }
        }
    }
}

fn ink(Rgb(r, g, b): Rgb, opacity: f64) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(r, g, b, (255.0 * opacity).round() as u8);
    paint.anti_alias = true;
    paint
}

fn rect(frame: Frame) -> Option<Rect> {
    let [left, top, width, height] =
        [frame.left, frame.top, frame.width, frame.height].map(|side| side as f32);
    Rect::from_xywh(left, top, width, height)
}

fn along(points: &[Point], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let (x, y) = (*x as f32, *y as f32);
        if i == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    if closed {
        path.close();
    }
    path.finish()
}
