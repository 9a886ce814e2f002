//! The training run around a checkpoint: who wrote it, how many epochs are finished, and what its
//! optimizer keeps for each γ.

use std::collections::HashMap;
use std::path::Path;

use super::open::is_torch;
use super::{Checkpoint, Source, StateDict, Tensor, TorchParts, run, torch};
use crate::error::{Error, Result};
use crate::storage;
use regex::{Captures, Regex};

/// Names of an optimizer's file beside a model: HF Trainer's and accelerate's.
const OPTIMIZERS: [&str; 2] = ["optimizer.pt", ACCELERATE];
const ACCELERATE: &str = "optimizer.bin";
const TRAINER_STATE: &str = "trainer_state.json";
/// It holds the log of a whole run.
const MAX_STATE: u64 = 256 << 20;

/// What is known about the training run.
#[derive(Debug, Default)]
pub struct Training {
    /// Who laid the checkpoint out, where that is recognised.
    pub layout: Option<&'static str>,
    /// The number of finished epochs, where the checkpoint says it.
    pub epoch: Option<u64>,
    optimizers: Vec<Result<torch::Optimizer>>,
}

/// What an optimizer keeps for one γ.
#[derive(Debug, Clone)]
pub(crate) struct SlotTensor {
    /// The γ, by its name in the state dict.
    pub(crate) gamma: String,
    pub(crate) tensor: Tensor,
}

#[derive(serde::Deserialize)]
struct TrainerState {
    epoch: Option<f64>,
}

impl Training {
    /// What a file that PyTorch wrote says.
    pub(super) fn of_file(opened: &torch::Opened) -> Training {
        let layout = match opened.layout {
            torch::Layout::Torchvision => Some("torchvision"),
            torch::Layout::Timm => Some("timm"),
            torch::Layout::Mmengine => Some("mmengine"),
            torch::Layout::Lightning => Some("Lightning"),
            torch::Layout::Module => Some("pickled module"),
            torch::Layout::Plain | torch::Layout::Other => None,
        };
        Training {
            layout,
            epoch: opened.epochs,
            optimizers: Vec::new(),
        }
    }

    /// The family of the optimizer, where there is one.
    pub fn optimizer(&self) -> Option<&'static str> {
        let kind = match &self.optimizers[..] {
            [] => return None,
            [Ok(optimizer)] => optimizer.kind,
            [Err(_)] => return Some("unreadable"),
            _ => return Some("several"),
        };
        Some(match kind {
            torch::Kind::Sgd => "SGD",
            torch::Kind::Adam => "Adam",
            torch::Kind::Other => "of a kind that is not known here",
        })
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
    /// What the optimizer keeps for the parameters of a state dict.
    ///
    /// # Errors
    /// Why it cannot be told: a mapping is never guessed.
    pub(crate) fn optimizer_slots(&self, dict: &StateDict) -> Result<Vec<SlotTensor>, String> {
        let optimizer = match &self.training.optimizers[..] {
            [] => return Err("there is no optimizer state beside the weights".to_owned()),
            [Ok(optimizer)] => optimizer,
            [Err(err)] => return Err(err.to_string()),
            several => {
                let roots = several
                    .iter()
                    .flatten()
                    .map(|optimizer| &optimizer.root[..]);
                let roots = roots.collect::<Vec<_>>().join(", ");
                return Err(format!("there are several optimizers ({roots})"));
            }
        };
        if optimizer.kind == torch::Kind::Other {
            return Err("the optimizer keeps tensors that this program does not know".to_owned());
        }
        let named = optimizer
            .parameters
            .iter()
            .all(|parameter| parameter.name.is_some());
        if !dict.ordered && !named {
            return Err(
                "the optimizer knows its parameters by position, and the file of the \
                        weights does not keep their order"
                    .to_owned(),
            );
        }
        let mapped = torch::map_optimizer(optimizer, &torch::parameters(dict))?;
        let mut slots = Vec::new();
        for parameter in mapped {
            for (_, tensor) in parameter.slots {
                slots.push(SlotTensor {
                    gamma: parameter.name.clone(),
                    tensor,
                });
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
    let state = directory.join(TRAINER_STATE);
    if state.is_file() {
        checkpoint.training.layout = Some("HF Trainer");
        match read_trainer_state(&state) {
            Ok(epoch) => checkpoint.training.epoch = epoch,
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

/// The finished epochs in the state of transformers' Trainer, which is Python's JSON: with NaN.
fn read_trainer_state(path: &Path) -> Result<Option<u64>> {
    let malformed = |found: &dyn std::fmt::Display| {
        Error::malformed(path, "file", "the JSON of transformers' Trainer", found)
    };
    let text = storage::read_small_file(path, MAX_STATE).map_err(|err| malformed(&err))?;
    let numbers = Regex::new(r#""(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b"#).expect("it is valid");
    let text = numbers.replace_all(&text, |found: &Captures<'_>| match &found[0] {
        string if string.starts_with('"') => string.to_owned(),
        _ => "null".to_owned(),
    });
    let state: TrainerState = serde_json::from_str(&text).map_err(|err| malformed(&err))?;
    // A float: Trainer also saves in the middle of an epoch.
    let finished = state
        .epoch
        .filter(|epoch| epoch.is_finite() && *epoch >= 0.0);
    Ok(finished.map(|epoch| epoch.floor() as u64))
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
