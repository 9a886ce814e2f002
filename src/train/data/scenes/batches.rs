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
    /// The shorter side: one of them, drawn for each batch in training; each of them in a test. None: the
    /// images' own.
    pub short_sides: Vec<usize>,
    /// The longer side of a scaled image gets no longer.
    pub long_side: Option<usize>,
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
    fn scaled(&self, (width, height): (usize, usize), short_side: Option<usize>) -> (usize, usize) {
        let (shorter, longer) = (width.min(height) as f64, width.max(height) as f64);
        let Some(short_side) = short_side else {
            return (width, height);
        };
        let mut scale = short_side as f64 / shorter;
        if let Some(long_side) = self.long_side {
            scale = scale.min(long_side as f64 / longer);
        }
        let scaled = |side: usize| ((side as f64 * scale) as usize).max(1);
        (scaled(width), scaled(height))
    }

    /// How many scales there are.
    fn scales(&self) -> usize {
        self.short_sides.len().max(1)
    }
}

pub(in crate::train::data) struct SceneJob {
    scenes: Arc<dyn Scenes>,
    transform: SceneTransform,
    tables: [[f32; 256]; 3],
}

impl SceneJob {
    pub(in crate::train::data) fn new(
        scenes: Arc<dyn Scenes>,
        transform: SceneTransform,
    ) -> SceneJob {
        SceneJob {
            scenes,
            tables: transform.normalisation.tables(),
            transform,
        }
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
        let sides = &transform.sizes.short_sides;
        let side = match &sides[..] {
            [] => None,
            sides => {
                let mut random = generator(*b"scales\0\0", seed, first.0, first.1);
                Some(sides[random.random_range(0..sides.len())])
            }
        };
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
        let side = sizes.short_sides.get(first.pass as usize).copied();
        let (width, height) = sizes.scaled(self.size(first.index), side);
        let (width, height) = (
            width.next_multiple_of(MULTIPLE),
            height.next_multiple_of(MULTIPLE),
        );
        buffer.resolution = Resolution { height, width };
        let len = 3 * width * height;
        buffer.images.resize(batch.len() * len, 0.0);
        for (draw, planes) in batch.iter().zip(buffer.images.chunks_exact_mut(len)) {
            self.read(draw.index, (width, height), work)?;
            self.read_labels(draw.index, work)?;
            normalise(&work.image, &self.tables, planes);
            let labels = work.labels.labels().iter();
            buffer.labels.extend(labels.map(|label| u32::from(*label)));
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
        self.transform.sizes.scales()
    }

    fn tested(&self, size: usize) -> Vec<Vec<Draw>> {
        let order: Vec<usize> = (0..self.scenes.len()).collect();
        let alike = order.chunk_by(|one, two| self.size(*one) == self.size(*two));
        let groups = alike.flat_map(|alike| alike.chunks(size));
        let scales = 0..self.scales() as u64;
        let batches = groups.flat_map(|group| {
            let draws = move |pass| {
                group.iter().map(move |index| Draw {
                    index: *index,
                    pass,
                })
            };
            scales.clone().map(move |pass| draws(pass).collect())
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
/// four; of the map, as Pillow's `NEAREST` scales it.
fn coarse(
    map: &LabelMap,
    (width, height): (usize, usize),
    flip: bool,
    padded: Resolution,
    transform: &SceneTransform,
) -> impl Iterator<Item = u32> {
    let SceneTransform { stride, pad, .. } = *transform;
    let middle = move |at: usize| at * stride + stride / 2;
    let source = |at: usize, size: usize, of: usize| {
        let at = (at as f64 + 0.5) * of as f64 / size as f64;
        (at as usize).min(of - 1)
    };
    let own = (
        width.next_multiple_of(MULTIPLE),
        height.next_multiple_of(MULTIPLE),
    );
    let label = move |row: usize, column: usize| {
        if row < height && column < width {
            let column = if flip { width - 1 - column } else { column };
            let row = source(row, height, map.height());
            map.at(row, source(column, width, map.width()))
        } else if pad == LabelPad::First && (row >= own.1 || column >= own.0) {
            0
        } else {
            IGNORED
        }
    };
    let columns = padded.width / stride;
    let rows = 0..padded.height / stride;
    rows.flat_map(move |row| {
        (0..columns).map(move |column| u32::from(label(middle(row), middle(column))))
    })
}

#[cfg(test)]
mod tests;
