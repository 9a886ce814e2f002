//! The way of the images into the network, as the settings have it.

use std::sync::Arc;

use super::data::{self, Dataset, Loader, Normalisation, Split, Step, Transform};
use super::settings::Settings;
use crate::error::{Error, Result};

/// Opens one split of the settings' data set.
pub(super) fn dataset(settings: &Settings, split: Split) -> Result<Arc<dyn Dataset>> {
    if settings.data.is_empty() {
        let reason = "expected a data set: a directory, or digits, which is built in";
        return Err(Error::argument("data", "", reason));
    }
    Ok(data::open(&settings.data, split)?.into())
}

/// Fills in what the data set decides: the resolution and how colours are normalised.
pub(super) fn complete(settings: &mut Settings, train: &dyn Dataset) -> Result<()> {
    if settings.resolution.is_none() {
        settings.resolution = match common_size(train) {
            Some((width, height)) if width == height => Some(width),
            _ => {
                let reason = "the images of the data set are not squares of one size, so that it \
                              must be said what the network shall see";
                return Err(Error::argument("resolution", "", reason));
            }
        };
    }
    let normalisation = settings.recipe.normalisation(train.classes().len());
    settings.mean.get_or_insert(normalisation.mean.map(short));
    settings
        .std
        .get_or_insert(normalisation.deviation.map(short));
    Ok(())
}

/// Batches of `dataset` for training or for tests, prepared by `workers` threads.
pub(super) fn loader(
    settings: &Settings,
    dataset: Arc<dyn Dataset>,
    split: Split,
    workers: usize,
) -> Result<Loader> {
    let side = settings.resolution.unwrap_or_default();
    let fits = common_size(&*dataset) == Some((side, side));
    let steps = match split {
        Split::Train => training_steps(settings, side, fits),
        Split::Test => test_steps(settings, side, fits),
    };
    let single = |numbers: Option<[f64; 3]>| numbers.map(|all| all.map(|number| number as f32));
    let usual = settings.recipe.normalisation(dataset.classes().len());
    let transform = Transform {
        steps,
        normalisation: Normalisation {
            mean: single(settings.mean).unwrap_or(usual.mean),
            deviation: single(settings.std).unwrap_or(usual.deviation),
        },
    };
    Loader::new(dataset, transform, settings.batch_size, workers)
}

/// Crops and scales come first: the other steps are cheaper on fewer pixels.
fn training_steps(settings: &Settings, side: usize, fits: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if settings.random_resized_crop {
        steps.push(Step::RandomResizedCrop(side));
    } else if !fits {
        steps.push(Step::Resize(side));
    }
    if settings.crop_padding > 0 {
        let padding = settings.crop_padding;
        steps.push(Step::RandomCrop { side, padding });
    } else if !fits && !settings.random_resized_crop {
        steps.push(Step::CenterCrop(side));
    }
    if settings.flip {
        steps.push(Step::RandomHorizontalFlip);
    }
    if settings.rotation > 0.0 {
        steps.push(Step::RandomRotation(settings.rotation));
    }
    steps
}

/// A network that was trained on crops is tested on the middle of a larger image: 256 pixels for
/// 224 (torchvision's references).
fn test_steps(settings: &Settings, side: usize, fits: bool) -> Vec<Step> {
    let scaled = match settings.random_resized_crop {
        true => (side * 256).div_ceil(224),
        false => side,
    };
    match fits {
        true => Vec::new(),
        false => vec![Step::Resize(scaled), Step::CenterCrop(side)],
    }
}

/// Width and height of all images, where they are known to be the same.
fn common_size(dataset: &dyn Dataset) -> Option<(usize, usize)> {
    let first = dataset.size(0)?;
    let same = |index| dataset.size(index) == Some(first);
    (1..dataset.len()).all(same).then_some(first)
}

/// The shortest number that is this one in f32: 0.4914, where the nearest f64 has 16 digits.
fn short(number: f32) -> f64 {
    let text = number.to_string();
    text.parse().unwrap_or(f64::from(number))
}
