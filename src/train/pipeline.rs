//! The way of the images into the network, as the settings have it.

use std::sync::Arc;

use super::data::scenes::{self, Sizes};
use super::data::{
    self, Classified, Dataset, Loader, Normalisation, SceneTransform, Scenes, Split, Step,
    Transform,
};
use super::settings::Settings;
use super::task::TaskName;
use crate::error::{Error, Result};
use crate::net::{Graph, Resolution};

/// A data set of one of the tasks.
#[derive(Clone)]
pub(super) enum Opened {
    Classified(Arc<dyn Classified>),
    Scenes(Arc<dyn Scenes>),
}

impl Opened {
    pub(super) fn images(&self) -> &dyn Dataset {
        match self {
            Opened::Classified(set) => &**set,
            Opened::Scenes(set) => &**set,
        }
    }
}

/// Opens one split of the settings' data set.
pub(super) fn dataset(settings: &Settings, split: Split) -> Result<Opened> {
    if settings.data.is_empty() {
        let reason = "expected a data set: a directory, or digits, which is built in";
        return Err(Error::argument("data", "", reason));
    }
    Ok(match settings.task {
        TaskName::Classification => Opened::Classified(data::open(&settings.data, split)?.into()),
        TaskName::Segmentation => {
            Opened::Scenes(scenes::open(&settings.data, split, &settings.labels())?)
        }
    })
}

/// Fills in the resolution, where the images of the data set decide it.
///
/// # Errors
/// They are of different sizes.
pub(super) fn complete_resolution(settings: &mut Settings, train: &dyn Dataset) -> Result<()> {
    if settings.resolution.is_none() && settings.task == TaskName::Classification {
        let Some(size) = common_size(train) else {
            let reason = "the images of the data set are not of one size, so that it must be said \
                          what the network shall see";
            return Err(Error::argument("resolution", "", reason));
        };
        settings.resolution = Some(size);
    }
    Ok(())
}

/// Fills in the recipe's normalisation of images of so many channels.
pub(super) fn complete_normalisation(settings: &mut Settings, classes: usize, channels: usize) {
    let usual = settings.recipe.normalisation(classes);
    let filled = |numbers: [f32; 3]| match channels {
        1 => vec![short(grey(numbers))],
        _ => numbers.map(short).to_vec(),
    };
    settings.mean.get_or_insert_with(|| filled(usual.mean));
    settings.std.get_or_insert_with(|| filled(usual.deviation));
}

/// The mean of a grey image, given those of its red, green and blue; and its deviation, as far as the
/// three rise and fall together.
fn grey(numbers: [f32; 3]) -> f32 {
    let shares = data::LUMA.iter().zip(numbers);
    shares.map(|(share, number)| share * number).sum()
}

/// Batches of `dataset` for training or for tests, prepared by `workers` threads, as this network takes
/// them.
pub(super) fn loader(
    settings: &Settings,
    graph: &Graph,
    dataset: Opened,
    split: Split,
    workers: usize,
) -> Result<Loader> {
    let colours = |numbers: &Option<Vec<f64>>| match numbers.as_deref() {
        Some(&[red, green, blue]) => Some([red, green, blue].map(|number| number as f32)),
        Some(&[one]) => Some([one as f32; 3]),
        _ => None,
    };
    let usual = settings
        .recipe
        .normalisation(dataset.images().classes().len());
    let normalisation = Normalisation {
        mean: colours(&settings.mean).unwrap_or(usual.mean),
        deviation: colours(&settings.std).unwrap_or(usual.deviation),
    };
    let input = graph.input_shape();
    let dataset = match dataset {
        Opened::Classified(dataset) => dataset,
        Opened::Scenes(scenes) => {
            let classes = scenes.classes().len();
            let transform = scene_transform(settings, (graph, classes), split, normalisation)?;
            return Loader::scenes(scenes, transform, settings.batch_size, workers);
        }
    };
    let size = Resolution {
        height: input.height,
        width: input.width,
    };
    let fits = common_size(&*dataset) == Some(size);
    let mut steps = match split {
        Split::Train => training_steps(settings, size, fits),
        Split::Test => test_steps(settings, size, fits),
    };
    if input.channels == 1 {
        steps.insert(0, Step::Grayscale);
    }
    let transform = Transform {
        steps,
        normalisation,
    };
    Loader::new(dataset, transform, settings.batch_size, workers)
}

/// # Errors
/// The network has no class for each pixel, another number of them, or none of images in colour.
fn scene_transform(
    settings: &Settings,
    (graph, classes): (&Graph, usize),
    split: Split,
    normalisation: Normalisation,
) -> Result<SceneTransform> {
    let (input, output) = (graph.input_shape(), graph.output_shape());
    let stride = input.height / output.height.max(1);
    let fits = |side: usize, of: usize| side * stride == of;
    let maps =
        output.pixels() > 1 && fits(output.height, input.height) && fits(output.width, input.width);
    if !maps || input.channels != 3 || output.channels != classes {
        let reason = format!(
            "makes {output} of {input}: segmentation needs a map of {classes} classes, of every pixel or every \
             eighth, of images in colour"
        );
        return Err(graph.error(&graph.output_node().name, reason).into());
    }
    let sides = match split {
        Split::Train => &settings.short_sides,
        Split::Test => &settings.test_sides,
    };
    Ok(SceneTransform {
        split,
        sizes: Sizes {
            short_sides: sides.clone(),
            long_side: settings.long_side,
        },
        flip: settings.flip,
        stride,
        pad: settings.label_pad,
        normalisation,
    })
}

/// Crops and scales come first: the other steps are cheaper on fewer pixels.
fn training_steps(settings: &Settings, size: Resolution, fits: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if settings.random_resized_crop {
        steps.push(Step::RandomResizedCrop(size));
    } else if !fits {
        steps.push(Step::Resize(size));
    }
    if settings.crop_padding > 0 {
        let padding = settings.crop_padding;
        steps.push(Step::RandomCrop { size, padding });
    } else if !fits && !settings.random_resized_crop {
        steps.push(Step::CenterCrop(size));
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
fn test_steps(settings: &Settings, size: Resolution, fits: bool) -> Vec<Step> {
    if fits {
        return Vec::new();
    }
    let larger = |side: usize| (side * 256).div_ceil(224);
    let scaled = if settings.random_resized_crop {
        Resolution {
            height: larger(size.height),
            width: larger(size.width),
        }
    } else {
        size
    };
    vec![Step::Resize(scaled), Step::CenterCrop(size)]
}

/// Height and width of all images, where they are known to be the same.
fn common_size(dataset: &dyn Dataset) -> Option<Resolution> {
    let (width, height) = dataset.size(0)?;
    let same = |index| dataset.size(index) == Some((width, height));
    let size = Resolution { height, width };
    (1..dataset.len()).all(same).then_some(size)
}

/// The shortest number that is this one in f32: 0.4914, where the nearest f64 has 16 digits.
fn short(number: f32) -> f64 {
    let text = number.to_string();
    text.parse().unwrap_or(f64::from(number))
}
