//! How parameters follow their gradients.

use candle_core::{Result, Tensor, Var};

use super::kernels;
use super::number::{to_host, wide};
use super::tensors::Tensors;
use crate::engine::{Optimizer, Update};
use crate::net::{Graph, TensorId, TensorSpec};

/// A parameter, and what its update needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter<'a> {
    pub(super) value: &'a Var,
    pub(super) gradient: &'a Var,
    /// As many as the optimizer has.
    pub(super) slots: [Option<&'a Var>; 2],
    /// Learning rate.
    pub(super) rate: f64,
    /// Weight decay.
    pub(super) decay: f64,
}

/// Updates all parameters by their gradients, and clears these. Returns the norm of the gradient.
pub(super) fn step(graph: &Graph, tensors: &mut Tensors, update: &Update) -> Result<f64> {
    let slots = update.optimizer.slots();
    for (id, spec) in parameters(graph) {
        for slot in tensors.slots.iter_mut().take(slots) {
            slot.made(id, spec)?;
        }
    }
    let tensors = &*tensors;
    let all = parameters(graph).map(|(id, spec)| {
        let slot = |at: usize| tensors.slots[at].get(id).filter(|_| at < slots);
        Ok(Parameter {
            value: tensors.values.var(id)?,
            gradient: tensors.gradients.var(id)?,
            slots: [slot(0), slot(1)],
            rate: update.rate(spec),
            decay: update.decay(spec),
        })
    });
    let all = all.collect::<Result<Vec<_>>>()?;
    if let Some(step) = kernels::Step::of(&all, update.optimizer) {
        let step = step?;
        let norm = step.norm()?;
        step.run(update.scale(norm))?;
        return Ok(norm);
    }
    let norm = norm(&all)?;
    let scale = update.scale(norm);
    for parameter in &all {
        follow(&update.optimizer, parameter, scale)?;
        parameter.gradient.zero_set()?;
    }
    Ok(norm)
}

fn parameters(graph: &Graph) -> impl Iterator<Item = (TensorId, &TensorSpec)> {
    let all = graph.tensor_ids().zip(graph.tensors());
    all.filter(|(_, spec)| spec.is_parameter())
}

/// The norm of the gradient over all parameters.
fn norm(all: &[Parameter<'_>]) -> Result<f64> {
    let squares = all.iter().map(|parameter| {
        let gradient = parameter.gradient.as_detached_tensor();
        gradient.to_dtype(wide(gradient.device()))?.sqr()?.sum_all()
    });
    let squares = squares.collect::<Result<Vec<_>>>()?;
    if squares.is_empty() {
        return Ok(0.0);
    }
    let sum = to_host(&Tensor::stack(&squares, 0)?.sum_all()?)?;
    Ok(sum[0].sqrt())
}

/// One step along the gradient times `scale`.
fn follow(optimizer: &Optimizer, parameter: &Parameter<'_>, scale: f64) -> Result<()> {
    let Parameter {
        value: w,
        gradient,
        slots,
        rate: lr,
        decay,
    } = *parameter;
    let old = w.as_detached_tensor();
    let g = (gradient.as_detached_tensor() * scale)?;
    match (*optimizer, slots) {
        (Optimizer::Sgd { momentum, nesterov }, slots) => {
            let g = (g + (&old * decay)?)?;
            let step = match slots {
                [Some(buffer), _] => {
                    let moved = ((buffer.as_detached_tensor() * momentum)? + &g)?;
                    buffer.set(&moved)?;
                    if nesterov {
                        (g + (moved * momentum)?)?
                    } else {
                        moved
                    }
                }
                _ => g,
            };
            w.set(&(old - (step * lr)?)?)
        }
        (
            Optimizer::AdamW {
                betas: (a, b),
                epsilon,
                step,
            },
            [Some(first), Some(second)],
        ) => {
            let after = i32::try_from(step).unwrap_or(i32::MAX).saturating_add(1);
            let rate = lr / (1.0 - a.powi(after));
            let correction = (1.0 - b.powi(after)).sqrt();
            let m = ((first.as_detached_tensor() * a)? + (&g * (1.0 - a))?)?;
            let v = ((second.as_detached_tensor() * b)? + (g.sqr()? * (1.0 - b))?)?;
            first.set(&m)?;
            second.set(&v)?;
            let divisor = ((v.sqrt()? / correction)? + epsilon)?;
            let kept = (old * (1.0 - lr * decay))?;
            w.set(&(kept - ((m * rate)? / divisor)?)?)
        }
        (Optimizer::AdamW { .. }, _) => candle_core::bail!("AdamW needs two slots"),
    }
}
