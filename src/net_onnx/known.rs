//! What is known before any image is seen: constants, sizes, and tensors under other names.

use super::constant::{BUDGET, Constant, count, product};
use super::fold::{fold, shape_of};
use super::import::Import;
use super::item::{Fault, Item, Items};
use super::node::Reader;
use super::operators;
use crate::checkpoint::{Attribute, Elements};
use crate::dtype::Dtype;

impl<'p> Import<'p> {
    pub(super) fn constant_node(&mut self, node: &Reader<'_>) -> Items {
        if let Some(tensor) = node.node.constant {
            let name = node.node.outputs.first().cloned().unwrap_or_default();
            return Ok(vec![super::import::stored(self.tensors, tensor, name)]);
        }
        let constant = match (node.attribute("value_int"), node.attribute("value_ints")) {
            (Some(Attribute::Int(int)), _) => Constant::scalar(Elements::Ints(vec![*int])),
            (_, Some(Attribute::Ints(ints))) => Constant::ints(ints.clone()),
            _ => return Err("its value is of a kind that is not known".into()),
        };
        Ok(vec![Item::Constant(constant)])
    }

    /// What leaves a stored tensor a stored tensor: a second name, other dimensions.
    pub(super) fn stored_node(
        &mut self,
        node: &Reader<'p>,
        inputs: &[Option<Item>],
    ) -> Result<Option<Vec<Item>>, Fault> {
        let Some(Some(Item::Stored(stored))) = inputs.first() else {
            return Ok(None);
        };
        let float = self.dtype(stored).is_some_and(Dtype::is_editable_float);
        let mut stored = stored.clone();
        match node.operator() {
            "Identity" => {
                // Exporters keep one of several equal tensors, and name the others so.
                let source = &node.node.inputs[0];
                if self.uses.get(&source[..]).is_some_and(|uses| *uses > 1) && float {
                    stored.name.clone_from(&node.node.outputs[0]);
                }
            }
            "Cast" if float && matches!(node.int("to", 1)?, 1 | 10 | 11 | 16) => {}
            "CastLike" if float => {}
            "Transpose" if float && stored.dims.len() == 2 => {
                let order = node.order(2)?;
                if order == [1, 0] {
                    stored.dims.reverse();
                    stored.transposed = !stored.transposed;
                }
            }
            "Reshape" | "Unsqueeze" | "Squeeze" if float && !stored.transposed => {
                let axes = self.constants(inputs)?;
                let second = axes.get(1).cloned().flatten();
                stored.dims = operators::moved_dims(node, &stored.dims, second.as_ref())?;
            }
            _ => return Ok(None),
        }
        Ok(Some(vec![Item::Stored(stored)]))
    }

    /// The node's results, if all it takes is known.
    pub(super) fn folded(
        &mut self,
        node: &Reader<'p>,
        inputs: &[Option<Item>],
    ) -> Result<Option<Vec<Item>>, Fault> {
        if let ("Shape" | "Size", Some(Some(item))) = (node.operator(), inputs.first()) {
            let dims = match item {
                Item::Data(view) => Some(self.dims(view)),
                Item::Piece(piece) => {
                    return Err(Fault::Blame(piece.by, piece.kind.reason().to_owned()));
                }
                Item::Stored(stored) => Some(stored.dims.clone()),
                _ => None,
            };
            if let Some(dims) = dims {
                let constant = match node.operator() {
                    "Shape" => shape_of(node, &dims)?,
                    _ => Constant::scalar(Elements::Ints(vec![product(&dims) as i64])),
                };
                return Ok(Some(vec![Item::Constant(constant)]));
            }
        }
        if node.operator() == "CastLike" {
            // Only the type of the other input counts: that of a value is a float's.
            let Some(Some(Item::Constant(x))) = inputs.first() else {
                return Ok(None);
            };
            if matches!(inputs.get(1), Some(Some(Item::Data(_) | Item::Piece(_)))) {
                let elements = Elements::Floats(x.elements.to_floats());
                let dims = x.dims.clone();
                return Ok(Some(vec![Item::Constant(Constant { dims, elements })]));
            }
        }
        if inputs.is_empty() || !operators::is_foldable(node.operator()) {
            return Ok(None);
        }
        let known =
            |item: &Option<Item>| matches!(item, None | Some(Item::Constant(_) | Item::Stored(_)));
        if !inputs.iter().all(known) {
            return Ok(None);
        }
        let constants = self.constants(inputs)?;
        let given: Vec<Option<&Constant>> = constants.iter().map(Option::as_ref).collect();
        let Some(results) = fold(node, &given)? else {
            return Ok(None);
        };
        // Of nothing there may be as many as one likes.
        for dim in results.iter().flat_map(|result| &result.dims) {
            count(&[*dim])?;
        }
        let numbers: usize = results.iter().map(Constant::len).sum();
        self.budget = self.budget.checked_sub(numbers).ok_or_else(|| {
            format!("over {BUDGET} numbers are computed before the network begins")
        })?;
        Ok(Some(results.into_iter().map(Item::Constant).collect()))
    }

    fn constants(&self, inputs: &[Option<Item>]) -> Result<Vec<Option<Constant>>, Fault> {
        let constant = |item: &Option<Item>| match item {
            Some(item) => self.constant_of(item),
            None => Ok(None),
        };
        inputs.iter().map(constant).collect()
    }

    fn constant_of(&self, item: &Item) -> Result<Option<Constant>, Fault> {
        match item {
            Item::Constant(constant) => Ok(Some(constant.clone())),
            Item::Stored(stored) if !stored.transposed => {
                let constant = self.tensors.constant(stored.tensor)?;
                Ok(constant.map(|constant| Constant {
                    dims: stored.dims.clone(),
                    ..constant
                }))
            }
            _ => Ok(None),
        }
    }

    /// The constant of a name, where it is one.
    pub(super) fn constant(&self, name: &str) -> Result<Option<Constant>, Fault> {
        match self.item(name) {
            Some(item) => self.constant_of(&item),
            None => Ok(None),
        }
    }

    /// The constant of a node's input, which must be one where it is there.
    pub(super) fn input_constant(
        &self,
        node: &Reader<'_>,
        at: usize,
    ) -> Result<Option<Constant>, Fault> {
        match node.node.inputs.get(at).filter(|name| !name.is_empty()) {
            None => Ok(None),
            Some(name) => match self.constant(name)? {
                Some(constant) => Ok(Some(constant)),
                None => Err(format!("its input {at}, {name}, is no constant").into()),
            },
        }
    }
}
