//! The tensors of an imported network: what is trained, and where the file stores it.

use std::collections::HashMap;

use super::constant::product;
use super::import::Import;
use super::item::{Fault, Item, Stored};
use super::node::Reader;
use crate::net::{Init, Kind, TensorId};

/// Where the file stores a tensor of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number among the tensors of the checkpoint's only state dict.
    pub(super) at: usize,
    /// Rows and columns there, where the graph has the matrix the other way round.
    pub(super) transposed: Option<(usize, usize)>,
}

/// The tensors so far.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    by_name: HashMap<String, TensorId>,
    /// Of each tensor of the graph, by its index.
    pub(super) places: Vec<Place>,
    /// The tensors of each BatchNorm: γ, β, running mean and variance, and the node.
    pub(super) norms: Vec<([TensorId; 4], String)>,
}

/// How such a tensor starts where nothing is read into it: as PyTorch draws it.
pub(super) fn uniform(fan_in: usize) -> Kind {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    Kind::Parameter(Init::Uniform { bound })
}

impl Import<'_> {
    /// Input `at` of a node as a tensor of the graph with these dimensions, called `what` in
    /// messages; `None` where it is left out.
    pub(super) fn parameter(
        &mut self,
        node: &Reader<'_>,
        at: usize,
        (what, shape, kind): (&str, &[usize], Kind),
    ) -> Result<Option<TensorId>, Fault> {
        let Some(name) = node.node.inputs.get(at).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let stored = match self.item(name) {
            Some(Item::Stored(stored)) => stored,
            Some(Item::Unknown) => return Err(Fault::Behind),
            Some(Item::Data(_) | Item::Piece(_) | Item::Sequence(_)) => {
                return Err(format!("its {what} {name} is computed from the images").into());
            }
            _ => return Err(format!("its {what} {name} is computed, not stored").into()),
        };
        self.stored_parameter(&stored, (what, shape, kind))
            .map(Some)
    }

    /// A stored tensor as a tensor of the graph.
    pub(super) fn stored_parameter(
        &mut self,
        stored: &Stored,
        (what, shape, kind): (&str, &[usize], Kind),
    ) -> Result<TensorId, Fault> {
        let name = &stored.name;
        let own = self.tensors.program.stored(stored.tensor);
        match own.dtype {
            Some(dtype) if dtype.is_editable_float() => {}
            Some(dtype) => {
                return Err(format!("its {what} {name} has elements of type {dtype}").into());
            }
            None => return Err(format!("its {what} {name} has elements of an unknown type").into()),
        }
        let Some(at) = own.at else {
            return Err(format!("its {what} {name} has no data in the file").into());
        };
        if product(&stored.dims) != product(shape) {
            let dims = &stored.dims;
            return Err(format!("its {what} {name} is {dims:?}, not {shape:?}").into());
        }
        let place = Place {
            at,
            transposed: stored.transposed.then(|| (stored.dims[1], stored.dims[0])),
        };
        if let Some(id) = self.parameters.by_name.get(name) {
            let spec = self.graph.tensor(*id);
            let same_kind = std::mem::discriminant(&spec.kind) == std::mem::discriminant(&kind);
            if spec.shape == shape && same_kind && self.parameters.places[id.index()] == place {
                return Ok(*id);
            }
            return Err(format!(
                "its {what} {name} is something else elsewhere: the exporter kept one of several \
                 equal tensors; dynamo=True, optimize=False does not"
            )
            .into());
        }
        let id = self.graph.add_tensor(name, shape.to_vec(), kind)?;
        self.parameters.by_name.insert(name.clone(), id);
        self.parameters.places.push(place);
        Ok(id)
    }
}

/// The name of the layer of a tensor: without the last component, as of a state dict.
pub(super) fn layer(name: &str) -> &str {
    name.rfind(['.', '/']).map_or(name, |end| &name[..end])
}
