//! An axis, counted in bins, and its ticks.

use super::super::number::minus;

/// The edges of bins of one width, with 0 among or between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis<'r> {
    edges: &'r [f64],
}

impl<'r> Axis<'r> {
    pub(crate) fn new(edges: &'r [f64]) -> Axis<'r> {
        Axis { edges }
    }

    fn ends(&self) -> (f64, f64) {
        let first = self.edges.first().copied().unwrap_or(0.0);
        (first, self.edges.last().copied().unwrap_or(1.0))
    }

    /// How many bins there are.
    pub(crate) fn bins(&self) -> f64 {
        self.edges.len().saturating_sub(1).max(1) as f64
    }

    /// Where a value lies, in bins from the left; `None` where it is not on the axis.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let (low, high) = self.ends();
        let part = if (high - low).is_finite() {
            (value - low) / (high - low)
        } else {
            (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
        };
        (0.0..=1.0).contains(&part).then_some(part * self.bins())
    }

    /// At most some `most` round numbers, with their places.
    pub(crate) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (low, high) = self.ends();
        // Beyond these a step in f64 is none, or not finite.
        let values = if (1e-30..1e30).contains(&(high - low)) {
            round_values(low, high, most)
        } else {
            vec![low, high]
        };
        let step = match &values[..] {
            [first, second, ..] => second - first,
            _ => high - low,
        };
        let tick = |value: f64| Some((self.place(value)?, label(value, step)));
        values.into_iter().filter_map(tick).collect()
    }
}

/// Round counts from 0 to `top`.
pub(super) fn count_ticks(top: f64, most: usize) -> Vec<f64> {
    let mut ticks = round_values(0.0, top, most);
    ticks.retain(|tick| tick.fract() == 0.0 && *tick > 0.0);
    ticks
}

/// Multiples of the smallest step of 1, 2 or 5 times a power of ten by which at most `most` of them
/// lie from `low` to `high`.
fn round_values(low: f64, high: f64, most: usize) -> Vec<f64> {
    let power = 10f64.powf(((high - low) / most as f64).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|times| times * power);
    // Counted in steps, the ends of an axis may lie a rounding error beyond it.
    let counts = |step: f64| {
        let (first, last) = (low / step - 1e-9, high / step + 1e-9);
        first.ceil() as i64..=last.floor() as i64
    };
    let fits = |step: &f64| counts(*step).count() <= most;
    let step = steps.into_iter().find(fits).unwrap_or(high - low);
    counts(step).map(|count| count as f64 * step).collect()
}

/// A number with as many digits as tell it from the next, a step further.
fn label(value: f64, step: f64) -> String {
    let value = if value.abs() < step.abs() * 1e-6 {
        0.0
    } else {
        value
    };
    let text = if value == 0.0 {
        "0".to_owned()
    } else if (1e-4..1e5).contains(&step.abs()) && value.abs() < 1e6 {
        let decimals = (-step.abs().log10().floor()).max(0.0) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.1e}")
    };
    minus(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_on_the_axis() {
        let edges = [-0.022, 0.3, 1.168];
        let ticks = Axis::new(&edges).ticks(8);
        let labels: Vec<&str> = ticks.iter().map(|(_, label)| &label[..]).collect();
        assert_eq!(labels, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert!(ticks.iter().all(|(place, _)| (0.0..=2.0).contains(place)));
    }

    #[test]
    fn the_widest_and_the_narrowest_axis_have_ticks_too() {
        for edges in [[-f64::MAX, f64::MAX], [0.0, 5e-324], [0.0, 1e-20]] {
            assert!(!Axis::new(&edges).ticks(8).is_empty(), "{edges:?}");
        }
        assert_eq!(Axis::new(&[-f64::MAX, 0.0, f64::MAX]).place(0.0), Some(1.0));
    }
}
