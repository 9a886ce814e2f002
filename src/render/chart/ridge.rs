//! Histograms in rows, all on one axis.

use unicode_width::UnicodeWidthStr as _;

use super::super::canvas::{Anchor, Canvas, Frame, Type};
use super::super::{ALARM, FILL, GRID, INK, LINE, MUTED, shortened, shortened_all};
use super::Axis;
use super::outline::{Bars, beyond, ceiling, steps};

/// Room above the rows: headings and labels of the marks.
const HEAD: f64 = 22.0;
/// Room below them: ticks.
const FOOT: f64 = 34.0;
/// How far a row's tallest bin reaches, in rows.
const REACH: f64 = 0.88;

/// One histogram.
#[derive(Debug, Clone)]
pub(crate) struct Row<'r> {
    pub(crate) name: &'r str,
    pub(crate) now: Bars<'r>,
    pub(crate) before: Option<Bars<'r>>,
    pub(crate) median: Option<f64>,
    /// Numbers at the end of the row, and whether they are alarming.
    pub(crate) numbers: Vec<(String, bool)>,
}

/// Rows with the headings of their numbers. Each row has a scale of its own.
#[derive(Debug, Clone)]
pub(crate) struct Ridge<'r> {
    pub(crate) axis: Axis<'r>,
    pub(crate) rows: Vec<Row<'r>>,
    /// What a row is.
    pub(crate) row_name: &'static str,
    pub(crate) x_name: &'static str,
    pub(crate) headings: Vec<&'static str>,
    /// Of all rows together.
    pub(crate) median: Option<f64>,
    /// Values with a dashed line through all rows.
    pub(crate) dashed: &'static [f64],
    /// What is written below the names.
    pub(crate) note: Option<String>,
}

/// What is written at both ends of a row, of what lies beyond the axis.
type Beyond = [Option<String>; 2];

impl Ridge<'_> {
    /// The height that it needs.
    pub(crate) fn height(&self) -> f64 {
        HEAD + self.pitch() * self.rows.len() as f64 + FOOT
    }

    /// The height of a row.
    pub(crate) fn pitch(&self) -> f64 {
        if self.rows.len() > 80 { 13.0 } else { 16.0 }
    }

    /// Draws it and returns where the rows lie.
    pub(crate) fn draw(&self, canvas: &Canvas, frame: Frame) -> Frame {
        let pitch = self.pitch();
        let size = if pitch < 16.0 { 9.5 } else { 10.5 };
        // Sans-serif letters of names are on average this wide, in sizes, in wide faces.
        let letter = 0.6 * size;
        let shown: Vec<&str> = self.rows.iter().map(|row| row.name).collect();
        let longest = shown.iter().map(|name| name.width()).max().unwrap_or(0);
        let names = (letter * longest as f64 + 10.0).clamp(40.0, frame.width * 0.42);
        let shown = shortened_all(&shown, ((names - 10.0) / letter) as usize);
        let beyond: Vec<Beyond> = self.rows.iter().map(Row::beyond).collect();
        let [below, above] = [0, 1].map(|end| {
            let texts = beyond.iter().filter_map(|ends| ends[end].as_ref());
            let longest = texts.map(|text| text.width()).max();
            longest.map_or(0.0, |longest| letter * longest as f64 + 4.0)
        });
        let column = if frame.width < 500.0 { 40.0 } else { 54.0 };
        let numbers = column * self.headings.len() as f64 + 8.0;
        let plot = Frame {
            left: frame.left + names + below,
            top: frame.top + HEAD,
            width: frame.width - names - below - above - numbers,
            height: pitch * self.rows.len() as f64,
        };
        let bottom = plot.top + plot.height;
        let right = plot.left + plot.width;
        let names_end = plot.left - below - 8.0;
        let numbers_begin = right + above + 4.0;
        let x = |place: f64| plot.left + plot.width * place / self.axis.bins();
        let small = Type::new(10.5, MUTED);
        let corner = (names_end, frame.top + 8.0);
        canvas.text(self.row_name, corner, Anchor::End, small);
        for (i, heading) in self.headings.iter().enumerate() {
            let at = (numbers_begin + column * (i + 1) as f64, frame.top + 8.0);
            canvas.text(heading, at, Anchor::End, small);
        }
        for (place, label) in self.axis.ticks(if plot.width < 300.0 { 4 } else { 9 }) {
            canvas.line((x(place), plot.top - 4.0), (x(place), bottom), GRID, 0.7);
            canvas.line((x(place), bottom), (x(place), bottom + 4.0), INK, 1.0);
            canvas.text(&label, (x(place), bottom + 12.0), Anchor::Middle, small);
        }
        let name = Type::new(size, INK);
        let rows = self.rows.len() as f64;
        let chart = canvas.plot(plot, self.axis.bins(), rows);
        for (i, row) in self.rows.iter().enumerate() {
            let base = rows - i as f64 - 1.0;
            let y = plot.top + pitch * (i + 1) as f64;
            canvas.line((plot.left, y), (right, y), GRID, 0.7);
            // An edit leaves one bin that would flatten all that was before.
            let top = match row.before {
                Some(before) => ceiling(&[row.now.counts, before.counts]).0,
                None => row.now.counts.iter().copied().max().unwrap_or(0).max(1) as f64,
            };
            let height = |count: u64| REACH * (count as f64 / top).min(1.0);
            let outline = steps(row.now.counts, base, height);
            if !outline.is_empty() {
                chart.area(&outline, FILL);
            }
            if let Some(before) = row.before.map(|before| steps(before.counts, base, height))
                && !before.is_empty()
            {
                chart.path(&before, INK, 0.8);
            }
            if let Some(place) = row.median.and_then(|median| self.axis.place(median)) {
                canvas.line((x(place), y - 0.5 * pitch), (x(place), y), INK, 1.4);
            }
            let middle = y - 0.42 * pitch;
            canvas.text(&shown[i], (names_end, middle), Anchor::End, name);
            let [below, above] = &beyond[i];
            let beyond = Type::new(size, LINE);
            if let Some(text) = below {
                canvas.text(text, (plot.left - 3.0, middle), Anchor::End, beyond);
            }
            if let Some(text) = above {
                canvas.text(text, (right + 3.0, middle), Anchor::Start, beyond);
            }
            for (i, (number, alarming)) in row.numbers.iter().enumerate() {
                let at = (numbers_begin + column * (i + 1) as f64, middle);
                let color = if *alarming { ALARM } else { MUTED };
                canvas.text(number, at, Anchor::End, Type::new(size, color));
            }
        }
        canvas.line((plot.left, bottom), (right, bottom), INK, 1.0);
        let ends = (plot.top - 4.0, bottom);
        if let Some(place) = self.median.and_then(|median| self.axis.place(median)) {
            canvas.line((x(place), ends.0), (x(place), ends.1), INK, 0.7);
        }
        let dashed = self.dashed.iter();
        for place in dashed.filter_map(|value| self.axis.place(*value)) {
            canvas.dashes(x(place), ends, ALARM, 0.7);
        }
        canvas.text(self.x_name, (right, bottom + 27.0), Anchor::End, small);
        if let Some(note) = &self.note {
            // Letters of this size are on average this wide.
            let most = ((plot.width + names) / 6.3 - 2.0) as usize;
            let note = shortened(note, most);
            canvas.text(&note, (frame.left, bottom + 27.0), Anchor::Start, small);
        }
        plot
    }
}

impl Row<'_> {
    fn beyond(&self) -> Beyond {
        let before = |end: fn(&Bars<'_>) -> u64| self.before.as_ref().map(end);
        let below = beyond(self.now.below, before(|bars| bars.below));
        let above = beyond(self.now.above, before(|bars| bars.above));
        [
            below.map(|count| format!("{count} ◂")),
            above.map(|count| format!("▸ {count}")),
        ]
    }
}
