//! Folders `images` and `annotations` with a folder for each split, as ADE20K and CamVid come: an image
//! and its map have the same name, but for the ending.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Unchecked;
use crate::error::{Error, Result};
use crate::train::data::Split;
use crate::train::data::folder::TEST;
use crate::train::data::list::Listed;

const IMAGES: &str = "images";
const ANNOTATIONS: &str = "annotations";
const TRAIN: [&str; 2] = ["train", "training"];

/// The pairs of a split; `None` where there are no such folders.
pub(super) fn open(dir: &Path, split: Split) -> Result<Option<Vec<Unchecked>>> {
    let (images, annotations) = (dir.join(IMAGES), dir.join(ANNOTATIONS));
    if !images.is_dir() || !annotations.is_dir() {
        return Ok(None);
    }
    let names: &[&str] = match split {
        Split::Train => &TRAIN,
        Split::Test => &TEST,
    };
    let Some(name) = names.iter().find(|name| images.join(name).is_dir()) else {
        let expected = format!("a folder {}", names.join(" or "));
        return Err(Error::malformed(&images, "folder", expected, "none"));
    };
    pairs(&images.join(name), &annotations.join(name)).map(Some)
}

fn pairs(images: &Path, annotations: &Path) -> Result<Vec<Unchecked>> {
    if !annotations.is_dir() {
        let expected = format!("label maps of the images in {}", images.display());
        return Err(Error::malformed(
            annotations,
            "folder",
            expected,
            "no folder",
        ));
    }
    let images_by_name = by_name(images)?;
    let mut maps = by_name(annotations)?;
    let mut listed = Vec::with_capacity(images_by_name.len());
    for (name, image) in images_by_name {
        let Some(labels) = maps.remove(&name) else {
            let expected = format!("a label map {}.png", annotations.join(&name).display());
            return Err(Error::malformed(&image, "image", expected, "none"));
        };
        listed.push(Unchecked {
            image,
            labels,
            size: None,
        });
    }
    if let Some((name, map)) = maps.pop_first() {
        let expected = format!(
            "an image {}.jpg, .png or .webp",
            images.join(name).display()
        );
        return Err(Error::malformed(&map, "label map", expected, "none"));
    }
    if listed.is_empty() {
        return Err(Error::malformed(images, "folder", "images", "none"));
    }
    Ok(listed)
}

/// The images below a folder by their paths in it, without ending.
fn by_name(folder: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut files = Listed::default();
    files.walk(folder)?;
    let mut named = BTreeMap::new();
    for path in (0..files.len()).map(|index| files.path(index)) {
        let below = path.strip_prefix(folder).unwrap_or(&path);
        if let Some(other) = named.insert(below.with_extension(""), path.clone()) {
            let expected = format!("one file of this name, and not {} too", other.display());
            return Err(Error::malformed(&path, "folder", expected, "two"));
        }
    }
    Ok(named)
}
