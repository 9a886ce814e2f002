//! Who wrote a training file, by the keys at its top: and which of its state dicts are
//! the weights in training.

use super::super::{Role, StateDict, marked};
use super::value::Saved;

/// The program family that laid out a saved object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// torchvision's references: `model`, `optimizer`, `lr_scheduler`, `epoch`, `args`.
    Torchvision,
    /// timm: `state_dict`, `state_dict_ema`, `arch`, `epoch`.
    Timm,
    /// mmengine: `meta`, `state_dict`; with `ema_state_dict` the two are swapped.
    Mmengine,
    /// PyTorch Lightning: `state_dict`, `optimizer_states`.
    Lightning,
    /// Ultralytics: `ema`, `train_args`, `updates`.
    Ultralytics,
    /// A state dict and nothing else.
    Plain,
    /// A pickled module.
    Module,
    /// Something else: state dicts under keys of its own.
    Other,
}

impl Layout {
    /// Its name, where it is one that is recognised.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Layout::Torchvision => Some("torchvision"),
            Layout::Timm => Some("timm"),
            Layout::Mmengine => Some("mmengine"),
            Layout::Lightning => Some("Lightning"),
            Layout::Ultralytics => Some("Ultralytics"),
            Layout::Module => Some("pickled module"),
            Layout::Plain | Layout::Other => None,
        }
    }

    /// The layout of a saved object in which `dicts` were found.
    pub(super) fn of(saved: &Saved, dicts: &[StateDict], has_module: bool) -> Layout {
        let root = saved.root();
        if matches!(dicts, [only] if only.root.is_empty()) {
            return if has_module {
                Layout::Module
            } else {
                Layout::Plain
            };
        }
        let has = |keys: &[&str]| keys.iter().all(|key| root.get(key).is_some());
        if has(&["pytorch-lightning_version"]) || has(&["state_dict", "optimizer_states"]) {
            Layout::Lightning
        } else if has(&["state_dict"]) && root.get("meta").is_some_and(|m| m.entries().is_some()) {
            Layout::Mmengine
        } else if has(&["state_dict", "arch"])
            && ["version", "args", "metric", "state_dict_ema"]
                .iter()
                .any(|key| has(&[key]))
        {
            Layout::Timm
        } else if has(&["ema", "train_args", "updates"]) {
            Layout::Ultralytics
        } else if has(&["model", "optimizer", "lr_scheduler", "epoch", "args"]) {
            Layout::Torchvision
        } else {
            Layout::Other
        }
    }

    /// Gives each state dict its role.
    pub(super) fn set_roles(self, dicts: &mut [StateDict]) {
        let ends_with = |key: &str| dicts.iter().any(|dict| last_key(&dict.root) == key);
        let swapped = self == Layout::Mmengine && ends_with("ema_state_dict");
        // Lightning's weight averaging saves the average as the state dict, the weights aside.
        let aside = ends_with("current_model_state");
        let role = |dict: &StateDict| match &dict.root[..] {
            "state_dict" if swapped || aside => Role::Ema,
            "ema_state_dict" if swapped => Role::Raw,
            root if last_key(root) == "current_model_state" => Role::Raw,
            // Training resumes from the average; what it is of is not read again.
            "ema" if self == Layout::Ultralytics => Role::Raw,
            "model" if self == Layout::Ultralytics => Role::Ema,
            // By the words of its path: `model_ema`, `state_dict_ema`, `teacher.backbone`.
            root => marked(root).map_or(Role::Raw, |(_, role)| role),
        };
        let roles: Vec<Role> = dicts.iter().map(role).collect();
        for (dict, role) in dicts.iter_mut().zip(roles) {
            dict.role = role;
        }
    }
}

fn last_key(root: &str) -> &str {
    root.rsplit('.').next().unwrap_or(root)
}
