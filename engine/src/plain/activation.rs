//! Activation functions and their derivatives. NaN stays NaN.

use crate::net::Activation;
use crate::real::Real;

/// PyTorch's derivative of hard-sigmoid: 1/6 rounded to f32, also in f64.
const SIXTH: f64 = (1.0_f32 / 6.0) as f64;

/// y = f(x).
pub(crate) fn forward<T: Real>(activation: Activation, x: &[T], y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = value(activation, *x);
    }
}

/// dx += dy · f′(x).
pub(crate) fn backward<T: Real>(activation: Activation, x: &[T], dy: &[T], dx: &mut [T]) {
    for (dx, (x, dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
        // A product with 0 would turn an infinite gradient into NaN.
        if let Some(slope) = slope(activation, *x) {
            *dx += slope * *dy;
        }
    }
}

/// f(x).
fn value<T: Real>(activation: Activation, x: T) -> T {
    let (zero, six) = (T::zero(), T::of(6.0));
    // `min` and `max` of the standard library drop NaN.
    let clamp = |x: T, low: T, high: T| {
        if x < low {
            low
        } else if x > high {
            high
        } else {
            x
        }
    };
    match activation {
        Activation::Relu => clamp(x, zero, T::infinity()),
        Activation::Relu6 => clamp(x, zero, six),
        Activation::HardSwish => x * clamp(x + T::of(3.0), zero, six) / six,
        Activation::HardSigmoid => clamp(x + T::of(3.0), zero, six) / six,
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x / (T::one() + (-x).exp()),
    }
}

/// f′(x); `None` where it is 0 whatever the gradient.
fn slope<T: Real>(activation: Activation, x: T) -> Option<T> {
    let (one, three) = (T::one(), T::of(3.0));
    match activation {
        Activation::Relu if x <= T::zero() => None,
        Activation::Relu6 if x <= T::zero() || x >= T::of(6.0) => None,
        Activation::Relu | Activation::Relu6 => Some(one),
        Activation::HardSwish if x <= -three => None,
        Activation::HardSwish if x < three => Some(x / three + T::of(0.5)),
        Activation::HardSwish => Some(one),
        Activation::HardSigmoid if x > -three && x < three => Some(T::of(SIXTH)),
        Activation::HardSigmoid => None,
        Activation::Sigmoid => {
            let y = sigmoid(x);
            Some(y * (one - y))
        }
        Activation::Silu => {
            let y = sigmoid(x);
            Some(y * (one + x * (one - y)))
        }
    }
}

/// 1 / (1 + e⁻ˣ).
fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}
