//! The values of a model: what defines each name, graph by graph, and what uses it.
//!
//! A name is looked up in its graph and then in the graphs around it, as ONNX's scoping rules have
//! it. Every name must be defined once in a graph: of two definitions, programs may disagree on
//! which one counts.

use std::collections::HashMap;
use std::path::Path;

use super::model::{Model, Node, Operator};
use crate::error::{Error, Result};

/// Steps along a graph before it is given up. ResNet-152 takes about 2,000; a graph of functions
/// that call functions can have exponentially many paths.
const MAX_STEPS: u64 = 10_000_000;

/// What stands behind a node.
pub(super) enum Kind {
    /// A call of a function; index of its body.
    Call(usize),
    BatchNormalization,
    Identity,
    Other,
}

/// What defines a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Index of a tensor.
    Initializer(usize),
    SparseInitializer,
    /// Number of the graph's input.
    Input(usize),
    /// Index of the node that computes it.
    Node(usize),
}

/// A value.
#[derive(Debug)]
pub(super) struct Definition<'a> {
    pub(super) graph: usize,
    pub(super) name: &'a str,
    pub(super) origin: Origin,
}

/// One use of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    Input {
        graph: usize,
        node: usize,
        input: usize,
    },
    Output {
        graph: usize,
    },
    Annotation,
}

/// All values of a model. A value is named by its index.
pub(super) struct Values<'a> {
    pub(super) model: &'a Model,
    pub(super) path: &'a Path,
    pub(super) definitions: Vec<Definition<'a>>,
    pub(super) uses: Vec<Vec<Use>>,
    names: Vec<HashMap<&'a str, usize>>,
    bodies: HashMap<&'a Operator, usize>,
}

impl<'a> Values<'a> {
    pub(super) fn new(model: &'a Model, path: &'a Path) -> Result<Values<'a>> {
        let mut values = Values {
            model,
            path,
            definitions: Vec::new(),
            uses: Vec::new(),
            names: vec![HashMap::new(); model.graphs.len()],
            bodies: HashMap::new(),
        };
        for function in &model.functions {
            if values
                .bodies
                .insert(&function.operator, function.body)
                .is_some()
            {
                let place = format!("function {}", function.operator.name);
                return Err(Error::malformed(path, place, "one definition", "two"));
            }
        }
        values.define_all()?;
        values.uses.resize_with(values.definitions.len(), Vec::new);
        values.record_uses();
        Ok(values)
    }

    fn define_all(&mut self) -> Result<()> {
        let model = self.model;
        for (index, graph) in model.graphs.iter().enumerate() {
            for tensor in &graph.initializers {
                let name = &model.tensors[*tensor].name;
                self.define(index, name, Origin::Initializer(*tensor))?;
            }
            for name in &graph.sparse {
                self.define(index, name, Origin::SparseInitializer)?;
            }
            let inputs = self.definitions.len();
            for (number, name) in graph.inputs.iter().enumerate() {
                // An initializer of the same name is the input's default.
                let known = self.names[index].get(&name[..]);
                if known.is_none_or(|value| *value >= inputs) {
                    self.define(index, name, Origin::Input(number))?;
                }
            }
            for (number, node) in graph.nodes.iter().enumerate() {
                for name in &node.outputs {
                    self.define(index, name, Origin::Node(number))?;
                }
            }
        }
        Ok(())
    }

    fn define(&mut self, graph: usize, name: &'a str, origin: Origin) -> Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        if self.names[graph]
            .insert(name, self.definitions.len())
            .is_some()
        {
            let place = format!("value {name:?}");
            return Err(Error::malformed(self.path, place, "one definition", "two"));
        }
        self.definitions.push(Definition {
            graph,
            name,
            origin,
        });
        Ok(())
    }

    fn record_uses(&mut self) {
        for (index, graph) in self.model.graphs.iter().enumerate() {
            for (node, its) in graph.nodes.iter().enumerate() {
                for (input, name) in its.inputs.iter().enumerate() {
                    self.record(
                        index,
                        name,
                        Use::Input {
                            graph: index,
                            node,
                            input,
                        },
                    );
                }
            }
            for name in &graph.outputs {
                self.record(index, name, Use::Output { graph: index });
            }
            for name in &graph.annotated {
                self.record(index, name, Use::Annotation);
            }
        }
    }

    fn record(&mut self, graph: usize, name: &str, used: Use) {
        if let Some(value) = self.find(graph, name) {
            self.uses[value].push(used);
        }
    }

    /// The value that `name` means in a graph.
    pub(super) fn find(&self, graph: usize, name: &str) -> Option<usize> {
        let mut scope = Some(graph);
        while let Some(graph) = scope {
            if let Some(value) = self.names[graph].get(name) {
                return Some(*value);
            }
            scope = self.model.graphs[graph].parent;
        }
        None
    }

    pub(super) fn node(&self, graph: usize, node: usize) -> &'a Node {
        &self.model.graphs[graph].nodes[node]
    }

    /// What a node does. A function of the model's own goes before an operator of that name.
    pub(super) fn kind(&self, node: &Node) -> Kind {
        match self.bodies.get(&node.operator) {
            Some(body) => Kind::Call(*body),
            None if node.operator.is("BatchNormalization") => Kind::BatchNormalization,
            None if node.operator.is("Identity") => Kind::Identity,
            None => Kind::Other,
        }
    }
}

/// What is left of the patience for a graph.
pub(super) struct Steps(u64);

impl Steps {
    pub(super) fn new() -> Steps {
        Steps(MAX_STEPS)
    }

    pub(super) fn take(&mut self, path: &Path) -> Result<()> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| {
            Error::refused(
                path,
                format!("the graph has over {MAX_STEPS} paths to follow"),
            )
        })?;
        Ok(())
    }
}
