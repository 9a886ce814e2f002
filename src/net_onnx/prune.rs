//! The part of a graph that its output needs.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::import::{Import, Imported};
use crate::error::Error;
use crate::net::{Graph, Value};

impl Import<'_> {
    /// The graph of what leads to `output`, and nothing else; of nodes that are called the same, the
    /// later ones get a number.
    pub(super) fn pruned(self, output: Value) -> Result<Imported, Error> {
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
                if let Entry::Vacant(entry) = tensors.entry(id) {
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
