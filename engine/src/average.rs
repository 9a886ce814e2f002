//! The exponential moving average (EMA) of a tensor.

use super::real::Real;

/// One step of the average: a ← decay · a + (1 − decay) · w, computed in f64.
pub(super) fn follow<T: Real>(decay: f64, average: &mut [T], value: &[T]) {
    for (a, w) in average.iter_mut().zip(value) {
        *a = T::of(decay * a.wide() + (1.0 - decay) * w.wide());
    }
}
