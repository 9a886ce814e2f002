//! A drawing as a list of shapes, in pixels. [`svg`] writes it with text as text, for a file or a
//! page; `raster` paints it into a PNG file.

#[cfg(feature = "png")]
mod letters;
#[cfg(feature = "png")]
mod raster;
mod svg;

use std::cell::RefCell;

use super::Rgb;

/// A point, to the right and down.
type Point = (f64, f64);

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
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
    pub(crate) color: Rgb,
    pub(crate) bold: bool,
}

impl Type {
    pub(crate) fn new(size: f64, color: Rgb) -> Type {
        Type {
            size,
            color,
            bold: false,
        }
    }
}

/// One thing that is drawn.
#[derive(Debug, Clone)]
enum Shape {
    Fill {
        frame: Frame,
        color: Rgb,
        /// 0 to 1.
        opacity: f64,
    },
    Area {
        points: Vec<Point>,
        color: Rgb,
    },
    /// A stroke along points.
    Path {
        points: Vec<Point>,
        color: Rgb,
        width: f64,
        dashed: bool,
    },
    Dot {
        at: Point,
        radius: f64,
        color: Rgb,
    },
    /// A line of text, whose middle is as high as its point.
    Text {
        text: String,
        at: Point,
        anchor: Anchor,
        font: Type,
    },
    /// Cells of one colour, each as opaque as its shade.
    #[cfg(feature = "train")]
    Shades {
        frame: Frame,
        columns: usize,
        /// Row by row, 0 to 255.
        shades: Vec<u8>,
        color: Rgb,
        /// That of shade 255, 0 to 1.
        opacity: f64,
    },
}

/// A dash and the gap behind it.
const DASH: (f64, f64) = (3.0, 2.5);

/// What was drawn, on a sheet of a size in pixels.
#[derive(Debug, Clone)]
pub(crate) struct Drawing {
    size: (f64, f64),
    /// For those who cannot see it.
    title: String,
    shapes: Vec<Shape>,
}

impl Drawing {
    /// What `paint` draws on a sheet of this size, and what it returns.
    pub(crate) fn new<T>(
        size: (f64, f64),
        title: &str,
        paint: impl FnOnce(&Canvas) -> T,
    ) -> (Drawing, T) {
        let canvas = Canvas::default();
        let painted = paint(&canvas);
        let drawing = Drawing {
            size,
            title: title.to_owned(),
            shapes: canvas.0.into_inner(),
        };
        (drawing, painted)
    }
}

/// A drawing as SVG with where its plot lies, so that a pointer can be told what it is on.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) svg: String,
    pub(crate) plot: Frame,
}

impl Figure {
    /// A drawing of this size; `paint` gets all of it, and returns where the plot lies.
    pub(crate) fn draw(
        size: (f64, f64),
        title: &str,
        paint: impl FnOnce(&Canvas, Frame) -> Frame,
    ) -> Figure {
        let frame = Frame {
            left: 0.0,
            top: 0.0,
            width: size.0,
            height: size.1,
        };
        let (drawing, plot) = Drawing::new(size, title, |canvas| paint(canvas, frame));
        Figure {
            svg: drawing.svg(),
            plot,
        }
    }
}

/// Something to draw on, measured in pixels. What is drawn later covers what was before.
#[derive(Debug, Default)]
pub(crate) struct Canvas(RefCell<Vec<Shape>>);

impl Canvas {
    fn push(&self, shape: Shape) {
        self.0.borrow_mut().push(shape);
    }

    pub(crate) fn text(&self, text: &str, at: Point, anchor: Anchor, font: Type) {
        let text = text.to_owned();
        self.push(Shape::Text {
            text,
            at,
            anchor,
            font,
        });
    }

    pub(crate) fn line(&self, from: Point, to: Point, color: Rgb, width: f64) {
        self.path(vec![from, to], color, width, false);
    }

    /// An upright line of dashes.
    pub(crate) fn dashes(&self, x: f64, (top, bottom): (f64, f64), color: Rgb, width: f64) {
        self.path(vec![(x, top), (x, bottom)], color, width, true);
    }

    fn path(&self, points: Vec<Point>, color: Rgb, width: f64, dashed: bool) {
        self.push(Shape::Path {
            points,
            color,
            width,
            dashed,
        });
    }

    pub(crate) fn fill(&self, frame: Frame, color: Rgb) {
        self.tint(frame, color, 1.0);
    }

    /// As [`fill`](Self::fill), and see-through.
    pub(crate) fn tint(&self, frame: Frame, color: Rgb, opacity: f64) {
        self.push(Shape::Fill {
            frame,
            color,
            opacity,
        });
    }

    pub(crate) fn dot(&self, at: Point, radius: f64, color: Rgb) {
        self.push(Shape::Dot { at, radius, color });
    }

    /// Cells in `columns`, row by row, each the more opaque the larger its shade: at most `opacity`.
    #[cfg(feature = "train")]
    pub(crate) fn shades(
        &self,
        frame: Frame,
        columns: usize,
        shades: Vec<u8>,
        (color, opacity): (Rgb, f64),
    ) {
        self.push(Shape::Shades {
            frame,
            columns,
            shades,
            color,
            opacity,
        });
    }

    /// A coordinate system on a part of the canvas, from 0 to these ends.
    pub(crate) fn plot(&self, frame: Frame, x_end: f64, y_end: f64) -> Plot<'_> {
        Plot {
            canvas: self,
            frame,
            ends: (x_end, y_end),
        }
    }
}

/// Coordinates that begin at 0, to the right and up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plot<'a> {
    canvas: &'a Canvas,
    frame: Frame,
    ends: (f64, f64),
}

impl Plot<'_> {
    pub(crate) fn area(&self, points: &[(f64, f64)], color: Rgb) {
        let points = self.on_canvas(points);
        self.canvas.push(Shape::Area { points, color });
    }

    pub(crate) fn path(&self, points: &[(f64, f64)], color: Rgb, width: f64) {
        let points = self.on_canvas(points);
        self.canvas.path(points, color, width, false);
    }

    fn on_canvas(&self, points: &[(f64, f64)]) -> Vec<Point> {
        let Frame {
            left,
            top,
            width,
            height,
        } = self.frame;
        let place = |(x, y): &(f64, f64)| {
            let up = height * y / self.ends.1;
            (left + width * x / self.ends.0, top + height - up)
        };
        points.iter().map(place).collect()
    }
}
