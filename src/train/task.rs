//! What is learned, and what of the settings belongs to one task alone.

use serde::{Deserialize, Serialize};

use super::data::scenes::{IGNORED, LabelPad, LabelValues};
use super::norm::NormName;
use super::settings::{Settings, is_default};
use crate::engine::Task;
use crate::error::{Error, Result};
use crate::net::is_file;

/// What is learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// The class of an image.
    #[default]
    Classification,
    /// The class of each pixel.
    Segmentation,
}

impl TaskName {
    /// As an engine knows it.
    pub fn task(self) -> Task {
        match self {
            TaskName::Classification => Task::Classification,
            TaskName::Segmentation => Task::DenseLabels {
                ignored: u32::from(IGNORED),
            },
        }
    }
}

/// Longest side of a scaled image, in pixels.
const MAX_SIDE: usize = 1 << 14;

impl Settings {
    /// Takes the settings of a recipe for another task: those that mean nothing to it are unset, as is BatchNorm's
    /// momentum where there is no BatchNorm.
    pub(super) fn for_task(self, task: TaskName, norm: NormName) -> Settings {
        let own = Settings {
            bn_momentum: self.bn_momentum.filter(|_| norm != NormName::Itn),
            ..self
        };
        match task {
            _ if task == own.task => own,
            TaskName::Classification => Settings {
                task,
                label_values: None,
                ignored_values: None,
                short_sides: Vec::new(),
                test_sides: Vec::new(),
                long_side: 0,
                label_pad: LabelPad::default(),
                decoder_lr: None,
                ..own
            },
            TaskName::Segmentation => Settings {
                task,
                resolution: None,
                crop_padding: 0,
                rotation: 0.0,
                random_resized_crop: false,
                ..own
            },
        }
    }

    /// Checks what makes sense for one task alone.
    pub(super) fn check_task(&self) -> Result<()> {
        let of_scenes = [
            ("label-values", self.label_values.is_some()),
            ("ignored-values", self.ignored_values.is_some()),
            ("short-sides", !self.short_sides.is_empty()),
            ("test-sides", !self.test_sides.is_empty()),
            ("long-side", self.long_side > 0),
            ("label-pad", !is_default(&self.label_pad)),
            ("decoder-lr", self.decoder_lr.is_some()),
        ];
        let of_images = [
            (
                "resolution",
                self.resolution.is_some() && !is_file(&self.model),
            ),
            ("crop-padding", self.crop_padding > 0),
            ("rotation", self.rotation > 0.0),
            ("random-resized-crop", self.random_resized_crop),
        ];
        let (foreign, task) = match self.task {
            TaskName::Classification => (&of_scenes[..], "classification"),
            TaskName::Segmentation => (&of_images[..], "segmentation"),
        };
        if let Some((key, _)) = foreign.iter().find(|(_, given)| *given) {
            return Err(Error::Usage(format!(
                "{key}: means nothing to the task {task}"
            )));
        }
        let wrong = |sides: &[usize]| sides.iter().any(|side| *side > MAX_SIDE);
        let problem = if wrong(&self.short_sides) || wrong(&self.test_sides) {
            "short-sides, test-sides: expected numbers of pixels up to 16384"
        } else if self.long_side > MAX_SIDE {
            "long-side: expected a number of pixels up to 16384"
        } else if self
            .decoder_lr
            .is_some_and(|lr| !(lr.is_finite() && lr > 0.0))
        {
            "decoder-lr: expected a number above 0"
        } else {
            return Ok(());
        };
        Err(Error::Usage(problem.to_owned()))
    }

    /// The values of label maps.
    pub(super) fn labels(&self) -> LabelValues {
        LabelValues {
            classes: self.label_values.clone(),
            ignored: self.ignored_values.clone(),
        }
    }
}
