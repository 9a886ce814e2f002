//! Who else uses a γ, or a β. Exporters merge equal initializers, so that a γ may also be some β.

use std::collections::HashSet;

use super::model::Role;
use super::values::{Kind, Steps, Use, Values};
use crate::error::Result;

/// Uses that a message lists.
const LISTED: usize = 8;

/// Input of a BatchNormalization: γ.
pub(super) const GAMMA: usize = 1;
/// Input of a BatchNormalization: β.
pub(super) const BETA: usize = 2;

/// Every use of a value that is not this input of a BatchNormalization, followed through Identity
/// nodes and calls of functions, in words; `None` when there is none.
pub(super) fn other_uses(
    values: &Values<'_>,
    value: usize,
    own: usize,
    steps: &mut Steps,
) -> Result<Option<String>> {
    let mut uses = Vec::new();
    let mut count = 0;
    let mut seen = HashSet::from([value]);
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        for used in &values.uses[value] {
            steps.take(values.path)?;
            let followed = match follow(values, *used, own) {
                Next::Own => continue,
                Next::Values(followed) => followed,
                Next::Other(what) => {
                    count += 1;
                    if uses.len() < LISTED && !uses.contains(&what) {
                        uses.push(what);
                    }
                    continue;
                }
            };
            pending.extend(followed.into_iter().filter(|value| seen.insert(*value)));
        }
    }
    if count == 0 {
        return Ok(None);
    }
    let more = if count > uses.len() {
        " and others"
    } else {
        ""
    };
    Ok(Some(format!("{}{more}", uses.join(", "))))
}

/// Where a use leads.
enum Next {
    /// It ends as that input.
    Own,
    /// The same data under other names.
    Values(Vec<usize>),
    /// It ends as something else.
    Other(String),
}

fn follow(values: &Values<'_>, used: Use, own: usize) -> Next {
    let (graph, index, input) = match used {
        Use::Annotation => return Next::Other("a quantization annotation".to_owned()),
        Use::Output { graph } => {
            return Next::Other(match values.model.graphs[graph].role {
                Role::Main => "an output of the graph".to_owned(),
                Role::Function => "an output of a function".to_owned(),
                Role::Body => "an output of the body of a control-flow node".to_owned(),
                Role::Training => "an output of a training graph".to_owned(),
            });
        }
        Use::Input { graph, node, input } => (graph, node, input),
    };
    let node = values.node(graph, index);
    match values.kind(node) {
        Kind::BatchNormalization if input == own => Next::Own,
        Kind::Identity if input == 0 => {
            let outputs = node
                .outputs
                .iter()
                .filter_map(|name| values.find(graph, name));
            Next::Values(outputs.collect())
        }
        Kind::Call(body) => {
            // An argument beyond the function's is used by nothing.
            let formal = values.model.graphs[body].inputs.get(input);
            Next::Values(
                formal
                    .and_then(|name| values.find(body, name))
                    .into_iter()
                    .collect(),
            )
        }
        kind => {
            let role = match (kind, input) {
                (Kind::BatchNormalization, 0) => "input".to_owned(),
                (Kind::BatchNormalization, GAMMA) => "γ".to_owned(),
                (Kind::BatchNormalization, BETA) => "β".to_owned(),
                (Kind::BatchNormalization, 3) => "running mean".to_owned(),
                (Kind::BatchNormalization, 4) => "running variance".to_owned(),
                _ => format!("input {input}"),
            };
            Next::Other(format!("{role} of {}", node.label()))
        }
    }
}
