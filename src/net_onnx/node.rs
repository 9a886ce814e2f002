//! A node and what it says: attributes, and inputs that older operator sets had as attributes.

use super::constant::{Constant, count};
use super::fold::{axis, ints};
use crate::checkpoint::{Attribute, Checkpoint, Node, Program};
use crate::error::Result as FileResult;
use crate::file::Source;

/// The tensors of a model, to be read.
pub(super) struct Tensors<'p> {
    pub(super) program: &'p Program,
    pub(super) checkpoint: &'p Checkpoint,
}

impl Tensors<'_> {
    /// A stored tensor as a constant; `None` for one that is too large, or of an odd type.
    pub(super) fn constant(&self, tensor: usize) -> FileResult<Option<Constant>> {
        let dims = self.program.stored(tensor).dims;
        let dims: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let dims = dims.filter(|dims| count(dims).is_ok());
        let Some(dims) = dims else { return Ok(None) };
        let model: &Source = &self.checkpoint.sources()[0];
        let tensors = &self.checkpoint.dicts()[0].tensors;
        let read = |at: usize| self.checkpoint.read(&tensors[at]);
        let elements = self.program.elements(tensor, model, &read)?;
        Ok(elements.map(|elements| Constant { dims, elements }))
    }
}

/// A node that is being read.
pub(super) struct Reader<'p> {
    pub(super) node: &'p Node,
    pub(super) tensors: &'p Tensors<'p>,
}

/// A part of a dimension, as Slice has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) axis: usize,
    start: i64,
    end: i64,
    step: i64,
}

impl Cut {
    /// First element, number of elements and step on a dimension of this size.
    pub(super) fn resolve(self, size: usize) -> (usize, usize, i64) {
        let size = i128::from(size as u64);
        let (start, end, step) = (self.start.into(), self.end.into(), i128::from(self.step));
        let from_front = |at: i128| if at < 0 { at + size } else { at };
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let start = from_front(start).clamp(low.max(0), high.max(0));
        let end = from_front(end).clamp(low, high);
        let len = (end - start + step - step.signum()) / step;
        let len = if (end - start).signum() == step.signum() {
            len
        } else {
            0
        };
        (start as usize, len as usize, self.step)
    }
}

impl Reader<'_> {
    pub(super) fn operator(&self) -> &str {
        &self.node.operator
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        let mut attributes = self.node.attributes.iter();
        attributes
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Int(int)) => Ok(*int),
            Some(_) => Err(format!("its {name} is no integer")),
        }
    }

    pub(super) fn float(&self, name: &str, default: f64) -> Result<f64, String> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(float)) => Ok(*float),
            Some(_) => Err(format!("its {name} is no float")),
        }
    }

    pub(super) fn text(&self, name: &str, default: &str) -> Result<String, String> {
        match self.attribute(name) {
            None => Ok(default.to_owned()),
            Some(Attribute::Text(text)) => Ok(text.clone()),
            Some(_) => Err(format!("its {name} is no text")),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<Option<&[i64]>, String> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(ints)) => Ok(Some(ints)),
            Some(_) => Err(format!("its {name} is no list of integers")),
        }
    }

    /// Two numbers, of rows and of columns; or the default.
    pub(super) fn pair(&self, name: &str, default: usize) -> Result<(usize, usize), String> {
        match self.list(name)? {
            None => Ok((default, default)),
            Some(list) => match list
                .iter()
                .map(|n| usize::try_from(*n).ok())
                .collect::<Vec<_>>()[..]
            {
                [Some(rows), Some(columns)] => Ok((rows, columns)),
                _ => Err(format!(
                    "its {name} is {list:?}; it is known with two numbers from 0"
                )),
            },
        }
    }

    /// A tensor among the attributes.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<Constant>, String> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Tensor(tensor)) => match self.tensors.constant(*tensor) {
                Ok(Some(constant)) => Ok(Some(constant)),
                Ok(None) => Err(format!("its {name} is of a type that is not known")),
                Err(err) => Err(err.to_string()),
            },
            Some(_) => Err(format!("its {name} is no tensor")),
        }
    }

    /// Axes: of an input, or of the attribute that older operator sets have.
    pub(super) fn axes(&self, input: Option<&Constant>) -> Result<Option<Vec<i64>>, String> {
        Ok(match input {
            Some(axes) => Some(ints(axes)?.to_vec()),
            None => self.list("axes")?.map(<[i64]>::to_vec),
        })
    }

    /// The order of Transpose for a tensor of so many dimensions.
    pub(super) fn order(&self, rank: usize) -> Result<Vec<usize>, String> {
        let Some(perm) = self.list("perm")? else {
            return Ok((0..rank).rev().collect());
        };
        let order: Vec<usize> = perm
            .iter()
            .map(|at| axis(*at, rank))
            .collect::<Result<_, _>>()?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted.into_iter().eq(0..rank) {
            Ok(order)
        } else {
            Err(format!("perm {perm:?} is no order of {rank} dimensions"))
        }
    }

    /// What Slice cuts out of a tensor of `dims`: by its inputs, or by the attributes that older
    /// operator sets have.
    pub(super) fn cuts(
        &self,
        inputs: &[Option<&Constant>],
        dims: &[usize],
    ) -> Result<Vec<Cut>, String> {
        let input = |at: usize| inputs.get(at).copied().flatten();
        let list = |at: usize, name: &str| -> Result<Option<Vec<i64>>, String> {
            match input(at) {
                Some(list) => Ok(Some(ints(list)?.to_vec())),
                None => Ok(self.list(name)?.map(<[i64]>::to_vec)),
            }
        };
        let starts = list(1, "starts")?.ok_or("has no starts")?;
        let ends = list(2, "ends")?.ok_or("has no ends")?;
        let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if [&ends, &axes, &steps]
            .iter()
            .any(|list| list.len() != starts.len())
        {
            return Err("its starts, ends, axes and steps are not equally many".to_owned());
        }
        let mut cuts: Vec<Cut> = Vec::new();
        for (at, start) in starts.iter().enumerate() {
            let cut = Cut {
                axis: axis(axes[at], dims.len())?,
                start: *start,
                end: ends[at],
                step: steps[at],
            };
            if cut.step == 0 || cuts.iter().any(|other| other.axis == cut.axis) {
                return Err("a step of 0, or two cuts of one axis".to_owned());
            }
            cuts.push(cut);
        }
        Ok(cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_resolved_as_in_numpy() {
        let resolve = |start, end, step, size| {
            Cut {
                axis: 0,
                start,
                end,
                step,
            }
            .resolve(size)
        };
        assert_eq!(resolve(0, i64::MAX, 1, 5), (0, 5, 1));
        assert_eq!(resolve(-3, -1, 1, 5), (2, 2, 1));
        assert_eq!(resolve(0, 5, 2, 5), (0, 3, 2));
        assert_eq!(resolve(1, 5, 2, 5), (1, 2, 2));
        assert_eq!(resolve(4, 2, 1, 5), (4, 0, 1));
        assert_eq!(resolve(-1, i64::MIN, -1, 5), (4, 5, -1));
        assert_eq!(resolve(7, 9, 1, 5), (5, 0, 1));
    }
}
