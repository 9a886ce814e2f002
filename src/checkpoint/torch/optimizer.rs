//! An optimizer's state: which parameters it has, in which groups, and where the tensors lie that
//! it keeps for each.

use std::collections::{HashMap, HashSet};

use super::tensor::{Reader, Reading, reading};
use super::value::Value;
use crate::checkpoint::Tensor;
use crate::checkpoint::optimizer::{Optimizer, Parameter, Slot};
use crate::error::{Error, Result};

/// Adam with AMSGrad keeps four values for a parameter.
const MAX_SLOTS: usize = 64;

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
