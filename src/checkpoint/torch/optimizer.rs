//! An optimizer's state: which parameters it has, in which groups, and where the tensors lie that
//! it keeps for each.

use std::collections::{HashMap, HashSet};

use super::super::Tensor;
use super::tensor::{Reader, Reading, reading};
use super::value::Value;
use crate::error::{Error, Result};

/// Adam with AMSGrad keeps four values for a parameter.
const MAX_SLOTS: usize = 64;

/// A tensor that an optimizer keeps for one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// SGD's velocity.
    MomentumBuffer,
    /// Adam's running mean of gradients.
    ExpAvg,
    /// Adam's running mean of squared gradients.
    ExpAvgSq,
    /// The largest of those so far (AMSGrad).
    MaxExpAvgSq,
}

impl Slot {
    pub(crate) const ALL: [Slot; 4] = [
        Slot::MomentumBuffer,
        Slot::ExpAvg,
        Slot::ExpAvgSq,
        Slot::MaxExpAvgSq,
    ];

    /// The key PyTorch keeps it under.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Slot::MomentumBuffer => "momentum_buffer",
            Slot::ExpAvg => "exp_avg",
            Slot::ExpAvgSq => "exp_avg_sq",
            Slot::MaxExpAvgSq => "max_exp_avg_sq",
        }
    }
}

/// The family of an optimizer, by what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At most a momentum buffer for each parameter.
    Sgd,
    /// Two running means for each parameter (Adam, AdamW, LAMB).
    Adam,
    /// Something else, whose slots are not understood.
    Other,
}

/// The state of one optimizer.
#[derive(Debug)]
pub(crate) struct Optimizer {
    /// Where it lies in the saved object (`optimizer`, `optimizer_states.0`).
    pub(crate) root: String,
    pub(crate) kind: Kind,
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
            kind: Kind::Other,
            groups: vec![],
            parameters: vec![],
        };
        let mut foreign = false;
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
                    foreign |=
                        read_slots(&format!("{root}.state.{key}"), kept, reader, &mut slots)?;
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
        out.kind = kind(&out.parameters, foreign);
        Ok(out)
    }
}

/// The key of a parameter in `state` and `params`: its number, or its name in gathered states.
fn parameter_key(value: Value<'_>) -> Option<String> {
    let number = value.as_i64().map(|number| number.to_string());
    number.or_else(|| value.as_str().map(str::to_owned))
}

/// Reads the slots of one parameter, and says whether it has tensors that are none of the four
/// (apart from a scalar step count).
fn read_slots(
    place: &str,
    kept: Value<'_>,
    reader: Reader<'_>,
    out: &mut Vec<(Slot, Tensor)>,
) -> Result<bool> {
    let mut foreign = false;
    for (key, value) in kept.entries().into_iter().flatten().take(MAX_SLOTS) {
        let Reading::Tensor(rebuild) = reading(value) else {
            continue;
        };
        let Some(key) = key.as_str() else { continue };
        match Slot::ALL.into_iter().find(|slot| slot.key() == key) {
            Some(slot) => {
                out.push((slot, reader.read(&format!("{place}.{key}"), rebuild)?));
            }
            None => foreign |= key != "step",
        }
    }
    Ok(foreign)
}

/// The family, by what is kept for the parameters; `foreign`: also tensors that are not known here.
pub(crate) fn kind(parameters: &[Parameter], foreign: bool) -> Kind {
    let keeps = |slot| {
        parameters
            .iter()
            .flat_map(|p| &p.slots)
            .any(|(s, _)| *s == slot)
    };
    match (
        keeps(Slot::ExpAvg) && keeps(Slot::ExpAvgSq),
        keeps(Slot::MomentumBuffer),
    ) {
        _ if foreign => Kind::Other,
        (true, false) => Kind::Adam,
        (false, _) if !keeps(Slot::ExpAvg) && !keeps(Slot::ExpAvgSq) => Kind::Sgd,
        _ => Kind::Other,
    }
}
