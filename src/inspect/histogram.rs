//! Bins of one width that all layers of a network share.

use super::Range;

/// Bins in a histogram: two a character in a terminal of 80 columns.
const BINS: usize = 32;

/// An axis with its bins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Histogram {
    low: f64,
    high: f64,
}

impl Histogram {
    /// The axis from the smallest to the largest γ, with 0 on it: that is where channels die.
    pub(super) fn over(range: Option<Range>) -> Histogram {
        let (low, high) = range.map_or((0.0, 0.0), |r| (r.min.min(0.0), r.max.max(0.0)));
        if low < high {
            Histogram { low, high }
        } else {
            Histogram {
                low: 0.0,
                high: 1.0,
            }
        }
    }

    /// The edges of the bins, one more than bins.
    pub(super) fn edges(&self) -> Vec<f64> {
        let at = |i: usize| i as f64 / BINS as f64;
        // Not low + i (high - low): the difference may overflow.
        (0..=BINS)
            .map(|i| self.low * (1.0 - at(i)) + self.high * at(i))
            .collect()
    }

    /// How many of the finite `values`, all on the axis, fall into each bin. A value on an edge
    /// belongs to the bin above it.
    pub(super) fn count(&self, values: &[f64]) -> Vec<u64> {
        let edges = self.edges();
        let mut counts = vec![0; BINS];
        for value in values {
            let above = edges.partition_point(|edge| edge <= value);
            counts[above.saturating_sub(1).min(BINS - 1)] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(min: f64, max: f64) -> Histogram {
        Histogram::over(Some(Range {
            min,
            median: min,
            max,
        }))
    }

    #[test]
    fn every_value_is_counted_once_and_the_ends_are_inside() {
        let values: Vec<f64> = (-30..=170).map(|n| f64::from(n) / 100.0).collect();
        let histogram = over(-0.3, 1.7);
        assert_eq!(histogram.count(&values).iter().sum::<u64>(), 201);
        assert_eq!((histogram.edges()[0], histogram.edges()[BINS]), (-0.3, 1.7));
        assert!(histogram.count(&[-0.3])[0] == 1 && histogram.count(&[1.7])[BINS - 1] == 1);
    }

    #[test]
    fn zero_is_on_the_axis_and_all_zeros_have_one() {
        assert_eq!(over(0.5, 1.0).edges()[0], 0.0);
        assert_eq!(over(-2.0, -1.0).edges()[BINS], 0.0);
        assert_eq!(over(0.0, 0.0).count(&[0.0, 0.0])[0], 2);
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        let edges = over(-f64::MAX, f64::MAX).edges();
        assert!(edges.iter().all(|edge| edge.is_finite()));
    }
}
