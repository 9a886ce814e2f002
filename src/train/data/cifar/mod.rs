//! CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009), as their author distributes them: 32×32 pixels, in
//! the binary and in the Python version.

mod binary;
mod python;

use std::path::{Path, PathBuf};

use super::{Classified, InMemory, Split};
use crate::error::{Error, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
/// Red, green and blue, one plane after the other.
const IMAGE: usize = 3 * PLANE;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cifar10,
    Cifar100,
}

/// How it was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    Python,
}

/// A version: which, how, the folder that its archive unpacks to, a file that is in no other one's.
const VERSIONS: [(Kind, Form, &str, &str); 4] = [
    (
        Kind::Cifar10,
        Form::Binary,
        "cifar-10-batches-bin",
        "data_batch_1.bin",
    ),
    (
        Kind::Cifar10,
        Form::Python,
        "cifar-10-batches-py",
        "data_batch_1",
    ),
    (
        Kind::Cifar100,
        Form::Binary,
        "cifar-100-binary",
        "train.bin",
    ),
    (Kind::Cifar100, Form::Python, "cifar-100-python", "train"),
];

impl Kind {
    fn classes(self) -> u32 {
        match self {
            Kind::Cifar10 => 10,
            Kind::Cifar100 => 100,
        }
    }

    fn files(self, form: Form, split: Split) -> Vec<String> {
        let extension = match form {
            Form::Binary => ".bin",
            Form::Python => "",
        };
        let names: &[&str] = match (self, split) {
            (Kind::Cifar10, Split::Train) => &[
                "data_batch_1",
                "data_batch_2",
                "data_batch_3",
                "data_batch_4",
                "data_batch_5",
            ],
            (Kind::Cifar10, Split::Test) => &["test_batch"],
            (Kind::Cifar100, Split::Train) => &["train"],
            (Kind::Cifar100, Split::Test) => &["test"],
        };
        names
            .iter()
            .map(|name| format!("{name}{extension}"))
            .collect()
    }
}

/// What was read: the images one after the other, each as three planes.
#[derive(Default)]
struct Planes {
    labels: Vec<u32>,
    planes: Vec<u8>,
}

/// Opens the set in `dir`, or in the folder of an archive below it; `None` where there is none.
pub(super) fn open(dir: &Path, split: Split) -> Option<Result<Box<dyn Classified>>> {
    let (kind, form, dir) = VERSIONS.iter().find_map(|(kind, form, folder, file)| {
        let mut places = [dir.to_owned(), dir.join(folder)].into_iter();
        let place = places.find(|place| place.join(file).is_file())?;
        Some((*kind, *form, place))
    })?;
    Some(read(kind, form, dir, split))
}

fn read(kind: Kind, form: Form, dir: PathBuf, split: Split) -> Result<Box<dyn Classified>> {
    let mut read = Planes::default();
    for name in kind.files(form, split) {
        let file = dir.join(name);
        let begin = read.labels.len();
        match form {
            Form::Binary => binary::read(kind, &file, &mut read)?,
            Form::Python => python::read(kind, &file, &mut read)?,
        }
        check(kind, &file, &read.labels[begin..])?;
    }
    let classes = match form {
        Form::Binary => binary::classes(kind, &dir)?,
        Form::Python => python::classes(kind, &dir)?,
    };
    let classes = match classes {
        Some((file, classes)) => named(kind, &file, classes)?,
        None => (0..kind.classes()).map(|class| class.to_string()).collect(),
    };
    let pixels = interleaved(&read.planes);
    let set = InMemory::new(dir, (SIDE, SIDE), classes, read.labels, pixels);
    Ok(Box::new(set))
}

fn check(kind: Kind, file: &Path, labels: &[u32]) -> Result<()> {
    if labels.is_empty() {
        return Err(Error::malformed(file, "file", "images", "none"));
    }
    let classes = kind.classes();
    match labels.iter().position(|label| *label >= classes) {
        None => Ok(()),
        Some(index) => {
            let expected = format!("a label below {classes}");
            let place = format!("image {index}");
            Err(Error::malformed(file, place, expected, labels[index]))
        }
    }
}

fn named(kind: Kind, file: &Path, classes: Vec<String>) -> Result<Vec<String>> {
    let (expected, found) = (kind.classes(), classes.len());
    if found == expected as usize {
        return Ok(classes);
    }
    let expected = format!("the names of {expected} classes");
    Err(Error::malformed(file, "file", expected, found))
}

fn interleaved(planes: &[u8]) -> Vec<u8> {
    let mut pixels = vec![0; planes.len()];
    let images = planes
        .chunks_exact(IMAGE)
        .zip(pixels.chunks_exact_mut(IMAGE));
    for (from, to) in images {
        let (red, rest) = from.split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        for (((to, red), green), blue) in to
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(red)
            .zip(green)
            .zip(blue)
        {
            *to = [*red, *green, *blue];
        }
    }
    pixels
}

#[cfg(test)]
mod tests;
