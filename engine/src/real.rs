//! The element types of the plain engine: f32 and f64.

use crate::Precision;

/// A floating-point type that an engine computes in.
pub trait Real:
    num_traits::Float + num_traits::NumAssign + Default + Send + Sync + std::fmt::Debug + 'static
{
    /// The precision that it stands for.
    const PRECISION: Precision;

    /// The nearest number of this type.
    fn of(value: f64) -> Self;

    /// The same number as f64.
    fn wide(self) -> f64;
}

impl Real for f32 {
    const PRECISION: Precision = Precision::F32;

    fn of(value: f64) -> f32 {
        value as f32
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const PRECISION: Precision = Precision::F64;

    fn of(value: f64) -> f64 {
        value
    }

    fn wide(self) -> f64 {
        self
    }
}

/// y += a · x.
pub(super) fn add_scaled<T: Real>(y: &mut [T], a: T, x: &[T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * *x;
    }
}

/// Σ x · y: eight partial sums in `T`, which are added in f64.
pub(super) fn dot<T: Real>(x: &[T], y: &[T]) -> f64 {
    let mut lanes = [T::zero(); 8];
    let (x8, y8) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest = x8.remainder().iter().zip(y8.remainder());
    let rest: f64 = rest.map(|(x, y)| x.wide() * y.wide()).sum();
    for (x, y) in x8.zip(y8) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += *x * *y;
        }
    }
    lanes.iter().map(|lane| lane.wide()).sum::<f64>() + rest
}
