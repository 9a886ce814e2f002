//! A histogram with marks on its axis.

use super::super::canvas::{Anchor, Canvas, Frame, Type};
use super::super::{ALARM, FILL, GRID, INK, LINE, MUTED, Rgb, grouped};
use super::Axis;
use super::axis::count_ticks;
use super::outline::{Bars, ceiling, steps};

/// Height of a line of labels above the plot.
const LABEL: f64 = 16.0;
/// Room below the plot: ticks and the axis' name.
const FOOT: f64 = 34.0;

/// Counts by bin; with `before`, an outline of what they were.
#[derive(Debug, Clone)]
pub(crate) struct Histogram<'r> {
    pub(crate) axis: Axis<'r>,
    pub(crate) x_name: &'r str,
    pub(crate) y_name: &'r str,
    pub(crate) now: Bars<'r>,
    pub(crate) before: Option<Bars<'r>>,
    /// What is written of those below the axis, and above it.
    pub(crate) beyond: [Option<String>; 2],
    /// Those that are not on the axis are not drawn.
    pub(crate) marks: Vec<Mark>,
    /// Values with a dashed line through the plot.
    pub(crate) dashed: &'r [f64],
}

/// A mark on the axis, and what is written beside it.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) value: f64,
    pub(crate) text: String,
    pub(crate) color: Rgb,
    pub(crate) bold: bool,
    /// The line goes through the plot, and not only up to it.
    pub(crate) through: bool,
}

impl Histogram<'_> {
    /// Draws it and returns where the plot itself lies.
    pub(crate) fn draw(&self, canvas: &Canvas, frame: Frame) -> Frame {
        let series: Vec<&[u64]> = self.series().collect();
        let (top, cut) = ceiling(&series);
        let narrow = frame.width < 500.0;
        let ticks = count_ticks(top, 5);
        let widest = ticks
            .last()
            .map_or(1, |tick| grouped(*tick as u64).chars().count());
        let marks = self.places();
        // First, where no mark's stem crosses it.
        let beyond = usize::from(self.beyond.iter().any(Option::is_some));
        let lines = beyond + marks.len() + usize::from(cut);
        let head = LABEL * (lines + 1) as f64 + 4.0;
        let left = 10.0 + 6.6 * widest as f64;
        let plot = Frame {
            left: frame.left + left,
            top: frame.top + head,
            width: frame.width - left - 8.0,
            height: frame.height - head - FOOT,
        };
        let bottom = plot.top + plot.height;
        let small = Type::new(11.0, MUTED);
        for tick in ticks {
            let y = bottom - plot.height * tick / top;
            canvas.line((plot.left, y), (plot.left + plot.width, y), GRID, 0.7);
            let at = (plot.left - 6.0, y);
            canvas.text(&grouped(tick as u64), at, Anchor::End, small);
        }
        let height = |count: u64| (count as f64).min(top);
        let chart = canvas.plot(plot, self.axis.bins(), top);
        let outline = steps(self.now.counts, 0.0, height);
        if !outline.is_empty() {
            chart.area(&outline, FILL);
        }
        if let Some(before) = self.before.map(|before| steps(before.counts, 0.0, height))
            && !before.is_empty()
        {
            chart.path(&before, INK, 1.2);
        }
        let x = |place: f64| plot.left + plot.width * place / self.axis.bins();
        canvas.line(
            (plot.left, bottom),
            (plot.left + plot.width, bottom),
            INK,
            1.0,
        );
        for (place, label) in self.axis.ticks(if narrow { 5 } else { 10 }) {
            canvas.line((x(place), bottom), (x(place), bottom + 4.0), INK, 1.0);
            canvas.text(&label, (x(place), bottom + 12.0), Anchor::Middle, small);
        }
        let end = (plot.left + plot.width, bottom + 27.0);
        canvas.text(self.x_name, end, Anchor::End, small);
        canvas.text(
            self.y_name,
            (frame.left, frame.top + 8.0),
            Anchor::Start,
            small,
        );
        let dashed = self.dashed.iter();
        for place in dashed.filter_map(|value| self.axis.place(*value)) {
            let ends = (plot.top - 2.0, bottom);
            canvas.dashes(x(place), ends, ALARM, 1.0);
        }
        // Lines of labels, below that of the axis' name.
        let line = |index: usize| frame.top + LABEL * (index as f64 + 1.5);
        for (index, (place, mark)) in marks.iter().enumerate() {
            let (x, y) = (x(*place), line(beyond + index));
            let end = if mark.through { bottom } else { plot.top };
            canvas.line((x, y - 5.0), (x, end), mark.color, 1.0);
            let (at, anchor) = beside(x, plot, y);
            let font = Type {
                size: 11.0,
                color: mark.color,
                bold: mark.bold,
            };
            canvas.text(&mark.text, at, anchor, font);
        }
        if let Some((bin, count)) = cut.then(|| self.tallest()).flatten() {
            let y = line(beyond + marks.len());
            let (at, anchor) = beside(x(bin as f64 + 0.5), plot, y);
            let text = format!("↑ {}", grouped(count));
            canvas.text(&text, at, anchor, Type::new(11.0, LINE));
        }
        let (font, y) = (Type::new(11.0, LINE), line(0));
        let [below, above] = &self.beyond;
        if let Some(text) = below {
            let text = format!("◂ {text}");
            canvas.text(&text, (plot.left, y), Anchor::Start, font);
        }
        if let Some(text) = above {
            let right = plot.left + plot.width;
            let text = format!("{text} ▸");
            canvas.text(&text, (right, y), Anchor::End, font);
        }
        plot
    }

    /// The marks with their places. Labels stand to the right of their marks: the further left a mark
    /// is, the higher its label, or it would cross another's stem.
    fn places(&self) -> Vec<(f64, &Mark)> {
        let marks = self.marks.iter();
        let places = marks.filter_map(|mark| Some((self.axis.place(mark.value)?, mark)));
        let mut places: Vec<(f64, &Mark)> = places.collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        places
    }

    /// The bin that holds most, and how much.
    fn tallest(&self) -> Option<(usize, u64)> {
        let bins = self
            .series()
            .flat_map(|counts| counts.iter().copied().enumerate());
        bins.max_by_key(|(_, count)| *count)
    }

    fn series(&self) -> impl Iterator<Item = &[u64]> {
        let series = [Some(self.now), self.before].into_iter().flatten();
        series.map(|bars| bars.counts)
    }
}

/// To the right of `x`, or to the left where there is no room.
fn beside(x: f64, plot: Frame, y: f64) -> ((f64, f64), Anchor) {
    if x < plot.left + plot.width - 90.0 {
        ((x + 5.0, y), Anchor::Start)
    } else {
        ((x - 5.0, y), Anchor::End)
    }
}
