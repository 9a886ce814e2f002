//! What is said of γ everywhere: which channels are inhibited, and where the median lies.

/// |γ| below this counts as inhibited (Sharma and Foroosh, 2023).
pub const INHIBITED: f64 = 1e-2;

/// Whether a channel of this γ is inhibited: |γ| < [`INHIBITED`]. NaN is not.
pub fn is_inhibited(gamma: f64) -> bool {
    gamma.abs() < INHIBITED
}

/// The lower median of `n` values, the one at `(n - 1) / 2` of the sorted ones (what `torch.median`
/// gives); `None` of none. It gets its place: no value before it is larger, none after it smaller.
pub fn lower_median(values: &mut [f64]) -> Option<f64> {
    let middle = lower_middle(values.len())?;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// Where the lower median of `n` sorted values stands.
pub(super) fn lower_middle(n: usize) -> Option<usize> {
    Some(n.checked_sub(1)? / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_in_the_middle_the_lower_is_the_median() {
        assert_eq!(lower_median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.0));
        assert_eq!(lower_median(&mut [5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(lower_median(&mut []), None);
    }

    #[test]
    fn the_edge_itself_and_nan_are_not_inhibited() {
        assert!(is_inhibited(-0.0099) && is_inhibited(0.0));
        assert!(!is_inhibited(INHIBITED) && !is_inhibited(f64::NAN));
    }
}
