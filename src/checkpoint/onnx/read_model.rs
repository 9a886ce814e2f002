//! ModelProto, GraphProto and FunctionProto.

use super::model::{Dim, Function, Graph, MAIN, Model, Operator, Role, Type};
use super::parser::Parser;
use super::read_node::canonical_domain;
use super::wire::{Field, Fields, Reader, Value};
use crate::error::Result;
use crate::file::Source;

/// Bytes that a graph costs in memory, beside its names.
const GRAPH: u64 = 512;
/// Bytes that a dimension of a type costs, beside its name.
const DIM: u64 = 32;

/// Whether a file seems to hold an ONNX model: it begins like one (so that a truncated model is
/// reported as that), or all of its top-level fields are those of one.
pub(super) fn detect(source: &Source) -> bool {
    let head = source
        .slice(0, source.len().min(3) as usize)
        .unwrap_or_default();
    // ir_version, then any field that may follow it: 2 to 8, 14, 20 and 25.
    let begins = matches!(
        head[..],
        [
            0x08,
            1..0x20,
            0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72 | 0xa2 | 0xca
        ]
    );
    begins || is_model(source).unwrap_or(false)
}

fn is_model(source: &Source) -> Result<bool> {
    let mut reader = Reader::new(source);
    let mut fields = Fields::from(reader.all());
    let (mut version, mut graph) = (false, false);
    while let Some(field) = reader.next(&mut fields)? {
        match (field.number, field.value) {
            (1, Value::Varint(1.., _)) => version = true,
            (7, Value::Bytes(_)) => graph = true,
            (5, Value::Varint(..)) => {}
            (2..=4 | 6 | 8 | 14 | 20 | 25 | 26.., Value::Bytes(_)) => {}
            _ => return Ok(false),
        }
    }
    Ok(version && graph)
}

/// Reads everything but the elements of tensors.
pub(super) fn read_model(source: &Source) -> Result<Model> {
    let mut parser = Parser::new(source);
    let all = parser.reader.all();
    let mut fields = Fields::from(all);
    let mut model = Model::default();
    model.graphs.push(Graph::new(Role::Main, None));
    let (mut version, mut main) = (None, None);
    while let Some(field) = parser.reader.next(&mut fields)? {
        match field.number {
            1 => {
                let value = parser.varint(&field)?;
                parser.set(&mut version, value, &field)?;
            }
            7 => {
                parser.set(&mut main, (), &field)?;
                parser.message(&field, |p, fields| p.graph(fields, &mut model, MAIN))?;
            }
            8 => {
                let opset = parser.message(&field, |p, fields| p.opset(fields))?;
                model.opsets.push(opset);
            }
            20 => parser.message(&field, |p, fields| p.training(fields, &mut model))?,
            25 => {
                parser.charge(&field, GRAPH)?;
                parser.message(&field, |p, fields| p.function(fields, &mut model))?;
            }
            _ => {}
        }
    }
    for (there, what) in [
        (version.is_some(), "an ir_version"),
        (main.is_some(), "a graph"),
    ] {
        if !there {
            let expected = format!("an ONNX model with {what}");
            return Err(parser
                .reader
                .malformed(all.end, expected, "the end of the file"));
        }
    }
    Ok(model)
}

impl Parser<'_> {
    /// Reads the graph in `field` to a new place in the arena.
    pub(super) fn new_graph(
        &mut self,
        field: &Field,
        model: &mut Model,
        role: Role,
        parent: usize,
    ) -> Result<usize> {
        self.charge(field, GRAPH)?;
        let index = model.graphs.len();
        model.graphs.push(Graph::new(role, Some(parent)));
        self.message(field, |p, fields| p.graph(fields, model, index))?;
        Ok(index)
    }

    fn graph(&mut self, mut fields: Fields, model: &mut Model, index: usize) -> Result<()> {
        while let Some(field) = self.reader.next(&mut fields)? {
            match field.number {
                1 => {
                    let node = self.node(&field, model, index)?;
                    model.graphs[index].nodes.push(node);
                }
                5 => {
                    let tensor = self.tensor(&field, model)?;
                    model.graphs[index].initializers.push(tensor);
                }
                11 | 12 => {
                    let (name, its) = self.message(&field, |p, fields| p.value_info(fields))?;
                    let graph = &mut model.graphs[index];
                    if field.number == 11 {
                        graph.inputs.push(name);
                        graph.types.push(its);
                    } else {
                        graph.outputs.push(name);
                    }
                }
                14 => {
                    let names = self.message(&field, |p, fields| p.annotation(fields))?;
                    model.graphs[index].annotated.extend(names);
                }
                15 => {
                    let name = self.sparse_tensor(&field, model)?;
                    model.graphs[index].sparse.push(name);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn function(&mut self, mut fields: Fields, model: &mut Model) -> Result<()> {
        let body = model.graphs.len();
        model.graphs.push(Graph::new(Role::Function, None));
        let (mut name, mut domain, mut overload) = (None, None, None);
        while let Some(field) = self.reader.next(&mut fields)? {
            match field.number {
                1 | 10 | 13 => {
                    let slot = match field.number {
                        1 => &mut name,
                        10 => &mut domain,
                        _ => &mut overload,
                    };
                    let text = self.string(&field)?;
                    self.set(slot, text, &field)?;
                }
                4 | 5 => {
                    let name = self.string(&field)?;
                    let graph = &mut model.graphs[body];
                    let names = if field.number == 4 {
                        &mut graph.inputs
                    } else {
                        &mut graph.outputs
                    };
                    names.push(name);
                }
                7 => {
                    let node = self.node(&field, model, body)?;
                    model.graphs[body].nodes.push(node);
                }
                11 => {
                    self.attribute(&field, model, body)?;
                }
                _ => {}
            }
        }
        let operator = Operator {
            domain: canonical_domain(domain.unwrap_or_default()),
            name: name.unwrap_or_default(),
            overload: overload.unwrap_or_default(),
        };
        model.functions.push(Function { operator, body });
        Ok(())
    }

    fn training(&mut self, mut fields: Fields, model: &mut Model) -> Result<()> {
        while let Some(field) = self.reader.next(&mut fields)? {
            if matches!(field.number, 1 | 2) {
                self.new_graph(&field, model, Role::Training, MAIN)?;
            }
        }
        Ok(())
    }

    /// An OperatorSetIdProto.
    fn opset(&mut self, mut fields: Fields) -> Result<(String, u64)> {
        let (mut domain, mut version) = (None, None);
        while let Some(field) = self.reader.next(&mut fields)? {
            match field.number {
                1 => {
                    let text = self.string(&field)?;
                    self.set(&mut domain, text, &field)?;
                }
                2 => {
                    let value = self.varint(&field)?;
                    self.set(&mut version, value, &field)?;
                }
                _ => {}
            }
        }
        let domain = canonical_domain(domain.unwrap_or_default());
        Ok((domain, version.unwrap_or(0)))
    }

    /// Name and type of a ValueInfoProto.
    fn value_info(&mut self, mut fields: Fields) -> Result<(String, Type)> {
        let (mut name, mut its) = (None, Type::default());
        while let Some(field) = self.reader.next(&mut fields)? {
            match field.number {
                1 => {
                    let text = self.string(&field)?;
                    self.set(&mut name, text, &field)?;
                }
                2 => its = self.message(&field, |p, fields| p.value_type(fields))?,
                _ => {}
            }
        }
        Ok((name.unwrap_or_default(), its))
    }

    /// A TypeProto.
    fn value_type(&mut self, mut fields: Fields) -> Result<Type> {
        let mut its = Type::default();
        while let Some(field) = self.reader.next(&mut fields)? {
            if field.number == 1 {
                self.message(&field, |p, mut fields| {
                    while let Some(field) = p.reader.next(&mut fields)? {
                        match field.number {
                            1 => its.element = Some(p.varint(&field)?),
                            2 => its.dims = Some(p.message(&field, |p, f| p.shape(f))?),
                            _ => {}
                        }
                    }
                    Ok(())
                })?;
            }
        }
        Ok(its)
    }

    /// A TensorShapeProto.
    fn shape(&mut self, mut fields: Fields) -> Result<Vec<Dim>> {
        let mut dims = Vec::new();
        while let Some(field) = self.reader.next(&mut fields)? {
            if field.number != 1 {
                continue;
            }
            self.charge(&field, DIM)?;
            let mut dim = Dim::Dynamic(String::new());
            self.message(&field, |p, mut fields| {
                while let Some(field) = p.reader.next(&mut fields)? {
                    match field.number {
                        1 => dim = Dim::Fixed(p.varint(&field)?),
                        2 => dim = Dim::Dynamic(p.string(&field)?),
                        _ => {}
                    }
                }
                Ok(())
            })?;
            dims.push(dim);
        }
        Ok(dims)
    }

    /// The initializers that a TensorAnnotation names.
    fn annotation(&mut self, mut fields: Fields) -> Result<Vec<String>> {
        let mut names = Vec::new();
        while let Some(field) = self.reader.next(&mut fields)? {
            if field.number == 2 {
                names.push(self.message(&field, |p, fields| p.entry(fields))?.value.0);
            }
        }
        Ok(names)
    }
}
