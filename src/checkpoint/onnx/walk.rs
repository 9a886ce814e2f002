//! The BatchNormalization nodes of a network in graph order, function calls expanded, and the
//! value that each one's γ comes from.

use std::collections::{HashMap, HashSet};

use super::model::{MAIN, Node, Role};
use super::values::{Kind, Origin, Steps, Values};
use crate::error::{Error, Result};

/// Graphs and calls inside each other that are followed.
const MAX_DEPTH: usize = 100;

/// Inputs of BatchNormalization that have γ's shape, and how they are called.
const PER_CHANNEL: [(usize, &str); 3] = [(2, "β"), (3, "running mean"), (4, "running variance")];

/// A γ, with the first node that uses it.
#[derive(Debug)]
pub(super) struct Gamma {
    /// The value where following it ended.
    pub(super) value: usize,
    /// The node.
    pub(super) node: String,
    /// The tensor that holds it, or why there is none.
    pub(super) tensor: Result<usize, String>,
    /// The β of the nodes that use it, each once: the values, and the tensors or why there are none.
    pub(super) betas: Vec<(usize, Result<usize, String>)>,
}

/// Every γ of the main graph and what it calls, each once, in graph order.
pub(super) fn gammas(values: &Values<'_>) -> Result<Vec<Gamma>> {
    let mut walk = Walk {
        values,
        with_norm: with_norm(values),
        calls: Vec::new(),
        steps: Steps::new(),
        found: Vec::new(),
        seen: HashMap::new(),
    };
    walk.graph(MAIN, 0)?;
    Ok(walk.found)
}

struct Walk<'a> {
    values: &'a Values<'a>,
    /// Function bodies that lead to a BatchNormalization.
    with_norm: HashSet<usize>,
    /// The calls that are being expanded, the outermost first.
    calls: Vec<Call>,
    steps: Steps,
    found: Vec<Gamma>,
    /// Where in `found` the γ of a value stands.
    seen: HashMap<usize, usize>,
}

/// A call: the node, and the body of the function it calls.
struct Call {
    graph: usize,
    node: usize,
    body: usize,
}

impl Walk<'_> {
    fn graph(&mut self, graph: usize, depth: usize) -> Result<()> {
        let values = self.values;
        if depth > MAX_DEPTH {
            let reason = format!("graphs and functions lie deeper than {MAX_DEPTH} in each other");
            return Err(Error::refused(values.path, reason));
        }
        for (index, node) in values.model.graphs[graph].nodes.iter().enumerate() {
            self.steps.take(values.path)?;
            match values.kind(node) {
                Kind::Call(body) if self.with_norm.contains(&body) => {
                    if self.calls.iter().any(|call| call.body == body) {
                        let place = format!("function {}", node.operator.name);
                        let found = "a call of itself";
                        return Err(Error::malformed(values.path, place, "no recursion", found));
                    }
                    self.calls.push(Call {
                        graph,
                        node: index,
                        body,
                    });
                    self.graph(body, depth + 1)?;
                    self.calls.pop();
                }
                Kind::BatchNormalization => self.norm(graph, node)?,
                _ => {}
            }
            for body in &node.bodies {
                self.graph(*body, depth + 1)?;
            }
        }
        Ok(())
    }

    fn norm(&mut self, graph: usize, node: &Node) -> Result<()> {
        let values = self.values;
        let value = match node.inputs.get(1).filter(|name| !name.is_empty()) {
            Some(name) => self.resolve(graph, name)?,
            None => Err(String::new()),
        };
        let value = value.map_err(|name| {
            let found = format!("{name:?}, which nothing defines");
            Error::malformed(values.path, node.label(), "a γ as its input 1", found)
        })?;
        let tensor = self.tensor(value, "γ");
        if let Ok(tensor) = tensor {
            self.check_shapes(graph, node, tensor)?;
        }
        let beta = match node.inputs.get(2).filter(|name| !name.is_empty()) {
            Some(name) => self.resolve(graph, name)?.ok(),
            None => None,
        };
        let beta = beta.map(|beta| (beta, self.tensor(beta, "β")));
        let at = *self.seen.entry(value).or_insert(self.found.len());
        if at == self.found.len() {
            self.found.push(Gamma {
                value,
                node: node.label(),
                tensor,
                betas: Vec::new(),
            });
        }
        let betas = &mut self.found[at].betas;
        betas.extend(beta.filter(|(beta, _)| betas.iter().all(|(known, _)| known != beta)));
        Ok(())
    }

    /// The value that `name` leads to from a graph through Identity nodes and arguments of the
    /// calls that are being expanded; otherwise the name that leads to nothing.
    fn resolve(&mut self, graph: usize, name: &str) -> Result<Result<usize, String>> {
        let values = self.values;
        let (mut graph, mut name, mut depth) = (graph, name, self.calls.len());
        loop {
            self.steps.take(values.path)?;
            let Some(value) = values.find(graph, name) else {
                return Ok(Err(name.to_owned()));
            };
            let definition = &values.definitions[value];
            let next = match definition.origin {
                Origin::Node(index) => {
                    let node = values.node(definition.graph, index);
                    match values.kind(node) {
                        Kind::Identity => node.inputs.first().map(|name| (definition.graph, name)),
                        _ => None,
                    }
                }
                Origin::Input(index)
                    if values.model.graphs[definition.graph].role == Role::Function =>
                {
                    depth = depth.saturating_sub(1);
                    let call = self.calls.get(depth);
                    call.and_then(|call| {
                        let node = values.node(call.graph, call.node);
                        node.inputs.get(index).map(|name| (call.graph, name))
                    })
                }
                _ => None,
            };
            match next {
                Some((in_graph, next)) if !next.is_empty() => (graph, name) = (in_graph, next),
                _ => return Ok(Ok(value)),
            }
        }
    }

    /// The tensor behind a value that is called `what`, or why there is none.
    fn tensor(&self, value: usize, what: &str) -> Result<usize, String> {
        let values = self.values;
        let definition = &values.definitions[value];
        let name = definition.name;
        let role = values.model.graphs[definition.graph].role;
        Err(match definition.origin {
            Origin::Initializer(tensor) => return Ok(tensor),
            Origin::SparseInitializer => format!("its {what} {name} is a sparse initializer"),
            Origin::Input(_) => match role {
                Role::Main => {
                    format!("its {what} {name} is an input of the graph without initializer")
                }
                Role::Function => {
                    format!("its {what} {name} is a function's argument that a call omits")
                }
                _ => format!("its {what} {name} is an input of the body of a control-flow node"),
            },
            Origin::Node(index) => {
                let node = values.node(definition.graph, index);
                let only_output = node.outputs.first().is_some_and(|output| output == name);
                match (node.constant, values.kind(node)) {
                    (Some(tensor), Kind::Other) if only_output => return Ok(tensor),
                    _ => format!(
                        "its {what} {name} is computed by {}, not stored",
                        node.label()
                    ),
                }
            }
        })
    }

    /// β and the running statistics have as many elements as γ, where they are stored.
    fn check_shapes(&mut self, graph: usize, node: &Node, gamma: usize) -> Result<()> {
        let values = self.values;
        let dims = &values.model.tensors[gamma].dims;
        for (input, what) in PER_CHANNEL {
            let Some(name) = node.inputs.get(input) else {
                continue;
            };
            let Ok(value) = self.resolve(graph, name)? else {
                continue;
            };
            let Ok(tensor) = self.tensor(value, what) else {
                continue;
            };
            let other = &values.model.tensors[tensor];
            if other.dims != *dims {
                let expected = format!("a {what} of γ's shape {dims:?}");
                let found = format!("{} of shape {:?}", other.name, other.dims);
                return Err(Error::malformed(values.path, node.label(), expected, found));
            }
        }
        Ok(())
    }
}

/// The function bodies that hold a BatchNormalization, or call one that does.
fn with_norm(values: &Values<'_>) -> HashSet<usize> {
    let graphs = &values.model.graphs;
    let mut callers: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut pending = Vec::new();
    for (index, graph) in graphs.iter().enumerate() {
        let mut outermost = index;
        while let Some(parent) = graphs[outermost].parent {
            outermost = parent;
        }
        for node in &graph.nodes {
            match values.kind(node) {
                Kind::Call(body) => callers.entry(body).or_default().push(outermost),
                Kind::BatchNormalization => pending.push(outermost),
                _ => {}
            }
        }
    }
    let mut found = HashSet::new();
    while let Some(body) = pending.pop() {
        if found.insert(body) {
            pending.extend(callers.get(&body).into_iter().flatten());
        }
    }
    found
}
