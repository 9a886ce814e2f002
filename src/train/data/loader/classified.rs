//! Batches of images that have a class each.

use std::path::Path;
use std::sync::Arc;

use super::{Buffer, Job};
use crate::error::{Error, Result};
use crate::net::Resolution;
use crate::train::data::normalise::normalise;
use crate::train::data::transform::Workspace;
use crate::train::data::{Classified, Dataset, Draw, Transform};

pub(super) struct ClassifiedJob {
    dataset: Arc<dyn Classified>,
    transform: Transform,
    tables: [[f32; 256]; 3],
    /// Width and height after the transform.
    size: (usize, usize),
}

impl ClassifiedJob {
    pub(super) fn new(dataset: Arc<dyn Classified>, transform: Transform) -> Result<ClassifiedJob> {
        let size = check(&*dataset, &transform)?;
        let tables = transform.normalisation.tables();
        Ok(ClassifiedJob {
            dataset,
            transform,
            tables,
            size,
        })
    }
}

impl Job for ClassifiedJob {
    fn dataset(&self) -> &dyn Dataset {
        &*self.dataset
    }

    fn fill(
        &self,
        batch: &[Draw],
        seed: u64,
        buffer: &mut Buffer,
        work: &mut Workspace,
    ) -> Result<()> {
        let (width, height) = self.size;
        let len = self.transform.channels() * width * height;
        buffer.resolution = Resolution { height, width };
        buffer.images.resize(batch.len() * len, 0.0);
        for (draw, planes) in batch.iter().zip(buffer.images.chunks_exact_mut(len)) {
            let Draw { index, pass, .. } = *draw;
            self.dataset.read(index, &mut work.image)?;
            let name = || self.dataset.name(index);
            let size = self
                .transform
                .size((work.image.width(), work.image.height()));
            let size = size.map_err(|reason| Error::refused(&name(), reason))?;
            if size != self.size {
                return Err(mixed(&name(), self.size, size));
            }
            self.transform.apply((seed, pass, index), work);
            normalise(&work.image, &self.tables, planes);
            buffer.labels.push(self.dataset.class(index));
        }
        Ok(())
    }
}

/// The size of every image after the transform.
fn check(dataset: &dyn Dataset, transform: &Transform) -> Result<(usize, usize)> {
    let after = |index: usize, size| {
        let size = transform.size(size);
        size.map_err(|reason| Error::refused(&dataset.name(index), reason))
    };
    let first = match dataset.size(0) {
        Some(size) => size,
        None => {
            let image = dataset.image(0)?;
            (image.width(), image.height())
        }
    };
    let expected = after(0, first)?;
    for index in 1..dataset.len() {
        if let Some(size) = dataset.size(index) {
            let size = after(index, size)?;
            if size != expected {
                return Err(mixed(&dataset.name(index), expected, size));
            }
        }
    }
    Ok(expected)
}

fn mixed(name: &Path, expected: (usize, usize), found: (usize, usize)) -> Error {
    let show = |(width, height)| format!("{width}×{height} pixels");
    let expected = format!("{}, as the first image of the set has", show(expected));
    Error::malformed(name, "size", expected, show(found))
}
