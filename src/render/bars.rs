//! Bars of eight heights: a histogram or a course in a line of text.

/// Counts as bars, of which a bin that holds anything has at least the first height; without what
/// is empty at the end.
pub(crate) fn bars(counts: &[u64], cells: usize) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let per_cell = counts.len().div_ceil(cells).max(1);
    let sums: Vec<u64> = counts
        .chunks(per_cell)
        .map(|chunk| chunk.iter().sum())
        .collect();
    let top = sums.iter().copied().max().unwrap_or(0).max(1);
    let bars: String = sums
        .iter()
        .map(|sum| HEIGHTS[(sum * 8).div_ceil(top) as usize])
        .collect();
    bars.trim_end().to_owned()
}

/// Values from 0 to `top` over time, a dot for 0, in exactly `width` columns; where there are more
/// values than columns, a bar is the mean of its values.
pub(crate) fn sparkline(values: &[Option<f64>], top: f64, width: usize) -> String {
    const HEIGHTS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let count = values.len().min(width);
    let bar = |cell: usize| {
        let of = &values[cell * values.len() / count..(cell + 1) * values.len() / count];
        let known: Vec<f64> = of.iter().flatten().copied().collect();
        if known.is_empty() {
            return ' ';
        }
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        // Converting saturates: what is below 0 is a dot.
        HEIGHTS[((8.0 * mean / top).ceil() as usize).min(8)]
    };
    let bars: String = (0..count).map(bar).collect();
    format!("{bars}{}", " ".repeat(width - count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_with_one_value_is_seen_beside_one_with_thousands() {
        assert_eq!(bars(&[1, 0, 0, 0, 5000, 5000, 0, 0], 4), "▁ █");
    }

    #[test]
    fn a_small_share_is_seen_and_none_is_a_dot() {
        let values = [Some(0.0), Some(0.001), Some(0.5), Some(1.0), None];
        assert_eq!(sparkline(&values, 1.0, 7), "·▁▄█   ");
        assert_eq!(sparkline(&[Some(0.0)], 0.0, 1), "·");
    }

    #[test]
    fn more_saves_than_columns_are_averaged_and_none_is_lost() {
        let mut values = vec![Some(0.0); 100];
        values[99] = Some(1.0);
        assert_eq!(sparkline(&values, 0.1, 10), "·········█");
        assert_eq!(sparkline(&values, 1.0, 10), "·········▁");
    }
}
