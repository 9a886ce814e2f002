//! NodeProto and AttributeProto.

use super::model::{self, AttributeValue, Data, Model, Node, Role, Run, TensorProto};
use super::parser::{OVERHEAD, Parser};
use super::read_tensor::{FLOAT, FLOAT_WIDTH, push_piece};
use super::wire::{Field, Fields, Span, Value};
use crate::error::Result;

/// Bytes that a node costs in memory, beside its names.
const NODE: u64 = 256;
/// Bytes that an attribute costs, beside its name.
const ATTRIBUTE: u64 = 64;
/// Integers of an attribute that are kept: axes, sizes, paddings. A tree ensemble has millions.
const MAX_INTS: usize = 1024;

/// What an attribute holds.
pub(super) struct Attribute {
    name: String,
    tensor: Option<usize>,
    graphs: Vec<usize>,
    float: Option<Run>,
    floats: Vec<Run>,
    int: Option<i64>,
    ints: Option<Vec<i64>>,
    text: Option<Span>,
    /// AttributeProto.AttributeType.
    kind: Option<u64>,
}

impl Attribute {
    /// What it holds. Old writers do not say of which type it is.
    fn value(&self) -> AttributeValue {
        let empty = self.floats.is_empty() && self.ints.as_ref().is_none_or(Vec::is_empty);
        match (self.kind, self.tensor, self.float, self.int, self.text) {
            (Some(4) | None, Some(tensor), ..) => AttributeValue::Tensor(tensor),
            (Some(1) | None, _, Some(float), ..) => AttributeValue::Float(float),
            (Some(2) | None, _, _, Some(int), _) => AttributeValue::Int(int),
            (Some(3) | None, _, _, _, Some(text)) => AttributeValue::Text(text),
            // A zero may be left out.
            (Some(2), ..) => AttributeValue::Int(0),
            (Some(7), ..) => match &self.ints {
                Some(ints) => AttributeValue::Ints(ints.clone()),
                None => AttributeValue::Other,
            },
            (Some(6), ..) => AttributeValue::Floats(self.floats.clone()),
            (None, ..) if empty => AttributeValue::Other,
            (None, ..) if !self.floats.is_empty() => AttributeValue::Floats(self.floats.clone()),
            (None, ..) => match &self.ints {
                Some(ints) => AttributeValue::Ints(ints.clone()),
                None => AttributeValue::Other,
            },
            _ => AttributeValue::Other,
        }
    }
}

/// The default domain has two spellings.
pub(super) fn canonical_domain(domain: String) -> String {
    if domain == "ai.onnx" {
        String::new()
    } else {
        domain
    }
}

impl Parser<'_> {
    /// Reads the node in `field`, which belongs to graph `graph`.
    pub(super) fn node(&mut self, field: &Field, model: &mut Model, graph: usize) -> Result<Node> {
        self.charge(field, NODE)?;
        self.message(field, |p, fields| p.node_fields(fields, model, graph))
    }

    fn node_fields(&mut self, mut fields: Fields, model: &mut Model, graph: usize) -> Result<Node> {
        let mut node = Node::default();
        let (mut name, mut op, mut domain, mut overload) = (None, None, None, None);
        let mut value = None;
        while let Some(field) = self.reader.next(&mut fields)? {
            match field.number {
                1 => node.inputs.push(self.string(&field)?),
                2 => node.outputs.push(self.string(&field)?),
                3 | 4 | 7 | 8 => {
                    let slot = match field.number {
                        3 => &mut name,
                        4 => &mut op,
                        7 => &mut domain,
                        _ => &mut overload,
                    };
                    let text = self.string(&field)?;
                    self.set(slot, text, &field)?;
                }
                5 => {
                    let attribute = self.attribute(&field, model, graph)?;
                    node.bodies.extend(&attribute.graphs);
                    self.charge(&field, ATTRIBUTE)?;
                    node.attributes.push(model::Attribute {
                        name: attribute.name.clone(),
                        value: attribute.value(),
                    });
                    if attribute.name.starts_with("value") {
                        // Only a Constant has to have one value: of other nodes the first is kept.
                        value.get_or_insert((Vec::new(), field)).0.push(attribute);
                    }
                }
                _ => {}
            }
        }
        node.name = name.unwrap_or_default();
        node.operator.name = op.unwrap_or_default();
        node.operator.domain = canonical_domain(domain.unwrap_or_default());
        node.operator.overload = overload.unwrap_or_default();
        if let Some((values, field)) = value.filter(|_| node.operator.is("Constant")) {
            node.constant = self.constant(values, &field, model)?;
        }
        if let Some(tensor) = node.constant.and_then(|index| model.tensors.get_mut(index)) {
            tensor.name = node.outputs.first().cloned().unwrap_or_default();
            tensor.node = Some(node.name.clone());
        }
        Ok(node)
    }

    /// The tensor that the `value` attributes of a Constant give.
    fn constant(
        &mut self,
        mut values: Vec<Attribute>,
        field: &Field,
        model: &mut Model,
    ) -> Result<Option<usize>> {
        let (Some(attribute), true) = (values.pop(), values.is_empty()) else {
            return Err(self
                .reader
                .malformed(field.at, "a Constant with one value", "several"));
        };
        let (dims, runs) = match (&attribute.name[..], attribute.float) {
            ("value", _) => return Ok(attribute.tensor),
            ("value_float", Some(run)) => (Vec::new(), vec![run]),
            ("value_floats", _) => {
                let bytes: u64 = attribute.floats.iter().map(|run| run.len()).sum();
                (vec![bytes / FLOAT_WIDTH], attribute.floats)
            }
            _ => return Ok(None),
        };
        let data = Data::Fixed(runs);
        let (name, node) = (String::new(), None);
        model.tensors.push(TensorProto {
            name,
            node,
            dims,
            data_type: FLOAT,
            data,
        });
        Ok(Some(model.tensors.len() - 1))
    }

    /// Reads an attribute of a node in graph `graph`.
    pub(super) fn attribute(
        &mut self,
        field: &Field,
        model: &mut Model,
        graph: usize,
    ) -> Result<Attribute> {
        self.message(field, |p, fields| p.attribute_fields(fields, model, graph))
    }

    fn attribute_fields(
        &mut self,
        mut fields: Fields,
        model: &mut Model,
        graph: usize,
    ) -> Result<Attribute> {
        let (mut name, mut tensor, mut float) = (None, None, None);
        let (mut graphs, mut floats) = (Vec::new(), Vec::new());
        let (mut int, mut text, mut kind) = (None, None, None);
        let mut ints = Some(Vec::new());
        while let Some(field) = self.reader.next(&mut fields)? {
            match field.number {
                1 => {
                    let text = self.string(&field)?;
                    self.set(&mut name, text, &field)?;
                }
                2 => match field.value {
                    Value::Fixed(body) if body.len() == FLOAT_WIDTH => {
                        self.set(&mut float, Run::contiguous(body), &field)?;
                    }
                    _ => return Err(self.wrong_type(&field, "four fixed bytes")),
                },
                3 => {
                    let value = self.varint(&field)?;
                    self.set(&mut int, value.cast_signed(), &field)?;
                }
                4 => {
                    let body = self.length(&field)?.body;
                    self.set(&mut text, body, &field)?;
                }
                8 => self.ints(&field, &mut ints)?,
                20 => {
                    let value = self.varint(&field)?;
                    self.set(&mut kind, value, &field)?;
                }
                5 => {
                    let value = self.tensor(&field, model)?;
                    self.set(&mut tensor, value, &field)?;
                }
                6 | 11 => graphs.push(self.new_graph(&field, model, Role::Body, graph)?),
                7 => self.fixed(&field, FLOAT_WIDTH, &mut floats)?,
                10 => {
                    self.tensor(&field, model)?;
                }
                22 | 23 => {
                    self.sparse_tensor(&field, model)?;
                }
                _ => {}
            }
        }
        Ok(Attribute {
            name: name.unwrap_or_default(),
            tensor,
            graphs,
            float,
            floats,
            int,
            ints,
            text,
            kind,
        })
    }

    /// Adds integers, packed or not; `None` when there are more than any operator here takes.
    fn ints(&mut self, field: &Field, ints: &mut Option<Vec<i64>>) -> Result<()> {
        let Some(list) = ints else { return Ok(()) };
        match field.value {
            Value::Bytes(length) => {
                let mut at = length.body.start;
                while at < length.body.end && list.len() <= MAX_INTS {
                    let (value, after) = self.reader.varint(at, length.body.end)?;
                    list.push(value.cast_signed());
                    at = after;
                }
            }
            _ => list.push(self.varint(field)?.cast_signed()),
        }
        if list.len() > MAX_INTS {
            *ints = None;
            return Ok(());
        }
        self.charge(field, 8)
    }

    /// Adds fixed-width elements, packed or not.
    pub(super) fn fixed(&mut self, field: &Field, width: u64, runs: &mut Vec<Run>) -> Result<()> {
        let span = match field.value {
            Value::Fixed(body) if body.len() == width => body,
            Value::Bytes(length) if length.body.len().is_multiple_of(width) => length.body,
            _ => {
                let expected = format!("elements of {width} bytes");
                return Err(self.wrong_type(field, &expected));
            }
        };
        if span.len() > 0 && push_piece(runs, span) {
            self.charge(field, OVERHEAD)?;
        }
        Ok(())
    }
}
