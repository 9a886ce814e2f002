//! What happens to an image between the data set and the network: torchvision's transforms, with
//! randomness that depends on the seed, the epoch and the image alone.

use fast_image_resize::Resizer;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::random_box::random_box;
use super::{Image, LabelMap, Normalisation, crop, grey, resize, rotate};
use crate::net::Resolution;

/// What is done to an image before the network sees it.
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
    /// Turns colours into grey (ITU-R 601-2, as Pillow's mode `L`): a network then sees one channel.
    Grayscale,
    /// Scales the image, in its proportions, so that it just covers this size: for a square, the
    /// shorter side gets as many pixels; bilinear, antialiased.
    Resize(Resolution),
    /// Cuts this size from the middle, black where the image is smaller.
    CenterCrop(Resolution),
    /// Cuts this size from anywhere in the image, after black pixels were added on every side.
    RandomCrop {
        /// Height and width of the crop.
        size: Resolution,
        /// In pixels.
        padding: usize,
    },
    /// Cuts a rectangle of 8 % to 100 % of the image's area and of 3:4 to 4:3, and scales it to this
    /// size; bilinear, antialiased.
    RandomResizedCrop(Resolution),
    /// Left and right exchanged, in half of the cases.
    RandomHorizontalFlip,
    /// Turned by up to so many degrees in either direction; nearest pixel, black outside.
    RandomRotation(f64),
}

/// Memory of one thread.
#[derive(Default)]
pub(super) struct Workspace {
    pub(super) image: Image,
    pub(super) scratch: Image,
    pub(super) resizer: Resizer,
    /// Of a scene.
    pub(super) labels: LabelMap,
    pub(super) planes: Vec<f32>,
}

impl Step {
    /// Width and height of what becomes of an image; why there is nothing, where there is not.
    fn size(&self, (width, height): (usize, usize)) -> Result<(usize, usize), String> {
        match *self {
            Step::Resize(size) => Ok(resize::covering((width, height), size)),
            Step::CenterCrop(size) | Step::RandomResizedCrop(size) => Ok((size.width, size.height)),
            Step::RandomCrop { size, padding } => {
                let fits = |len: usize, side: usize| len + 2 * padding >= side;
                if fits(width, size.width) && fits(height, size.height) {
                    return Ok((size.width, size.height));
                }
                Err(format!(
                    "is {width}×{height} pixels: too small to cut {}×{} out of it, with a \
                     padding of {padding}",
                    size.width, size.height
                ))
            }
            Step::Grayscale | Step::RandomHorizontalFlip | Step::RandomRotation(_) => {
                Ok((width, height))
            }
        }
    }

    fn apply(&self, work: &mut Workspace, random: &mut ChaCha8Rng) {
        let Workspace {
            image,
            scratch,
            resizer,
            ..
        } = work;
        match *self {
            Step::Grayscale => {
                grey::grayscale(image);
                return;
            }
            Step::Resize(size) => {
                let size = resize::covering((image.width(), image.height()), size);
                if size == (image.width(), image.height()) {
                    return;
                }
                resize::resize(resizer, image, size, scratch);
            }
            Step::CenterCrop(Resolution { height, width }) => {
                let left = crop::middle(image.width(), width);
                let top = crop::middle(image.height(), height);
                crop::crop(image, (left, top), (width, height), scratch);
            }
            Step::RandomCrop { size, padding } => {
                let mut place = |len: usize, side: usize| {
                    let place = random.random_range(0..=len + 2 * padding - side);
                    place as isize - padding as isize
                };
                let top = place(image.height(), size.height);
                let left = place(image.width(), size.width);
                crop::crop(image, (left, top), (size.width, size.height), scratch);
            }
            Step::RandomResizedCrop(Resolution { height, width }) => {
                let (place, size) = random_box((image.width(), image.height()), random);
                crop::crop(image, place, size, scratch);
                resize::resize(resizer, scratch, (width, height), image);
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
    /// Channels of what a network sees: 3, or 1 after [`Step::Grayscale`].
    pub fn channels(&self) -> usize {
        if self.steps.contains(&Step::Grayscale) {
            1
        } else {
            3
        }
    }

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
