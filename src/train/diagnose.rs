//! Where numbers stopped being finite.

use crate::engine::common::Mode;
use crate::engine::plain::Plain;
use crate::engine::{Batch, Engine, Part};
use crate::error::{Error, Result};

/// Runs the batch again, plainly, and names the first node of the network whose value is not finite
/// on it, and what of the node's own tensors is not.
///
/// # Errors
/// The network cannot be run.
pub(super) fn first_non_finite(
    engine: &dyn Engine,
    batch: &Batch<'_>,
    mode: Mode,
) -> Result<Option<(String, String)>> {
    let mut plain = Plain::<f32>::with_task(engine.graph().clone(), engine.task())?;
    let graph = engine.graph();
    let read = |id| {
        let mut values = Vec::new();
        engine.read(id, Part::Value, &mut values);
        values
    };
    let values: Vec<Vec<f64>> = graph.tensor_ids().map(read).collect();
    for (id, values) in graph.tensor_ids().zip(&values) {
        plain.write(id, Part::Value, values);
    }
    match mode {
        Mode::Training { seed, .. } => plain.recalibrate(batch, 0.0, seed)?,
        Mode::Evaluation => plain.evaluate(batch)?,
    };
    for (number, node) in graph.nodes().iter().enumerate() {
        if plain.value(number).iter().all(|value| value.is_finite()) {
            continue;
        }
        let broken = node.op.tensors().into_iter().find(|id| {
            let mut values = values[id.index()].iter();
            values.any(|value| !value.is_finite())
        });
        let reason = match broken {
            Some(id) => format!("{} is not finite", graph.tensor(id).name),
            None => "its tensors are finite, what it computes is not".to_owned(),
        };
        return Ok(Some((node.name.clone(), reason)));
    }
    Ok(None)
}

/// The error for a batch with which `what` happened: where it began.
pub(super) fn error(
    engine: &dyn Engine,
    batch: &Batch<'_>,
    mode: Mode,
    (what, when): (&str, &str),
) -> Error {
    let (node, reason) = match first_non_finite(engine, batch, mode) {
        Ok(Some((node, reason))) => (
            node,
            format!("the first layer that is not finite: {reason}"),
        ),
        Ok(None) => {
            let reason = "every layer is finite when the batch is run again";
            ("output".to_owned(), reason.to_owned())
        }
        Err(err) => return err,
    };
    let reason = format!("{what} {when} ({reason})");
    engine.graph().error(&node, reason).into()
}
