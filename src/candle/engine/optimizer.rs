//! How parameters follow their gradients.

use candle_core::{Result, Tensor, Var};

use super::number::{to_host, wide};
use super::tensors::Tensors;
use crate::engine::{Optimizer, Update};
use crate::net::{Graph, TensorId, TensorSpec};

/// What an update does to every tensor alike.
#[derive(Debug, Clone, Copy)]
struct Rates {
    learning: f64,
    decay: f64,
    /// Factor of the gradient.
    scale: f64,
}

/// Updates all parameters by their gradients, and clears these. Returns the norm of the gradient.
pub(super) fn step(graph: &Graph, tensors: &mut Tensors, update: &Update) -> Result<f64> {
    let norm = norm(graph, tensors)?;
    let scale = update.scale(norm);
    for (id, spec) in parameters(graph) {
        let slots = tensors.slots.iter_mut().take(update.optimizer.slots());
        let slots = slots.map(|slot| slot.made(id, spec));
        let slots = slots.collect::<Result<Vec<_>>>()?;
        let rates = Rates {
            learning: update.rate(spec),
            decay: update.decay(spec),
            scale,
        };
        let (value, gradient) = (tensors.values.var(id)?, tensors.gradients.var(id)?);
        let g = gradient.as_detached_tensor();
        follow(&update.optimizer, rates, value, &g, &slots)?;
        gradient.zero_set()?;
    }
    Ok(norm)
}

fn parameters(graph: &Graph) -> impl Iterator<Item = (TensorId, &TensorSpec)> {
    let all = graph.tensor_ids().zip(graph.tensors());
    all.filter(|(_, spec)| spec.is_parameter())
}

/// The norm of the gradient over all parameters.
fn norm(graph: &Graph, tensors: &Tensors) -> Result<f64> {
    let squares = parameters(graph).map(|(id, _)| {
        let gradient = tensors.gradients.value(id)?;
        gradient.to_dtype(wide(gradient.device()))?.sqr()?.sum_all()
    });
    let squares = squares.collect::<Result<Vec<_>>>()?;
    if squares.is_empty() {
        return Ok(0.0);
    }
    let sum = to_host(&Tensor::stack(&squares, 0)?.sum_all()?)?;
    Ok(sum[0].sqrt())
}

/// One step of `w` along its gradient `g`; `slots` are what the optimizer remembers, as many as it has.
fn follow(optimizer: &Optimizer, rates: Rates, w: &Var, g: &Tensor, slots: &[&Var]) -> Result<()> {
    let old = w.as_detached_tensor();
    let g = (g * rates.scale)?;
    let lr = rates.learning;
    match (*optimizer, slots) {
        (Optimizer::Sgd { momentum, nesterov }, slots) => {
            let g = (g + (&old * rates.decay)?)?;
            let step = match slots {
                [buffer, ..] => {
                    let moved = ((buffer.as_detached_tensor() * momentum)? + &g)?;
                    buffer.set(&moved)?;
                    if nesterov {
                        (g + (moved * momentum)?)?
                    } else {
                        moved
                    }
                }
                [] => g,
            };
            w.set(&(old - (step * lr)?)?)
        }
        (
            Optimizer::AdamW {
                betas: (a, b),
                epsilon,
                step,
            },
            [first, second, ..],
        ) => {
            let after = i32::try_from(step).unwrap_or(i32::MAX).saturating_add(1);
            let rate = lr / (1.0 - a.powi(after));
            let correction = (1.0 - b.powi(after)).sqrt();
            let m = ((first.as_detached_tensor() * a)? + (&g * (1.0 - a))?)?;
            let v = ((second.as_detached_tensor() * b)? + (g.sqr()? * (1.0 - b))?)?;
            first.set(&m)?;
            second.set(&v)?;
            let divisor = ((v.sqrt()? / correction)? + epsilon)?;
            let kept = (old * (1.0 - lr * rates.decay))?;
            w.set(&(kept - ((m * rate)? / divisor)?)?)
        }
        (Optimizer::AdamW { .. }, _) => candle_core::bail!("AdamW needs two slots"),
    }
}
