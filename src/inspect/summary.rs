//! A handful of numbers that stand for many γ.

use serde::Serialize;

use super::Range;
use crate::regen::is_inhibited;

/// Where the γ of a layer or network lie; over the finite ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The smallest; `None`, as the next two, where no γ is finite.
    pub min: Option<f64>,
    /// The lower median, `sorted[(n-1)/2]`.
    pub median: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// How many have |γ| < [`INHIBITED`](crate::regen::INHIBITED).
    pub inhibited: usize,
    /// How many are NaN or infinite.
    pub non_finite: usize,
    /// How many are pruned; they are in no other count.
    pub pruned: usize,
}

impl Summary {
    /// Of γ that are not pruned, and how many are.
    pub(super) fn of(values: &[f64], pruned: usize) -> Summary {
        let finite = values.iter().copied().filter(|value| value.is_finite());
        let mut finite: Vec<f64> = finite.collect();
        let range = Range::of(&mut finite);
        Summary {
            min: range.map(|range| range.min),
            median: range.map(|range| range.median),
            max: range.map(|range| range.max),
            inhibited: finite.iter().filter(|value| is_inhibited(**value)).count(),
            non_finite: values.len() - finite.len(),
            pruned,
        }
    }
}
