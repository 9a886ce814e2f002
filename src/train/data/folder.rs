//! Folders of images: a folder a class below `train`, and below `val` or `test`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::list::{Listed, subfolders};
use super::{Classified, Dataset, Image, Split, decode};
use crate::error::{Error, Result};

/// Where the images for training lie.
const TRAIN: &str = "train";
/// Where those for testing lie, the first that is there; `test` comes last, since where both are
/// there the publisher often keeps its labels to himself.
pub(super) const TEST: [&str; 3] = ["val", "validation", "test"];
/// Tiny-ImageNet's list of which image in `val/images` shows what.
const ANNOTATIONS: &str = "val_annotations.txt";
/// So many files are opened beforehand to see their sizes, evenly spread over the set.
const CHECKED: usize = 1 << 17;
/// Enough for the header of nearly every image.
const HEADER: usize = 4096;

struct Folder {
    classes: Vec<String>,
    files: Listed,
    labels: Vec<u32>,
    /// Width and height; 0 where the file was not opened beforehand.
    sizes: Vec<(u32, u32)>,
}

/// Opens the split in `dir`; `None` where no such folders are there.
pub(super) fn open(dir: &Path, split: Split) -> Option<Result<Box<dyn Classified>>> {
    let train = dir.join(TRAIN);
    let test = TEST.map(|name| dir.join(name));
    let test = test.iter().find(|folder| folder.is_dir());
    if !train.is_dir() && test.is_none() {
        return None;
    }
    let folder = match split {
        Split::Train => Some(&train).filter(|train| train.is_dir()),
        Split::Test => test,
    };
    let Some(folder) = folder else {
        let (expected, found) = match split {
            Split::Train => ("a folder train", "images for testing only"),
            Split::Test => ("a folder val or test", "images for training only"),
        };
        return Some(Err(Error::malformed(dir, "data set", expected, found)));
    };
    // The classes are those of the training images, whatever is tested on.
    let named_by = if train.is_dir() { &train } else { folder };
    Some(read(folder, named_by))
}

fn read(folder: &Path, named_by: &Path) -> Result<Box<dyn Classified>> {
    let classes = subfolders(named_by)?;
    if classes.is_empty() {
        return Err(Error::malformed(
            named_by,
            "folder",
            "a folder for each class",
            "none",
        ));
    }
    let mut files = Listed::default();
    let mut labels = Vec::new();
    let annotations = folder.join(ANNOTATIONS);
    if annotations.is_file() {
        annotated(folder, &annotations, &classes, &mut files, &mut labels)?;
    } else {
        for class in subfolders(folder)? {
            let path = folder.join(&class);
            let label = classes.binary_search(&class).map_err(|_| {
                let expected = format!("a class of {}", named_by.display());
                Error::malformed(&path, "folder", expected, "another name")
            })?;
            let begin = files.len();
            files.walk(&path)?;
            if files.len() == begin {
                let expected = "images (.jpg, .jpeg, .png, .webp)";
                return Err(Error::malformed(&path, "folder", expected, "none"));
            }
            labels.resize(files.len(), label as u32);
        }
    }
    if files.len() == 0 {
        return Err(Error::malformed(folder, "folder", "images", "none"));
    }
    let names = classes
        .iter()
        .map(|class| class.to_string_lossy().into_owned());
    let sizes = sizes(&files)?;
    Ok(Box::new(Folder {
        classes: names.collect(),
        files,
        labels,
        sizes,
    }))
}

/// Tiny-ImageNet's images for testing: all in one folder, with a line for each of a table.
fn annotated(
    folder: &Path,
    annotations: &Path,
    classes: &[OsString],
    files: &mut Listed,
    labels: &mut Vec<u32>,
) -> Result<()> {
    let text = std::fs::read_to_string(annotations).map_err(Error::io("read", annotations))?;
    let mut listed: BTreeMap<OsString, u32> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let place = || format!("line {}", number + 1);
        let mut columns = line.split('\t');
        let (Some(file), Some(class)) = (columns.next(), columns.next()) else {
            let expected = "a file and a class, with a tab between them";
            return Err(Error::malformed(
                annotations,
                place(),
                expected,
                format!("{line:?}"),
            ));
        };
        let class = OsString::from(class);
        let label = classes.binary_search(&class).map_err(|_| {
            let expected = "a class of the training images";
            Error::malformed(annotations, place(), expected, format!("{class:?}"))
        })?;
        listed.insert(file.into(), label as u32);
    }
    let images = folder.join("images");
    files.walk(&images)?;
    for index in 0..files.len() {
        let path = files.path(index);
        let label = path.file_name().and_then(|name| listed.remove(name));
        labels.push(label.ok_or_else(|| {
            let expected = format!("a line in {}", annotations.display());
            Error::malformed(&path, "image", expected, "none")
        })?);
    }
    match listed.into_keys().next() {
        None => Ok(()),
        Some(missing) => Err(Error::malformed(
            &images.join(missing),
            "image",
            format!("a file, as {} says", annotations.display()),
            "none",
        )),
    }
}

/// The sizes that the headers say.
fn sizes(files: &Listed) -> Result<Vec<(u32, u32)>> {
    let step = files.len().div_ceil(CHECKED);
    let size = |index: usize| {
        if !index.is_multiple_of(step) {
            return Ok((0, 0));
        }
        let path = files.path(index);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let (width, height) = decode::size(BufReader::with_capacity(HEADER, file), &path)?;
        Ok((width as u32, height as u32))
    };
    let sizes: Vec<Result<_>> = (0..files.len()).into_par_iter().map(size).collect();
    // The first in order, however the threads were faster.
    sizes.into_iter().collect()
}

impl Dataset for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> PathBuf {
        self.files.path(index)
    }

    fn size(&self, index: usize) -> Option<(usize, usize)> {
        let (width, height) = self.sizes[index];
        (width > 0).then_some((width as usize, height as usize))
    }

    fn read(&self, index: usize, into: &mut Image) -> Result<()> {
        let path = self.files.path(index);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        decode::decode(&bytes, &path, into)
    }
}

impl Classified for Folder {
    fn class(&self, index: usize) -> u32 {
        self.labels[index]
    }
}
