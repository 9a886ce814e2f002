//! What happens to an image between the data set and the network: torchvision's transforms, with
//! randomness that depends on the seed, the epoch and the image alone.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::crop;
use super::{Image, Normalisation};

/// The way of an image into the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// One after the other, on bytes.
    pub steps: Vec<Step>,
    /// Last, on numbers.
    pub normalisation: Normalisation,
}

/// A step of a [`Transform`]; each does what torchvision's transform of that name does to a PIL
/// image.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// A square of `side` pixels from anywhere in the image, after `padding` black pixels were added
    /// on every side.
    RandomCrop {
        /// Of the square, in pixels.
        side: usize,
        /// In pixels.
        padding: usize,
    },
    /// Left and right exchanged, in half of the cases.
    RandomHorizontalFlip,
}

impl Step {
    /// Width and height of what becomes of an image; why there is nothing, where there is not.
    pub(super) fn size(&self, (width, height): (usize, usize)) -> Result<(usize, usize), String> {
        match *self {
            Step::RandomCrop { side, padding } => {
                let fits = |len: usize| len + 2 * padding >= side;
                if fits(width) && fits(height) {
                    return Ok((side, side));
                }
                Err(format!(
                    "is {width}×{height} pixels: too small to cut {side}×{side} out of it, with a \
                     padding of {padding}"
                ))
            }
            Step::RandomHorizontalFlip => Ok((width, height)),
        }
    }

    fn apply(&self, image: &mut Image, scratch: &mut Image, random: &mut ChaCha8Rng) {
        match *self {
            Step::RandomCrop { side, padding } => {
                let mut place = |len: usize| {
                    let place = random.random_range(0..=len + 2 * padding - side);
                    place as isize - padding as isize
                };
                let (left, top) = (place(image.width()), place(image.height()));
                crop::crop(image, (left, top), (side, side), scratch);
                std::mem::swap(image, scratch);
            }
            Step::RandomHorizontalFlip => {
                if random.random() {
                    crop::flip(image);
                }
            }
        }
    }
}

impl Transform {
    /// Width and height of what becomes of an image; why there is nothing, where there is not.
    pub(super) fn size(&self, of: (usize, usize)) -> Result<(usize, usize), String> {
        self.steps.iter().try_fold(of, |size, step| step.size(size))
    }

    /// Takes `image`, the `index`th of its set, through the steps.
    pub(super) fn apply(
        &self,
        (seed, epoch, index): (u64, u64, usize),
        image: &mut Image,
        scratch: &mut Image,
    ) {
        let mut random = generator(*b"augment\0", seed, epoch, index as u64);
        for step in &self.steps {
            step.apply(image, scratch, &mut random);
        }
    }
}

/// A generator for one purpose.
pub(super) fn generator(purpose: [u8; 8], seed: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let parts = [
        purpose,
        seed.to_le_bytes(),
        epoch.to_le_bytes(),
        index.to_le_bytes(),
    ];
    for (to, part) in key.chunks_exact_mut(8).zip(parts) {
        to.copy_from_slice(&part);
    }
    ChaCha8Rng::from_seed(key)
}
