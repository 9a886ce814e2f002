//! Tensors: what `torch._utils._rebuild_tensor_v2` and its relatives would have made.

use std::path::Path;

use super::super::Tensor;
use super::node::NodeId;
use super::storage::{StorageId, Storages, dtype_of};
use super::value::Value;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// PyTorch's own limit on dimensions.
const MAX_DIMS: usize = 64;
/// A parameter around a subclass around a tensor is three; real files have no more.
const MAX_WRAPPERS: usize = 8;

/// A tensor that is spread over devices.
pub(super) const DISTRIBUTED: &str = "DTensor";

/// What a value is, seen as a tensor.
pub(super) enum Reading<'a> {
    /// A tensor, to be read with [`Reader::read`].
    Tensor(Rebuild<'a>),
    /// A tensor of a kind that is not read: the function that would make it.
    Unread(&'a str),
    NotATensor,
}

/// A call that makes a tensor out of a storage.
#[derive(Clone, Copy)]
pub(super) struct Rebuild<'a> {
    function: &'a str,
    args: Value<'a>,
    /// The innermost object: the tensor's identity, whatever it is wrapped in.
    pub(super) id: NodeId,
}

/// What `value` is, seen as a tensor: parameters and subclasses are unwrapped.
pub(super) fn reading(mut value: Value<'_>) -> Reading<'_> {
    for _ in 0..MAX_WRAPPERS {
        let Some((mut callable, mut args)) = value.call() else {
            return Reading::NotATensor;
        };
        let id = value.id;
        let mut function = "";
        // `_rebuild_from_type_v2(function, type, args, state)` is a call within a call.
        for _ in 0..MAX_WRAPPERS {
            let Some((module, name)) = callable.as_global() else {
                return Reading::NotATensor;
            };
            if module != "torch" && !module.starts_with("torch.") {
                return Reading::NotATensor;
            }
            function = name;
            if !matches!(function, "_rebuild_from_type" | "_rebuild_from_type_v2") {
                break;
            }
            let class = args.item(1).and_then(Value::as_global);
            if class.is_some_and(|(_, name)| name == DISTRIBUTED) {
                return Reading::Unread(DISTRIBUTED);
            }
            match (args.item(0), args.item(2)) {
                (Some(inner), Some(inner_args)) => (callable, args) = (inner, inner_args),
                _ => return Reading::Unread(function),
            }
        }
        match function {
            "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3" => {
                return Reading::Tensor(Rebuild { function, args, id });
            }
            "_rebuild_parameter" | "_rebuild_parameter_with_state" => match args.item(0) {
                Some(data) => value = data,
                None => return Reading::Unread(function),
            },
            _ if function.starts_with("_rebuild_") => return Reading::Unread(function),
            _ => return Reading::NotATensor,
        }
    }
    Reading::Unread("too many wrappers")
}

/// Where the tensors of one file are read from.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    /// The file's place among the sources of its checkpoint.
    pub(super) source: usize,
    pub(super) storages: &'a Storages,
}

impl<'a> Rebuild<'a> {
    /// The persistent node of its storage.
    pub(super) fn storage(&self) -> Option<Value<'a>> {
        self.args.item(0)
    }
}

impl Reader<'_> {
    /// The tensor that a call would have made, under `name`.
    ///
    /// # Errors
    /// If an argument is not what the function takes, or the tensor reaches out of its storage.
    pub(super) fn read(&self, name: &str, rebuild: Rebuild<'_>) -> Result<Tensor> {
        let malformed = |expected: &str, found: &str| {
            Error::malformed(self.path, format!("tensor {name}"), expected, found)
        };
        let id = rebuild.storage().and_then(Value::persistent_id);
        let id = id.ok_or_else(|| malformed("a storage", "something else"))?;
        let id = StorageId::parse(id)
            .map_err(|found| malformed("the persistent id of a storage", &found))?;
        let extent = id.locate(self.storages, self.path, name)?;
        let args =
            Args::parse(rebuild, id.dtype).map_err(|(what, found)| malformed(what, &found))?;
        let width = args.dtype.bits() / 8;
        let elements = extent.len / width;
        let Some((first, spread)) = args
            .range()
            .filter(|(first, n)| first.checked_add(*n).is_some_and(|end| end <= elements))
        else {
            let Args {
                first,
                shape,
                strides,
                ..
            } = &args;
            let found = format!("shape {shape:?} with strides {strides:?} from element {first}");
            return Err(malformed(
                &format!("a tensor within {elements} elements"),
                &found,
            ));
        };
        let strided = !args.is_contiguous();
        let pending = args
            .deferred
            .map(|what| format!("its bytes are stored with a pending {what}"));
        let strides = (strided && pending.is_none()).then(|| args.strides.clone());
        let fixed = if strided {
            Some(format!(
                "its elements are not contiguous (strides {:?})",
                args.strides
            ))
        } else {
            pending
        };
        Ok(Tensor {
            name: name.to_owned(),
            dtype: args.dtype,
            source: self.source,
            offset: extent.offset + first * width,
            len: spread * width,
            shape: args.shape,
            fixed,
            scattered: None,
            strides,
        })
    }
}

/// The arguments of a rebuild function.
struct Args {
    dtype: Dtype,
    first: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
    /// A negation or conjugation that PyTorch does when the tensor is read.
    deferred: Option<&'static str>,
}

impl Args {
    fn parse(
        rebuild: Rebuild<'_>,
        stored: Dtype,
    ) -> std::result::Result<Args, (&'static str, String)> {
        let arg = |n: usize| rebuild.args.item(n);
        let natural = |value: Value<'_>| value.as_i64().and_then(|n| u64::try_from(n).ok());
        let first = arg(1).and_then(natural);
        let first = first.ok_or(("a storage offset", "none".to_owned()))?;
        let list = |n: usize| -> Option<Vec<u64>> {
            let value = arg(n)?;
            // A `torch.Size` is a call with the tuple as its argument.
            let value = value.call().map_or(Some(value), |(_, args)| args.item(0))?;
            value.items()?.take(MAX_DIMS + 1).map(natural).collect()
        };
        let shape = list(2).filter(|shape| shape.len() <= MAX_DIMS);
        let shape = shape.ok_or(("a shape of natural numbers", "none".to_owned()))?;
        let strides = list(3).filter(|strides| strides.len() == shape.len());
        let strides = strides.ok_or(("as many strides as dimensions", "others".to_owned()))?;
        let (dtype, metadata) = if rebuild.function == "_rebuild_tensor_v3" {
            let name = arg(6).and_then(Value::as_global).map(|(_, name)| name);
            let dtype = name.and_then(dtype_of);
            let found = || ("a dtype", name.unwrap_or("none").to_owned());
            (dtype.ok_or_else(found)?, arg(7))
        } else {
            (stored, arg(6))
        };
        // PyTorch knows two keys; many tensors may share one dict of any size.
        let metadata = metadata
            .and_then(Value::entries)
            .into_iter()
            .flatten()
            .take(16);
        let mut set = metadata.filter(|(_, value)| value.as_bool() != Some(false));
        let deferred = set.find_map(|(key, _)| match key.as_str()? {
            "neg" => Some("negation"),
            "conj" => Some("conjugation"),
            _ => None,
        });
        Ok(Args {
            dtype,
            first,
            shape,
            strides,
            deferred,
        })
    }

    /// First element and number of elements that the tensor is spread over; `None` on overflow.
    fn range(&self) -> Option<(u64, u64)> {
        if self.shape.contains(&0) {
            return Some((self.first, 0));
        }
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(0_u64, |sum, (dim, stride)| {
                sum.checked_add((dim - 1).checked_mul(*stride)?)
            })?;
        Some((self.first, last.checked_add(1)?))
    }

    /// Whether the elements lie one after another in row-major order.
    fn is_contiguous(&self) -> bool {
        if self.shape.contains(&0) {
            return true;
        }
        let mut next = Some(1_u64);
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .filter(|(dim, _)| **dim != 1)
            .all(|(dim, s)| {
                let fits = Some(*s) == next;
                next = next.and_then(|n| n.checked_mul(*dim));
                fits
            })
    }
}
