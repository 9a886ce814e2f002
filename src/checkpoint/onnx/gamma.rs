//! The BatchNorm layers of a model: their names, and whether their γ can be edited.

use super::consumers::{BETA, GAMMA, other_uses};
use super::element;
use super::external::DataFiles;
use super::model::{Data, TensorProto};
use super::names::Unique;
use super::values::{Steps, Values};
use super::walk::{Gamma, gammas};
use crate::checkpoint::declared::{DeclaredBeta, DeclaredNorm};
use crate::error::Result;
use std::collections::HashMap;

/// The layers in graph order; `gamma` is an index into the model's tensors. Several
/// BatchNormalization nodes with one γ are one layer.
pub(super) fn norms(values: &Values<'_>, files: &DataFiles) -> Result<Vec<DeclaredNorm>> {
    let found = gammas(values)?;
    let overlaps = files.overlaps();
    let mut steps = Steps::new();
    let mut norms = Vec::with_capacity(found.len());
    let mut taken = Unique::default();
    // By how many γ a value is used as their β.
    let mut uses_as_beta = HashMap::new();
    for (beta, _) in found.iter().flat_map(|gamma| &gamma.betas) {
        *uses_as_beta.entry(*beta).or_insert(0) += 1;
    }
    for Gamma {
        value,
        node,
        tensor,
        betas,
    } in found
    {
        let name = values.definitions[value].name;
        let stored = tensor
            .as_ref()
            .ok()
            .map(|tensor| &values.model.tensors[*tensor]);
        let layer = taken.take_either(layer_name(stored, name), name.to_owned());
        let readable_gamma = tensor.and_then(|tensor| readable(values, tensor, "γ"));
        let (gamma, editable, shared) = match readable_gamma {
            Err(reason) => (None, Err(reason), false),
            Ok(tensor) => {
                let uses = other_uses(values, value, GAMMA, &mut steps)?
                    .map(|uses| format!("its γ {name} is also {uses}"));
                let overlap = overlaps.get(&tensor).map(|other| {
                    let other = &values.model.tensors[*other].name;
                    format!("the bytes of its γ {name} overlap those of {other}")
                });
                let shared = uses.or(overlap);
                (
                    Some(tensor),
                    shared.clone().map_or(Ok(()), Err),
                    shared.is_some(),
                )
            }
        };
        let mut declared_betas = Vec::with_capacity(betas.len());
        for (beta, tensor) in betas {
            declared_betas.push(
                match tensor.and_then(|tensor| readable(values, tensor, "β")) {
                    Err(reason) => DeclaredBeta {
                        tensor: None,
                        editable: Err(reason),
                    },
                    Ok(tensor) => {
                        let name = values.definitions[beta].name;
                        let other_layers = uses_as_beta[&beta] > 1;
                        let uses = other_uses(values, beta, BETA, &mut steps)?
                            .or_else(|| other_layers.then(|| "β of another layer".to_owned()))
                            .map(|uses| format!("its β {name} is also {uses}"));
                        let overlap = overlaps.get(&tensor).map(|other| {
                            let other = &values.model.tensors[*other].name;
                            format!("the bytes of its β {name} overlap those of {other}")
                        });
                        DeclaredBeta {
                            tensor: Some(tensor),
                            editable: uses.or(overlap).map_or(Ok(()), Err),
                        }
                    }
                },
            );
        }
        norms.push(DeclaredNorm {
            betas: declared_betas,
            layer,
            gamma,
            node,
            editable,
            shared,
        });
    }
    Ok(norms)
}

/// What the dialects call a γ in its layer.
const LEAVES: [&str; 3] = ["weight", "gamma", "scale"];

/// The name of a layer whose γ is the value `value`, stored in `tensor` where it is stored.
fn layer_name(tensor: Option<&TensorProto>, value: &str) -> String {
    let layer = match tensor.and_then(|tensor| tensor.node.as_ref()) {
        Some(node) if node.is_empty() => value,
        Some(node) => node,
        None => match value.rsplit_once(['.', '/']) {
            Some((layer, leaf)) if LEAVES.contains(&leaf) => layer,
            // A flat name of the layer itself, such as `net/stem_s`.
            _ => value,
        },
    };
    layer.to_owned()
}

/// The tensor itself when it can be a γ or β, as it is called, of this crate, otherwise why not.
fn readable(values: &Values<'_>, index: usize, what: &str) -> Result<usize, String> {
    let tensor = &values.model.tensors[index];
    let name = &tensor.name;
    match element::dtype(tensor.data_type) {
        Some(dtype) if dtype.is_editable_float() => {}
        Some(other) => return Err(format!("its {what} {name} has elements of type {other}")),
        None => {
            return Err(format!(
                "its {what} {name} has elements of ONNX type {}",
                tensor.data_type
            ));
        }
    }
    match (&tensor.dims[..], &tensor.data) {
        ([0], _) => Err(format!("its {what} {name} is empty")),
        ([_], Data::None) => Err(format!("its {what} {name} has no data in the file")),
        ([_], _) => Ok(index),
        (dims, _) => Err(format!(
            "its {what} {name} has the shape {dims:?}, not one dimension"
        )),
    }
}
