//! The optimizer step of one tensor: SGD with momentum, and AdamW.

use super::real::Real;
use crate::Optimizer;

/// The rates of an optimizer step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// Learning rate.
    pub(super) learning: f64,
    /// Weight decay.
    pub(super) decay: f64,
    /// Factor of the gradient, from clipping.
    pub(super) scale: f64,
}

/// One optimizer step of `w` along its gradient `g`; `slots` are the optimizer's state.
#[inline(always)]
pub(super) fn update<T: Real>(
    optimizer: &Optimizer,
    rates: Rates,
    w: &mut [T],
    g: &[T],
    slots: [&mut [T]; 2],
) {
    let of = T::of;
    let (lr, decay, scale) = (of(rates.learning), of(rates.decay), of(rates.scale));
    let [first, second] = slots;
    match *optimizer {
        Optimizer::Sgd { momentum: 0.0, .. } => {
            for (w, g) in w.iter_mut().zip(g) {
                *w -= lr * (*g * scale + decay * *w);
            }
        }
        Optimizer::Sgd { momentum, nesterov } => {
            let momentum = of(momentum);
            for ((w, g), buffer) in w.iter_mut().zip(g).zip(first) {
                let g = *g * scale + decay * *w;
                *buffer = momentum * *buffer + g;
                *w -= lr
                    * if nesterov {
                        g + momentum * *buffer
                    } else {
                        *buffer
                    };
            }
        }
        Optimizer::AdamW {
            betas,
            epsilon,
            step,
        } => {
            let after = i32::try_from(step).unwrap_or(i32::MAX).saturating_add(1);
            let (a, b) = (of(betas.0), of(betas.1));
            let rate = of(rates.learning / (1.0 - betas.0.powi(after)));
            let correction = of((1.0 - betas.1.powi(after)).sqrt());
            for (((w, g), m), v) in w.iter_mut().zip(g).zip(first).zip(second) {
                let g = *g * scale;
                *w *= T::one() - lr * decay;
                *m = a * *m + (T::one() - a) * g;
                *v = b * *v + (T::one() - b) * g * g;
                *w -= rate * *m / (v.sqrt() / correction + of(epsilon));
            }
        }
    }
}
