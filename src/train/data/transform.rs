//! What happens to an image between the data set and the network: torchvision's transforms, with
//! randomness that depends on the seed, the epoch and the image alone.

use fast_image_resize::Resizer;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::random_box::random_box;
use super::{Image, Normalisation, crop, resize, rotate};

/// The way of an image into the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// One after the other, on bytes.
    pub steps: Vec<Step>,
    /// Last, on numbers.
    pub normalisation: Normalisation,
}

/// A step of a [`Transform`]: what torchvision's transform of that name does to a PIL image.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Scaled so that the shorter side has so many pixels; bilinear, antialiased.
    Resize(usize),
    /// The square of so many pixels in the middle, black where the image is smaller.
    CenterCrop(usize),
    /// A square from anywhere in the image, after black pixels were added on every side.
    RandomCrop {
        /// Of the square, in pixels.
        side: usize,
        /// In pixels.
        padding: usize,
    },
    /// A rectangle of 8 % to 100 % of the image's area and of 3:4 to 4:3, scaled to a square of so
    /// many pixels; bilinear, antialiased.
    RandomResizedCrop(usize),
    /// Left and right exchanged, in half of the cases.
    RandomHorizontalFlip,
    /// Turned by up to so many degrees in either direction; nearest pixel, black outside.
    RandomRotation(f64),
}

/// Memory of one thread.
#[derive(Default)]
pub(super) struct Workspace {
    pub(super) image: Image,
    scratch: Image,
    resizer: Resizer,
}

impl Step {
    /// Width and height of what becomes of an image; why there is nothing, where there is not.
    fn size(&self, (width, height): (usize, usize)) -> Result<(usize, usize), String> {
        match *self {
            Step::Resize(side) => Ok(resize::shorter_side((width, height), side)),
            Step::CenterCrop(side) | Step::RandomResizedCrop(side) => Ok((side, side)),
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
            Step::RandomHorizontalFlip | Step::RandomRotation(_) => Ok((width, height)),
        }
    }

    fn apply(&self, work: &mut Workspace, random: &mut ChaCha8Rng) {
        let Workspace {
            image,
            scratch,
            resizer,
        } = work;
        match *self {
            Step::Resize(side) => {
                let size = resize::shorter_side((image.width(), image.height()), side);
                if size == (image.width(), image.height()) {
                    return;
                }
                resize::resize(resizer, image, size, scratch);
            }
            Step::CenterCrop(side) => {
                let place = |len: usize| crop::middle(len, side);
                let place = (place(image.width()), place(image.height()));
                crop::crop(image, place, (side, side), scratch);
            }
            Step::RandomCrop { side, padding } => {
                let mut place = |len: usize| {
                    let place = random.random_range(0..=len + 2 * padding - side);
                    place as isize - padding as isize
                };
                let (top, left) = (place(image.height()), place(image.width()));
                crop::crop(image, (left, top), (side, side), scratch);
            }
            Step::RandomResizedCrop(side) => {
                let (place, size) = random_box((image.width(), image.height()), random);
                crop::crop(image, place, size, scratch);
                resize::resize(resizer, scratch, (side, side), image);
                return;
            }
            Step::RandomHorizontalFlip => {
                if random.random() {
                    crop::flip(image);
                }
                return;
            }
            Step::RandomRotation(degrees) => {
                let degrees = (2.0 * random.random::<f64>() - 1.0) * degrees;
                rotate::rotate(image, degrees, scratch);
            }
        }
        std::mem::swap(image, scratch);
    }
}

impl Transform {
    /// Width and height of what becomes of an image; why there is nothing, where there is not.
    pub(super) fn size(&self, of: (usize, usize)) -> Result<(usize, usize), String> {
        self.steps.iter().try_fold(of, |size, step| step.size(size))
    }

    /// Takes the image in `work`, the `index`th of its set, through the steps.
    pub(super) fn apply(&self, (seed, epoch, index): (u64, u64, usize), work: &mut Workspace) {
        let mut random = generator(*b"augment\0", seed, epoch, index as u64);
        for step in &self.steps {
            step.apply(work, &mut random);
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

#[cfg(test)]
mod tests;
