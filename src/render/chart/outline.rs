//! Outlines of histograms.

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
    fn a_bin_that_towers_over_the_others_is_cut() {
        assert_eq!(ceiling(&[&[10, 2000, 100]]), (125.0, true));
        assert_eq!(ceiling(&[&[0, 2000, 0]]), (2080.0, false));
        assert_eq!(ceiling(&[&[]]), (1.04, false));
    }
}
