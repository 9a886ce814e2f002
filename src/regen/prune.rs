//! Which channels pruning takes out: by their scales, or by their filters.
//!
//! Sources: Liu et al., *Learning Efficient Convolutional Networks through Network Slimming*, ICCV
//! 2017; He et al., *Filter Pruning via Geometric Median for Deep Neural Networks Acceleration*,
//! CVPR 2019; and the code that their authors published.

use std::fmt;
use std::str::FromStr;

use super::{Gamma, LayerMask, Mask, MaskError};
use crate::near::near;

/// How the channels to prune are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// By |γ| over the whole network: network slimming.
    #[default]
    Slimming,
    /// By the distances of a convolution's filters: the geometric median.
    Fpgm,
}

/// Why nothing can be pruned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PruneError {
    /// A share that is none.
    #[error("expected a share from 0 up to but not 1, found {0}")]
    Ratio(f64),
    /// Two shares of one whole that are too large together.
    #[error("expected two shares that are below 1 together, found {0} and {1}")]
    Ratios(f64, f64),
    /// There is no γ to prune.
    #[error("there is no γ to prune")]
    Empty,
    /// A value that has no order.
    #[error("layer {layer}: expected finite values, found {value} in channel {channel}")]
    NonFinite {
        /// The layer's name.
        layer: String,
        /// Counted from 0.
        channel: usize,
        /// NaN or an infinity.
        value: f64,
    },
    /// The channels that are pruned already are of another network.
    #[error(transparent)]
    Mask(#[from] MaskError),
}

/// What network slimming takes out.
#[derive(Debug, Clone, PartialEq)]
pub struct Slimmed {
    /// t: a channel of |γ| ≤ t is dropped.
    pub threshold: f64,
    /// All channels that are pruned now, those that were pruned before among them.
    pub mask: Mask,
    /// Layers of which too little would be left, by how many channels they keep beyond the
    /// threshold.
    pub spared: Vec<(String, usize)>,
}

/// Network slimming: of the N values |γ| of all layers, in ascending order, t is the one at
/// floor(N·`ratio`), and channels of |γ| ≤ t are dropped: one more than floor(N·`ratio`), and more
/// where several are equal to t.
///
/// A layer keeps at least its `min_channels` largest |γ| (of equal ones the first), or all it has;
/// with 0 the threshold is taken to the letter, as the authors' code does, and layers may end empty.
///
/// Channels that `known` has as pruned count as |γ| = 0 whatever they are: `ratio` is the share of the
/// network that is pruned afterwards, as in the authors' mask variant, where their γ is 0. They stay
/// pruned.
///
/// ```
/// use ckpt_regen::checkpoint::Dtype;
/// use ckpt_regen::regen::{Gamma, slimming};
///
/// let gamma = Gamma {
///     layer: "bn1".to_owned(),
///     dtype: Dtype::F32,
///     values: vec![0.5, -0.25, 1.0, 0.75],
/// };
/// let slimmed = slimming(&[gamma], 0.25, 1, None)?;
/// assert_eq!(slimmed.threshold, 0.5); // 0.25 0.5 0.75 1; floor(4 * 0.25) = 1
/// assert_eq!(slimmed.mask.pruned("bn1"), [0, 1]);
/// # Ok::<(), ckpt_regen::regen::PruneError>(())
/// ```
///
/// # Errors
/// A `ratio` outside 0 ≤ ratio < 1, a γ that is not finite, no γ at all, a mask of other layers.
pub fn slimming(
    gammas: &[Gamma],
    ratio: f64,
    min_channels: usize,
    known: Option<&Mask>,
) -> Result<Slimmed, PruneError> {
    check_ratio(ratio)?;
    if let Some(known) = known {
        let layers = gammas
            .iter()
            .map(|gamma| (&gamma.layer[..], gamma.values.len()));
        known.check(layers)?;
    }
    let mut strengths = Vec::with_capacity(gammas.len());
    for gamma in gammas {
        let mut layer = Vec::with_capacity(gamma.values.len());
        for (channel, &value) in gamma.values.iter().enumerate() {
            if !value.is_finite() {
                return Err(PruneError::NonFinite {
                    layer: gamma.layer.clone(),
                    channel,
                    value,
                });
            }
            layer.push(value.abs());
        }
        for channel in pruned_before(known, &gamma.layer) {
            layer[*channel] = 0.0;
        }
        strengths.push(layer);
    }
    let mut sorted: Vec<f64> = strengths.iter().flatten().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let index = (sorted.len() as f64 * ratio).floor() as usize;
    // ratio < 1, but the product may round up to N.
    let index = index.min(sorted.len().checked_sub(1).ok_or(PruneError::Empty)?);
    let threshold = sorted[index];
    let mut spared = Vec::new();
    let mut layers = Vec::with_capacity(gammas.len());
    for (gamma, strengths) in gammas.iter().zip(&strengths) {
        let before = pruned_before(known, &gamma.layer);
        let mut strongest: Vec<usize> = (0..strengths.len())
            .filter(|channel| before.binary_search(channel).is_err())
            .collect();
        strongest.sort_by(|a, b| strengths[*b].total_cmp(&strengths[*a]));
        let strong = strongest
            .iter()
            .filter(|channel| strengths[**channel] > threshold)
            .count();
        let kept = strong.max(min_channels.min(strongest.len()));
        if kept > strong {
            spared.push((gamma.layer.clone(), kept - strong));
        }
        let mut pruned = before.to_vec();
        pruned.extend(&strongest[kept..]);
        layers.push(layer_mask(&gamma.layer, strengths.len(), pruned));
    }
    Ok(Slimmed {
        threshold,
        mask: Mask::new(layers)?,
        spared,
    })
}

/// The shares of a convolution's filters that [`fpgm`] takes out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FilterShares {
    /// Nearest the geometric median.
    pub distance: f64,
    /// Of the smallest norm, before that: 1 − `rate_norm` of the authors' code.
    pub norm: f64,
}

/// The filters of one convolution that are pruned, in ascending order: the ones with the smallest
/// sum of distances S_i = Σ_j ‖F_i − F_j‖₂, computed in f64, which the others replace best (He et
/// al. 2019, equation 8).
///
/// `filters` are `count` filters of equal length, one behind the other. The floor(`count`·`norm`)
/// filters of the smallest L2 norm go first, and then the floor(`count`·`distance`) of the smallest
/// S over the rest. Of equal ones the first goes first. At least `min_channels` stay.
///
/// `known` filters, in ascending order, are pruned already: they stay so, are no part of S, and
/// count in both numbers, so that the same shares once more prune nothing.
///
/// # Errors
/// Shares outside 0 ≤ share < 1, each and together; a value that is not finite (its place is named
/// as channel of `layer`).
///
/// # Panics
/// If `count` does not divide the number of values.
pub fn fpgm(
    layer: &str,
    filters: &[f64],
    count: usize,
    shares: FilterShares,
    min_channels: usize,
    known: &[usize],
) -> Result<Vec<usize>, PruneError> {
    shares.check()?;
    if count == 0 {
        return Ok(Vec::new());
    }
    assert_eq!(filters.len() % count, 0, "{layer}: filters of equal length");
    let len = filters.len() / count;
    if let Some(at) = filters.iter().position(|value| !value.is_finite()) {
        return Err(PruneError::NonFinite {
            layer: layer.to_owned(),
            channel: at / len,
            value: filters[at],
        });
    }
    let filter = |n: usize| &filters[n * len..][..len];
    let mut left: Vec<usize> = (0..count)
        .filter(|n| known.binary_search(n).is_err())
        .collect();
    let share = |ratio: f64| (count as f64 * ratio).floor() as usize;
    let (norm, distance) = (share(shares.norm), share(shares.distance));
    let most = left.len().saturating_sub(min_channels);
    let by_norm = norm.saturating_sub(known.len()).min(most);
    let in_all = (norm + distance).saturating_sub(known.len()).min(most);
    let mut pruned = known.to_vec();
    if by_norm > 0 {
        let norms = left.iter().map(|n| squares(filter(*n)).sqrt()).collect();
        pruned.extend(take_smallest(&mut left, norms, by_norm));
    }
    if in_all > by_norm {
        let mut sums = vec![0.0; left.len()];
        for (i, a) in left.iter().enumerate() {
            for (j, b) in left.iter().enumerate().skip(i + 1) {
                let apart = distance_of(filter(*a), filter(*b));
                sums[i] += apart;
                sums[j] += apart;
            }
        }
        pruned.extend(take_smallest(&mut left, sums, in_all - by_norm));
    }
    pruned.sort_unstable();
    Ok(pruned)
}

/// Takes the numbers with the `count` smallest values out of a list; of equal ones the first.
fn take_smallest(numbers: &mut Vec<usize>, values: Vec<f64>, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let taken: Vec<usize> = order[..count].iter().map(|at| numbers[*at]).collect();
    numbers.retain(|number| !taken.contains(number));
    taken
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

fn distance_of(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
    squares.sum::<f64>().sqrt()
}

/// Whether a number can be the share that is pruned.
///
/// # Errors
/// A share that is not 0 ≤ share < 1.
pub fn check_ratio(ratio: f64) -> Result<(), PruneError> {
    if (0.0..1.0).contains(&ratio) {
        Ok(())
    } else {
        Err(PruneError::Ratio(ratio))
    }
}

impl FilterShares {
    /// # Errors
    /// Shares that are not 0 ≤ share < 1, each and together.
    pub fn check(self) -> Result<(), PruneError> {
        check_ratio(self.distance)?;
        check_ratio(self.norm)?;
        if self.distance + self.norm < 1.0 {
            Ok(())
        } else {
            Err(PruneError::Ratios(self.norm, self.distance))
        }
    }
}

fn pruned_before<'m>(known: Option<&'m Mask>, layer: &str) -> &'m [usize] {
    known.map_or(&[], |known| known.pruned(layer))
}

fn layer_mask(name: &str, channels: usize, mut pruned: Vec<usize>) -> LayerMask {
    pruned.sort_unstable();
    LayerMask {
        name: name.to_owned(),
        channels,
        pruned,
    }
}

impl Method {
    /// All of them, the default first.
    pub const ALL: [Method; 2] = [Method::Slimming, Method::Fpgm];
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Method::ALL
            .into_iter()
            .find(|method| method.to_string() == text);
        found.ok_or_else(|| {
            let names = Method::ALL.map(|method| method.to_string());
            let meant = match near(text, names.iter().map(|name| &name[..]))[..] {
                [] => String::new(),
                [nearest, ..] => format!("; did you mean {nearest}?"),
            };
            format!("expected slimming or fpgm{meant}")
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Slimming => "slimming",
            Method::Fpgm => "fpgm",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    fn gamma(layer: &str, values: &[f64]) -> Gamma {
        Gamma {
            layer: layer.to_owned(),
            dtype: Dtype::F64,
            values: values.to_vec(),
        }
    }

    fn two_layers() -> [Gamma; 2] {
        [
            gamma("a", &[0.1, -0.2, 0.3, 0.9]),
            gamma("b", &[0.05, 0.06, -0.07, 0.08, 1.0, 2.0]),
        ]
    }

    #[test]
    fn slimming_drops_one_more_than_the_share_over_the_whole_network() {
        // |γ|: .05 .06 .07 .08 .1 .2 .3 .9 1 2; floor(10·0.5) = 5: t = 0.2, and 6 go.
        let slimmed = slimming(&two_layers(), 0.5, 1, None).unwrap();
        assert_eq!(slimmed.threshold, 0.2);
        assert_eq!(slimmed.mask.pruned("a"), [0, 1]);
        assert_eq!(slimmed.mask.pruned("b"), [0, 1, 2, 3]);
        assert!(slimmed.spared.is_empty());
        let least = slimming(&two_layers(), 0.0, 1, None).unwrap();
        assert_eq!((least.threshold, least.mask.count()), (0.05, 1));
    }

    #[test]
    fn all_channels_equal_to_the_threshold_go() {
        let ties = [gamma("a", &[0.5, 0.5, 0.5, 1.0])];
        let slimmed = slimming(&ties, 0.0, 1, None).unwrap();
        assert_eq!(slimmed.mask.pruned("a"), [0, 1, 2]);
        // A constant γ, as before training: nothing is above the threshold.
        let constant = [gamma("a", &[1.0; 3]), gamma("b", &[-1.0; 2])];
        let all = slimming(&constant, 0.3, 0, None).unwrap();
        assert_eq!(all.mask.count(), 5);
        let spared = slimming(&constant, 0.3, 1, None).unwrap();
        assert_eq!(spared.mask.pruned("a"), [1, 2]);
        assert_eq!(spared.mask.pruned("b"), [1]);
    }

    #[test]
    fn a_layer_keeps_its_largest_channels_and_is_named() {
        let gammas = [gamma("weak", &[0.1, -0.3, 0.2]), gamma("strong", &[1.0; 3])];
        let letter = slimming(&gammas, 0.4, 0, None).unwrap();
        assert_eq!(letter.threshold, 0.3);
        assert_eq!(letter.mask.pruned("weak"), [0, 1, 2]);
        assert!(letter.spared.is_empty());
        let one = slimming(&gammas, 0.4, 1, None).unwrap();
        assert_eq!(one.mask.pruned("weak"), [0, 2]);
        assert_eq!(one.spared, [("weak".to_owned(), 1)]);
        let many = slimming(&gammas, 0.4, 99, None).unwrap();
        assert!(many.mask.is_empty());
        assert_eq!(many.mask.channels(), 6);
    }

    #[test]
    fn channels_pruned_before_stay_so_and_count_in_the_share() {
        let first = slimming(&two_layers(), 0.5, 1, None).unwrap().mask;
        // Even where training has moved their γ since.
        let mut moved = two_layers();
        moved[0].values[0] = 5.0;
        let same = slimming(&moved, 0.5, 1, Some(&first)).unwrap();
        assert_eq!(same.mask, first);
        // 0 six times, .3 .9 1 2; floor(10·0.6) = 6: t = 0.3.
        let more = slimming(&moved, 0.6, 1, Some(&first)).unwrap();
        assert_eq!(more.mask.pruned("a"), [0, 1, 2]);
        assert_eq!(more.mask.count(), 7);
        let other = slimming(&[gamma("a", &[1.0])], 0.5, 1, Some(&first));
        assert!(matches!(other, Err(PruneError::Mask(_))));
    }

    #[test]
    fn shares_outside_0_to_1_and_values_without_an_order_are_refused() {
        for ratio in [-0.1, 1.0, f64::NAN] {
            let err = slimming(&two_layers(), ratio, 1, None);
            assert!(matches!(err, Err(PruneError::Ratio(_))), "{ratio}");
        }
        let err = slimming(&[gamma("x.bn", &[0.5, f64::NAN])], 0.5, 1, None).unwrap_err();
        assert_eq!(
            err.to_string(),
            "layer x.bn: expected finite values, found NaN in channel 1"
        );
        assert_eq!(slimming(&[], 0.5, 1, None), Err(PruneError::Empty));
        let shares = FilterShares {
            distance: 0.5,
            norm: 0.5,
        };
        let err = fpgm("conv", &[0.0; 4], 2, shares, 0, &[]);
        assert_eq!(err, Err(PruneError::Ratios(0.5, 0.5)));
        let err = fpgm(
            "conv",
            &[0.0, 1.0, f64::INFINITY, 0.0],
            2,
            of(0.1, 0.1),
            0,
            &[],
        );
        assert!(err.unwrap_err().to_string().contains("inf in channel 1"));
    }

    fn of(distance: f64, norm: f64) -> FilterShares {
        FilterShares { distance, norm }
    }

    /// Five points on a line, at 0, 1, 2, 4 and 10, each a filter of one value.
    const LINE: [f64; 5] = [0.0, 1.0, 2.0, 4.0, 10.0];

    #[test]
    fn fpgm_takes_the_filters_nearest_the_median_of_all() {
        // S: 17, 14, 13, 15, 33.
        let pruned = |share| fpgm("conv", &LINE, 5, of(share, 0.0), 0, &[]).unwrap();
        assert_eq!(pruned(0.2), [2]);
        assert_eq!(pruned(0.4), [1, 2]);
        assert_eq!(pruned(0.79), [1, 2, 3]);
        assert_eq!(pruned(0.19), [0; 0]);
        // In a plane: the middle of a square.
        let square = [0.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 4.0, 2.0, 2.0];
        assert_eq!(fpgm("conv", &square, 5, of(0.2, 0.0), 0, &[]), Ok(vec![4]));
    }

    #[test]
    fn small_norms_go_first_and_leave_the_sums() {
        // 0 goes by its norm. Of 1 2 4 10, S: 13, 11, 11, 23: of equal ones the first.
        assert_eq!(fpgm("conv", &LINE, 5, of(0.2, 0.2), 0, &[]), Ok(vec![0, 2]));
        // -2 is shorter than 4, not smaller.
        let signed = [4.0, -2.0, 3.0];
        assert_eq!(fpgm("conv", &signed, 3, of(0.0, 0.4), 0, &[]), Ok(vec![1]));
    }

    #[test]
    fn filters_pruned_before_count_in_the_share_and_not_in_the_sums() {
        let again = fpgm("conv", &LINE, 5, of(0.4, 0.0), 0, &[1, 2]).unwrap();
        assert_eq!(again, [1, 2]);
        // Of 0 4 10, S: 14, 10, 16.
        let more = fpgm("conv", &LINE, 5, of(0.6, 0.0), 0, &[1, 2]).unwrap();
        assert_eq!(more, [1, 2, 3]);
        let kept = fpgm("conv", &LINE, 5, of(0.79, 0.0), 4, &[]).unwrap();
        assert_eq!(kept, [2]);
    }

    #[test]
    fn a_method_is_written_as_it_is_read() {
        for method in Method::ALL {
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        assert_eq!(
            "sliming".parse::<Method>(),
            Err("expected slimming or fpgm; did you mean slimming?".to_owned())
        );
    }
}
