//! A few test scenes with what the network says of them, kept in a run so that they can be looked at.

use std::fs;
use std::path::{Path, PathBuf};

use png::ColorType;

use super::data::scenes::IGNORED;
use super::data::{Dataset, Image, decode, encode};
use super::evaluate::Predicted;
use crate::error::{Error, Result};
use crate::storage::replace_file;

/// How many are kept.
const COUNT: usize = 3;
/// Their directory in a run.
const SCENES: &str = "scenes";

/// A test scene, its labels, and what the network of the best epoch says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SceneSample {
    /// The image.
    pub image: Image,
    /// The class of each pixel, row by row; 255 where a pixel does not count.
    pub labels: Vec<u8>,
    /// The class that was predicted for each pixel.
    pub predicted: Vec<u8>,
}

/// What is kept of an evaluation.
#[derive(Default)]
pub(super) struct Samples {
    wanted: Vec<usize>,
    /// The number of a scene, its labels and predictions.
    seen: Vec<(usize, Vec<u8>, Vec<u8>)>,
}

impl Samples {
    /// Those of so many scenes: some, evenly spread.
    pub(super) fn of(scenes: usize) -> Samples {
        let count = COUNT.min(scenes);
        let at = |sample: usize| (2 * sample + 1) * scenes / (2 * count);
        Samples {
            wanted: (0..count).map(at).collect(),
            seen: Vec::new(),
        }
    }

    /// Keeps a scene if it is one of them.
    pub(super) fn see(&mut self, predicted: Predicted<'_>) {
        if self.wanted.contains(&predicted.index) {
            let labels = predicted.labels.iter().map(|label| *label as u8).collect();
            let classes = predicted.classes.to_vec();
            self.seen.push((predicted.index, labels, classes));
        }
    }

    /// Writes them into a run, in place of those of another epoch.
    pub(super) fn write(&self, run: &Path, dataset: &dyn Dataset) -> Result<()> {
        let folder = run.join(SCENES);
        fs::create_dir_all(&folder).map_err(Error::io("create the directory", &folder))?;
        for (number, (index, labels, predicted)) in self.seen.iter().enumerate() {
            let image = dataset.image(*index)?;
            let size = (image.width(), image.height());
            let [image_file, labels_file, predicted_file] = files(&folder, number);
            let all = [
                (image_file, ColorType::Rgb, image.pixels()),
                (labels_file, ColorType::Grayscale, labels),
                (predicted_file, ColorType::Grayscale, predicted),
            ];
            for (file, color, raw) in all {
                let bytes = encode::png(size, color, None, raw);
                replace_file(&file, &bytes.map_err(Error::io("draw", &file))?)?;
            }
        }
        Ok(())
    }
}

/// The samples that a run has kept; none where it is no run of scenes.
///
/// # Errors
/// A file that cannot be read, or is none of a sample.
pub(super) fn read(run: &Path) -> Result<Vec<SceneSample>> {
    let folder = run.join(SCENES);
    let mut samples = Vec::new();
    for number in 0..COUNT {
        let files = files(&folder, number);
        if !files.iter().all(|file| file.is_file()) {
            break;
        }
        let read = |file: &Path| {
            let bytes = fs::read(file).map_err(Error::io("read", file))?;
            let mut image = Image::default();
            decode::decode(&bytes, file, &mut image).map(|()| image)
        };
        let [image, labels, predicted] = files.each_ref().map(|file| read(file));
        let image = image?;
        let grey = |map: Result<Image>, file: &Path| {
            let map = map?;
            if (map.width(), map.height()) != (image.width(), image.height()) {
                let expected = format!("{}×{} pixels", image.width(), image.height());
                return Err(Error::malformed(file, "size", expected, "another size"));
            }
            Ok(map.pixels().iter().copied().step_by(3).collect::<Vec<u8>>())
        };
        samples.push(SceneSample {
            labels: grey(labels, &files[1])?,
            predicted: grey(predicted, &files[2])?,
            image,
        });
    }
    Ok(samples)
}

/// Image, labels and prediction of a sample.
fn files(folder: &Path, number: usize) -> [PathBuf; 3] {
    ["image", "labels", "predicted"].map(|kind| folder.join(format!("{number}-{kind}.png")))
}

impl SceneSample {
    /// The label of pixels that do not count.
    pub const IGNORED: u8 = IGNORED;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_the_scenes() {
        assert_eq!(Samples::of(101).wanted, [16, 50, 84]);
        assert_eq!(Samples::of(2).wanted, [0, 1]);
    }
}
