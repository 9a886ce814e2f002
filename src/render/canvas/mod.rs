//! Something to draw on, which becomes SVG with text as text: the same text serves a file, a page
//! and a raster image.

#[cfg(feature = "train")]
mod mask;

use std::cell::RefCell;
use std::io;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::markup::{escaped, legal};

/// Units of the drawing in a pixel: the library draws on whole units only.
const FINE: f64 = 10.0;

pub(crate) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// A drawing with where its plot lies, so that a pointer can be told what it is on.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) svg: String,
    pub(crate) plot: Frame,
}

impl Figure {
    /// A drawing of this width and height, with a `title` for those who cannot see it; `paint`
    /// returns where the plot lies.
    pub(crate) fn draw(
        (width, height): (f64, f64),
        title: &str,
        paint: impl FnOnce(&Canvas<'_>, Frame) -> Drawn<Frame>,
    ) -> io::Result<Figure> {
        let frame = Frame {
            left: 0.0,
            top: 0.0,
            width,
            height,
        };
        let (svg, plot) = draw((width, height), title, |canvas| paint(canvas, frame))?;
        Ok(Figure { svg, plot })
    }
}

/// Where a text stands, relative to its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    pub(crate) size: f64,
    pub(crate) color: RGBColor,
    pub(crate) bold: bool,
}

impl Type {
    pub(crate) fn new(size: f64, color: RGBColor) -> Type {
        Type {
            size,
            color,
            bold: false,
        }
    }
}

/// Something to draw on, measured in pixels.
pub(crate) struct Canvas<'a> {
    area: Area<'a>,
    /// SVG that the library cannot draw; it comes first.
    below: RefCell<String>,
}

/// A drawing of `width` × `height` pixels with a `title` for those who cannot see it.
pub(crate) fn draw<T>(
    (width, height): (f64, f64),
    title: &str,
    paint: impl FnOnce(&Canvas<'_>) -> Drawn<T>,
) -> io::Result<(String, T)> {
    let mut drawn = String::new();
    let (w, h) = (units(width) as u32, units(height) as u32);
    let (painted, below) = {
        let canvas = Canvas {
            area: SVGBackend::with_string(&mut drawn, (w, h)).into_drawing_area(),
            below: RefCell::default(),
        };
        let painted = paint(&canvas);
        let painted = painted.and_then(|painted| canvas.area.present().map(|()| painted));
        (painted, canvas.below.take())
    };
    let painted = painted.map_err(|err| io::Error::other(err.to_string()))?;
    // The library's opening tag knows neither a size other than that of the drawing, nor a title.
    let (_, body) = drawn.split_once('\n').unwrap_or_default();
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {w} {h}\" role=\"img\">\n<title>{}</title>\n{below}{body}",
        escaped(title)
    );
    Ok((svg, painted))
}

fn units(pixels: f64) -> i32 {
    (pixels * FINE).round() as i32
}

fn unit_point((x, y): (f64, f64)) -> (i32, i32) {
    (units(x), units(y))
}

fn stroke(color: RGBColor, width: f64) -> ShapeStyle {
    color.stroke_width((width * FINE).round() as u32)
}

impl<'a> Canvas<'a> {
    /// Text without what XML does not allow.
    pub(crate) fn text(&self, text: &str, at: (f64, f64), anchor: Anchor, font: Type) -> Drawn {
        let h = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let style = if font.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        // The backend divides by this again.
        let size = font.size * FINE * 1.24;
        let font = FontDesc::new(FontFamily::SansSerif, size, style).color(&font.color);
        let style = font.pos(Pos::new(h, VPos::Center));
        self.area
            .draw(&Text::new(legal(text), unit_point(at), style))
    }

    pub(crate) fn line(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        color: RGBColor,
        width: f64,
    ) -> Drawn {
        let points = vec![unit_point(from), unit_point(to)];
        self.area
            .draw(&PathElement::new(points, stroke(color, width)))
    }

    /// An upright line of dashes.
    pub(crate) fn dashes(
        &self,
        x: f64,
        (top, bottom): (f64, f64),
        color: RGBColor,
        width: f64,
    ) -> Drawn {
        let points = [unit_point((x, top)), unit_point((x, bottom))];
        let (dash, gap) = (units(3.0), units(2.5));
        let line = DashedPathElement::new(points, dash, gap, stroke(color, width));
        self.area.draw(&line)
    }

    pub(crate) fn fill(&self, frame: Frame, color: RGBColor) -> Drawn {
        let corner = unit_point((frame.left + frame.width, frame.top + frame.height));
        let corners = [unit_point((frame.left, frame.top)), corner];
        self.area.draw(&Rectangle::new(corners, color.filled()))
    }

    /// A point.
    pub(crate) fn dot(&self, at: (f64, f64), radius: f64, color: RGBColor) -> Drawn {
        let dot = Circle::new(unit_point(at), units(radius), color.filled());
        self.area.draw(&dot)
    }

    /// As [`fill`](Self::fill), and see-through.
    pub(crate) fn tint(&self, frame: Frame, color: RGBColor, opacity: f64) -> Drawn {
        let corner = unit_point((frame.left + frame.width, frame.top + frame.height));
        let corners = [unit_point((frame.left, frame.top)), corner];
        let style = color.mix(opacity).filled();
        self.area.draw(&Rectangle::new(corners, style))
    }

    /// A coordinate system on a part of the canvas.
    pub(crate) fn plot(&self, frame: Frame, x_end: f64, y_end: f64) -> Drawn<Plot<'a>> {
        let from = unit_point((frame.left, frame.top));
        let size = unit_point((frame.width, frame.height));
        let area = self.area.clone().shrink(from, size);
        ChartBuilder::on(&area)
            .build_cartesian_2d(0.0..x_end, 0.0..y_end)
            .map(Plot)
    }
}

type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;

/// Coordinates that begin at 0, to the right and up.
pub(crate) struct Plot<'a>(ChartContext<'a, SVGBackend<'a>, Plane>);

impl Plot<'_> {
    pub(crate) fn area(&mut self, points: Vec<(f64, f64)>, color: RGBColor) -> Drawn {
        let polygon = Polygon::new(points, color.filled());
        self.0.draw_series(std::iter::once(polygon)).map(|_| ())
    }

    pub(crate) fn path(&mut self, points: Vec<(f64, f64)>, color: RGBColor, width: f64) -> Drawn {
        let path = PathElement::new(points, stroke(color, width));
        self.0.draw_series(std::iter::once(path)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::super::INK;
    use super::*;

    #[test]
    fn a_drawing_holds_text_as_text_and_nothing_unescaped() {
        let paint = |canvas: &Canvas<'_>| {
            let font = Type::new(10.0, INK);
            canvas.text("</svg><script>\u{1}", (5.0, 5.0), Anchor::Start, font)
        };
        let (svg, ()) = draw((20.0, 10.0), "a < b", paint).unwrap();
        assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;\u{FFFD}"), "{svg}");
        assert!(svg.contains("<title>a &lt; b</title>"));
        assert!(svg.contains(r#"viewBox="0 0 200 100""#) && svg.ends_with("</svg>\n"));
    }
}
