//! How many channels have which γ, with the median and the inhibited marked.

use super::axis::count_ticks;
use super::{
    ALARM, Anchor, Axis, Canvas, Drawn, FILL, Frame, GRID, INK, LINE, MUTED, Type, ceiling,
    grouped, steps,
};
use plotters::style::RGBColor;

use crate::inspect::{INHIBITED, number};

/// Height of a line of labels above the plot.
const LABEL: f64 = 16.0;
/// Room below the plot: ticks and the axis' name.
const FOOT: f64 = 34.0;

/// A histogram of γ; with `before`, an outline of what it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Histogram<'r> {
    pub(crate) axis: Axis<'r>,
    pub(crate) counts: &'r [u64],
    pub(crate) median: Option<f64>,
    pub(crate) before: Option<&'r [u64]>,
    /// Where it was another.
    pub(crate) median_before: Option<f64>,
}

/// A mark on the axis, and what is written beside it.
struct Mark {
    place: f64,
    text: String,
    color: RGBColor,
    bold: bool,
    /// The line goes through the plot, and not only up to it.
    through: bool,
}

impl Histogram<'_> {
    /// Draws it and returns where the plot itself lies.
    pub(crate) fn draw(&self, canvas: &Canvas<'_>, frame: Frame) -> Drawn<Frame> {
        let series: Vec<&[u64]> = [Some(self.counts), self.before]
            .into_iter()
            .flatten()
            .collect();
        let (top, cut) = ceiling(&series);
        let narrow = frame.width < 500.0;
        let ticks = count_ticks(top, 5);
        let widest = ticks
            .last()
            .map_or(1, |tick| grouped(*tick as u64).chars().count());
        let marks = self.marks();
        let lines = marks.len() + usize::from(cut);
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
            canvas.line((plot.left, y), (plot.left + plot.width, y), GRID, 0.7)?;
            let at = (plot.left - 6.0, y);
            canvas.text(&grouped(tick as u64), at, Anchor::End, small)?;
        }
        let height = |count: u64| (count as f64).min(top);
        let mut chart = canvas.plot(plot, self.axis.bins(), top)?;
        let outline = steps(self.counts, 0.0, height);
        if !outline.is_empty() {
            chart.area(outline, FILL)?;
        }
        if let Some(before) = self.before.map(|before| steps(before, 0.0, height))
            && !before.is_empty()
        {
            chart.path(before, INK, 1.2)?;
        }
        let x = |place: f64| plot.left + plot.width * place / self.axis.bins();
        canvas.line(
            (plot.left, bottom),
            (plot.left + plot.width, bottom),
            INK,
            1.0,
        )?;
        for (place, label) in self.axis.ticks(if narrow { 5 } else { 10 }) {
            canvas.line((x(place), bottom), (x(place), bottom + 4.0), INK, 1.0)?;
            canvas.text(&label, (x(place), bottom + 12.0), Anchor::Middle, small)?;
        }
        let end = (plot.left + plot.width, bottom + 27.0);
        canvas.text("γ, all layers", end, Anchor::End, small)?;
        canvas.text(
            "channels",
            (frame.left, frame.top + 8.0),
            Anchor::Start,
            small,
        )?;
        for place in self.edges().into_iter().flatten() {
            let ends = (plot.top - 2.0, bottom);
            canvas.dashes(x(place), ends, ALARM, 1.0)?;
        }
        // Lines of labels, below that of the axis' name.
        let line = |index: usize| frame.top + LABEL * (index as f64 + 1.5);
        for (index, mark) in marks.iter().enumerate() {
            let (x, y) = (x(mark.place), line(index));
            let end = if mark.through { bottom } else { plot.top };
            canvas.line((x, y - 5.0), (x, end), mark.color, 1.0)?;
            let (at, anchor) = beside(x, plot, y);
            let font = Type {
                size: 11.0,
                color: mark.color,
                bold: mark.bold,
            };
            canvas.text(&mark.text, at, anchor, font)?;
        }
        if let Some((bin, count)) = cut.then(|| self.tallest()).flatten() {
            let (at, anchor) = beside(x(bin as f64 + 0.5), plot, line(marks.len()));
            let text = format!("↑ {}", grouped(count));
            canvas.text(&text, at, anchor, Type::new(11.0, LINE))?;
        }
        Ok(plot)
    }

    /// The γ between which a channel is inhibited, as far as they are on the axis.
    fn edges(&self) -> [Option<f64>; 2] {
        [INHIBITED, -INHIBITED].map(|edge| self.axis.place(edge))
    }

    /// The medians and the edge of the inhibited. Labels stand to the right of their marks: the
    /// further left a mark is, the higher its label, or it would cross another's stem.
    fn marks(&self) -> Vec<Mark> {
        let median = |value: Option<f64>, word: &str, color, bold| {
            let value = value?;
            let text = format!("{word} {}", number(value).trim().replace('-', "\u{2212}"));
            Some(Mark {
                place: self.axis.place(value)?,
                text,
                color,
                bold,
                through: true,
            })
        };
        let [above, below] = self.edges();
        let inhibited = above.or(below).map(|place| Mark {
            place,
            text: "|γ| = 0.01".to_owned(),
            color: ALARM,
            bold: false,
            through: false,
        });
        let medians = [
            median(self.median, "median", INK, true),
            median(self.median_before, "median before", MUTED, false),
        ];
        let mut marks: Vec<Mark> = medians.into_iter().chain([inhibited]).flatten().collect();
        marks.sort_by(|a, b| a.place.total_cmp(&b.place));
        marks
    }

    /// The bin that holds most, and how much.
    fn tallest(&self) -> Option<(usize, u64)> {
        let series = [Some(self.counts), self.before].into_iter().flatten();
        let bins = series.flat_map(|counts| counts.iter().copied().enumerate());
        bins.max_by_key(|(_, count)| *count)
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
