//! The main graph as a program, for who computes it: nodes with their attributes, inputs with their
//! types, and which tensor each initializer is.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::model::{AttributeValue, Data, MAIN, Model, Operator, Run, TensorProto, Type};
use super::wire::{Fields, Reader, Span, Value};
use super::{Files, Onnx, Place, element, open_model, read_model};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::format::{self, Format};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::file::{Source, directory};

/// The main graph of a model.
#[derive(Debug)]
pub(crate) struct Program {
    /// Versions of the operator sets, by domain; the default domain is the empty one.
    pub(crate) opsets: Vec<(String, u64)>,
    /// The inputs that no initializer has a value for, with their types.
    pub(crate) inputs: Vec<(String, Type)>,
    pub(crate) outputs: Vec<String>,
    /// In the order in which they can be computed.
    pub(crate) nodes: Vec<Node>,
    /// Initializers by name: indices for [`stored`](Self::stored).
    pub(crate) initializers: HashMap<String, usize>,
    model: Model,
    positions: HashMap<usize, usize>,
}

impl Checkpoint {
    /// Opens an ONNX model as a program, and as a checkpoint whose table holds every tensor of it, in
    /// whichever data file.
    ///
    /// # Errors
    /// As [`open`](Self::open); another format.
    pub(crate) fn open_program(path: &Path) -> Result<(Checkpoint, Program)> {
        let source = Source::open(path)?;
        if !Onnx.detect(&source)? {
            return Err(Error::malformed(
                path,
                "file",
                "an ONNX model",
                "another format",
            ));
        }
        let (opened, program) = Program::open(source, directory(path))?;
        Ok((Checkpoint::of(path, path, opened, Files::All), program))
    }
}

/// A NodeProto.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) domain: String,
    pub(crate) operator: String,
    /// What messages call it, beside its operator: its name, or its first output's.
    pub(crate) name: String,
    /// Names of values; an input that is left out has an empty one.
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) attributes: Vec<(String, Attribute)>,
    /// Whether the model itself defines the operator, as a function.
    pub(crate) is_call: bool,
    /// Whether it holds graphs: a branch, a loop.
    pub(crate) has_bodies: bool,
    /// The value of a Constant, where that is a tensor: an index for [`Program::stored`].
    pub(crate) constant: Option<usize>,
}

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    Int(i64),
    /// The number that was meant: 0.9 for the f32 next to it.
    Float(f64),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    /// An index for [`Program::stored`].
    Tensor(usize),
    /// A graph, lists of text or tensors, more integers than any operator here takes.
    Other,
}

/// A tensor that the file stores.
#[derive(Debug, Clone)]
pub(crate) struct Stored<'p> {
    /// Its type, where this crate has it.
    pub(crate) dtype: Option<Dtype>,
    pub(crate) dims: &'p [u64],
    /// Its number among the tensors of the checkpoint's only state dict; `None` for what has no line
    /// there, such as integers that lie as varints.
    pub(crate) at: Option<usize>,
}

/// The elements of a small tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Elements {
    /// Of an integer type, or booleans as 0 and 1.
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl Program {
    /// Reads a model whose data files lie in the directory `home` or below.
    ///
    /// # Errors
    /// As [`open`](super::open).
    fn open(source: Source, home: &Path) -> Result<(format::Opened, Program)> {
        let mut model = read_model::read_model(&source)?;
        let functions: HashSet<Operator> = model
            .functions
            .iter()
            .map(|function| function.operator.clone())
            .collect();
        let nodes = nodes(&model, &functions, &source)?;
        let opened = open_model(&model, source, home, Files::All)?;
        let main = &mut model.graphs[MAIN];
        let initializers: HashMap<String, usize> = main
            .initializers
            .iter()
            .map(|index| (model.tensors[*index].name.clone(), *index))
            .collect();
        let inputs = main.inputs.iter().zip(&main.types);
        let inputs = inputs.filter(|(name, _)| !initializers.contains_key(&name[..]));
        let program = Program {
            inputs: inputs
                .map(|(name, its)| (name.clone(), its.clone()))
                .collect(),
            outputs: main.outputs.clone(),
            opsets: std::mem::take(&mut model.opsets),
            nodes,
            initializers,
            positions: opened.positions.clone(),
            model,
        };
        Ok((opened.into(), program))
    }

    /// The tensor of this number.
    pub(crate) fn stored(&self, tensor: usize) -> Stored<'_> {
        let proto = &self.model.tensors[tensor];
        Stored {
            dtype: element::dtype(proto.data_type),
            dims: &proto.dims,
            at: self.positions.get(&tensor).copied(),
        }
    }

    /// The elements of a tensor of integers, booleans or floats; `None` for another type. `read`
    /// gives the bytes of a line of the table.
    ///
    /// # Errors
    /// The file cannot be read, or holds another number of elements.
    pub(crate) fn elements(
        &self,
        tensor: usize,
        model_file: &Source,
        read: &dyn Fn(usize) -> Result<Vec<u8>>,
    ) -> Result<Option<Elements>> {
        let proto = &self.model.tensors[tensor];
        let Some(dtype) = element::dtype(proto.data_type) else {
            return Ok(None);
        };
        let integer = matches!(dtype, Dtype::I64 | Dtype::I32 | Dtype::Bool);
        let bytes = match (&proto.data, self.positions.get(&tensor)) {
            (Data::Varints(varints), _) if integer => {
                let message = varints.lengths.last().map(|length| length.body);
                let list = integers(model_file, message, varints.field, proto)?;
                return Ok(Some(Elements::Ints(list)));
            }
            (_, Some(at)) => read(*at)?,
            // The value of an attribute, which the table does not have.
            (Data::Fixed(runs), None) => {
                let len = element::byte_len(&proto.dims, proto.data_type).unwrap_or(0);
                Place::Runs(runs.clone()).read(model_file, len)?
            }
            (Data::None, None) if proto.dims.contains(&0) => Vec::new(),
            _ => return Ok(None),
        };
        Ok(Some(match dtype {
            Dtype::I64 => Elements::Ints(each(&bytes, i64::from_le_bytes)),
            Dtype::I32 => Elements::Ints(each(&bytes, |b| i32::from_le_bytes(b).into())),
            Dtype::Bool => Elements::Ints(each(&bytes, |[b]: [u8; 1]| i64::from(b != 0))),
            dtype if dtype.is_editable_float() => Elements::Floats(dtype.decode(&bytes)),
            _ => return Ok(None),
        }))
    }
}

fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    bytes.as_chunks::<N>().0.iter().map(|b| f(*b)).collect()
}

/// Integers that lie as varints, as many as the dimensions say.
fn integers(
    source: &Source,
    message: Option<Span>,
    wanted: u32,
    proto: &TensorProto,
) -> Result<Vec<i64>> {
    let count = proto
        .dims
        .iter()
        .try_fold(1, |n: u64, dim| n.checked_mul(*dim));
    let count = count.unwrap_or(u64::MAX);
    let mut reader = Reader::new(source);
    let mut fields = Fields::from(message.unwrap_or(Span { start: 0, end: 0 }));
    let mut list = Vec::new();
    while let Some(field) = reader.next(&mut fields)? {
        match field.value {
            _ if field.number != wanted || list.len() as u64 > count => {}
            Value::Varint(value, _) => list.push(value.cast_signed()),
            Value::Bytes(packed) => {
                let mut at = packed.body.start;
                while at < packed.body.end && list.len() as u64 <= count {
                    let (value, end) = reader.varint(at, packed.body.end)?;
                    list.push(value.cast_signed());
                    at = end;
                }
            }
            Value::Fixed(_) => {}
        }
    }
    if list.len() as u64 != count {
        let place = format!("tensor {:?}", proto.name);
        let found = if list.len() as u64 > count {
            "more".to_owned()
        } else {
            list.len().to_string()
        };
        return Err(Error::malformed(
            source.path(),
            place,
            format!("{count} elements"),
            found,
        ));
    }
    Ok(list)
}

fn nodes(model: &Model, functions: &HashSet<Operator>, source: &Source) -> Result<Vec<Node>> {
    let nodes = model.graphs[MAIN].nodes.iter();
    let nodes = nodes.map(|node| {
        let attributes = node.attributes.iter().map(|attribute| {
            let value = attribute_value(&attribute.value, source)?;
            Ok((attribute.name.clone(), value))
        });
        let mut names = [&node.name].into_iter().chain(&node.outputs);
        let name = names.find(|name| !name.is_empty());
        Ok(Node {
            domain: node.operator.domain.clone(),
            operator: node.operator.name.clone(),
            name: name.cloned().unwrap_or_default(),
            inputs: node.inputs.clone(),
            outputs: node.outputs.clone(),
            attributes: attributes.collect::<Result<_>>()?,
            is_call: functions.contains(&node.operator),
            has_bodies: !node.bodies.is_empty(),
            constant: node.constant,
        })
    });
    nodes.collect()
}

/// Bytes of text that any operator here takes.
const MAX_TEXT: u64 = 256;

fn attribute_value(value: &AttributeValue, source: &Source) -> Result<Attribute> {
    Ok(match value {
        AttributeValue::Int(int) => Attribute::Int(*int),
        AttributeValue::Ints(ints) => Attribute::Ints(ints.clone()),
        AttributeValue::Float(run) => match floats(&[*run], source)?[..] {
            [float] => Attribute::Float(float),
            _ => Attribute::Other,
        },
        AttributeValue::Floats(runs) => Attribute::Floats(floats(runs, source)?),
        AttributeValue::Text(span) if span.len() <= MAX_TEXT => {
            let bytes = source.slice(span.start, span.len() as usize)?;
            Attribute::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        AttributeValue::Tensor(tensor) => Attribute::Tensor(*tensor),
        AttributeValue::Text(_) | AttributeValue::Other => Attribute::Other,
    })
}

/// Bytes of floats that any operator here takes.
const MAX_FLOATS: u64 = 4096;

fn floats(runs: &[Run], source: &Source) -> Result<Vec<f64>> {
    let len = runs.iter().map(|run| run.len()).sum::<u64>();
    if len > MAX_FLOATS {
        return Ok(Vec::new());
    }
    let bytes = Place::Runs(runs.to_vec()).read(source, len)?;
    let numbers = bytes.as_chunks().0.iter();
    Ok(numbers.map(|b| meant(f32::from_le_bytes(*b))).collect())
}

/// The shortest decimal number that is this one in f32: an attribute has 0.9 as
/// 0.8999999761581421.
fn meant(float: f32) -> f64 {
    float.to_string().parse().unwrap_or(f64::from(float))
}
