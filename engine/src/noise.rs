//! Dropout and stochastic depth. The mask follows from seed, node and position alone, so that forward
//! and backward, one thread or many, and a resumed run agree.

use super::real::Real;

/// Forward: y = x · factor; backward: the same with gradients, added by `put`. `run` numbers in a row
/// share one factor: 1 for dropout, all of an image for stochastic depth.
pub(super) fn apply<T: Real>(
    p: f64,
    seed: u64,
    run: usize,
    x: &[T],
    y: &mut [T],
    put: impl Fn(&mut T, T),
) {
    for (place, (x, y)) in x.chunks(run).zip(y.chunks_mut(run)).enumerate() {
        let factor = T::of(factor(p, seed, place));
        for (x, y) in x.iter().zip(y) {
            put(y, *x * factor);
        }
    }
}

/// The factor at a position: 0 with probability `p`, else 1 / (1 − p).
#[inline]
pub(super) fn factor(p: f64, seed: u64, place: usize) -> f64 {
    if uniform(seed, place as u64) < p {
        0.0
    } else {
        1.0 / (1.0 - p)
    }
}

/// Number `place` of a sequence that is uniform in [0, 1): splitmix64 (Steele et al. 2014).
fn uniform(seed: u64, place: u64) -> f64 {
    (mix(seed.wrapping_add((place + 1).wrapping_mul(GOLDEN))) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The seed of one node's sequence.
pub(super) fn of_node(seed: u64, node: usize) -> u64 {
    mix(mix(seed) ^ (node as u64).wrapping_mul(GOLDEN))
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
