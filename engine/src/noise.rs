//! The random factors of dropout, channel dropout and stochastic depth. They depend on seed, node and index alone, so that forward and
//! backward, any number of threads, and a resumed run agree.

use super::real::Real;
use crate::net::{Op, Shape};

/// How many consecutive elements of `[N, C, H, W]` share a factor: 1 for dropout, those of a channel for channel dropout,
/// those of an image for stochastic depth. `shape` is that of one image.
pub fn shared(op: &Op, shape: Shape) -> usize {
    match op {
        Op::ChannelDropout { .. } => shape.pixels(),
        Op::StochasticDepth { .. } => shape.len(),
        _ => 1,
    }
}

/// Calls `put(y, x · factor)` for all elements; backward is the same function of gradients. `run` consecutive elements share
/// a factor, see [`shared`].
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

/// The factor of an element, of a channel or of an image: 0 with probability `p`, else 1 / (1 − p).
#[inline]
pub fn factor(p: f64, seed: u64, place: usize) -> f64 {
    if uniform(seed, place as u64) < p {
        0.0
    } else {
        1.0 / (1.0 - p)
    }
}

/// A uniform number in [0, 1): element `place` of a splitmix64 sequence (Steele et al. 2014).
fn uniform(seed: u64, place: u64) -> f64 {
    (mix(seed.wrapping_add((place + 1).wrapping_mul(GOLDEN))) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The seed of a node's sequence.
pub fn of_node(seed: u64, node: usize) -> u64 {
    mix(mix(seed) ^ (node as u64).wrapping_mul(GOLDEN))
}

/// The increment of splitmix64, 2⁶⁴ / golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
