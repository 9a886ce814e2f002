//! The training run around a checkpoint: who wrote it, how many epochs are finished, and what its
//! optimizer keeps for each γ.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::epochs::{Epochs, Scalar};
use super::open::is_torch;
use super::trainer::{self, TrainerState};
use super::{Checkpoint, StateDict, Tensor, TorchParts, run, torch};
use crate::error::Result;
use crate::file::Source;

/// Names of an optimizer's file beside a model: HF Trainer's and accelerate's.
const OPTIMIZERS: [&str; 2] = ["optimizer.pt", ACCELERATE];
const ACCELERATE: &str = "optimizer.bin";

/// What is known about the training run.
#[derive(Debug, Default)]
pub struct Training {
    /// Who laid the checkpoint out, where that is recognised.
    pub layout: Option<&'static str>,
    /// The finished epochs, where the checkpoint says it.
    pub epochs: Option<Epochs>,
    /// The numbers beside the weights.
    pub(super) scalars: Vec<Scalar>,
    optimizers: Vec<Result<torch::Optimizer>>,
}

/// What an optimizer keeps for one γ.
#[derive(Debug, Clone)]
pub(crate) struct SlotTensor {
    /// The γ, by its name in the state dict.
    pub(crate) gamma: String,
    pub(crate) slot: torch::Slot,
    pub(crate) tensor: Tensor,
}

impl Training {
    /// What a file that PyTorch wrote says.
    pub(super) fn of_file(opened: &mut torch::Opened) -> Training {
        let layout = match opened.layout {
            torch::Layout::Torchvision => Some("torchvision"),
            torch::Layout::Timm => Some("timm"),
            torch::Layout::Mmengine => Some("mmengine"),
            torch::Layout::Lightning => Some("Lightning"),
            torch::Layout::Ultralytics => Some("Ultralytics"),
            torch::Layout::Module => Some("pickled module"),
            torch::Layout::Plain | torch::Layout::Other => None,
        };
        Training {
            layout,
            epochs: opened.epochs.take(),
            scalars: std::mem::take(&mut opened.scalars),
            optimizers: Vec::new(),
        }
    }

    /// How many epochs are finished, where the checkpoint says it.
    pub fn epoch(&self) -> Option<u64> {
        Some(self.epochs.as_ref()?.finished)
    }

    /// The family of the optimizer, where there is one.
    pub fn optimizer(&self) -> Option<&'static str> {
        match &self.optimizers[..] {
            [] => None,
            [Ok(optimizer)] => Some(optimizer.kind()),
            [Err(_)] => Some("unreadable"),
            _ => Some("several"),
        }
    }

    pub(super) fn set_optimizers(&mut self, optimizers: Vec<Result<torch::Optimizer>>) {
        self.optimizers = optimizers;
    }

    /// All that optimizers keep, by the name that it has in its file.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Tensor> {
        let optimizers = self
            .optimizers
            .iter()
            .filter_map(|optimizer| optimizer.as_ref().ok());
        let parameters = optimizers.flat_map(|optimizer| &optimizer.parameters);
        parameters.flat_map(|parameter| parameter.slots.iter().map(|(_, tensor)| tensor))
    }
}

impl Checkpoint {
    /// What the optimizers keep for the parameters of a state dict; `order` has the names of the
    /// parameters of the only one, in its order, where it does not know them itself. `notes` hears
    /// what was taken for granted.
    ///
    /// # Errors
    /// Why it cannot be told: a mapping is never guessed.
    pub(crate) fn optimizer_slots(
        &self,
        dict: &StateDict,
        order: Option<&[String]>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<SlotTensor>, String> {
        let optimizers = &self.training.optimizers[..];
        if optimizers.is_empty() {
            return Err("there is no optimizer state beside the weights".to_owned());
        }
        if order.is_some() && optimizers.len() > 1 {
            let reason = "there are several optimizers, and the order is of one";
            return Err(reason.to_owned());
        }
        let mut slots = Vec::new();
        let mut seen = HashSet::new();
        for optimizer in optimizers {
            let optimizer = optimizer.as_ref().map_err(ToString::to_string)?;
            // Which of several an error is about.
            let of = |reason: String| match optimizers {
                [_] => reason,
                _ => format!("{}: {reason}", optimizer.root),
            };
            if !optimizer.unknown.is_empty() {
                let unknown = optimizer.unknown.join(", ");
                return Err(of(format!(
                    "the optimizer keeps {unknown}, which this program does not know"
                )));
            }
            for parameter in torch::map_optimizer(optimizer, dict, order, notes).map_err(of)? {
                if !seen.insert(parameter.name.clone()) {
                    let name = parameter.name;
                    return Err(format!("several optimizers keep something for {name}"));
                }
                slots.extend(
                    parameter
                        .slots
                        .into_iter()
                        .map(|(slot, tensor)| SlotTensor {
                            gamma: parameter.name.clone(),
                            slot,
                            tensor,
                        }),
                );
            }
        }
        self.check_alone(&slots)?;
        Ok(slots)
    }

    /// No slot may lie on the bytes of another tensor.
    fn check_alone(&self, slots: &[SlotTensor]) -> Result<(), String> {
        let tensors = self.dicts.iter().flat_map(|dict| &dict.tensors);
        let all = tensors.chain(slots.iter().map(|slot| &slot.tensor));
        let mut by_source: HashMap<usize, Vec<&Tensor>> = HashMap::new();
        for tensor in all.filter(|tensor| tensor.len > 0) {
            by_source.entry(tensor.source).or_default().push(tensor);
        }
        let is_slot = |tensor: &Tensor| slots.iter().any(|slot| std::ptr::eq(&slot.tensor, tensor));
        for tensors in by_source.values_mut() {
            tensors.sort_by_key(|tensor| (tensor.offset, tensor.len));
            let end = |tensor: &Tensor| tensor.offset + tensor.len;
            let mut farthest: Option<&Tensor> = None;
            for tensor in tensors.iter().copied() {
                if let Some(other) = farthest.filter(|other| end(other) > tensor.offset)
                    && (is_slot(other) || is_slot(tensor))
                {
                    let (a, b) = (&other.name, &tensor.name);
                    return Err(format!("{a} shares its bytes with {b}"));
                }
                if farthest.is_none_or(|other| end(other) < end(tensor)) {
                    farthest = Some(tensor);
                }
            }
        }
        Ok(())
    }
}

/// Reads what lies beside the model in the directory of a training run.
pub(super) fn read_directory(directory: &Path, checkpoint: &mut Checkpoint) -> Result<()> {
    if run::read(directory, checkpoint)? {
        return Ok(());
    }
    let state = directory.join(trainer::STATE);
    if state.is_file() {
        checkpoint.training.layout = Some("HF Trainer");
        match TrainerState::read(&state) {
            Ok(state) => {
                checkpoint.training.epochs = state.epochs();
                checkpoint.training.scalars = state.scalars();
            }
            Err(err) => checkpoint
                .notes
                .push(format!("the epoch is not known: {err}")),
        }
    }
    for name in OPTIMIZERS {
        let file = directory.join(name);
        if file.is_file() {
            if name == ACCELERATE {
                checkpoint.training.layout.get_or_insert("accelerate");
            }
            if let Err(err) = Source::open(&file).and_then(|file| add_optimizer(checkpoint, file)) {
                checkpoint.training.set_optimizers(vec![Err(err)]);
            }
            break;
        }
    }
    Ok(())
}

/// Adds an optimizer's file as a companion.
pub(super) fn add_optimizer(checkpoint: &mut Checkpoint, source: Source) -> Result<()> {
    if !is_torch(&source)? {
        return run::add_optimizer(checkpoint, source);
    }
    let opened = torch::open(&source, checkpoint.sources.len())?;
    checkpoint.training.set_optimizers(opened.optimizers);
    checkpoint.add_companion(
        source,
        Some(TorchParts {
            zip: opened.zip,
            uses: opened.uses,
        }),
    );
    Ok(())
}
