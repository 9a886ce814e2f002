//! Numbers by row and column as shades of one colour, of as many rows and columns as there are.

use super::super::canvas::{Anchor, Canvas, Frame, Type};
use super::super::{GRID, INK, MUTED, Rgb};

/// Room above the plot: what stands upwards, and the scale.
const HEAD: f64 = 30.0;
/// Room below it: ticks and the axis' name.
const FOOT: f64 = 34.0;
/// Room for the labels at the left.
const LEFT: f64 = 48.0;

/// Shades by row, from the top, and column.
#[derive(Debug, Clone)]
pub(crate) struct Raster<'r> {
    /// Row by row; from 0, nothing, to 255; `None` where nothing is known.
    pub(crate) shades: Vec<Option<u8>>,
    pub(crate) rows: usize,
    /// What the columns are called.
    pub(crate) columns: &'r [f64],
    pub(crate) x_name: &'r str,
    pub(crate) y_name: &'r str,
    /// What stands at the left, with its place in rows from the top.
    pub(crate) labels: Vec<(f64, String)>,
    /// What no shade and the darkest one mean.
    pub(crate) ends: (&'r str, &'r str),
    /// A line over it, in rows from the top, by column.
    pub(crate) line: Vec<Option<f64>>,
    pub(crate) color: Rgb,
}

impl Raster<'_> {
    /// Draws it and returns where the cells lie.
    pub(crate) fn draw(&self, canvas: &Canvas, frame: Frame) -> Frame {
        let plot = Frame {
            left: frame.left + LEFT,
            top: frame.top + HEAD,
            width: frame.width - LEFT - 12.0,
            height: frame.height - HEAD - FOOT,
        };
        let shades: Vec<u8> = self.shades.iter().map(|shade| shade.unwrap_or(0)).collect();
        let known: Vec<u8> = self
            .shades
            .iter()
            .map(|shade| if shade.is_some() { 255 } else { 0 })
            .collect();
        let columns = self.columns.len();
        canvas.shades(plot, columns, known, (GRID, 0.5));
        canvas.shades(plot, columns, shades, (self.color, 1.0));
        let step = plot.width / self.columns.len().max(1) as f64;
        let small = Type::new(11.0, MUTED);
        let (bottom, right) = (plot.top + plot.height, plot.left + plot.width);
        for (place, label) in &self.labels {
            let y = plot.top + plot.height * place / self.rows.max(1) as f64;
            canvas.line((plot.left - 3.0, y), (plot.left, y), INK, 1.0);
            canvas.text(label, (plot.left - 6.0, y), Anchor::End, small);
        }
        let points = self.line.iter().enumerate().map(|(i, row)| {
            let y = plot.top + plot.height * (*row)? / self.rows.max(1) as f64;
            Some((plot.left + step * (i as f64 + 0.5), y))
        });
        let points: Vec<Option<(f64, f64)>> = points.collect();
        for pair in points.windows(2) {
            if let [Some(from), Some(to)] = pair {
                canvas.line(*from, *to, INK, 1.4);
            }
        }
        canvas.line((plot.left, bottom), (right, bottom), INK, 1.0);
        let every = (46.0 / step).ceil().max(1.0) as usize;
        // Round numbers, where the columns are counted from 1.
        let every = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000]
            .into_iter()
            .find(|round| *round >= every)
            .unwrap_or(every);
        for (i, column) in self.columns.iter().enumerate() {
            if every > 1 && !(*column as usize).is_multiple_of(every) {
                continue;
            }
            let x = plot.left + step * (i as f64 + 0.5);
            canvas.line((x, bottom), (x, bottom + 4.0), INK, 1.0);
            let label = column.to_string();
            canvas.text(&label, (x, bottom + 12.0), Anchor::Middle, small);
        }
        canvas.text(self.x_name, (right, bottom + 27.0), Anchor::End, small);
        canvas.text(
            self.y_name,
            (frame.left, frame.top + 9.0),
            Anchor::Start,
            small,
        );
        self.scale(canvas, (right, frame.top + 9.0));
        plot
    }

    /// What the shades mean, to the left of a point.
    fn scale(&self, canvas: &Canvas, (right, y): (f64, f64)) {
        let small = Type::new(11.0, MUTED);
        let (none, most) = self.ends;
        canvas.text(most, (right, y), Anchor::End, small);
        let width = 64.0;
        let left = right - 6.4 * most.chars().count() as f64 - width - 8.0;
        canvas.text(none, (left - 6.0, y), Anchor::End, small);
        let cells = 8;
        for i in 0..cells {
            let cell = Frame {
                left: left + width * f64::from(i) / f64::from(cells),
                top: y - 5.0,
                width: width / f64::from(cells),
                height: 10.0,
            };
            canvas.tint(cell, GRID, 0.5);
            canvas.tint(cell, self.color, f64::from(i) / f64::from(cells - 1));
        }
    }
}
