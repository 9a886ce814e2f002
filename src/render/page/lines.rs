//! A chart of lines on a page.

use serde_json::Value;

use super::super::canvas::Figure;
use super::super::chart::Lines;
use super::super::escaped;
use super::figure;

/// Height of the chart, but for its rows of marks.
const HEIGHT: f64 = 250.0;

/// Lines, and what is told of them under the pointer.
pub(crate) struct LinesFigure<'l> {
    pub(crate) lines: &'l Lines<'l>,
    /// A pointer to the points in the page's data.
    pub(crate) at: &'l str,
    /// What stands before a point when it is told.
    pub(crate) unit: &'l str,
    /// What is told of a point: names with pointers to lists by point, and perhaps a key in these.
    pub(crate) told: &'l [Value],
    /// HTML.
    pub(crate) caption: &'l str,
    /// What it shows, for those who cannot see it.
    pub(crate) label: &'l str,
}

impl LinesFigure<'_> {
    pub(crate) fn html(&self) -> String {
        let attributes = format!(
            "data-chart=\"lines\" data-x=\"{}\" data-unit=\"{}\" data-lines=\"{}\"",
            self.at,
            self.unit,
            escaped(&Value::from(self.told).to_string())
        );
        let height = HEIGHT + self.lines.marks_height();
        figure(&attributes, self.caption, |width| {
            Figure::draw((width, height), self.label, |canvas, frame| {
                self.lines.draw(canvas, frame)
            })
        })
    }
}
