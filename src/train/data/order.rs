//! In which order an epoch goes through the images.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::transform::generator;

/// The numbers below `len`, shuffled; `seed` and the number of the epoch decide how.
pub fn shuffled(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    let mut random: ChaCha8Rng = generator(*b"shuffled", seed, epoch, 0);
    order.shuffle(&mut random);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_image_once_in_an_order_of_its_own() {
        let first = shuffled(1000, 0, 1);
        assert_eq!(shuffled(1000, 0, 1), first);
        for other in [shuffled(1000, 0, 2), shuffled(1000, 1, 1)] {
            assert_ne!(other, first);
        }
        let mut sorted = first;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
    }
}
