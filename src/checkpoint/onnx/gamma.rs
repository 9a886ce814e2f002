//! The BatchNorm layers of a model: their names, and whether their γ can be edited.

use super::consumers::other_uses;
use super::element;
use super::external::DataFiles;
use super::model::{Data, TensorProto};
use super::names::Unique;
use super::values::{Steps, Values};
use super::walk::{Gamma, gammas};
use crate::checkpoint::declared::DeclaredNorm;
use crate::error::Result;

/// The layers in graph order; `gamma` is an index into the model's tensors. Several
/// BatchNormalization nodes with one γ are one layer.
pub(super) fn norms(values: &Values<'_>, files: &DataFiles) -> Result<Vec<DeclaredNorm>> {
    let found = gammas(values)?;
    let overlaps = files.overlaps();
    let mut steps = Steps::new();
    let mut norms = Vec::with_capacity(found.len());
    let mut taken = Unique::default();
    for Gamma {
        value,
        node,
        tensor,
    } in found
    {
        let name = values.definitions[value].name;
        let stored = tensor
            .as_ref()
            .ok()
            .map(|tensor| &values.model.tensors[*tensor]);
        let layer = taken.take_either(layer_name(stored, name), name.to_owned());
        let readable = tensor.and_then(|tensor| readable(values, tensor));
        let (gamma, editable, shared) = match readable {
            Err(reason) => (None, Err(reason), false),
            Ok(tensor) => {
                let uses = other_uses(values, value, &mut steps)?
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
        norms.push(DeclaredNorm {
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

/// The tensor itself when it can be a γ of this crate, otherwise why not.
fn readable(values: &Values<'_>, index: usize) -> Result<usize, String> {
    let tensor = &values.model.tensors[index];
    let name = &tensor.name;
    match element::dtype(tensor.data_type) {
        Some(dtype) if dtype.is_editable_float() => {}
        Some(other) => return Err(format!("its γ {name} has elements of type {other}")),
        None => {
            return Err(format!(
                "its γ {name} has elements of ONNX type {}",
                tensor.data_type
            ));
        }
    }
    match (&tensor.dims[..], &tensor.data) {
        ([0], _) => Err(format!("its γ {name} is empty")),
        ([_], Data::None) => Err(format!("its γ {name} has no data in the file")),
        ([_], _) => Ok(index),
        (dims, _) => Err(format!(
            "its γ {name} has the shape {dims:?}, not one dimension"
        )),
    }
}
