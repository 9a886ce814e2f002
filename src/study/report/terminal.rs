//! Runs as a table for a terminal: one line a run.

use std::io;

use unicode_width::UnicodeWidthStr as _;

use super::{Report, Run};
use crate::render::{Render, Terminal, fit_all, plain};
use crate::study::measure::measure;
use crate::text::printable;

/// Columns of numbers behind the name.
const NUMBERS: usize = 62;

impl Render<Report> for Terminal {
    fn render(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        let names = report.runs.iter().map(|run| printable(&run.name).width());
        let room = self.width.saturating_sub(NUMBERS).max(12);
        let name = names.max().unwrap_or(0).clamp(3, room);
        let of_scenes = report.is_of_scenes();
        let short = measure(of_scenes).short;
        let best = if of_scenes { "best score" } else { "best (at)" };
        writeln!(
            out,
            "{:name$}  epochs  {short}  {best:10}     loss  inhibited  median γ regenerations",
            "run"
        )?;
        let shown = fit_all(report.runs.iter().map(|run| &run.name[..]), name);
        for (run, name) in report.runs.iter().zip(shown) {
            let said = run.regeneration.as_deref();
            let regenerations = match (run.regenerations.len(), said) {
                (_, None) => "-".to_owned(),
                (count, Some(said)) => format!("{count}, {said}"),
            };
            writeln!(
                out,
                "{name}  {:>6}  {:>10}  {:>13}  {:>6}  {:>9}  {:>8} {regenerations}",
                format!("{}/{}", run.finished, run.settings.epochs),
                top1(Run::last(&run.test_top1)),
                run.best.map_or_else(
                    || "-".to_owned(),
                    |best| format!("{} ({})", top1(Some(best.merit())), best.epoch)
                ),
                Run::last(&run.train_loss)
                    .map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}")),
                Run::last(&run.inhibited)
                    .map_or_else(|| "-".to_owned(), |n| format!("{:.1} %", run.share(n))),
                Run::last(&run.median_gamma).map_or_else(|| "-".to_owned(), plain),
            )?;
        }
        Ok(())
    }
}

fn top1(percent: Option<f64>) -> String {
    percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.2} %"))
}
