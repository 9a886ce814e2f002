//! Settings that go together. Sources: Sharma and Foroosh 2023, Experiments, and the first author's
//! research code for Tiny-ImageNet's weight decay; for `cifar-public`, the code of
//! <https://github.com/weiaicunzai/pytorch-cifar100>. What the paper leaves open is said beside it.

use serde::{Deserialize, Serialize};

use super::data::Normalisation;
use super::data::scenes::LabelPad;
use super::norm::NormName;
use super::pruning::{AfterTicket, Soft};
use super::rule::RunRule;
use super::schedule::Shape;
use super::settings::{OptimizerName, RegenState, Settings, Stem};
use super::task::TaskName;
use crate::regen::{Below, Method, Rule, Scope, To};

/// A recipe by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// CIFAR-10 and CIFAR-100: 200 epochs.
    #[default]
    Cifar,
    /// The same as a public repository of CIFAR-100 networks trains, whose accuracies are close to the
    /// paper's.
    CifarPublic,
    /// Tiny-ImageNet: 90 epochs.
    TinyImagenet,
    /// ImageNet: 150 epochs.
    Imagenet,
    /// Semantic segmentation of ADE20K, as the code of Zhou et al. 2018 has it: 20 epochs of 5,000 updates.
    Ade20k,
    /// The built-in digits: 10 epochs (not of the paper).
    Digits,
}

impl Recipe {
    /// All of them.
    pub const ALL: [Recipe; 6] = [
        Recipe::Cifar,
        Recipe::CifarPublic,
        Recipe::TinyImagenet,
        Recipe::Imagenet,
        Recipe::Ade20k,
        Recipe::Digits,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Recipe::Cifar => "cifar",
            Recipe::CifarPublic => "cifar-public",
            Recipe::TinyImagenet => "tiny-imagenet",
            Recipe::Imagenet => "imagenet",
            Recipe::Ade20k => "ade20k",
            Recipe::Digits => "digits",
        }
    }

    /// Its settings, without a network and without data.
    pub fn settings(self) -> Settings {
        let cifar = Settings {
            recipe: self,
            model: String::new(),
            stem: Stem::Native,
            width: 1.0,
            norm: NormName::Batch,
            norm_group: None,
            norm_iterations: None,
            ce_reduction: None,
            resolution: None,
            data: String::new(),
            task: TaskName::Classification,
            label_values: None,
            ignored_values: None,
            seed: 0,
            epochs: 200,
            epoch_updates: 0,
            batch_size: 128,
            accumulate: 1,
            optimizer: OptimizerName::Sgd,
            lr: 0.1,
            decoder_lr: None,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decay_vectors: true,
            clip_norm: 0.0,
            schedule: Shape::MultiStep,
            milestones: vec![60, 120, 160],
            step_epochs: 30,
            lr_factor: 0.2,
            warmup_epochs: 0,
            label_smoothing: 0.0,
            bn_momentum: None,
            ema: 0.0,
            patience: 0,
            recalibrate: 0,
            keep: 1,
            record: None,
            crop_padding: 4,
            flip: true,
            rotation: 0.0,
            random_resized_crop: false,
            short_sides: Vec::new(),
            test_sides: Vec::new(),
            long_side: 0,
            label_pad: LabelPad::Ignore,
            mean: None,
            std: None,
            regen_every: 0,
            regen_start: None,
            regen_until: None,
            rule: RunRule::Rule(Rule::Paper),
            below: Below::Median,
            to: To::Threshold,
            scope: Scope::Network,
            keep_zeros: false,
            iternorm: false,
            include: Vec::new(),
            exclude: Vec::new(),
            regen_state: RegenState::Keep,
            pruned_as_public: false,
            sparsity: 0.0,
            prune_method: Method::Slimming,
            prune_ratio: 0.0,
            norm_ratio: 0.0,
            min_channels: 1,
            soft: Soft::None,
            early_bird: 0.0,
            after_ticket: AfterTicket::Stop,
        };
        match self {
            Recipe::Cifar => cifar,
            Recipe::CifarPublic => Settings {
                nesterov: false,
                // That program counts the epoch that begins: its 60th is the one after 59 finished ones.
                milestones: vec![59, 119, 159],
                warmup_epochs: 1,
                rotation: 15.0,
                ..cifar
            },
            Recipe::TinyImagenet => Settings {
                epochs: 90,
                batch_size: 32,
                weight_decay: 1e-4,
                milestones: vec![30, 60],
                lr_factor: 0.1,
                crop_padding: 0,
                // The paper says that images are turned, not how far.
                rotation: 20.0,
                ..cifar
            },
            Recipe::Imagenet => Settings {
                epochs: 150,
                batch_size: 256,
                resolution: Some(224.into()),
                lr: 0.05,
                nesterov: false,
                weight_decay: 4e-5,
                schedule: Shape::Cosine,
                milestones: Vec::new(),
                crop_padding: 0,
                random_resized_crop: true,
                ..cifar
            },
            Recipe::Ade20k => Settings {
                task: TaskName::Segmentation,
                // 0 is everything else.
                label_values: "1-150".parse().ok(),
                ignored_values: "0".parse().ok(),
                epochs: 20,
                epoch_updates: 5000,
                // Of one GPU of eight.
                batch_size: 3,
                lr: 0.02,
                nesterov: false,
                weight_decay: 1e-4,
                decay_vectors: false,
                schedule: Shape::Poly,
                milestones: Vec::new(),
                bn_momentum: Some(0.001),
                crop_padding: 0,
                short_sides: vec![300, 375, 450, 525, 600],
                test_sides: vec![450],
                long_side: 1000,
                ..cifar
            },
            Recipe::Digits => Settings {
                epochs: 10,
                batch_size: 64,
                lr: 0.05,
                schedule: Shape::Cosine,
                milestones: Vec::new(),
                crop_padding: 1,
                flip: false,
                ..cifar
            },
        }
    }

    /// How its images are normalised, given the number of classes.
    pub(super) fn normalisation(self, classes: usize) -> Normalisation {
        match self {
            Recipe::Cifar | Recipe::CifarPublic if classes == 10 => Normalisation::CIFAR10,
            Recipe::Cifar | Recipe::CifarPublic => Normalisation::CIFAR100,
            Recipe::TinyImagenet | Recipe::Imagenet | Recipe::Ade20k => Normalisation::IMAGENET,
            Recipe::Digits => Normalisation::DIGITS,
        }
    }
}
