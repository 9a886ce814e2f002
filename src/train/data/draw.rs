//! Which images make up a batch, and in which order an epoch goes through them.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::transform::generator;

/// An image in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Its number in the data set.
    pub index: usize,
    /// Which time the images are gone through; it decides, with the seed, what random steps do to the
    /// image.
    pub pass: u64,
    /// Of a test of [scenes](super::Scenes), at which of the scales; else 0.
    pub scale: usize,
}

/// The numbers below `len`, shuffled; `seed` and the number of the pass decide how.
pub fn shuffled(len: usize, seed: u64, pass: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    let mut random: ChaCha8Rng = generator(*b"shuffled", seed, pass, 0);
    order.shuffle(&mut random);
    order
}

/// Batches of `size` images in this order; the last one holds what is left.
///
/// # Panics
/// `size` is 0.
pub fn batches(order: &[usize], size: usize, pass: u64) -> Vec<Vec<Draw>> {
    let batch = |indices: &[usize]| {
        let draws = indices.iter().map(|index| Draw {
            index: *index,
            pass,
            scale: 0,
        });
        draws.collect()
    };
    order.chunks(size).map(batch).collect()
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
