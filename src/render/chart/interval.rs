//! Samples in rows on one axis, each row with its mean and the interval that it lies in.

use unicode_width::UnicodeWidthStr as _;

use super::super::canvas::{Anchor, Canvas, Frame, Type};
use super::super::{GRID, INK, MUTED, Rgb, shortened_all};
use super::Axis;

/// Room above the rows.
const HEAD: f64 = 12.0;
/// Room below them: ticks and the axis' name.
const FOOT: f64 = 38.0;
/// Height of a row.
const PITCH: f64 = 34.0;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Interval<'r> {
    pub(crate) name: &'r str,
    pub(crate) samples: Vec<f64>,
    pub(crate) mean: Option<f64>,
    /// From, to.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) color: Rgb,
}

/// Rows on one axis.
#[derive(Debug, Clone)]
pub(crate) struct Intervals<'r> {
    pub(crate) rows: Vec<Interval<'r>>,
    pub(crate) x_name: &'r str,
    /// A value to be compared with.
    pub(crate) level: Option<f64>,
}

impl Intervals<'_> {
    /// The height that it needs.
    pub(crate) fn height(&self) -> f64 {
        HEAD + PITCH * self.rows.len() as f64 + FOOT
    }

    /// Draws it and returns where the rows lie.
    pub(crate) fn draw(&self, canvas: &Canvas, frame: Frame) -> Frame {
        let letter = 0.6 * 12.0;
        let shown: Vec<&str> = self.rows.iter().map(|row| row.name).collect();
        let longest = shown.iter().map(|name| name.width()).max();
        let names = letter * longest.unwrap_or(0) as f64 + 14.0;
        let names = names.clamp(40.0, frame.width * 0.36);
        let shown = shortened_all(&shown, ((names - 14.0) / letter) as usize);
        let plot = Frame {
            left: frame.left + names,
            top: frame.top + HEAD,
            width: frame.width - names - 16.0,
            height: PITCH * self.rows.len() as f64,
        };
        let (bottom, right) = (plot.top + plot.height, plot.left + plot.width);
        let ends = self.ends();
        let axis = Axis::new(&ends);
        let x = |value: f64| {
            let place = axis.place(value);
            place.map(|place| plot.left + plot.width * place / axis.bins())
        };
        let small = Type::new(11.0, MUTED);
        for (place, label) in axis.ticks(if plot.width < 300.0 { 4 } else { 8 }) {
            let x = plot.left + plot.width * place / axis.bins();
            canvas.line((x, plot.top), (x, bottom), GRID, 0.7);
            canvas.line((x, bottom), (x, bottom + 4.0), INK, 1.0);
            canvas.text(&label, (x, bottom + 12.0), Anchor::Middle, small);
        }
        if let Some(x) = self.level.and_then(x) {
            canvas.line((x, plot.top), (x, bottom), INK, 1.0);
        }
        for (i, row) in self.rows.iter().enumerate() {
            let y = plot.top + PITCH * (i as f64 + 0.5);
            canvas.text(
                &shown[i],
                (plot.left - 10.0, y),
                Anchor::End,
                Type::new(12.0, INK),
            );
            if let Some((from, to)) = row.interval
                && let (Some(from), Some(to)) = (x(from), x(to))
            {
                canvas.line((from, y), (to, y), row.color, 2.0);
                for end in [from, to] {
                    canvas.line((end, y - 5.0), (end, y + 5.0), row.color, 2.0);
                }
            }
            for sample in row.samples.iter().filter_map(|sample| x(*sample)) {
                canvas.dot((sample, y), 3.2, row.color);
            }
            if let Some(mean) = row.mean.and_then(x) {
                canvas.line((mean, y - 10.0), (mean, y + 10.0), INK, 2.0);
            }
        }
        canvas.line((plot.left, bottom), (right, bottom), INK, 1.0);
        canvas.text(self.x_name, (right, bottom + 29.0), Anchor::End, small);
        plot
    }

    /// Around all that is drawn.
    fn ends(&self) -> [f64; 2] {
        let samples = self.rows.iter().flat_map(|row| {
            let interval = row.interval.map(|(from, to)| [from, to]);
            let interval = interval.into_iter().flatten();
            row.samples.iter().copied().chain(interval)
        });
        let all = samples.chain(self.level).filter(|value| value.is_finite());
        let ends = all.fold(None, |ends: Option<(f64, f64)>, value| {
            let (low, high) = ends.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        match ends {
            Some((low, high)) if low < high => {
                let room = 0.06 * (high - low);
                [low - room, high + room]
            }
            Some((value, _)) => [value - 1.0, value + 1.0],
            None => [0.0, 1.0],
        }
    }
}
