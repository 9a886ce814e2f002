//! How many channels have which γ, with the median and the inhibited marked.

use super::axis::count_ticks;
use super::{
    ALARM, Anchor, Axis, Canvas, Drawn, FILL, Frame, GRID, INK, LINE, MUTED, Type, ceiling,
    grouped, steps,
};
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
        let head = LABEL * if cut { 4.0 } else { 3.0 } + 4.0;
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
        self.marks(canvas, plot)?;
        if cut {
            self.tell_cut(canvas, plot, top)?;
        }
        Ok(plot)
    }

    /// The median, and the γ between which a channel is inhibited. Labels stand to the right of
    /// their marks: the further left a mark is, the higher its label, or it would cross another's
    /// stem.
    fn marks(&self, canvas: &Canvas<'_>, plot: Frame) -> Drawn {
        let edges = [INHIBITED, -INHIBITED].map(|edge| self.axis.place(edge));
        for place in edges.into_iter().flatten() {
            let x = plot.left + plot.width * place / self.axis.bins();
            let ends = (plot.top - 2.0, plot.top + plot.height);
            canvas.dashes(x, ends, ALARM, 1.0)?;
        }
        let median = self.median.and_then(|median| {
            let text = format!("median {}", number(median).trim().replace('-', "\u{2212}"));
            Some((self.axis.place(median)?, text, true))
        });
        let inhibited = edges[0].or(edges[1]);
        let inhibited = inhibited.map(|place| (place, "|γ| = 0.01".to_owned(), false));
        let mut labels: Vec<_> = median.into_iter().chain(inhibited).collect();
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (line, (place, text, bold)) in labels.into_iter().enumerate() {
            let x = plot.left + plot.width * place / self.axis.bins();
            let y = self.line(plot, line);
            let color = if bold { INK } else { ALARM };
            let end = if bold {
                plot.top + plot.height
            } else {
                plot.top
            };
            canvas.line((x, y - 5.0), (x, end), color, 1.0)?;
            let (at, anchor) = beside(x, plot, y);
            let size = 11.0;
            canvas.text(&text, at, anchor, Type { size, color, bold })?;
        }
        Ok(())
    }

    /// Where a line of labels stands, the first at the top.
    fn line(&self, plot: Frame, index: usize) -> f64 {
        let series: Vec<&[u64]> = [Some(self.counts), self.before]
            .into_iter()
            .flatten()
            .collect();
        let lines = if ceiling(&series).1 { 3 } else { 2 };
        plot.top - 4.0 - LABEL * (lines - index) as f64 + LABEL / 2.0
    }

    /// Says how high the bin is that does not fit.
    fn tell_cut(&self, canvas: &Canvas<'_>, plot: Frame, top: f64) -> Drawn {
        let over = |counts: &[u64]| counts.iter().position(|count| *count as f64 > top);
        let series = [Some(self.counts), self.before].into_iter().flatten();
        for counts in series {
            if let Some(bin) = over(counts) {
                let x = plot.left + plot.width * (bin as f64 + 0.5) / self.axis.bins();
                let (at, anchor) = beside(x, plot, self.line(plot, 2));
                let text = format!("↑ {}", grouped(counts[bin]));
                canvas.text(&text, at, anchor, Type::new(11.0, LINE))?;
                break;
            }
        }
        Ok(())
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
