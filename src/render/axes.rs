//! Which axis a histogram is drawn on: a few values far from all others do not squeeze these.

use super::Bins;

/// One value in so many may lie beyond the axis, at each end; at least one.
const BEYOND: usize = 100;
/// What lies farther from the bulk than so many times its width is beyond the axis.
const REACH: f64 = 2.0;
/// Fewer values have no bulk.
const FEWEST: usize = 8;

/// The axes of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axes {
    /// From the smallest to the largest, with 0 on it.
    pub(crate) whole: Bins,
    /// From the smallest to the largest that is not far from the bulk, with 0 on it; `None` where that
    /// is the whole. The bulk is what lies between all but one in [`BEYOND`] values at each end, and 0;
    /// what is farther from it than [`REACH`] times its width is far.
    pub(crate) drawn: Option<Bins>,
}

impl Axes {
    /// The axes of finite values, which are put in another order.
    pub(crate) fn over(values: &mut [f64]) -> Axes {
        let whole = Bins::over(ends(values.iter().copied()));
        let drawn = near(values).map(|ends| Bins::over(Some(ends)));
        Axes {
            whole,
            drawn: drawn.filter(|drawn| *drawn != whole),
        }
    }
}

/// The smallest and the largest value that is not far from the bulk.
fn near(values: &mut [f64]) -> Option<(f64, f64)> {
    if values.len() < FEWEST {
        return None;
    }
    let few = (values.len() / BEYOND).max(1);
    let last = values.len() - 1;
    let mut at = |place: usize| *values.select_nth_unstable_by(place, f64::total_cmp).1;
    let (low, high) = (at(few).min(0.0), at(last - few).max(0.0));
    let reach = REACH * (high - low);
    // Where all but a few are 0, there is nothing that these could squeeze.
    let near = |value: &f64| low - reach <= *value && *value <= high + reach;
    let near = values.iter().copied().filter(near);
    if reach > 0.0 { ends(near) } else { None }
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 values from −1 to 1.4.
    fn bulk() -> Vec<f64> {
        (0..200)
            .map(|i| -1.0 + 2.4 * f64::from(i) / 199.0)
            .collect()
    }

    fn axes(more: &[f64]) -> Axes {
        Axes::over(&mut [&bulk(), more].concat())
    }

    fn between(low: f64, high: f64) -> Bins {
        Bins::over(Some((low, high)))
    }

    #[test]
    fn one_in_a_hundred_at_each_end_may_lie_beyond_the_axis() {
        let bulk = between(-1.0, 1.4);
        assert_eq!(axes(&[15.0]).drawn, Some(bulk));
        assert_eq!(axes(&[-20.0, 15.0, 1e30]).drawn, Some(bulk));
        assert_eq!(axes(&[-20.0, 15.0]).whole, between(-20.0, 15.0));
        // More are no outliers.
        assert_eq!(axes(&[15.0, 15.0, 15.0]).drawn, None);
    }

    #[test]
    fn what_is_within_twice_the_width_of_the_bulk_is_on_the_axis() {
        assert_eq!(axes(&[]).drawn, None);
        assert_eq!(axes(&[6.0]).drawn, None);
        assert_eq!(axes(&[6.0, 9.0]).drawn, Some(between(-1.0, 6.0)));
    }

    #[test]
    fn few_values_and_zeros_are_drawn_whole() {
        assert_eq!(Axes::over(&mut [0.1, 0.2, 15.0]).drawn, None);
        let mut zeros = vec![0.0; 200];
        zeros[3] = 0.5;
        assert_eq!(Axes::over(&mut zeros).drawn, None);
        assert_eq!(Axes::over(&mut []).whole, between(0.0, 1.0));
    }

    #[test]
    fn a_small_network_and_the_largest_numbers_have_an_axis_too() {
        let mut few = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 15.0];
        assert_eq!(Axes::over(&mut few).drawn, Some(between(0.0, 0.7)));
        let mut huge = [f64::MAX, -f64::MAX].repeat(10);
        assert_eq!(Axes::over(&mut huge).drawn, None);
    }
}
