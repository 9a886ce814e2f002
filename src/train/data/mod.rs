//! Images and their classes: data sets on disk, what augmentation makes of them, and batches that
//! are prepared beside the step.
//!
//! ```
//! # fn main() -> Result<(), ckpt_regen::Error> {
//! use ckpt_regen::train::data::{self, Loader, Normalisation, Split, Step, Transform};
//!
//! let digits = data::open("digits", Split::Train)?;
//! let transform = Transform {
//!     steps: vec![Step::RandomCrop { size: 8.into(), padding: 1 }],
//!     normalisation: Normalisation::DIGITS,
//! };
//! let batches = data::batches(&data::shuffled(digits.len(), 0, 1), 64, 1);
//! let mut loader = Loader::new(digits.into(), transform, 64, 1)?;
//! let mut batches = loader.epoch(batches, 0);
//! let first = batches.next().expect("a batch")?;
//! assert_eq!((first.images.len(), first.labels.len()), (64 * 3 * 8 * 8, 64));
//! # Ok(())
//! # }
//! ```

mod cifar;
mod crop;
pub(super) mod decode;
mod digits;
mod draw;
pub(crate) mod encode;
mod folder;
mod grey;
#[cfg(feature = "hub")]
mod hub;
mod image;
mod list;
mod loader;
mod memory;
mod normalise;
#[cfg(feature = "hub")]
mod parquet;
mod random_box;
mod resize;
mod rotate;
pub mod scenes;
#[cfg(feature = "hub")]
mod shards;
mod transform;

use std::path::{Path, PathBuf};

pub use draw::{Draw, batches, shuffled};
pub(super) use grey::LUMA;
pub use image::Image;
pub use loader::{Epoch, Loader, Prepared};
pub use normalise::Normalisation;
pub use scenes::{LabelMap, SceneTransform, Scenes};
pub use transform::{Step, Transform};

use crate::error::{Error, Result};
use memory::InMemory;

/// Images of some classes.
#[allow(
    clippy::len_without_is_empty,
    reason = "a set without images is refused"
)]
pub trait Dataset: Send + Sync {
    /// How many images.
    fn len(&self) -> usize;

    /// The names of the classes, in the order of their labels.
    fn classes(&self) -> &[String];

    /// What an image is called in messages: its file, or the set's and the image's number.
    fn name(&self, index: usize) -> PathBuf;

    /// Width and height of an image; `None` where they are not known before it is read.
    fn size(&self, index: usize) -> Option<(usize, usize)>;

    /// Reads an image in place of what `into` holds, in its memory where that is enough.
    ///
    /// # Errors
    /// The image cannot be read; the error names it.
    fn read(&self, index: usize, into: &mut Image) -> Result<()>;

    /// An image, in new memory.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    fn image(&self, index: usize) -> Result<Image> {
        let mut image = Image::default();
        self.read(index, &mut image)?;
        Ok(image)
    }
}

/// Images that have a class each.
pub trait Classified: Dataset {
    /// The class of an image: an index into [`Dataset::classes`].
    fn class(&self, index: usize) -> u32;
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// To train on.
    Train,
    /// To measure accuracy on.
    Test,
}

/// Opens one split of a data set: `digits`, the set that is built in; a directory; or `hf:NAME` and
/// `hf:NAME:CONFIG`, sets of the Hugging Face hub (in builds with the feature `hub`).
///
/// Headers and sizes are checked here, so that most of what is wrong shows before training begins;
/// the pixels are decoded when they are read.
///
/// # Errors
/// No such file, nothing there that is understood, or something in it that is wrong; the error
/// names the file.
pub fn open(spec: &str, split: Split) -> Result<Box<dyn Classified>> {
    if spec == "digits" {
        return digits::open(split);
    }
    if let Some(name) = spec.strip_prefix("hf:") {
        #[cfg(feature = "hub")]
        return hub::open(name, split);
        #[cfg(not(feature = "hub"))]
        return Err(Error::Usage(format!(
            "hf:{name}: this build cannot download data sets; one with `--features hub` can"
        )));
    }
    let dir = Path::new(spec);
    let metadata = std::fs::metadata(dir).map_err(Error::io("open", dir))?;
    if !metadata.is_dir() {
        let found = "something else";
        return Err(Error::malformed(dir, "data set", "a directory", found));
    }
    if let Some(set) = cifar::open(dir, split) {
        return set;
    }
    if let Some(set) = folder::open(dir, split) {
        return set;
    }
    #[cfg(feature = "hub")]
    if let Some(set) = parquet::open(dir, split) {
        return set;
    }
    let parquet = if cfg!(feature = "hub") {
        "or Parquet files"
    } else {
        "(or Parquet files, which a build with `--features hub` reads)"
    };
    let expected = format!(
        "CIFAR-10 or CIFAR-100 as its author distributes them, a folder train with a folder for each class, \
         {parquet}"
    );
    Err(Error::malformed(dir, "data set", expected, "none of them"))
}
