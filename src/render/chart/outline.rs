//! Bars and their outlines.

use super::super::{Binned, grouped};

/// Counts by bin, and how many lie beyond the ends of the axis.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bars<'r> {
    pub(crate) counts: &'r [u64],
    pub(crate) below: u64,
    pub(crate) above: u64,
}

impl<'r> From<&'r Binned> for Bars<'r> {
    fn from(binned: &'r Binned) -> Bars<'r> {
        Bars {
            counts: &binned.counts,
            below: binned.below,
            above: binned.above,
        }
    }
}

/// A count beyond the axis, after what it was `before`; `None` where there is none and was none.
pub(super) fn beyond(count: u64, before: Option<u64>) -> Option<String> {
    match before {
        Some(before) if before != count => Some(format!("{}→{}", grouped(before), grouped(count))),
        _ => (count > 0).then(|| grouped(count)),
    }
}

/// The outline of bars side by side from `base` up, each `scale` high a count; corners only.
pub(super) fn steps(counts: &[u64], base: f64, height: impl Fn(u64) -> f64) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut last = 0;
    for (bin, &count) in counts.iter().enumerate() {
        if count != last {
            points.push((bin as f64, base + height(last)));
            points.push((bin as f64, base + height(count)));
            last = count;
        }
    }
    if last != 0 {
        points.push((counts.len() as f64, base + height(last)));
        points.push((counts.len() as f64, base));
    }
    points
}

/// Where one bin towers over all others, counts are cut off above the others: where, and whether.
pub(super) fn ceiling(series: &[&[u64]]) -> (f64, bool) {
    let bins = series.iter().map(|counts| counts.len()).max().unwrap_or(0);
    let tallest = |bin: usize| series.iter().filter_map(|c| c.get(bin)).copied().max();
    let mut tops: Vec<u64> = (0..bins).filter_map(tallest).collect();
    tops.sort_unstable_by(|a, b| b.cmp(a));
    let first = tops.first().copied().unwrap_or(0).max(1) as f64;
    match tops.get(1).copied().unwrap_or(0) as f64 {
        second if second > 0.0 && first > 3.0 * second => (1.25 * second, true),
        _ => (1.04 * first, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_corners_where_counts_change_and_nowhere_else() {
        let height = |count| count as f64;
        assert_eq!(
            steps(&[0, 2, 2, 0], 1.0, height),
            [(1.0, 1.0), (1.0, 3.0), (3.0, 3.0), (3.0, 1.0)]
        );
        assert_eq!(
            steps(&[0, 1], 0.0, height).last(),
            Some(&(2.0, 0.0)),
            "closed at the end"
        );
        assert_eq!(steps(&[0, 0], 0.0, height), []);
    }

    #[test]
    fn a_count_beyond_the_axis_is_told_where_there_is_or_was_one() {
        assert_eq!(beyond(0, None), None);
        assert_eq!(beyond(0, Some(0)), None);
        assert_eq!(beyond(3, Some(3)).as_deref(), Some("3"));
        assert_eq!(beyond(0, Some(20_000)).as_deref(), Some("20\u{2009}000→0"));
    }

    #[test]
    fn a_bin_that_towers_over_the_others_is_cut() {
        assert_eq!(ceiling(&[&[10, 2000, 100]]), (125.0, true));
        assert_eq!(ceiling(&[&[0, 2000, 0]]), (2080.0, false));
        assert_eq!(ceiling(&[&[]]), (1.04, false));
    }
}
