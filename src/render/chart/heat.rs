//! Shares by row and column, the darker the larger.

use unicode_width::UnicodeWidthStr as _;

use super::super::canvas::{Anchor, Canvas, Frame, Type};
use super::super::{GRID, INK, MUTED, Rgb, shortened_all};

/// Room above the rows: headings and the scale.
const HEAD: f64 = 34.0;
/// Room below them: ticks and the axis' name.
const FOOT: f64 = 34.0;
/// A share above 0 is seen.
const FAINTEST: f64 = 0.1;

/// Rows of shares from 0 to `top`.
#[derive(Debug, Clone)]
pub(crate) struct Heat<'r> {
    /// Names with their shares.
    pub(crate) rows: Vec<(&'r str, Vec<f64>)>,
    /// What the columns are called.
    pub(crate) columns: &'r [f64],
    pub(crate) x_name: &'r str,
    pub(crate) top: f64,
    /// What the darkest shade means.
    pub(crate) most: String,
    pub(crate) color: Rgb,
}

impl Heat<'_> {
    /// The height that it needs.
    pub(crate) fn height(&self) -> f64 {
        HEAD + self.pitch() * self.rows.len() as f64 + FOOT
    }

    fn pitch(&self) -> f64 {
        if self.rows.len() > 80 { 13.0 } else { 16.0 }
    }

    /// Draws it and returns where the cells lie.
    pub(crate) fn draw(&self, canvas: &Canvas, frame: Frame) -> Frame {
        let pitch = self.pitch();
        let size = if pitch < 16.0 { 9.5 } else { 10.5 };
        let letter = 0.6 * size;
        let shown: Vec<&str> = self.rows.iter().map(|(name, _)| *name).collect();
        let longest = shown.iter().map(|name| name.width()).max();
        let names = letter * longest.unwrap_or(0) as f64 + 10.0;
        let names = names.clamp(40.0, frame.width * 0.42);
        let shown = shortened_all(&shown, ((names - 10.0) / letter) as usize);
        let plot = Frame {
            left: frame.left + names,
            top: frame.top + HEAD,
            width: frame.width - names - 12.0,
            height: pitch * self.rows.len() as f64,
        };
        let step = plot.width / self.columns.len().max(1) as f64;
        let name = Type::new(size, INK);
        for (i, (_, shares)) in self.rows.iter().enumerate() {
            let top = plot.top + pitch * i as f64;
            let at = (plot.left - 8.0, top + 0.5 * pitch);
            canvas.text(&shown[i], at, Anchor::End, name);
            // Neighbours of one shade are one rectangle.
            let shades: Vec<u32> = shares.iter().map(|share| self.shade(*share)).collect();
            let mut begin = 0;
            for run in shades.chunk_by(|a, b| a == b) {
                let cell = Frame {
                    left: plot.left + step * begin as f64,
                    top: top + 0.5,
                    width: step * run.len() as f64,
                    height: pitch - 1.0,
                };
                begin += run.len();
                match run[0] {
                    0 => canvas.tint(cell, GRID, 0.5),
                    shade => canvas.tint(cell, self.color, f64::from(shade) / 100.0),
                }
            }
        }
        self.ticks(canvas, plot, step);
        self.scale(canvas, frame, plot);
        plot
    }

    /// The opacity of a share, in percent.
    fn shade(&self, share: f64) -> u32 {
        if share <= 0.0 {
            return 0;
        }
        let part = share / self.top;
        ((FAINTEST + (1.0 - FAINTEST) * part.min(1.0)) * 100.0).round() as u32
    }

    fn ticks(&self, canvas: &Canvas, plot: Frame, step: f64) {
        let small = Type::new(11.0, MUTED);
        let bottom = plot.top + plot.height;
        let every = (46.0 / step).ceil().max(1.0) as usize;
        for (i, column) in self.columns.iter().enumerate().step_by(every) {
            let x = plot.left + step * (i as f64 + 0.5);
            canvas.line((x, bottom), (x, bottom + 4.0), INK, 1.0);
            canvas.text(
                &column.to_string(),
                (x, bottom + 12.0),
                Anchor::Middle,
                small,
            );
        }
        let end = (plot.left + plot.width, bottom + 27.0);
        canvas.text(self.x_name, end, Anchor::End, small)
    }

    /// What the shades mean.
    fn scale(&self, canvas: &Canvas, frame: Frame, plot: Frame) {
        let small = Type::new(11.0, MUTED);
        let y = frame.top + 9.0;
        let right = plot.left + plot.width;
        canvas.text(&self.most, (right, y), Anchor::End, small);
        let width = 80.0;
        let mut left = right - 6.4 * self.most.chars().count() as f64 - width - 8.0;
        canvas.text("0", (left - 6.0, y), Anchor::End, small);
        for i in 0..8 {
            let cell = Frame {
                left,
                top: y - 5.0,
                width: width / 8.0,
                height: 10.0,
            };
            let shade = self.shade(self.top * f64::from(i) / 7.0);
            match shade {
                0 => canvas.tint(cell, GRID, 0.5),
                shade => canvas.tint(cell, self.color, f64::from(shade) / 100.0),
            }
            left += width / 8.0;
        }
    }
}
