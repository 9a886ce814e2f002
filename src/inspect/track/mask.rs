//! Masks of the channels at or below the median, and how far they are apart.

use super::SETTLED;

/// Which γ are at or below the median; a NaN is not.
pub(super) fn below(gamma: &[f64], median: Option<f64>) -> Vec<bool> {
    gamma
        .iter()
        .map(|value| median.is_some_and(|median| *value <= median))
        .collect()
}

/// The share of channels in which two masks differ: their normalised Hamming distance.
pub(super) fn distance(before: &[bool], now: &[bool]) -> f64 {
    let differing = before
        .iter()
        .zip(now)
        .filter(|(before, now)| before != now)
        .count();
    differing as f64 / now.len().max(1) as f64
}

/// From which save on every distance is below [`SETTLED`].
pub(super) fn settled(distances: &[Option<f64>]) -> Option<usize> {
    let unsettled = |distance: &Option<f64>| distance.is_none_or(|distance| distance >= SETTLED);
    let last = distances.iter().rposition(unsettled)?;
    (last + 1 < distances.len()).then_some(last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_channels_changing_sides_is_a_distance_of_a_half() {
        let before = below(&[0.1, 0.2, 0.3, 0.4], Some(0.2));
        let now = below(&[0.3, 0.2, 0.1, f64::NAN], Some(0.2));
        assert_eq!(distance(&before, &now), 0.5);
    }

    #[test]
    fn a_network_is_settled_from_the_save_after_the_last_far_one() {
        assert_eq!(settled(&[None, Some(0.4), Some(0.09), Some(0.01)]), Some(2));
        assert_eq!(settled(&[None, Some(0.05), Some(0.1)]), None);
        assert_eq!(settled(&[None, Some(0.0)]), Some(1));
        assert_eq!(settled(&[None]), None);
    }
}
