//! Which of an optimizer's parameters is which of the network's, by position and shape alone.
//!
//! PyTorch keeps positions, not names, so an order is believed only when the shapes leave no other.

use std::collections::HashMap;

use super::{Optimizer, Parameter};
use crate::checkpoint::Tensor;

/// Of each parameter of `optimizer` its place among `parameters`, the network's in state-dict order.
///
/// The optimizer's may stand in that order, or in two groups, either first: those without weight
/// decay (timm: vectors and biases; transformers: biases and what is called a norm), or those of
/// normalization layers (torchvision). Some may be missing (frozen): the beginning, or the end, or
/// others where the shapes of the rest leave one place for each.
///
/// A note says so where a beginning or an end is missing: other frozen parameters of the same shapes
/// cannot be told from it.
///
/// # Errors
/// Why no order, or more than one, can be believed.
pub(super) fn find(
    optimizer: &Optimizer,
    parameters: &[&Tensor],
) -> Result<(Vec<usize>, Option<String>), String> {
    let kept = &optimizer.parameters;
    let is_float = |n: &usize| parameters[*n].dtype.is_float();
    let floats: Vec<usize> = (0..parameters.len()).filter(is_float).collect();
    if kept.iter().all(|p| p.slots.is_empty()) {
        return Ok((floats.into_iter().take(kept.len()).collect(), None));
    }
    if kept.len() > parameters.len() {
        return Err(counts(kept.len(), floats.len()));
    }
    // A parameter of integers cannot be learned, but some networks have one.
    let lists = if kept.len() == floats.len() {
        vec![floats.clone()]
    } else {
        vec![floats.clone(), (0..parameters.len()).collect()]
    };
    let (mut fitting, mut ambiguous): (Vec<Vec<usize>>, bool) = (Vec::new(), false);
    for layout in lists
        .iter()
        .flat_map(|list| layouts(optimizer, parameters, list))
    {
        match place(kept, parameters, &layout) {
            Placed::Nowhere => {}
            Placed::Once(order) => {
                if !fitting.contains(&order) {
                    fitting.push(order);
                }
            }
            Placed::Often => ambiguous = true,
        }
    }
    let partly = kept.len() != floats.len();
    match (fitting.len(), ambiguous) {
        (1, false) => {
            let order = fitting.remove(0);
            let note = partly.then(|| frozen(&order, parameters)).flatten();
            Ok((order, note))
        }
        (0, false) if partly => Err(counts(kept.len(), floats.len())),
        (0, false) => {
            Err("the shapes in the optimizer's state fit no known order of parameters".to_owned())
        }
        (_, true) => Err(format!(
            "{}, and the shapes do not say which are missing",
            counts(kept.len(), floats.len())
        )),
        (n, false) => Err(format!(
            "the shapes in the optimizer's state fit {n} orders of parameters"
        )),
    }
}

/// What is taken for frozen, in a sentence, where it is a beginning or an end.
fn frozen(order: &[usize], parameters: &[&Tensor]) -> Option<String> {
    let (first, last) = (*order.iter().min()?, *order.iter().max()?);
    if last - first + 1 != order.len() {
        return None;
    }
    let (from, to) = (&parameters[first].name, &parameters[last].name);
    Some(format!(
        "{}: taken for those from {from} to {to}, the others being frozen",
        counts(order.len(), parameters.len())
    ))
}

fn counts(have: usize, wanted: usize) -> String {
    format!("the optimizer has {have} parameters and the network {wanted}")
}

/// Lists of the network's parameters, one for each run of the optimizer's, with that run's length.
type Layout = Vec<(usize, Vec<usize>)>;

/// The orders that an optimizer's parameters may stand in.
fn layouts(optimizer: &Optimizer, parameters: &[&Tensor], list: &[usize]) -> Vec<Layout> {
    let mut layouts = vec![vec![(optimizer.parameters.len(), list.to_vec())]];
    let [first, second] = optimizer.groups[..] else {
        return layouts;
    };
    let normalization = normalization(parameters);
    let is_bias = |n: usize| parameters[n].name.ends_with("bias");
    let undecayed = |n: usize| parameters[n].shape.len() <= 1 || is_bias(n);
    let splits: [&dyn Fn(usize) -> bool; 4] = [&undecayed, &|n| normalization[n], &is_bias, &|n| {
        is_bias(n) || is_called_norm(&parameters[n].name)
    }];
    for split in splits {
        let (yes, no): (Vec<usize>, Vec<usize>) = list.iter().partition(|n| split(**n));
        layouts.push(vec![(first, yes.clone()), (second, no.clone())]);
        layouts.push(vec![(first, no), (second, yes)]);
    }
    layouts
}

/// What transformers' Trainer takes for a normalization layer by its name.
fn is_called_norm(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut components = name.split('.');
    name.contains("layernorm") || components.any(|c| c == "norm" || c.ends_with("_norm"))
}

/// How often an optimizer's parameters fit into a layout.
enum Placed {
    Nowhere,
    Once(Vec<usize>),
    Often,
}

/// Places runs of the optimizer's parameters in their lists, in order.
fn place(kept: &[Parameter], parameters: &[&Tensor], layout: &Layout) -> Placed {
    let (mut order, mut rest) = (Vec::with_capacity(kept.len()), kept);
    let mut often = false;
    for (len, list) in layout {
        let Some((run, behind)) = rest.split_at_checked(*len) else {
            return Placed::Nowhere;
        };
        rest = behind;
        let fits = |p: &Parameter, n: usize| p.fits(parameters[n]);
        if let Some(found) = without_an_end(run, list, fits) {
            match found {
                Some(places) => order.extend(places),
                None => often = true,
            }
            continue;
        }
        let Some(earliest) = earliest(run.iter(), list.iter().copied(), fits) else {
            return Placed::Nowhere;
        };
        let latest = self::earliest(run.iter().rev(), list.iter().rev().copied(), fits);
        let is_latest = |latest: Vec<usize>| latest.iter().rev().eq(&earliest);
        // Where the earliest places are the latest too, there are no others.
        often |= !latest.is_some_and(is_latest);
        order.extend(earliest);
    }
    if often {
        Placed::Often
    } else {
        Placed::Once(order)
    }
}

/// The places of a run of which nothing, the beginning or the end is missing: that is how networks
/// are frozen. Inner `None` where both would fit.
fn without_an_end(
    run: &[Parameter],
    list: &[usize],
    fits: impl Fn(&Parameter, usize) -> bool,
) -> Option<Option<Vec<usize>>> {
    let missing = list.len().checked_sub(run.len())?;
    let fit = |places: &[usize]| run.iter().zip(places).all(|(p, n)| fits(p, *n));
    let (last, first) = (&list[missing..], &list[..run.len()]);
    match (fit(last), missing > 0 && fit(first)) {
        (true, true) => Some(None),
        (true, false) => Some(Some(last.to_vec())),
        (false, true) => Some(Some(first.to_vec())),
        (false, false) => None,
    }
}

/// For each of a run the first place that fits, behind the one before.
fn earliest<'p>(
    run: impl Iterator<Item = &'p Parameter>,
    mut list: impl Iterator<Item = usize>,
    fits: impl Fn(&Parameter, usize) -> bool,
) -> Option<Vec<usize>> {
    run.map(|parameter| list.find(|n| fits(parameter, *n)))
        .collect()
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
