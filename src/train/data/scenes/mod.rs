//! Scenes: images with a class for each pixel, in files beside them.

mod batches;
mod folders;
mod label_map;
mod odgt;
mod values;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::{Dataset, Image, Split, decode};
use crate::error::{Error, Result};
pub(super) use batches::SceneJob;
pub use batches::{LabelPad, SceneTransform, Sizes};
pub use label_map::LabelMap;
pub(in crate::train) use values::IGNORED;
use values::Values;
pub use values::{LabelValues, ValueList};

/// Images, each with a class for each of its pixels. Their sizes are known.
pub trait Scenes: Dataset {
    /// Reads the classes of an image's pixels in place of what `into` holds; the map has the image's size.
    ///
    /// # Errors
    /// The map cannot be read; the error names it.
    fn read_labels(&self, index: usize, into: &mut LabelMap) -> Result<()>;
}

/// Names of the classes, one a line, in the directory of a data set.
const CLASSES: &str = "classes.txt";
/// Bytes of that file that are read at most.
const MAX_CLASSES: u64 = 1 << 16;
/// Enough for the header of nearly every image.
const HEADER: usize = 4096;

/// An image and its label map.
struct Pair {
    image: PathBuf,
    labels: PathBuf,
    /// Width and height.
    size: (u32, u32),
}

struct Files {
    pairs: Vec<Pair>,
    classes: Vec<String>,
    values: Values,
}

/// Opens one split of the scenes in a directory: lists of the form `.odgt`, or folders `images` and
/// `annotations`. Every label map is read, so that what is wrong with one shows before training begins.
///
/// # Errors
/// Nothing there that is understood; an image without a label map, or the other way round; maps of
/// another size than their image, or with values that are no class's and not ignored; no pixel that counts. The
/// error names the file.
pub fn open(spec: &str, split: Split, labels: &LabelValues) -> Result<Arc<dyn Scenes>> {
    let dir = Path::new(spec);
    let listed = match odgt::open(dir, split)? {
        None => folders::open(dir, split)?,
        listed => listed,
    };
    let Some(listed) = listed else {
        std::fs::metadata(dir).map_err(Error::io("open", dir))?;
        let expected = "folders images and annotations, with a folder train and a folder val in each; or \
                        lists training.odgt and validation.odgt";
        return Err(Error::malformed(dir, "data set", expected, "neither"));
    };
    let (classes, values) = classes(dir, labels)?;
    let checked = listed
        .into_par_iter()
        .map_init(LabelMap::default, |map, listed| check(listed, &values, map));
    // The first in order, however the threads were faster.
    let checked: Vec<Result<(Pair, bool)>> = checked.collect();
    let checked: Vec<(Pair, bool)> = checked.into_iter().collect::<Result<_>>()?;
    if checked.iter().all(|(_, counts)| !counts) {
        let expected = "a pixel of a class in the label maps";
        return Err(Error::malformed(
            dir,
            "data set",
            expected,
            "ignored values alone",
        ));
    }
    Ok(Arc::new(Files {
        pairs: checked.into_iter().map(|(pair, _)| pair).collect(),
        classes,
        values,
    }))
}

/// An image and a label map that belong together, and the size that a list says.
struct Unchecked {
    image: PathBuf,
    labels: PathBuf,
    size: Option<(usize, usize)>,
}

/// The classes and the values that they have in label maps.
///
/// # Errors
/// Neither is said; names that are not as many as the values.
fn classes(dir: &Path, labels: &LabelValues) -> Result<(Vec<String>, Values)> {
    let file = dir.join(CLASSES);
    let named = if file.is_file() {
        Some(names(&file)?)
    } else {
        None
    };
    let Some(values) = labels.of_classes(named.as_ref().map(Vec::len)) else {
        let reason = format!(
            "expected the values that the classes have in label maps, as in 1-150, or a file {} with the \
             names of those from 0 up",
            file.display()
        );
        return Err(Error::argument("label-values", "", reason));
    };
    let names = match named {
        Some(names) if names.len() == values.len() => names,
        Some(names) => {
            let expected = format!("{} names, as many as classes have values", values.len());
            return Err(Error::malformed(&file, "classes", expected, names.len()));
        }
        None => values.iter().map(u8::to_string).collect(),
    };
    Ok((names, labels.table(&values)?))
}

fn names(file: &Path) -> Result<Vec<String>> {
    let text = crate::file::read_small_file(file, MAX_CLASSES).map_err(Error::io("read", file))?;
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    match names.len() {
        1..=255 => Ok(names),
        found => Err(Error::malformed(file, "classes", "1 to 255 names", found)),
    }
}

/// Whether image and map belong together, and every value in the map is known; and whether any pixel counts.
fn check(listed: Unchecked, values: &Values, map: &mut LabelMap) -> Result<(Pair, bool)> {
    let Unchecked {
        image,
        labels,
        size,
    } = listed;
    let file = File::open(&image).map_err(Error::io("open", &image))?;
    let found = decode::size(BufReader::with_capacity(HEADER, file), &image)?;
    let show = |(width, height)| format!("{width}×{height} pixels");
    if let Some(size) = size.filter(|size| *size != found) {
        let expected = format!("{}, as its list says", show(size));
        return Err(Error::malformed(&image, "size", expected, show(found)));
    }
    map.read(&labels, values)?;
    let own = (map.width(), map.height());
    if own != found {
        let expected = format!("{}, as {} has", show(found), image.display());
        return Err(Error::malformed(&labels, "size", expected, show(own)));
    }
    let pair = Pair {
        image,
        labels,
        size: (found.0 as u32, found.1 as u32),
    };
    Ok((pair, map.labels().iter().any(|label| *label != IGNORED)))
}

impl Dataset for Files {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> PathBuf {
        self.pairs[index].image.clone()
    }

    fn size(&self, index: usize) -> Option<(usize, usize)> {
        let (width, height) = self.pairs[index].size;
        Some((width as usize, height as usize))
    }

    fn read(&self, index: usize, into: &mut Image) -> Result<()> {
        let path = &self.pairs[index].image;
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        decode::decode(&bytes, path, into)
    }
}

impl Scenes for Files {
    fn read_labels(&self, index: usize, into: &mut LabelMap) -> Result<()> {
        into.read(&self.pairs[index].labels, &self.values)
    }
}
