//! Bins of one width on one axis.

/// Bins in a histogram: two a character in a terminal of 80 columns.
const BINS: usize = 32;
/// Bins in a picture, of which each bin above takes as many.
const FINE_BINS: usize = 4 * BINS;

/// An axis that is cut into bins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bins {
    low: f64,
    high: f64,
}

/// How many values fall into each bin, and how many beyond the ends of the axis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binned {
    /// By bin. A value on an edge belongs to the bin above it, on the last edge to the last bin.
    pub counts: Vec<u64>,
    /// How many are below the first edge.
    pub below: u64,
    /// How many are above the last.
    pub above: u64,
}

impl Bins {
    /// The axis from the smallest to the largest value, with 0 on it.
    pub(crate) fn over(ends: Option<(f64, f64)>) -> Bins {
        let (low, high) = ends.map_or((0.0, 0.0), |(min, max)| (min.min(0.0), max.max(0.0)));
        if low < high {
            Bins { low, high }
        } else {
            Bins {
                low: 0.0,
                high: 1.0,
            }
        }
    }

    /// The edges of the bins, one more than bins.
    pub(crate) fn edges(&self) -> Vec<f64> {
        self.split(BINS)
    }

    /// The edges of the fine bins: those of the bins, and others between them.
    pub(crate) fn fine_edges(&self) -> Vec<f64> {
        self.split(FINE_BINS)
    }

    /// The edges of so many bins.
    pub(crate) fn split(&self, bins: usize) -> Vec<f64> {
        let at = |i: usize| i as f64 / bins as f64;
        // Not low + i (high - low): the difference may overflow.
        (0..=bins)
            .map(|i| self.low * (1.0 - at(i)) + self.high * at(i))
            .collect()
    }
}

impl Binned {
    /// The finite `values` between these edges, of which there are at least two.
    pub(crate) fn new(edges: &[f64], values: &[f64]) -> Binned {
        let bins = edges.len() - 1;
        let mut binned = Binned {
            counts: vec![0; bins],
            ..Binned::default()
        };
        for value in values {
            match edges.partition_point(|edge| edge <= value) {
                0 => binned.below += 1,
                above if above <= bins => binned.counts[above - 1] += 1,
                _ if *value == edges[bins] => binned.counts[bins - 1] += 1,
                _ => binned.above += 1,
            }
        }
        binned
    }

    /// Adds those of another one with the same edges.
    pub(crate) fn add(&mut self, other: &Binned) {
        let counts = self.counts.iter_mut().zip(&other.counts);
        counts.for_each(|(sum, count)| *sum += count);
        self.below += other.below;
        self.above += other.above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(min: f64, max: f64) -> Bins {
        Bins::over(Some((min, max)))
    }

    #[test]
    fn every_value_is_counted_once_and_the_ends_are_inside() {
        let values: Vec<f64> = (-30..=170).map(|n| f64::from(n) / 100.0).collect();
        let bins = over(-0.3, 1.7);
        let (edges, fine) = (bins.edges(), bins.fine_edges());
        let fine_counts = Binned::new(&fine, &values).counts;
        assert_eq!(fine_counts.iter().sum::<u64>(), 201);
        let chunks = fine_counts.chunks(FINE_BINS / BINS);
        let sums: Vec<u64> = chunks.map(|counts| counts.iter().sum()).collect();
        assert_eq!(Binned::new(&edges, &values).counts, sums);
        assert_eq!((edges[0], edges[BINS]), (-0.3, 1.7));
        assert_eq!(Binned::new(&fine, &[-0.3]).counts[0], 1);
        assert_eq!(Binned::new(&fine, &[1.7]).counts[FINE_BINS - 1], 1);
    }

    #[test]
    fn what_lies_beyond_the_axis_is_counted_at_its_ends() {
        let mut found = Binned::new(&[0.0, 1.0, 2.0], &[-0.1, 0.0, 1.5, 2.0, 2.1, 9.0]);
        let expected = Binned {
            counts: vec![1, 2],
            below: 1,
            above: 2,
        };
        assert_eq!(found, expected);
        found.add(&expected);
        assert_eq!((found.counts, found.below, found.above), (vec![2, 4], 2, 4));
    }

    #[test]
    fn zero_is_on_the_axis_and_all_zeros_have_one() {
        assert_eq!(over(0.5, 1.0).edges()[0], 0.0);
        assert_eq!(over(-2.0, -1.0).edges()[BINS], 0.0);
        let zeros = Binned::new(&over(0.0, 0.0).edges(), &[0.0, 0.0]);
        assert_eq!(zeros.counts[0], 2);
    }

    #[test]
    fn an_edge_of_the_bins_is_one_of_the_fine_bins_too() {
        let bins = over(-0.022, 1.168);
        let fine = bins.fine_edges();
        let edges: Vec<f64> = fine.into_iter().step_by(FINE_BINS / BINS).collect();
        assert_eq!(edges, bins.edges());
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        let edges = over(-f64::MAX, f64::MAX).edges();
        assert!(edges.iter().all(|edge| edge.is_finite()));
    }
}
