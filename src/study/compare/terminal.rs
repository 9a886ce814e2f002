//! A comparison as a table for a terminal: one line an arm.

use std::io;

use super::{ArmResult, Comparison, Difference, Sample};
use crate::render::{Render, Terminal, minus};
use crate::study::measure::{Measure, measure};
use crate::text::printable;

impl Render<Comparison> for Terminal {
    fn render(&self, comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
        let seeds: Vec<String> = comparison.seeds.iter().map(u64::to_string).collect();
        writeln!(
            out,
            "{} on {}, {} epochs, seeds {}",
            printable(&comparison.network),
            printable(&comparison.data),
            comparison.epochs.len(),
            seeds.join(", ")
        )?;
        let names = comparison.arms.iter().map(|arm| arm.name.chars().count());
        let name = names.max().unwrap_or(0).max(3);
        let of_scenes = comparison.is_of_scenes();
        let Measure { short, best, .. } = measure(of_scenes);
        writeln!(
            out,
            "{:name$}   n     {short}   {best}  inhibited  difference  95 % interval",
            "arm"
        )?;
        for (i, arm) in comparison.arms.iter().enumerate() {
            let difference = i.checked_sub(1).map(|i| &comparison.differences[i].last);
            let line = format!(
                "{:name$} {:>3}  {:>13}  {:>11}  {:>9}  {}",
                arm.name,
                arm.last.n,
                with_deviation(&arm.last).unwrap_or_else(|| "-".to_owned()),
                arm.best
                    .mean
                    .map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}")),
                arm.inhibited
                    .mean
                    .map_or_else(|| "-".to_owned(), |mean| format!("{mean:.0}")),
                compared(difference),
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        let further: [(&str, OfArm, OfDifference); 2] = [
            (
                "mean IoU",
                |arm| arm.miou.as_ref(),
                |pair| pair.miou.as_ref(),
            ),
            (
                "score",
                |arm| arm.score.as_ref(),
                |pair| pair.score.as_ref(),
            ),
        ];
        for (title, of_arm, of_difference) in
            further.into_iter().take(if of_scenes { 2 } else { 0 })
        {
            writeln!(
                out,
                "{:name$}   n  {title:>13}  difference  95 % interval",
                "arm"
            )?;
            for (i, arm) in comparison.arms.iter().enumerate() {
                let difference = i.checked_sub(1).map(|i| &comparison.differences[i]);
                let line = format!(
                    "{:name$} {:>3}  {:>13}  {}",
                    arm.name,
                    arm.last.n,
                    of_arm(arm)
                        .and_then(with_deviation)
                        .unwrap_or_else(|| "-".to_owned()),
                    compared(difference.and_then(of_difference)),
                );
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        let what = if of_scenes {
            "percent"
        } else {
            "top-1 in percent"
        };
        writeln!(
            out,
            "{what} after the last epoch: mean ± standard deviation over n seeds; differences \
             to\n{}, seed by seed, and their interval by Student's t with n − 1 degrees of freedom",
            comparison.arms[0].name
        )
    }
}

type OfArm = fn(&ArmResult) -> Option<&Sample>;
type OfDifference = fn(&Difference) -> Option<&Sample>;

/// A difference and its interval, in columns.
fn compared(difference: Option<&Sample>) -> String {
    format!(
        "{:>10}  {}",
        difference
            .and_then(|difference| difference.mean)
            .map_or_else(String::new, signed),
        difference.map_or_else(String::new, interval),
    )
}

/// The mean, with its deviation where there is one.
pub(super) fn with_deviation(sample: &Sample) -> Option<String> {
    let mean = sample.mean?;
    Some(match sample.deviation {
        Some(deviation) => format!("{mean:.2} ± {deviation:.2}"),
        None => format!("{mean:.2}"),
    })
}

pub(super) fn signed(value: f64) -> String {
    minus(&format!("{value:+.2}"))
}

pub(super) fn interval(sample: &Sample) -> String {
    match sample.interval {
        Some([low, high]) => format!("{} … {}", signed(low), signed(high)),
        None => "none of one seed".to_owned(),
    }
}
