//! From a program to a graph: every node in order, what each value is, and what cannot be had.

use std::collections::HashMap;
use std::path::Path;

use super::constant::{BUDGET, product};
use super::item::{Fault, Item, Items, Stored};
use super::node::{Reader, Tensors};
use super::operators;
use super::parameters::{Parameters, Place};
use super::view::{Form, View};
use crate::checkpoint::Node;
use crate::dtype::Dtype;
use crate::error::Error;
use crate::net::Op;
use crate::net::Shape;
use crate::net::{Graph, Value};

/// A graph in the making.
pub(super) struct Import<'p> {
    pub(super) tensors: &'p Tensors<'p>,
    pub(super) graph: Graph,
    pub(super) parameters: Parameters,
    /// The size of the batch in the file; 1 where it is dynamic.
    pub(super) batch: usize,
    /// The version of the default operator set.
    pub(super) opset: u64,
    /// The number of the node that is being imported.
    pub(super) at: usize,
    /// Whether a BatchNormalization is in training mode.
    pub(super) in_training: bool,
    values: HashMap<&'p str, Item>,
    /// How often each value is used.
    pub(super) uses: HashMap<&'p str, usize>,
    problems: HashMap<usize, String>,
    /// Nodes that could not be judged, since they need others that cannot be had.
    behind: usize,
    /// Numbers that may still be computed.
    pub(super) budget: usize,
}

/// What came of it.
pub(super) struct Imported {
    pub(super) graph: Graph,
    /// Where each tensor of the graph is stored.
    pub(super) places: Vec<Place>,
    pub(super) in_training: bool,
}

impl<'p> Import<'p> {
    /// A network of nothing but its input: `name` in the file, images of `shape`.
    pub(super) fn new(
        tensors: &'p Tensors<'p>,
        name: &str,
        opset: u64,
        batch: usize,
        shape: Shape,
    ) -> Import<'p> {
        let program = tensors.program;
        let mut uses: HashMap<&str, usize> = HashMap::new();
        let inputs = program.nodes.iter().flat_map(|node| &node.inputs);
        for used in inputs.chain(&program.outputs) {
            *uses.entry(used).or_default() += 1;
        }
        let graph = Graph::new(name, shape);
        let mut values = HashMap::new();
        for (name, tensor) in &program.initializers {
            values.insert(&name[..], stored(tensors, *tensor, name.clone()));
        }
        if let Some((input, _)) = program.inputs.first() {
            let dims = vec![shape.channels, shape.height, shape.width];
            values.insert(input, Item::Data(View::plain(graph.input(), dims)));
        }
        Import {
            tensors,
            graph,
            parameters: Parameters::default(),
            batch,
            opset,
            at: 0,
            in_training: false,
            values,
            uses,
            problems: HashMap::new(),
            behind: 0,
            budget: BUDGET,
        }
    }

    /// Imports every node that the outputs need.
    ///
    /// # Errors
    /// The file cannot be read; or the list of all that is not supported.
    pub(super) fn run(mut self, path: &Path) -> Result<Imported, Error> {
        let program = self.tensors.program;
        let needed = needed(&program.nodes, &program.outputs);
        for (at, node) in program.nodes.iter().enumerate() {
            if !needed[at] {
                continue;
            }
            self.at = at;
            let items = match self.node(node) {
                Ok(items) => items,
                Err(fault) => {
                    self.note(fault)?;
                    vec![Item::Unknown; node.outputs.len()]
                }
            };
            for (name, item) in node.outputs.iter().zip(items) {
                self.values.insert(name, item);
            }
        }
        let mut general = Vec::new();
        let outputs: Vec<&str> = program.outputs.iter().map(|name| &name[..]).collect();
        if let [_, _, ..] = outputs[..] {
            general.push(format!(
                "it has {} outputs ({}): a network that can be trained has one, a number a class",
                outputs.len(),
                outputs.join(", ")
            ));
        }
        if let Some((more, _)) = program.inputs.get(1) {
            general.push(format!(
                "it has {} inputs, {more:?} among them: a network here sees images and nothing else",
                program.inputs.len()
            ));
        }
        let mut result = None;
        for output in outputs {
            match self.view(output).and_then(|view| self.value_of(&view)) {
                Ok(value) => result = Some(value),
                Err(Fault::Unsupported(reason)) => {
                    general.push(format!("its output {output}: {reason}"));
                }
                Err(Fault::Behind) => {}
                Err(fault) => self.note(fault)?,
            }
        }
        let mut list: Vec<(usize, String)> = self.problems.drain().collect();
        list.sort();
        let nodes = list.into_iter().map(|(at, reason)| {
            let node = &program.nodes[at];
            format!("{} {}: {reason}", node.operator, node.name)
        });
        let problems: Vec<String> = general.into_iter().chain(nodes).collect();
        match result {
            Some(value) if problems.is_empty() => Ok(self.pruned(value)?),
            _ => Err(refuse(path, &problems, self.behind)),
        }
    }

    /// Takes note of what a node lacks.
    fn note(&mut self, fault: Fault) -> Result<(), Error> {
        match fault {
            Fault::Unsupported(reason) => self.problems.entry(self.at).or_insert(reason),
            Fault::Blame(at, reason) => self.problems.entry(at).or_insert(reason),
            Fault::Behind => {
                self.behind += 1;
                return Ok(());
            }
            Fault::Broken(err) => return Err(err),
        };
        Ok(())
    }

    /// What a node makes of what it is given.
    fn node(&mut self, node: &'p Node) -> Items {
        if !node.domain.is_empty() {
            let reason = if node.is_call {
                "it is a function of the model's own; onnx.inliner.inline_local_functions \
                         writes its nodes in its place"
                    .to_owned()
            } else {
                format!("the domain {} is not that of ONNX itself", node.domain)
            };
            return Err(Fault::Unsupported(reason));
        }
        if node.is_call || node.has_bodies {
            return Err("a node with graphs of its own, or a function, is not supported".into());
        }
        let reader = Reader {
            node,
            tensors: self.tensors,
        };
        if node.operator == "Constant" {
            return self.constant_node(&reader);
        }
        if !operators::is_known(&node.operator) {
            return Err(operators::why_not(&node.operator).into());
        }
        let mut names = node.inputs.iter().filter(|name| !name.is_empty());
        if let Some(name) = names.find(|name| !self.values.contains_key(&name[..])) {
            return Err(format!("its input {name} is defined nowhere before it").into());
        }
        let inputs: Vec<Option<Item>> = node.inputs.iter().map(|name| self.item(name)).collect();
        if inputs
            .iter()
            .flatten()
            .any(|item| matches!(item, Item::Unknown))
        {
            return Err(Fault::Behind);
        }
        if let Some(items) = self.stored_node(&reader, &inputs)? {
            return Ok(items);
        }
        if let Some(items) = self.folded(&reader, &inputs)? {
            return Ok(items);
        }
        operators::import(self, &reader)
    }

    /// The item of a name; `None` for an input that is left out.
    pub(super) fn item(&self, name: &str) -> Option<Item> {
        match name {
            "" => None,
            name => Some(self.values.get(name).cloned().unwrap_or(Item::Unknown)),
        }
    }

    /// Whether anything needs a value.
    pub(super) fn is_used(&self, name: &str) -> bool {
        !name.is_empty() && self.uses.contains_key(name)
    }

    /// The type of a stored tensor.
    pub(super) fn dtype(&self, stored: &Stored) -> Option<Dtype> {
        self.tensors.program.stored(stored.tensor).dtype
    }

    /// The view of a name that has to be a value of the network.
    pub(super) fn view(&self, name: &str) -> Result<View, Fault> {
        match self.item(name) {
            Some(Item::Data(view)) => Ok(view),
            Some(Item::Piece(piece)) => Err(Fault::Blame(piece.by, piece.kind.reason().to_owned())),
            Some(Item::Unknown) => Err(Fault::Behind),
            Some(Item::Constant(_) | Item::Stored(_)) => Err(format!(
                "{name} is a constant; it is known only where it is a weight, a bias or a size"
            )
            .into()),
            Some(Item::Sequence(_)) => Err(format!("{name} is a list of values").into()),
            None => Err("an input is missing".into()),
        }
    }

    /// The view of a node's input.
    pub(super) fn input(&self, node: &Reader<'_>, at: usize) -> Result<View, Fault> {
        self.view(node.node.inputs.get(at).map_or("", |name| name))
    }

    /// A node's input as a value of the graph, and its shape.
    pub(super) fn input_value(
        &mut self,
        node: &Reader<'_>,
        at: usize,
    ) -> Result<(Value, Shape), Fault> {
        let view = self.input(node, at)?;
        let value = self.value_of(&view)?;
        Ok((value, self.graph.shape(value)))
    }

    /// The dimensions of a view, with the batch.
    pub(super) fn dims(&self, view: &View) -> Vec<usize> {
        [&[self.batch], &view.dims[..]].concat()
    }

    /// The view as a map, or a vector, of the graph.
    pub(super) fn value_of(&mut self, view: &View) -> Result<Value, Fault> {
        let shape = match view.dims[..] {
            [channels] => Shape::new(channels, 1, 1),
            [channels, height, width] => Shape::new(channels, height, width),
            _ => {
                let rank = view.dims.len() + 1;
                return Err(format!("a value of {rank} dimensions, not of 2 or 4").into());
            }
        };
        let own = self.graph.shape(view.value);
        match view.form(own) {
            Form::Plain if own == shape => Ok(view.value),
            Form::Plain if shape.pixels() == 1 => {
                Ok(self.add("flatten", Op::Flatten, &[view.value])?)
            }
            Form::Shuffled(groups) if own == shape => {
                Ok(self.add("shuffle", Op::Shuffle { groups }, &[view.value])?)
            }
            Form::Plain => Err(format!("{own} is seen as {shape}").into()),
            _ => Err("the order of its dimensions is neither undone nor a channel shuffle".into()),
        }
    }

    /// A view as it is best kept: what can be a map, as that map, which is then made once.
    pub(super) fn kept(&mut self, view: View) -> View {
        if !matches!(view.dims.len(), 1 | 3) {
            return view;
        }
        match self.value_of(&view) {
            Ok(value) => View::plain(value, view.dims),
            Err(_) => view,
        }
    }

    /// Adds a node.
    pub(super) fn add(&mut self, name: &str, op: Op, inputs: &[Value]) -> Result<Value, Fault> {
        Ok(self.graph.add(name, op, inputs)?)
    }
}

pub(super) fn stored(tensors: &Tensors<'_>, tensor: usize, name: String) -> Item {
    let dims = tensors.program.stored(tensor).dims;
    let dims: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    match dims.filter(|dims| product(dims) < usize::MAX) {
        Some(dims) => Item::Stored(Stored {
            tensor,
            name,
            dims,
            transposed: false,
        }),
        None => Item::Unknown,
    }
}

/// Which nodes the outputs need.
fn needed(nodes: &[Node], outputs: &[String]) -> Vec<bool> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            makers.insert(output, at);
        }
    }
    let mut needed = vec![false; nodes.len()];
    let mut pending: Vec<&str> = outputs.iter().map(|name| &name[..]).collect();
    while let Some(name) = pending.pop() {
        let Some(at) = makers.get(name) else { continue };
        if !std::mem::replace(&mut needed[*at], true) {
            pending.extend(nodes[*at].inputs.iter().map(|name| &name[..]));
        }
    }
    needed
}

fn refuse(path: &Path, problems: &[String], behind: usize) -> Error {
    let mut reason = match problems {
        [] => "computes nothing".to_owned(),
        [one] => format!("cannot be run here: {one}"),
        all => format!(
            "cannot be run here, for {} reasons:\n  {}",
            all.len(),
            all.join("\n  ")
        ),
    };
    match behind {
        0 => {}
        1 => reason += "\n  One node that needs these was not judged",
        _ => reason += &format!("\n  {behind} nodes that need these were not judged"),
    }
    Error::refused(path, reason)
}
