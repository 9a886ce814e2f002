//! From a program to a graph: every node in order, what each value is, and what cannot be had.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::constant::{BUDGET, Constant, product};
use super::fold::fold;
use super::node::{Reader, Tensors};
use super::operators;
use super::parameters::{Parameters, Place};
use super::view::{Form, View};
use crate::checkpoint::{Dtype, Node};
use crate::error::Error;
use crate::net::graph::{Graph, Value};
use crate::net::op::Op;
use crate::net::shape::Shape;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// Numbers that are known.
    Constant(Constant),
    /// A tensor that the file stores.
    Stored(Stored),
    /// A value of the network.
    Data(View),
    /// The beginning of something that several nodes make together.
    Piece(Piece),
    /// Values in a list.
    Sequence(Vec<Item>),
    /// Of a node that cannot be had, or behind one.
    Unknown,
}

/// A tensor of the file under one of its names.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Its number in the program.
    pub(super) tensor: usize,
    /// The name that its parameter gets.
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    /// Whether it is seen with its two dimensions the other way round.
    pub(super) transposed: bool,
}

/// The beginning of something that several nodes make together.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) view: View,
    pub(super) kind: PieceKind,
    /// The node that began it.
    pub(super) by: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PieceKind {
    /// x + 3.
    Shifted,
    /// min(max(x + 3, 0), 6).
    Clipped,
    /// x · min(max(x + 3, 0), 6).
    Product,
    /// With zeros around it: (rows, columns) before and after.
    Padded((usize, usize), (usize, usize)),
    /// A number a channel, repeated over a map.
    Expanded,
}

impl PieceKind {
    /// Why it cannot be had by itself.
    fn reason(self) -> &'static str {
        match self {
            PieceKind::Shifted => {
                "a number is added to a value, and this is no beginning of a hard-swish or \
                 hard-sigmoid, min(max(x + 3, 0), 6) / 6"
            }
            PieceKind::Clipped | PieceKind::Product => {
                "min(max(x + 3, 0), 6) is known only as a part of a hard-swish or hard-sigmoid, \
                 divided by 6"
            }
            PieceKind::Padded(..) => {
                "rows and columns of zeros are known only before a convolution or average pooling \
                 that counts them"
            }
            PieceKind::Expanded => "a value is repeated over a map only to be multiplied with one",
        }
    }
}

/// Why a node gives nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not supported.
    Unsupported(String),
    /// Another node is not, whose value is needed here.
    Blame(usize, String),
    /// What it needs is not there already.
    Behind,
    /// The file cannot be read.
    Broken(Error),
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault::Unsupported(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Fault {
        Fault::Unsupported(reason.to_owned())
    }
}

impl From<Error> for Fault {
    fn from(err: Error) -> Fault {
        match err {
            // The node has its own name in the list.
            Error::Network { reason, .. } => Fault::Unsupported(reason),
            other => Fault::Broken(other),
        }
    }
}

pub(super) type Items = Result<Vec<Item>, Fault>;

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
    uses: HashMap<&'p str, usize>,
    problems: HashMap<usize, String>,
    /// Nodes that could not be judged, since they need others that cannot be had.
    behind: usize,
    /// Numbers that may still be computed.
    budget: usize,
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
            let reason = match node.is_call {
                true => "it is a function of the model's own; onnx.inliner.inline_local_functions \
                         writes its nodes in its place"
                    .to_owned(),
                false => format!("the domain {} is not that of ONNX itself", node.domain),
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

    fn constant_node(&mut self, node: &Reader<'_>) -> Items {
        if let Some(tensor) = node.node.constant {
            let name = node.node.outputs.first().cloned().unwrap_or_default();
            return Ok(vec![stored(self.tensors, tensor, name)]);
        }
        use crate::checkpoint::{Attribute, Elements};
        let constant = match (node.attribute("value_int"), node.attribute("value_ints")) {
            (Some(Attribute::Int(int)), _) => Constant::scalar(Elements::Ints(vec![*int])),
            (_, Some(Attribute::Ints(ints))) => Constant::ints(ints.clone()),
            _ => return Err("its value is of a kind that is not known".into()),
        };
        Ok(vec![Item::Constant(constant)])
    }

    /// What leaves a stored tensor a stored tensor: a second name, other dimensions.
    fn stored_node(
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
    fn folded(
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
                    "Shape" => super::fold::shape_of(node, &dims)?,
                    _ => Constant::scalar(crate::checkpoint::Elements::Ints(vec![
                        product(&dims) as i64
                    ])),
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
                let elements = crate::checkpoint::Elements::Floats(x.elements.to_floats());
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
            super::constant::count(&[*dim])?;
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

    /// The graph of what leads to `output`, and nothing else; of nodes that are called the same, the
    /// later ones get a number.
    fn pruned(self, output: Value) -> Result<Imported, Error> {
        let whole = &self.graph;
        let mut used = vec![false; whole.nodes().len()];
        used[output.index()] = true;
        for (at, node) in whole.nodes().iter().enumerate().rev() {
            if used[at] {
                node.inputs
                    .iter()
                    .for_each(|input| used[input.index()] = true);
            }
        }
        let mut graph = Graph::new(whole.name(), whole.input_shape());
        let mut values: Vec<Option<Value>> = vec![None; whole.nodes().len()];
        values[0] = Some(graph.input());
        let mut tensors = HashMap::new();
        let mut places = Vec::new();
        let mut names = HashSet::from([whole.nodes()[0].name.clone()]);
        for (at, node) in whole
            .nodes()
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(at, _)| used[*at])
        {
            let mut op = node.op.clone();
            for id in op.tensors() {
                if let std::collections::hash_map::Entry::Vacant(entry) = tensors.entry(id) {
                    let spec = whole.tensor(id);
                    let new = graph.add_tensor(&spec.name, spec.shape.clone(), spec.kind)?;
                    entry.insert(new);
                    places.push(self.parameters.places[id.index()].clone());
                }
            }
            op.rename(|id| tensors[&id]);
            let inputs: Vec<Value> = node
                .inputs
                .iter()
                .filter_map(|input| values[input.index()])
                .collect();
            let mut name = node.name.clone();
            let mut number = 1;
            while !names.insert(name.clone()) {
                number += 1;
                name = format!("{}#{number}", node.name);
            }
            values[at] = Some(graph.add(&name, op, &inputs)?);
        }
        Ok(Imported {
            graph,
            places,
            in_training: self.in_training,
        })
    }
}

fn stored(tensors: &Tensors<'_>, tensor: usize, name: String) -> Item {
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
