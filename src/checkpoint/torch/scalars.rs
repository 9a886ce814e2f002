//! The numbers of a saved object that are no weights: Python's, NumPy's, and tensors of one element.

use std::collections::HashSet;

use super::super::epochs::{Number, Scalar, Value as At};
use super::node::{Node, NodeId};
use super::tensor::{Reader, Reading, reading};
use super::value::{Saved, Value};
use crate::dtype::Dtype;

/// Dicts within dicts that are looked into.
const MAX_DEPTH: usize = 8;
/// Values that are looked at.
const MAX_STEPS: usize = 200_000;
/// Numbers that are kept.
const MAX_SCALARS: usize = 10_000;
/// A longer key is nobody's name for an epoch.
const MAX_KEY: usize = 128;

/// All numbers in the dicts of a saved object, in its order; what optimizers keep is left out.
pub(super) fn find(saved: &Saved, reader: Reader<'_>) -> Vec<Scalar> {
    let mut walk = Walk {
        reader,
        found: Vec::new(),
        seen: HashSet::new(),
        steps: MAX_STEPS,
    };
    walk.visit(saved.root(), "", 0);
    walk.found
}

struct Walk<'a> {
    reader: Reader<'a>,
    found: Vec<Scalar>,
    seen: HashSet<NodeId>,
    steps: usize,
}

impl Walk<'_> {
    fn visit(&mut self, value: Value<'_>, path: &str, depth: usize) {
        if depth > MAX_DEPTH || !self.seen.insert(value.id) {
            return;
        }
        let is_optimizer = value.get("param_groups").is_some() && value.get("state").is_some();
        let Some(entries) = value.entries().filter(|_| !is_optimizer) else {
            return;
        };
        for (key, value) in entries {
            if self.steps == 0 || self.found.len() >= MAX_SCALARS {
                return;
            }
            self.steps -= 1;
            let Some(key) = key.as_str().filter(|key| key.len() <= MAX_KEY) else {
                continue;
            };
            // BatchNorm counts batches, once a layer.
            if key.ends_with("num_batches_tracked") {
                continue;
            }
            let key = match path {
                "" => key.to_owned(),
                path => format!("{path}.{key}"),
            };
            match self.number(value, &key) {
                Some(value) => self.found.push(Scalar { key, value }),
                None => self.visit(value, &key, depth + 1),
            }
        }
    }

    fn number(&self, value: Value<'_>, key: &str) -> Option<At> {
        if let Some(number) = number(value) {
            return Some(At::Number(number));
        }
        let Reading::Tensor(rebuild) = reading(value) else {
            return None;
        };
        let tensor = self.reader.read(key, rebuild).ok()?;
        let one = tensor.shape.iter().all(|n| *n == 1) && tensor.fixed.is_none();
        one.then_some(At::Tensor(tensor))
    }
}

/// A number of Python, or a scalar of NumPy.
pub(super) fn number(value: Value<'_>) -> Option<Number> {
    match value.node() {
        Node::Int(value) => Some(Number::Int(*value)),
        Node::Float(value) => Some(Number::Float(*value)),
        _ => numpy(value),
    }
}

/// `numpy.core.multiarray.scalar(dtype, bytes)`, where the bytes are text, as protocol 2 has them.
fn numpy(value: Value<'_>) -> Option<Number> {
    let (callable, args) = value.call()?;
    let (module, "scalar") = callable.as_global()? else {
        return None;
    };
    if !matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray") {
        return None;
    }
    let dtype = args.item(0)?;
    let kind = match dtype.call()?.1.item(0)?.as_str()? {
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        _ => return None,
    };
    let big_endian = dtype.state()?.item(1)?.as_str()? == ">";
    let (encode, text) = args.item(1)?.call()?;
    if encode.as_global()? != ("_codecs", "encode") {
        return None;
    }
    let text = text.item(0)?.as_str()?.chars();
    let mut bytes = text
        .map(|c| u8::try_from(c).ok())
        .collect::<Option<Vec<u8>>>()?;
    if big_endian {
        bytes.reverse();
    }
    Number::of_element(kind, &bytes)
}
