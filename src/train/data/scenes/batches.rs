//! Batches of scenes, as the reference for ADE20K makes them (Zhou et al. 2018 and its code): for training,
//! images of one orientation at one random scale, padded to the largest; for a test, images of one size at
//! each scale.

use std::path::Path;
use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::values::IGNORED;
use super::{LabelMap, Scenes};
use crate::error::{Error, Result};
use crate::net::Resolution;
use crate::train::data::decode::MAX_PIXELS;
use crate::train::data::loader::{Buffer, Job};
use crate::train::data::normalise::normalise;
use crate::train::data::transform::{Workspace, generator};
use crate::train::data::{Dataset, Draw, Image, Normalisation, Split, crop, resize};

/// Heights and widths of batches are multiples of this many pixels.
const MULTIPLE: usize = 8;

/// What is done to scenes before the network sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneTransform {
    /// Whether they are for training or for a test.
    pub split: Split,
    /// Into which sizes they are scaled.
    pub sizes: Sizes,
    /// Whether left and right are exchanged in half of the training images.
    pub flip: bool,
    /// Pixels of an image in each direction for one of the network's output.
    pub stride: usize,
    /// The labels of what is padded.
    pub pad: LabelPad,
    /// Last, on numbers.
    pub normalisation: Normalisation,
}

/// Sizes of images, by their sides in pixels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sizes {
    /// The shorter side: one of them, drawn for each batch in training; each of them in a test. 0, or none: the
    /// images' own.
    pub short_sides: Vec<usize>,
    /// The longer side is scaled down to it; 0: it may have any length.
    pub long_side: usize,
}

/// The label of pixels of a training batch that lie outside a smaller image of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelPad {
    /// They do not count.
    #[default]
    Ignore,
    /// The first class, as in the reference (beyond the image's own size, rounded up to a multiple of 8).
    First,
}

impl Sizes {
    /// Width and height of an image at a scale, rounded down.
    fn scaled(&self, (width, height): (usize, usize), short_side: usize) -> (usize, usize) {
        let (shorter, longer) = (width.min(height) as f64, width.max(height) as f64);
        let mut scale = match short_side {
            0 => 1.0,
            side => side as f64 / shorter,
        };
        if self.long_side > 0 {
            scale = scale.min(self.long_side as f64 / longer);
        }
        let scaled = |side: usize| ((side as f64 * scale) as usize).max(1);
        (scaled(width), scaled(height))
    }

    /// The shorter side of each scale.
    fn scales(&self) -> &[usize] {
        match &self.short_sides[..] {
            [] => &[0],
            sides => sides,
        }
    }
}

pub(in crate::train::data) struct SceneJob {
    scenes: Arc<dyn Scenes>,
    transform: SceneTransform,
    tables: [[f32; 256]; 3],
}

impl SceneJob {
    /// # Errors
    /// A stride of 0; an image whose size is unknown, or that would be scaled to more pixels than are decoded.
    pub(in crate::train::data) fn new(
        scenes: Arc<dyn Scenes>,
        transform: SceneTransform,
    ) -> Result<SceneJob> {
        if transform.stride == 0 {
            return Err(Error::Usage("scenes for an output without pixels".into()));
        }
        for index in 0..scenes.len() {
            let refused = |reason: &str| Err(Error::refused(&scenes.name(index), reason));
            let Some(size) = scenes.size(index) else {
                return refused("is a scene of unknown size");
            };
            for side in transform.sizes.scales() {
                let (width, height) = transform.sizes.scaled(size, *side);
                if width.saturating_mul(height) > MAX_PIXELS {
                    return refused(&format!(
                        "would be scaled to {width}×{height} pixels, and at most {MAX_PIXELS} are: a limit of the \
                         longer side helps"
                    ));
                }
            }
        }
        Ok(SceneJob {
            scenes,
            tables: transform.normalisation.tables(),
            transform,
        })
    }

    fn size(&self, index: usize) -> (usize, usize) {
        self.scenes.size(index).unwrap_or_default()
    }

    /// Reads an image, at this size.
    fn read(&self, index: usize, size: (usize, usize), work: &mut Workspace) -> Result<()> {
        self.scenes.read(index, &mut work.image)?;
        let (own, found) = (self.size(index), (work.image.width(), work.image.height()));
        if own != found {
            return Err(changed(&self.scenes.name(index), own, found));
        }
        if size != own {
            resize::resize(&mut work.resizer, &work.image, size, &mut work.scratch);
            std::mem::swap(&mut work.image, &mut work.scratch);
        }
        Ok(())
    }

    fn read_labels(&self, index: usize, work: &mut Workspace) -> Result<()> {
        self.scenes.read_labels(index, &mut work.labels)?;
        let own = self.size(index);
        let found = (work.labels.width(), work.labels.height());
        if own != found {
            return Err(changed(&self.scenes.name(index), own, found));
        }
        Ok(())
    }

    fn train(
        &self,
        batch: &[Draw],
        seed: u64,
        buffer: &mut Buffer,
        work: &mut Workspace,
    ) -> Result<()> {
        let transform = &self.transform;
        let first = batch
            .first()
            .map_or((0, 0), |draw| (draw.pass, draw.index as u64));
        let sides = transform.sizes.scales();
        let mut random = generator(*b"scales\0\0", seed, first.0, first.1);
        let side = sides[random.random_range(0..sides.len())];
        let scaled = |draw: &Draw| transform.sizes.scaled(self.size(draw.index), side);
        let sizes: Vec<(usize, usize)> = batch.iter().map(scaled).collect();
        let most = |side: fn(&(usize, usize)) -> usize| sizes.iter().map(side).max().unwrap_or(0);
        let padded = Resolution {
            height: most(|size| size.1).next_multiple_of(MULTIPLE),
            width: most(|size| size.0).next_multiple_of(MULTIPLE),
        };
        buffer.resolution = padded;
        let len = 3 * padded.height * padded.width;
        buffer.images.clear();
        buffer.images.resize(batch.len() * len, 0.0);
        for ((draw, size), planes) in batch
            .iter()
            .zip(sizes)
            .zip(buffer.images.chunks_exact_mut(len))
        {
            self.read(draw.index, size, work)?;
            self.read_labels(draw.index, work)?;
            let mut random = generator(*b"augment\0", seed, draw.pass, draw.index as u64);
            let flip = transform.flip && random.random();
            if flip {
                crop::flip(&mut work.image);
            }
            place(
                &work.image,
                &self.tables,
                &mut work.planes,
                planes,
                padded.width,
            );
            let labels = coarse(&work.labels, size, flip, padded, transform);
            buffer.labels.extend(labels);
        }
        Ok(())
    }

    /// Images are scaled to multiples of 8, and not padded; labels are those of every pixel of the maps.
    fn test(&self, batch: &[Draw], buffer: &mut Buffer, work: &mut Workspace) -> Result<()> {
        let Some(first) = batch.first() else {
            return Ok(());
        };
        let sizes = &self.transform.sizes;
        let sides = sizes.scales();
        let (width, height) = sizes.scaled(self.size(first.index), sides[first.scale]);
        let (width, height) = (
            width.next_multiple_of(MULTIPLE),
            height.next_multiple_of(MULTIPLE),
        );
        buffer.resolution = Resolution { height, width };
        let len = 3 * width * height;
        buffer.images.resize(batch.len() * len, 0.0);
        for (draw, planes) in batch.iter().zip(buffer.images.chunks_exact_mut(len)) {
            self.read(draw.index, (width, height), work)?;
            normalise(&work.image, &self.tables, planes);
            // They are compared with what all scales say.
            if first.scale + 1 == sides.len() {
                self.read_labels(draw.index, work)?;
                let labels = work.labels.labels().iter();
                buffer.labels.extend(labels.map(|label| u32::from(*label)));
            }
        }
        Ok(())
    }
}

impl Job for SceneJob {
    fn dataset(&self) -> &dyn Dataset {
        &*self.scenes
    }

    fn is_portrait(&self, index: usize) -> bool {
        let (width, height) = self.size(index);
        height > width
    }

    fn scales(&self) -> usize {
        self.transform.sizes.scales().len()
    }

    fn tested(&self, size: usize) -> Vec<Vec<Draw>> {
        let order: Vec<usize> = (0..self.scenes.len()).collect();
        let alike = order.chunk_by(|one, two| self.size(*one) == self.size(*two));
        let groups = alike.flat_map(|alike| alike.chunks(size));
        let scales = 0..self.scales();
        let batches = groups.flat_map(|group| {
            let draws = move |scale| {
                let draw = move |index: &usize| Draw {
                    index: *index,
                    pass: 0,
                    scale,
                };
                group.iter().map(draw).collect()
            };
            scales.clone().map(draws)
        });
        batches.collect()
    }

    fn fill(
        &self,
        batch: &[Draw],
        seed: u64,
        buffer: &mut Buffer,
        work: &mut Workspace,
    ) -> Result<()> {
        match self.transform.split {
            Split::Train => self.train(batch, seed, buffer, work),
            Split::Test => self.test(batch, buffer, work),
        }
    }
}

fn changed(name: &Path, expected: (usize, usize), found: (usize, usize)) -> Error {
    let show = |(width, height)| format!("{width}×{height} pixels");
    let expected = format!("{}, as when training began", show(expected));
    Error::malformed(name, "size", expected, show(found))
}

/// Writes an image as three planes, at the left and top of planes of this width.
fn place(
    image: &Image,
    tables: &[[f32; 256]; 3],
    own: &mut Vec<f32>,
    planes: &mut [f32],
    width: usize,
) {
    let pixels = image.width() * image.height();
    own.resize(3 * pixels, 0.0);
    normalise(image, tables, own);
    let len = planes.len() / 3;
    for (plane, own) in planes.chunks_exact_mut(len).zip(own.chunks_exact(pixels)) {
        let rows = own.chunks_exact(image.width());
        for (to, from) in plane.chunks_exact_mut(width).zip(rows) {
            to[..from.len()].copy_from_slice(from);
        }
    }
}

/// The labels of the network's output for an image that was scaled to `size`, width and height, maybe
/// flipped, and padded: each is that of the pixel in the middle of its square, the lower right of the
/// four; of the map, flipped and then scaled as by Pillow's `NEAREST`.
fn coarse(
    map: &LabelMap,
    (width, height): (usize, usize),
    flip: bool,
    padded: Resolution,
    transform: &SceneTransform,
) -> impl Iterator<Item = u32> {
    let SceneTransform { stride, pad, .. } = *transform;
    let middle = move |at: usize| at * stride + stride / 2;
    let (rows, columns) = (nearest(height, map.height()), nearest(width, map.width()));
    let own = (
        width.next_multiple_of(MULTIPLE),
        height.next_multiple_of(MULTIPLE),
    );
    let label = move |row: usize, column: usize| match (rows.get(row), columns.get(column)) {
        (Some(row), Some(column)) if flip => map.at(*row, map.width() - 1 - column),
        (Some(row), Some(column)) => map.at(*row, *column),
        _ if pad == LabelPad::First && (row >= own.1 || column >= own.0) => 0,
        _ => IGNORED,
    };
    let (height, width) = (padded.height / stride, padded.width / stride);
    let pixels = 0..height * width;
    pixels.map(move |at| u32::from(label(middle(at / width), middle(at % width))))
}

/// Which of `of` pixels each of `size` is, as Pillow's `NEAREST` has it: it adds up the steps.
fn nearest(size: usize, of: usize) -> Vec<usize> {
    let step = of as f64 / size as f64;
    let mut at = 0.5 * step;
    let mut next = || {
        let source = (at as usize).min(of - 1);
        at += step;
        source
    };
    (0..size).map(|_| next()).collect()
}

#[cfg(test)]
mod tests;
