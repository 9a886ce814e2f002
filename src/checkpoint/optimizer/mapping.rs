//! Which of an optimizer's parameters is which tensor of the state dict: by the names that it was
//! given, or by its positions ([`positions`](super::positions)).

use std::collections::{HashMap, HashSet};

use super::positions;
use super::{Optimizer, Parameter, Slot};
use crate::checkpoint::{StateDict, Tensor};
use crate::near::near;

/// What an optimizer keeps for one named parameter.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// The parameter's name in the state dict.
    pub(crate) name: String,
    pub(crate) slots: Vec<(Slot, Tensor)>,
}

/// Prefixes that wrappers put before the names an optimizer is given.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// The tensors of a state dict that an optimizer can have, in its order: no running statistics or
/// step counts, and of several names for the same bytes the first.
pub(in crate::checkpoint) fn parameters(dict: &StateDict) -> Vec<&Tensor> {
    let mut seen = HashSet::new();
    let is_buffer = |tensor: &Tensor| {
        let leaf = tensor.name.rsplit('.').next().unwrap_or_default();
        matches!(
            leaf,
            "running_mean" | "running_var" | "num_batches_tracked" | "n_averaged"
        )
    };
    let parameters = dict.tensors.iter().filter(|t| !is_buffer(t));
    parameters
        .filter(|t| t.len == 0 || seen.insert((t.source, t.offset, t.len)))
        .collect()
}

/// What `optimizer` keeps for the parameters of a state dict, for those it keeps something for.
///
/// `order` has the names of all its parameters, in its order; or else the names decide that it was
/// given. Without any, its positions are understood where the shapes leave no doubt.
///
/// `notes` hears what was taken for granted.
///
/// # Errors
/// Why it cannot be told.
pub(crate) fn map_optimizer(
    optimizer: &Optimizer,
    dict: &StateDict,
    order: Option<&[String]>,
    notes: &mut Vec<String>,
) -> Result<Vec<Mapped>, String> {
    let parameters = parameters(dict);
    let kept = &optimizer.parameters;
    let places = match (order, names(kept)) {
        (Some(order), _) if order.len() != kept.len() => {
            let (given, have) = (order.len(), kept.len());
            return Err(format!(
                "the order of parameters has {given} names, and the optimizer {have} parameters"
            ));
        }
        (Some(order), _) => {
            let names: Vec<&str> = order.iter().map(|name| &name[..]).collect();
            by_name(&names, kept, &parameters)?
        }
        (None, Some(names)) => by_name(&names, kept, &parameters)?,
        (None, None) if !dict.ordered => {
            return Err(
                "the optimizer knows its parameters by position, and the file of the \
                        weights does not keep their order"
                    .to_owned(),
            );
        }
        (None, None) => {
            let (places, note) = positions::find(optimizer, &parameters)?;
            notes.extend(note);
            places
        }
    };
    let kept = kept.iter().zip(places).filter(|(p, _)| !p.slots.is_empty());
    let mapped = kept.map(|(p, n)| Mapped {
        name: parameters[n].name.clone(),
        slots: p.slots.clone(),
    });
    Ok(mapped.collect())
}

/// The names of all parameters, if all have one.
fn names(parameters: &[Parameter]) -> Option<Vec<&str>> {
    let names: Option<Vec<&str>> = parameters.iter().map(|p| p.name.as_deref()).collect();
    names.filter(|names| !names.is_empty())
}

fn by_name(
    names: &[&str],
    kept: &[Parameter],
    parameters: &[&Tensor],
) -> Result<Vec<usize>, String> {
    let places: HashMap<&str, usize> = parameters
        .iter()
        .enumerate()
        .map(|(n, tensor)| (&tensor.name[..], n))
        .collect();
    let find_all = |rename: &dyn Fn(&str) -> String| -> Option<Vec<usize>> {
        names
            .iter()
            .map(|name| places.get(&rename(name)[..]).copied())
            .collect()
    };
    let mut order = find_all(&|name| name.to_owned());
    for wrapper in WRAPPERS {
        order = order
            .or_else(|| find_all(&|name| name.strip_prefix(wrapper).unwrap_or(name).to_owned()))
            .or_else(|| find_all(&|name| format!("{wrapper}{name}")));
    }
    let order = order.ok_or_else(|| {
        let mut unknown = names.iter().filter(|name| !places.contains_key(*name));
        let unknown = unknown.next().unwrap_or(&"");
        let near = near(unknown, parameters.iter().map(|tensor| &tensor.name[..]));
        let meant = match &near[..] {
            [] => String::new(),
            near => format!(" (did you mean {}?)", near.join(" or ")),
        };
        format!("the optimizer names a parameter {unknown} that the network does not have{meant}")
    })?;
    let mut seen = HashSet::new();
    if let Some(twice) = order.iter().find(|place| !seen.insert(**place)) {
        let name = &parameters[*twice].name;
        return Err(format!("the optimizer names the parameter {name} twice"));
    }
    let misfit = (0..kept.len()).find(|n| !kept[*n].fits(parameters[order[*n]]));
    match misfit {
        Some(n) => Err(format!(
            "the optimizer's state of {} has another shape",
            names[n]
        )),
        None => Ok(order),
    }
}

impl Parameter {
    /// Whether everything kept for a parameter has this one's shape.
    pub(super) fn fits(&self, parameter: &Tensor) -> bool {
        let mut slots = self.slots.iter();
        slots.all(|(_, tensor)| tensor.shape == parameter.shape)
    }
}
