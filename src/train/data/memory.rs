//! A data set that is held in memory: images of one size.

use std::path::PathBuf;

use super::{Classified, Dataset, Image};
use crate::error::Result;

pub(super) struct InMemory {
    source: PathBuf,
    size: (usize, usize),
    classes: Vec<String>,
    labels: Vec<u32>,
    /// As in [`Image`], one image after the other.
    pixels: Vec<u8>,
}

impl InMemory {
    /// Images of `size`, width and height, that came from `source`.
    pub(super) fn new(
        source: PathBuf,
        size: (usize, usize),
        classes: Vec<String>,
        labels: Vec<u32>,
        pixels: Vec<u8>,
    ) -> InMemory {
        assert_eq!(pixels.len(), 3 * size.0 * size.1 * labels.len());
        assert!(labels.iter().all(|label| (*label as usize) < classes.len()));
        InMemory {
            source,
            size,
            classes,
            labels,
            pixels,
        }
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> PathBuf {
        self.source.join(index.to_string())
    }

    fn size(&self, _index: usize) -> Option<(usize, usize)> {
        Some(self.size)
    }

    fn read(&self, index: usize, into: &mut Image) -> Result<()> {
        let (width, height) = self.size;
        let len = 3 * width * height;
        let pixels = &self.pixels[index * len..][..len];
        into.reshape(width, height).copy_from_slice(pixels);
        Ok(())
    }
}

impl Classified for InMemory {
    fn class(&self, index: usize) -> u32 {
        self.labels[index]
    }
}
