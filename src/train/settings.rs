//! Settings of a training run: those of a recipe, each of which a file or a flag can override.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::data::scenes::{LabelPad, ValueList};
use super::norm::{NormChoice, NormName};
use super::pruning::{self, AfterTicket, Soft};
use super::recipe::Recipe;
use super::rule::RunRule;
use super::schedule::{Shape, WarmUp};
use super::task::TaskName;
use super::text;
use crate::batchnorm::Filter;
use crate::engine::{Optimizer, Update};
use crate::error::{Error, Result};
use crate::net::Resolution;
use crate::regen::{Below, Method, Options, Schedule, Scope, To};

/// All settings of a training run. As text: TOML (`settings.toml`) or JSON (in `state.json`), one key a
/// setting, named like the flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The recipe that the others come from.
    pub recipe: Recipe,
    /// The network, by its name in [`zoo`](crate::net::zoo).
    pub model: String,
    /// Stem: `native` or `cifar`.
    pub stem: Stem,
    /// Width multiplier of its channel counts.
    pub width: f64,
    /// Normalisation: `batch`, `itn` or `ce`.
    pub norm: NormName,
    /// `itn`, `ce`: channels of a group, halved until they divide those of a layer; none: 64 and 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_group: Option<usize>,
    /// `itn`, `ce`: Newton iterations; none: 5 and 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_iterations: Option<usize>,
    /// `ce`: factor by which the instance branch reduces the channels; none: 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_reduction: Option<usize>,
    /// Input height and width; none: those of the data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// The data set (see [`data::open`](super::data::open) and [`scenes::open`](super::data::scenes::open)).
    pub data: String,
    /// What is learned.
    #[serde(skip_serializing_if = "is_default")]
    pub task: TaskName,
    /// `segmentation`: values of the classes in label maps, in their order; none: 0, 1, …, one for each name in
    /// `classes.txt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_values: Option<ValueList>,
    /// `segmentation`: values of pixels that do not count; none: 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_values: Option<ValueList>,
    /// Random seed of initial weights, order of the images, augmentation and dropout.
    pub seed: u64,

    /// Number of epochs.
    pub epochs: u64,
    /// Updates in an epoch; 0: as many as go through all images once.
    #[serde(skip_serializing_if = "is_default")]
    pub epoch_updates: u64,
    /// Batch size.
    pub batch_size: usize,
    /// Gradient accumulation: batches in one optimizer step.
    pub accumulate: usize,
    /// The optimizer.
    pub optimizer: OptimizerName,
    /// Peak learning rate.
    pub lr: f64,
    /// Peak learning rate of the decoder ([`TensorSpec::is_of_decoder`]); none: as of all.
    ///
    /// [`TensorSpec::is_of_decoder`]: crate::net::TensorSpec::is_of_decoder
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder_lr: Option<f64>,
    /// SGD: momentum, 0 ≤ m < 1.
    pub momentum: f64,
    /// SGD: Nesterov momentum.
    pub nesterov: bool,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weight decay applies to γ, β and biases too, as in the paper.
    pub decay_vectors: bool,
    /// Gradient clipping: largest norm of the whole gradient; 0: no clipping.
    pub clip_norm: f64,
    /// Learning-rate schedule.
    pub schedule: Shape,
    /// `multi-step`: numbers of finished epochs at which the learning rate falls.
    pub milestones: Vec<u64>,
    /// `step`: epochs between two falls of the learning rate.
    pub step_epochs: u64,
    /// `step`, `multi-step`: factor that multiplies the learning rate at each fall.
    pub lr_factor: f64,
    /// Epochs of linear learning-rate warm-up.
    pub warmup_epochs: u64,
    /// Label smoothing, from 0 to 1.
    pub label_smoothing: f64,
    /// Momentum of every BatchNorm: the weight of a new batch in the running statistics; none: the
    /// network's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bn_momentum: Option<f64>,
    /// Decay of the exponential moving average (EMA) of the weights; 0: none is kept.
    pub ema: f64,
    /// Early stopping: epochs without a better test accuracy after which the run ends; 0: never.
    pub patience: u64,
    /// Training batches over which BatchNorm's running statistics are recomputed before each test;
    /// 0: they are those of training.
    pub recalibrate: usize,
    /// Number of latest checkpoints to keep.
    pub keep: u64,
    /// What is recorded after each epoch: nothing if none; else γ of every channel, and gradients in the
    /// layers named, or in all layers if the list is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Vec<String>>,

    /// Random crop: black pixels of padding on every side; 0: no crop.
    pub crop_padding: usize,
    /// Random horizontal flip.
    pub flip: bool,
    /// Random rotation, by up to this many degrees.
    pub rotation: f64,
    /// Random resized crop.
    pub random_resized_crop: bool,
    /// `segmentation`: lengths of the images' shorter side in training, one of which is drawn for each batch; 0, or
    /// none: the images' own.
    #[serde(skip_serializing_if = "is_default")]
    pub short_sides: Vec<usize>,
    /// `segmentation`: lengths of the images' shorter side in tests, whose predictions are averaged; 0, or none: the
    /// images' own.
    #[serde(skip_serializing_if = "is_default")]
    pub test_sides: Vec<usize>,
    /// `segmentation`: greatest length of the images' longer side; 0: any.
    #[serde(skip_serializing_if = "is_default")]
    pub long_side: usize,
    /// `segmentation`: the label of what is padded.
    #[serde(skip_serializing_if = "is_default")]
    pub label_pad: LabelPad,
    /// Mean of red, green and blue in 0..1, or one number for all; none: the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// Standard deviation of red, green and blue, or one number for all; none: the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,

    /// E_RG, the epochs between two regenerations; 0: never.
    pub regen_every: u64,
    /// The first epoch to regenerate at; none: E_RG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regen_start: Option<u64>,
    /// The last epoch to regenerate at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regen_until: Option<u64>,
    /// Which channels are regenerated.
    #[serde(with = "text")]
    pub rule: RunRule,
    /// The threshold.
    #[serde(with = "text")]
    pub below: Below,
    /// The new γ.
    #[serde(with = "text")]
    pub to: To,
    /// One threshold, or one a layer.
    #[serde(with = "text")]
    pub scope: Scope,
    /// Whether γ that are exactly 0 are left alone and out of the median.
    pub keep_zeros: bool,
    /// Whether γ of IterNorm are counted and regenerated too.
    pub iternorm: bool,
    /// Only layers whose name matches one of these.
    pub include: Vec<String>,
    /// No layer whose name matches one of these.
    pub exclude: Vec<String>,
    /// What happens to the optimizer state of regenerated γ.
    pub regen_state: RegenState,
    /// Whether pruned channels are counted and regenerated too, as in the authors' public code.
    pub pruned_as_public: bool,

    /// λ of the sparsity penalty λ·Σ|γ| of network slimming; 0: none.
    pub sparsity: f64,
    /// Criterion by which channels are pruned before the first epoch.
    #[serde(with = "text")]
    pub prune_method: Method,
    /// Share of the channels pruned before the first epoch; 0: none.
    pub prune_ratio: f64,
    /// FPGM: share of each convolution's filters that is pruned first, by the smallest L2 norm.
    pub norm_ratio: f64,
    /// Fewest channels that pruning leaves in a layer.
    pub min_channels: usize,
    /// Soft pruning of filters after each epoch.
    #[serde(with = "text")]
    pub soft: Soft,
    /// Share of the channels that an Early-Bird ticket prunes; 0: no search.
    pub early_bird: f64,
    /// What to do when the ticket is found.
    #[serde(rename = "continue")]
    pub after_ticket: AfterTicket,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The stem of a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// As it is defined.
    #[default]
    Native,
    /// For images of 32 × 32.
    Cifar,
}

/// An optimizer by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay; β 0.9 and 0.999, ε 1e-8.
    AdamW,
}

/// What happens to the optimizer state of a regenerated γ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegenState {
    /// It is kept, as in the paper.
    #[default]
    Keep,
    /// It is reset ([`regen::reset`](crate::regen::reset)).
    Reset,
}

/// An epoch of more updates would need too much memory for its order.
const MAX_UPDATES: u64 = 1_000_000;
impl Default for Settings {
    fn default() -> Settings {
        Recipe::default().settings()
    }
}

impl Settings {
    /// `base` overridden by the keys of each table; later tables win.
    ///
    /// # Errors
    /// A key that is no setting, a value that is none of its kind, settings that make no sense.
    pub fn with(base: &Settings, changes: &[Table]) -> Result<Settings> {
        let wrong = |err: &dyn std::fmt::Display| Error::Usage(format!("settings: {err}"));
        let mut all = Table::try_from(base).map_err(|err| wrong(&err))?;
        for table in changes {
            all.extend(table.clone());
        }
        let settings: Settings = all.try_into().map_err(|err: toml::de::Error| {
            let text = err.to_string();
            wrong(&text.trim_end())
        })?;
        settings.check()?;
        Ok(settings)
    }

    /// Checks ranges and combinations.
    fn check(&self) -> Result<()> {
        let finite = |value: f64| value.is_finite() && value >= 0.0;
        let share = |value: f64| (0.0..1.0).contains(&value);
        let uneven =
            |all: &Option<Vec<f64>>| all.as_ref().is_some_and(|all| ![1, 3].contains(&all.len()));
        let problems = [
            (self.epochs == 0, "epochs: 0, expected at least 1"),
            (self.batch_size == 0, "batch-size: 0, expected at least 1"),
            (self.accumulate == 0, "accumulate: 0, expected at least 1"),
            (self.keep == 0, "keep: 0, expected at least 1"),
            (
                self.epoch_updates > MAX_UPDATES,
                "epoch-updates: expected at most 1000000",
            ),
            (
                !(finite(self.lr) && self.lr > 0.0),
                "lr: expected a number above 0",
            ),
            (
                !share(self.momentum),
                "momentum: expected a number from 0 up to but not 1",
            ),
            (
                !finite(self.weight_decay),
                "weight-decay: expected a number from 0 up",
            ),
            (
                !finite(self.clip_norm),
                "clip-norm: expected a number from 0 up",
            ),
            (
                !(finite(self.lr_factor) && self.lr_factor > 0.0),
                "lr-factor: expected a number above 0",
            ),
            (
                !(0.0..=1.0).contains(&self.label_smoothing),
                "label-smoothing: expected a number from 0 to 1",
            ),
            (
                self.bn_momentum
                    .is_some_and(|momentum| !(momentum > 0.0 && momentum <= 1.0)),
                "bn-momentum: expected a number above 0 and at most 1",
            ),
            (
                self.bn_momentum.is_some() && self.norm == NormName::Itn,
                "bn-momentum: a network with the norm itn has no BatchNorm",
            ),
            (
                !share(self.ema),
                "ema: expected a number from 0 up to but not 1",
            ),
            (
                !(0.0..=180.0).contains(&self.rotation),
                "rotation: expected degrees from 0 to 180",
            ),
            (
                self.nesterov && self.momentum == 0.0 && self.optimizer == OptimizerName::Sgd,
                "nesterov: needs a momentum above 0",
            ),
            (
                self.schedule == Shape::Step && self.step_epochs == 0,
                "step-epochs: the schedule step needs at least 1",
            ),
            (
                self.schedule == Shape::OneCycle && self.warmup_epochs > 0,
                "warmup-epochs: one-cycle has a warm-up of its own",
            ),
            (
                self.random_resized_crop && self.crop_padding > 0,
                "crop-padding: random-resized-crop crops already",
            ),
            (
                self.rule == RunRule::Random && self.scope != Scope::Network,
                "scope: the rule random draws from the whole network",
            ),
            (
                self.regen_start == Some(0),
                "regen-start: 0, the first epoch is 1",
            ),
            (
                uneven(&self.mean),
                "mean: expected one number, or three: of red, green and blue",
            ),
            (
                uneven(&self.std),
                "std: expected one number, or three: of red, green and blue",
            ),
            (
                self.std.as_ref().is_some_and(|std| {
                    std.iter().any(|value| !(value.is_finite() && *value > 0.0))
                }),
                "std: expected numbers above 0",
            ),
        ];
        match problems.iter().find(|(wrong, _)| *wrong) {
            Some((_, problem)) => Err(Error::Usage((*problem).to_owned())),
            None => {
                self.check_task()?;
                pruning::check(self)?;
                self.norm().norm()?;
                self.filter().map(|_| ())
            }
        }
    }

    /// The normalisation and its settings.
    pub fn norm(&self) -> NormChoice {
        NormChoice {
            name: self.norm,
            group: self.norm_group,
            iterations: self.norm_iterations,
            reduction: self.ce_reduction,
        }
    }

    /// One optimizer step at this learning rate, after `updates` others.
    pub fn update(&self, learning_rate: f64, updates: u64) -> Update {
        Update {
            optimizer: match self.optimizer {
                OptimizerName::Sgd => Optimizer::Sgd {
                    momentum: self.momentum,
                    nesterov: self.nesterov,
                },
                OptimizerName::AdamW => Optimizer::AdamW {
                    betas: (0.9, 0.999),
                    epsilon: 1e-8,
                    step: updates,
                },
            },
            learning_rate,
            weight_decay: self.weight_decay,
            decoder_factor: self.decoder_lr.map_or(1.0, |lr| lr / self.lr),
            spare_vectors: !self.decay_vectors,
            clip_norm: (self.clip_norm > 0.0).then_some(self.clip_norm),
        }
    }

    /// The epochs at which γ are regenerated, if any.
    pub fn regeneration(&self) -> Option<Schedule> {
        (self.regen_every > 0).then(|| Schedule {
            every: self.regen_every,
            start: self.regen_start.unwrap_or(self.regen_every),
            until: self.regen_until,
        })
    }

    /// The rule of a regeneration.
    pub fn rule_options(&self) -> Options {
        Options {
            rule: self.rule.rule(),
            below: self.below,
            to: self.to,
            scope: self.scope,
            keep_zeros: self.keep_zeros,
        }
    }

    /// The layers that are regenerated.
    ///
    /// # Errors
    /// A name that is no regular expression.
    pub fn filter(&self) -> Result<Filter> {
        let compiled = |list: &[String]| {
            let regexes = list.iter().map(|text| {
                Regex::new(text).map_err(|err| Error::Usage(format!("{text:?}: {err}")))
            });
            regexes.collect::<Result<Vec<_>>>()
        };
        Ok(Filter {
            include: compiled(&self.include)?,
            exclude: compiled(&self.exclude)?,
            iternorm: self.iternorm,
        })
    }

    pub(super) fn warm_up(&self) -> WarmUp {
        WarmUp {
            epochs: self.warmup_epochs,
        }
    }

    /// As TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }
}

/// Reads a settings file. Its keys are checked before they are merged, so that an error names the
/// place in the text.
///
/// # Errors
/// The file cannot be read; what stands there is no TOML or no setting.
pub fn read_file(path: &std::path::Path) -> Result<Table> {
    const MAX: u64 = 1 << 20;
    let text = crate::file::read_small_file(path, MAX).map_err(Error::io("read", path))?;
    let wrong = |err: toml::de::Error| Error::Usage(format!("{}: {}", path.display(), err));
    toml::from_str::<Settings>(&text).map_err(wrong)?;
    toml::from_str(&text).map_err(wrong)
}
