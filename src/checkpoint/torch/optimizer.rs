//! An optimizer's state: which parameters it has, in which groups, and where the tensors lie that
//! it keeps for each.

use std::collections::{HashMap, HashSet};

use super::super::Tensor;
use super::tensor::{Reader, Reading, reading};
use super::value::Value;
use crate::error::{Error, Result};

/// Adam with AMSGrad keeps four values for a parameter.
const MAX_SLOTS: usize = 64;
/// Names of tensors that are not known, for a message.
const MAX_UNKNOWN: usize = 4;

/// A tensor that an optimizer keeps for one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// The velocity of SGD, RMSprop and Muon.
    MomentumBuffer,
    /// Running mean of gradients (Adam and its like, Lion).
    ExpAvg,
    /// Running mean of squared gradients (Adam and its like, LAMB).
    ExpAvgSq,
    /// The largest of those so far (AMSGrad).
    MaxExpAvgSq,
    /// Running maximum of gradients' magnitudes (Adamax).
    ExpInf,
    /// Running mean of squared gradients (RMSprop).
    SquareAvg,
    /// Running mean of gradients (RMSprop, centered).
    GradAvg,
}

impl Slot {
    const ALL: [Slot; 7] = [
        Slot::MomentumBuffer,
        Slot::ExpAvg,
        Slot::ExpAvgSq,
        Slot::MaxExpAvgSq,
        Slot::ExpInf,
        Slot::SquareAvg,
        Slot::GradAvg,
    ];

    /// The key PyTorch keeps it under.
    fn key(self) -> &'static str {
        match self {
            Slot::MomentumBuffer => "momentum_buffer",
            Slot::ExpAvg => "exp_avg",
            Slot::ExpAvgSq => "exp_avg_sq",
            Slot::MaxExpAvgSq => "max_exp_avg_sq",
            Slot::ExpInf => "exp_inf",
            Slot::SquareAvg => "square_avg",
            Slot::GradAvg => "grad_avg",
        }
    }

    pub(crate) fn of_key(key: &str) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| slot.key() == key)
    }

    /// Whether a step is divided by it, or by its root, and does not follow it.
    pub(crate) fn divides(self) -> bool {
        match self {
            Slot::MomentumBuffer | Slot::ExpAvg | Slot::GradAvg => false,
            Slot::ExpAvgSq | Slot::MaxExpAvgSq | Slot::ExpInf | Slot::SquareAvg => true,
        }
    }
}

/// The state of one optimizer.
#[derive(Debug)]
pub(crate) struct Optimizer {
    /// Where it lies in the saved object (`optimizer`, `optimizer_states.0`).
    pub(crate) root: String,
    /// Names of tensors that it keeps and that are none of the [`Slot`]s.
    pub(crate) unknown: Vec<String>,
    /// Number of parameters of each group.
    pub(crate) groups: Vec<usize>,
    /// All groups' parameters, one after another: a parameter's position is its index here.
    pub(crate) parameters: Vec<Parameter>,
}

/// What an optimizer says about the parameter at one position.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// Its name, where the optimizer was given names.
    pub(crate) name: Option<String>,
    /// The tensors kept for it; none before the first step.
    pub(crate) slots: Vec<(Slot, Tensor)>,
}

impl Optimizer {
    /// Reads what `param_groups` and `state` say.
    pub(super) fn read(root: &str, value: Value<'_>, reader: Reader<'_>) -> Result<Optimizer> {
        let malformed = |expected: &str, found: &str| {
            Error::malformed(
                reader.path,
                format!("optimizer state {root}"),
                expected,
                found,
            )
        };
        let mut state: HashMap<String, Value<'_>> = value
            .get("state")
            .and_then(Value::entries)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((parameter_key(key)?, value)))
            .collect();
        let mut out = Optimizer {
            root: root.to_owned(),
            unknown: vec![],
            groups: vec![],
            parameters: vec![],
        };
        let mut seen = HashSet::new();
        let groups = value.get("param_groups").and_then(Value::items);
        for group in groups.ok_or_else(|| malformed("a list of param_groups", "none"))? {
            let params = group.get("params").and_then(Value::items);
            let params = params.ok_or_else(|| malformed("params in every group", "none"))?;
            let names = group.get("param_names").and_then(Value::items);
            let names: Option<Vec<Option<&str>>> =
                names.map(|names| names.map(Value::as_str).collect());
            if names
                .as_ref()
                .is_some_and(|names| names.len() != params.len())
            {
                return Err(malformed("as many param_names as params", "another number"));
            }
            out.groups.push(params.len());
            for (n, param) in params.enumerate() {
                let key = parameter_key(param)
                    .ok_or_else(|| malformed("a number for every parameter", param.kind()))?;
                let name = names.as_ref().and_then(|names| names[n]).or(param.as_str());
                let mut slots = Vec::new();
                if let Some(kept) = state.remove(&key) {
                    let place = format!("{root}.state.{key}");
                    read_slots(&place, kept, reader, &mut slots, &mut out.unknown)?;
                }
                if !seen.insert(key) {
                    return Err(malformed("every parameter in one group", "one twice"));
                }
                out.parameters.push(Parameter {
                    name: name.map(str::to_owned),
                    slots,
                });
            }
        }
        if !state.is_empty() {
            return Err(malformed(
                "state of the parameters in its groups",
                "state of others",
            ));
        }
        Ok(out)
    }

    /// The family of the optimizer, by what it keeps.
    pub(crate) fn kind(&self) -> &'static str {
        let slots = self.parameters.iter().flat_map(|p| &p.slots);
        let kept: HashSet<Slot> = slots.map(|(slot, _)| *slot).collect();
        let keeps = |slot| kept.contains(&slot);
        match () {
            () if !self.unknown.is_empty() => "of a kind that is not known here",
            () if keeps(Slot::ExpAvgSq) && keeps(Slot::MomentumBuffer) => "Muon with Adam",
            () if keeps(Slot::ExpAvgSq) => "Adam",
            () if keeps(Slot::ExpInf) => "Adamax",
            () if keeps(Slot::ExpAvg) => "Lion",
            () if keeps(Slot::SquareAvg) => "RMSprop",
            () => "SGD",
        }
    }

    /// Notes a tensor that is none of the [`Slot`]s.
    pub(crate) fn note_unknown(unknown: &mut Vec<String>, key: &str) {
        if unknown.len() < MAX_UNKNOWN && !unknown.iter().any(|known| known == key) {
            unknown.push(key.to_owned());
        }
    }
}

/// The key of a parameter in `state` and `params`: its number, or its name in gathered states.
fn parameter_key(value: Value<'_>) -> Option<String> {
    let number = value.as_i64().map(|number| number.to_string());
    number.or_else(|| value.as_str().map(str::to_owned))
}

/// Reads the slots of one parameter, and notes other tensors that it has; one of a single element
/// counts steps, whatever its name.
fn read_slots(
    place: &str,
    kept: Value<'_>,
    reader: Reader<'_>,
    out: &mut Vec<(Slot, Tensor)>,
    unknown: &mut Vec<String>,
) -> Result<()> {
    for (key, value) in kept.entries().into_iter().flatten().take(MAX_SLOTS) {
        let Some(key) = key.as_str() else { continue };
        let rebuild = match reading(value) {
            Reading::Tensor(rebuild) => rebuild,
            Reading::Unread(_) => {
                Optimizer::note_unknown(unknown, key);
                continue;
            }
            Reading::NotATensor => continue,
        };
        let tensor = reader.read(&format!("{place}.{key}"), rebuild)?;
        match Slot::of_key(key) {
            Some(slot) => out.push((slot, tensor)),
            None if tensor.shape.is_empty() => {}
            None => Optimizer::note_unknown(unknown, key),
        }
    }
    Ok(())
}
