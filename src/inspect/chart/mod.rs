//! Charts as SVG, with text as text: what every picture is drawn with.
//!
//! The same text serves a file, a page and a raster image. A page gives the few colours below other
//! values in the dark, by selecting on the attributes (`[fill="#…"]`).

mod axis;
mod heat;
mod histogram;
#[cfg(feature = "train")]
mod interval;
mod lines;
#[cfg(feature = "train")]
mod raster;
mod ridge;

use std::cell::RefCell;
use std::io;

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) use axis::{Axis, grouped};
pub(crate) use heat::Heat;
pub(crate) use histogram::Histogram;
#[cfg(feature = "train")]
pub(crate) use interval::{Interval, Intervals};
#[cfg(feature = "train")]
pub(crate) use lines::Marks;
pub(crate) use lines::{Line, Lines};
#[cfg(feature = "train")]
pub(crate) use raster::Raster;
pub(crate) use ridge::{Ridge, Row};

/// Text, axes, medians.
pub(crate) const INK: RGBColor = RGBColor(0x1F, 0x29, 0x33);
/// Text that is not looked for.
pub(crate) const MUTED: RGBColor = RGBColor(0x66, 0x72, 0x80);
/// Lines behind the data.
pub(crate) const GRID: RGBColor = RGBColor(0xDD, 0xE2, 0xE7);
/// Counts.
pub(crate) const FILL: RGBColor = RGBColor(0x7F, 0xAA, 0xCF);
/// What is written about them.
pub(crate) const LINE: RGBColor = RGBColor(0x2C, 0x66, 0x99);
/// What is inhibited. Apart from the blue in greyscale and to the colour-blind.
pub(crate) const ALARM: RGBColor = RGBColor(0xB8, 0x45, 0x00);
/// What tells several things of one kind apart, runs for example; page.css has names for them.
#[cfg(feature = "train")]
pub(crate) const SERIES: [RGBColor; 6] = [
    LINE,
    ALARM,
    RGBColor(0x2F, 0x7D, 0x4F),
    RGBColor(0x7B, 0x4E, 0xA3),
    RGBColor(0x8A, 0x6A, 0x00),
    RGBColor(0x0E, 0x7C, 0x86),
];
/// Paper.
pub(crate) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);

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

type Plane =
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>;

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

/// The outline of bars side by side from `base` up, each `scale` high a count; corners only.
fn steps(counts: &[u64], base: f64, height: impl Fn(u64) -> f64) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut last = 0;
    for (bin, &count) in counts.iter().enumerate() {
        if count != last {
            points.push((bin as f64, base + height(last)));
            points.push((bin as f64, base + height(count)));
            last = count;
        }
    }
    if last != 0 {
        points.push((counts.len() as f64, base + height(last)));
        points.push((counts.len() as f64, base));
    }
    points
}

/// Where one bin towers over all others, counts are cut off above the others: where, and whether.
fn ceiling(series: &[&[u64]]) -> (f64, bool) {
    let bins = series.iter().map(|counts| counts.len()).max().unwrap_or(0);
    let tallest = |bin: usize| series.iter().filter_map(|c| c.get(bin)).copied().max();
    let mut tops: Vec<u64> = (0..bins).filter_map(tallest).collect();
    tops.sort_unstable_by(|a, b| b.cmp(a));
    let first = tops.first().copied().unwrap_or(0).max(1) as f64;
    match tops.get(1).copied().unwrap_or(0) as f64 {
        second if second > 0.0 && first > 3.0 * second => (1.25 * second, true),
        _ => (1.04 * first, false),
    }
}

/// Text with what XML does not allow replaced.
fn legal(text: &str) -> String {
    let illegal = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    text.replace(illegal, "\u{FFFD}")
}

/// Text for XML and HTML, in an element or in a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in legal(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A name in at most `most` characters; a longer one loses its middle.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= most {
        return name.to_owned();
    }
    let tail = most * 2 / 3;
    let head: String = chars[..most.saturating_sub(tail + 1)].iter().collect();
    let tail: String = chars[chars.len() - tail..].iter().collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_corners_where_counts_change_and_nowhere_else() {
        let height = |count| count as f64;
        assert_eq!(
            steps(&[0, 2, 2, 0], 1.0, height),
            [(1.0, 1.0), (1.0, 3.0), (3.0, 3.0), (3.0, 1.0)]
        );
        assert_eq!(
            steps(&[0, 1], 0.0, height).last(),
            Some(&(2.0, 0.0)),
            "closed at the end"
        );
        assert_eq!(steps(&[0, 0], 0.0, height), []);
    }

    #[test]
    fn a_bin_that_towers_over_the_others_is_cut() {
        assert_eq!(ceiling(&[&[10, 2000, 100]]), (125.0, true));
        assert_eq!(ceiling(&[&[0, 2000, 0]]), (2080.0, false));
        assert_eq!(ceiling(&[&[]]), (1.04, false));
    }

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
