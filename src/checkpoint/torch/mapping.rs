//! Which of an optimizer's parameters is which tensor of the state dict. PyTorch keeps positions,
//! not names, so an order is believed only when the shapes leave no other.

use std::collections::{HashMap, HashSet};

use super::super::{StateDict, Tensor};
use super::optimizer::{Optimizer, Parameter, Slot};

/// What an optimizer keeps for one named parameter.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// The parameter's name in the state dict.
    pub(crate) name: String,
    pub(crate) slots: Vec<(Slot, Tensor)>,
}

/// Prefixes that wrappers put before the names an optimizer is given.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// The tensors of a state dict that an optimizer can have: floats that are no running statistics
/// or step counts, and of several names for the same bytes the first.
pub(crate) fn parameters(dict: &StateDict) -> Vec<&Tensor> {
    let mut seen = HashSet::new();
    let is_buffer = |tensor: &Tensor| {
        let leaf = tensor.name.rsplit('.').next().unwrap_or_default();
        matches!(
            leaf,
            "running_mean" | "running_var" | "num_batches_tracked" | "n_averaged"
        )
    };
    dict.tensors
        .iter()
        .filter(|t| t.dtype.is_float() && !is_buffer(t))
        .filter(|t| t.len == 0 || seen.insert((t.source, t.offset, t.len)))
        .collect()
}

/// What `optimizer` keeps for each of `parameters` (the network's, in state-dict order, without
/// buffers; see [`parameters`]), for those it keeps something for.
///
/// Names that the optimizer was given decide. Without them its parameters may stand in state-dict
/// order, in timm's (group without weight decay first) or in torchvision's (normalization group
/// first in detection, last in classification). The error says why none of these can be believed.
pub(crate) fn map_optimizer(
    optimizer: &Optimizer,
    parameters: &[&Tensor],
) -> Result<Vec<Mapped>, String> {
    let order = match names(&optimizer.parameters) {
        Some(names) => by_name(&names, &optimizer.parameters, parameters)?,
        None => by_position(optimizer, parameters)?,
    };
    let kept = optimizer.parameters.iter().zip(order);
    let mapped = kept
        .filter(|(p, _)| !p.slots.is_empty())
        .map(|(p, n)| Mapped {
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
        let unknown = names
            .iter()
            .find(|name| !places.contains_key(*name))
            .unwrap_or(&"");
        format!("the optimizer names a parameter {unknown} that the network does not have")
    })?;
    let misfit = (0..kept.len()).find(|n| !fits(&kept[*n], parameters[order[*n]]));
    match misfit {
        Some(n) => Err(format!(
            "the optimizer's state of {} has another shape",
            names[n]
        )),
        None => Ok(order),
    }
}

fn by_position(optimizer: &Optimizer, parameters: &[&Tensor]) -> Result<Vec<usize>, String> {
    let (kept, wanted) = (&optimizer.parameters, parameters.len());
    if kept.iter().all(|p| p.slots.is_empty()) {
        return Ok((0..kept.len()).filter(|n| *n < wanted).collect());
    }
    if kept.len() != wanted {
        let have = kept.len();
        return Err(format!(
            "the optimizer has {have} parameters and the network {wanted}"
        ));
    }
    let mut fitting: Vec<Vec<usize>> = Vec::new();
    for order in candidates(optimizer, parameters) {
        let all_fit = kept
            .iter()
            .zip(&order)
            .all(|(p, n)| fits(p, parameters[*n]));
        if all_fit && !fitting.contains(&order) {
            fitting.push(order);
        }
    }
    match fitting.len() {
        0 => Err("the shapes in the optimizer's state fit no known order of parameters".to_owned()),
        1 => Ok(fitting.remove(0)),
        n => Err(format!(
            "the shapes in the optimizer's state fit {n} orders of parameters"
        )),
    }
}

/// The orders that an optimizer's parameters may stand in. Those by groups are possible only when
/// its two groups have the sizes that they would have.
fn candidates(optimizer: &Optimizer, parameters: &[&Tensor]) -> Vec<Vec<usize>> {
    let all = || 0..parameters.len();
    let normalization = normalization(parameters);
    let undecayed =
        |n: usize| parameters[n].shape.len() <= 1 || parameters[n].name.ends_with(".bias");
    let split: [&dyn Fn(usize) -> bool; 3] =
        [&undecayed, &|n| normalization[n], &|n| !normalization[n]];
    let mut orders = vec![all().collect()];
    for first in split {
        let (mut order, second): (Vec<usize>, Vec<usize>) = all().partition(|n| first(*n));
        if optimizer.groups == [order.len(), second.len()] {
            order.extend(second);
            orders.push(order);
        }
    }
    orders
}

/// Of each parameter, whether it belongs to a normalization layer: weight and bias of one
/// dimension and one length.
fn normalization(parameters: &[&Tensor]) -> Vec<bool> {
    let shapes: HashMap<&str, &[u64]> = parameters
        .iter()
        .map(|tensor| (&tensor.name[..], &tensor.shape[..]))
        .collect();
    let of_norm = |tensor: &&Tensor| {
        let (prefix, leaf) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
        let sibling = match leaf {
            "weight" => "bias",
            "bias" => "weight",
            _ => return false,
        };
        let sibling = match prefix {
            "" => sibling.to_owned(),
            prefix => format!("{prefix}.{sibling}"),
        };
        tensor.shape.len() == 1 && shapes.get(&sibling[..]) == Some(&&tensor.shape[..])
    };
    parameters.iter().map(of_norm).collect()
}

/// Whether everything kept for a parameter has its shape.
fn fits(kept: &Parameter, parameter: &Tensor) -> bool {
    kept.slots
        .iter()
        .all(|(_, tensor)| tensor.shape == parameter.shape)
}
