//! Values over time, or over anything that is counted.

use super::super::canvas::{Anchor, Canvas, Frame, Type};
use super::super::{ALARM, GRID, INK, MUTED, Rgb};
use super::Axis;

/// A row of names above the plot, and room above them.
const HEAD: f64 = 30.0;
/// Height of a row of marks.
const MARK: f64 = 9.0;
/// Room below the plot: ticks and the axis' name.
const FOOT: f64 = 34.0;
/// Room for the numbers at the left.
const LEFT: f64 = 48.0;

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// By point; a gap where there is none.
    pub(crate) values: Vec<Option<f64>>,
    pub(crate) color: Rgb,
}

/// Points at which something happened, as strokes in a row above the plot.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    pub(crate) at: Vec<f64>,
    pub(crate) color: Rgb,
}

/// Lines over common points.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'r> {
    /// Where the points lie, ascending.
    pub(crate) x: &'r [f64],
    pub(crate) x_name: &'r str,
    pub(crate) y_name: &'r str,
    pub(crate) lines: Vec<Line>,
    /// A value to be compared with.
    pub(crate) level: Option<f64>,
    /// Points at which something happened.
    pub(crate) events: Vec<f64>,
    /// The same, of several things: a row each.
    pub(crate) marks: Vec<Marks>,
}

impl Lines<'_> {
    /// What the rows of marks need above the height of a chart.
    pub(crate) fn marks_height(&self) -> f64 {
        MARK * self.marks.len() as f64
    }

    /// Draws them and returns where the plot lies.
    pub(crate) fn draw(&self, canvas: &Canvas, frame: Frame) -> Frame {
        let rows = self.marks_height();
        let plot = Frame {
            left: frame.left + LEFT,
            top: frame.top + HEAD + rows,
            width: frame.width - LEFT - 12.0,
            height: frame.height - HEAD - rows - FOOT,
        };
        let (bottom, right) = (plot.top + plot.height, plot.left + plot.width);
        let span = self.span();
        let up = Axis::new(&span);
        let y = |value: f64| {
            up.place(value)
                .map(|part| bottom - plot.height * part / up.bins())
        };
        let small = Type::new(11.0, MUTED);
        for (place, label) in up.ticks(5) {
            let y = bottom - plot.height * place / up.bins();
            canvas.line((plot.left, y), (right, y), GRID, 0.7);
            canvas.text(&label, (plot.left - 6.0, y), Anchor::End, small);
        }
        let x = |value: f64| plot.left + plot.width * self.along(value);
        for event in &self.events {
            canvas.dashes(x(*event), (plot.top, bottom), MUTED, 1.0);
        }
        for (row, marks) in self.marks.iter().enumerate() {
            let top = frame.top + HEAD - 6.0 + MARK * row as f64;
            for at in &marks.at {
                canvas.line((x(*at), top), (x(*at), top + MARK - 3.0), marks.color, 1.6);
            }
        }
        if let Some(y) = self.level.and_then(y) {
            canvas.line((plot.left, y), (right, y), ALARM, 1.0);
        }
        let chart = canvas.plot(plot, 1.0, 1.0);
        let height = |value: f64| up.place(value).map(|part| part / up.bins());
        for line in &self.lines {
            for run in self.runs(line, height) {
                chart.path(&run, line.color, 1.6);
            }
            if self.x.len() <= 60 {
                for (at, value) in self.x.iter().zip(&line.values) {
                    if let Some(y) = value.and_then(y) {
                        canvas.dot((x(*at), y), 2.4, line.color);
                    }
                }
            }
        }
        canvas.line((plot.left, bottom), (right, bottom), INK, 1.0);
        self.ticks(canvas, plot);
        canvas.text(self.x_name, (right, bottom + 27.0), Anchor::End, small);
        self.names(canvas, frame);
        plot
    }

    /// The values, with 0.
    fn span(&self) -> [f64; 2] {
        let values = self
            .lines
            .iter()
            .flat_map(|line| line.values.iter().flatten());
        let values = values.copied().chain(self.level);
        let (low, high) = values.fold((0.0, 0.0), |(low, high): (f64, f64), value| {
            (low.min(value), high.max(value))
        });
        if low < high {
            [low * 1.04, high * 1.04]
        } else {
            [0.0, 1.0]
        }
    }

    /// A point's place, from 0 to 1.
    fn along(&self, value: f64) -> f64 {
        let (first, last) = (self.x.first().copied(), self.x.last().copied());
        match (first, last) {
            (Some(first), Some(last)) if first < last => (value - first) / (last - first),
            _ => 0.5,
        }
    }

    /// The pieces of a line between its gaps.
    fn runs(&self, line: &Line, height: impl Fn(f64) -> Option<f64>) -> Vec<Vec<(f64, f64)>> {
        let mut runs = vec![Vec::new()];
        for (at, value) in self.x.iter().zip(&line.values) {
            match (value.and_then(&height), runs.last_mut()) {
                (Some(y), Some(run)) => run.push((self.along(*at), y)),
                _ => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| run.len() > 1);
        runs
    }

    fn ticks(&self, canvas: &Canvas, plot: Frame) {
        let bottom = plot.top + plot.height;
        let small = Type::new(11.0, MUTED);
        // Where there are few, each point has one.
        let most = (plot.width / 70.0) as usize;
        let points: Vec<(f64, String)> = if self.x.len() <= most {
            self.x
                .iter()
                .map(|x| (self.along(*x), x.to_string()))
                .collect()
        } else {
            let ends = [self.x[0], self.x[self.x.len() - 1]];
            let axis = Axis::new(&ends);
            axis.ticks(most.min(10))
        };
        for (place, label) in points {
            let x = plot.left + plot.width * place;
            canvas.line((x, bottom), (x, bottom + 4.0), INK, 1.0);
            canvas.text(&label, (x, bottom + 12.0), Anchor::Middle, small);
        }
    }

    /// What stands upwards, and which line is which.
    fn names(&self, canvas: &Canvas, frame: Frame) {
        let small = Type::new(11.0, MUTED);
        let y = frame.top + 8.0;
        canvas.text(self.y_name, (frame.left, y), Anchor::Start, small);
        // Those without names are told apart elsewhere.
        if self.lines.len() < 2 || self.lines.iter().all(|line| line.name.is_empty()) {
            return;
        }
        let mut left = frame.left + 6.6 * self.y_name.chars().count() as f64 + 18.0;
        for line in &self.lines {
            let end = left + 16.0 + 6.4 * line.name.chars().count() as f64;
            if end > frame.left + frame.width {
                break;
            }
            canvas.line((left, y), (left + 12.0, y), line.color, 2.4);
            let font = Type::new(11.0, INK);
            canvas.text(&line.name, (left + 16.0, y), Anchor::Start, font);
            left = end + 14.0;
        }
    }
}
