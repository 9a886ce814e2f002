//! Vectorised activation functions and their derivatives, without branches or calls. They agree with
//! [`plain`](crate::plain) up to rounding.

use super::destination::Destination;
use super::isa::{Isa, scale_by_power_of_two};
use super::matmul::{is_fused, multiply_add};
use crate::net::Activation;
use pulp::{Simd, WithSimd};

/// An activation function, or the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) enum Function {
    Identity,
    Of(Activation),
}

impl Function {
    /// Whether f′ can be computed from y = f(x), without x.
    pub(in crate::cpu) fn gradient_follows_from_output(self) -> bool {
        use Activation::{Relu, Relu6};
        matches!(self, Function::Identity | Function::Of(Relu | Relu6))
    }

    /// For functions that clamp to [0, limit]: the limit, infinite for ReLU.
    pub(in crate::cpu) fn limit(self) -> Option<f32> {
        match self {
            Function::Of(Activation::Relu) => Some(f32::INFINITY),
            Function::Of(Activation::Relu6) => Some(6.0),
            _ => None,
        }
    }
}

/// Evaluates an expression with the function as a constant, once for each function, so that its loops contain no
/// `match`.
macro_rules! specialised {
    ($function:ident => $body:expr) => {{
        use crate::cpu::kernels::activation::Function::{Identity, Of};
        use crate::net::Activation::{HardSigmoid, HardSwish, Relu, Relu6, Sigmoid, Silu};
        match $function {
            Identity => {
                let $function = Identity;
                $body
            }
            Of(Relu) => {
                let $function = Of(Relu);
                $body
            }
            Of(Relu6) => {
                let $function = Of(Relu6);
                $body
            }
            Of(HardSwish) => {
                let $function = Of(HardSwish);
                $body
            }
            Of(HardSigmoid) => {
                let $function = Of(HardSigmoid);
                $body
            }
            Of(Sigmoid) => {
                let $function = Of(Sigmoid);
                $body
            }
            Of(Silu) => {
                let $function = Of(Silu);
                $body
            }
        }
    }};
}
pub(in crate::cpu) use specialised;

/// f(x).
#[inline(always)]
pub(in crate::cpu) fn value<S: Simd>(simd: S, function: Function, x: S::f32s) -> S::f32s {
    let Function::Of(activation) = function else {
        return x;
    };
    let constant = |x| simd.splat_f32s(x);
    let six = |x| {
        let x = max(simd, simd.add_f32s(x, constant(3.0)), 0.0);
        min(simd, x, 6.0)
    };
    match activation {
        Activation::Relu => max(simd, x, 0.0),
        Activation::Relu6 => min(simd, max(simd, x, 0.0), 6.0),
        Activation::HardSwish => simd.div_f32s(simd.mul_f32s(x, six(x)), constant(6.0)),
        Activation::HardSigmoid => simd.div_f32s(six(x), constant(6.0)),
        Activation::Sigmoid => simd.div_f32s(constant(1.0), one_plus_exp_of_negative(simd, x)),
        Activation::Silu => simd.div_f32s(x, one_plus_exp_of_negative(simd, x)),
    }
}

/// dy · f′(x); exactly 0 where f′(x) = 0, even if `dy` is infinite or NaN.
#[inline(always)]
pub(in crate::cpu) fn gradient<S: Simd>(
    simd: S,
    function: Function,
    x: S::f32s,
    dy: S::f32s,
) -> S::f32s {
    let Function::Of(activation) = function else {
        return dy;
    };
    let constant = |x| simd.splat_f32s(x);
    let zero = constant(0.0);
    let up_to = |bound| simd.less_than_or_equal_f32s(x, constant(bound));
    let from = |bound| simd.greater_than_or_equal_f32s(x, constant(bound));
    match activation {
        Activation::Relu => simd.select_f32s(up_to(0.0), zero, dy),
        Activation::Relu6 => {
            let dy = simd.select_f32s(up_to(0.0), zero, dy);
            simd.select_f32s(from(6.0), zero, dy)
        }
        Activation::HardSwish => {
            let slope = simd.add_f32s(simd.div_f32s(x, constant(3.0)), constant(0.5));
            let below = simd.less_than_f32s(x, constant(3.0));
            let slope = simd.select_f32s(below, slope, constant(1.0));
            simd.select_f32s(up_to(-3.0), zero, simd.mul_f32s(dy, slope))
        }
        Activation::HardSigmoid => {
            // NaN is inside neither bound.
            let inner = simd.div_f32s(dy, constant(6.0));
            let inner = simd.select_f32s(simd.less_than_f32s(x, constant(3.0)), inner, zero);
            simd.select_f32s(simd.greater_than_f32s(x, constant(-3.0)), inner, zero)
        }
        Activation::Sigmoid => {
            let y = simd.div_f32s(constant(1.0), one_plus_exp_of_negative(simd, x));
            let rest = simd.sub_f32s(constant(1.0), y);
            simd.mul_f32s(dy, simd.mul_f32s(y, rest))
        }
        Activation::Silu => {
            let y = simd.div_f32s(constant(1.0), one_plus_exp_of_negative(simd, x));
            let rest = simd.mul_f32s(x, simd.sub_f32s(constant(1.0), y));
            let slope = simd.mul_f32s(y, simd.add_f32s(constant(1.0), rest));
            simd.mul_f32s(dy, slope)
        }
    }
}

/// max(x, low); NaN stays NaN.
#[inline(always)]
pub(in crate::cpu) fn max<S: Simd>(simd: S, x: S::f32s, low: f32) -> S::f32s {
    let low = simd.splat_f32s(low);
    if is_fused::<S>() {
        // Where one operand is NaN, the x86 instruction returns the second.
        simd.max_f32s(low, x)
    } else {
        simd.select_f32s(simd.less_than_f32s(x, low), low, x)
    }
}

/// min(x, high); NaN stays NaN.
#[inline(always)]
pub(in crate::cpu) fn min<S: Simd>(simd: S, x: S::f32s, high: f32) -> S::f32s {
    let high = simd.splat_f32s(high);
    if is_fused::<S>() {
        simd.min_f32s(high, x)
    } else {
        simd.select_f32s(simd.greater_than_f32s(x, high), high, x)
    }
}

/// 1 + e⁻ˣ.
#[inline(always)]
fn one_plus_exp_of_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.add_f32s(simd.splat_f32s(1.0), exp(simd, simd.neg_f32s(x)))
}

/// eˣ with an error of about 2 ulp: 2ⁿ · eʳ with n = round(x / ln 2), and a polynomial for eʳ (Cephes, `expf`).
/// NaN stays NaN; infinite from about 88 on; below −87 it returns e⁻⁸⁷, which is negligible beside 1.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |x| simd.splat_f32s(x);
    // 1.5 · 2²³: adding it rounds to an integer, which ends up in the low mantissa bits.
    let round = constant(12_582_912.0);
    let inner = min(simd, max(simd, x, -87.0), 104.0);
    let rounded = multiply_add(simd, inner, constant(std::f32::consts::LOG2_E), round);
    let n = simd.sub_f32s(rounded, round);
    let r = multiply_add(simd, n, constant(-0.693_359_4), inner);
    let r = multiply_add(simd, n, constant(2.121_944_4e-4), r);
    let mut p = constant(1.987_569_1e-4);
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
    ] {
        p = multiply_add(simd, p, r, constant(coefficient));
    }
    let p = multiply_add(
        simd,
        p,
        simd.mul_f32s(r, r),
        simd.add_f32s(r, constant(1.0)),
    );
    if let Some(y) = scale_by_power_of_two(simd, p, n) {
        return y;
    }
    // Adds n to the exponent; the result stays finite up to x = 88.
    let n = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let y = simd.add_u32s(simd.transmute_u32s_f32s(p), n);
    let high = simd.greater_than_f32s(x, constant(88.0));
    simd.select_f32s(high, constant(f32::INFINITY), simd.transmute_f32s_u32s(y))
}

/// y = f(x).
pub(in crate::cpu) fn forward(isa: Isa, function: Function, x: &[f32], y: &mut [f32]) {
    isa.run(Forward { function, x, y });
}

struct Forward<'a> {
    function: Function,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let function = self.function;
        let (x, _) = S::as_simd_f32s(self.x);
        let (y, _) = S::as_mut_simd_f32s(self.y);
        specialised!(function => for (y, x) in y.iter_mut().zip(x) {
            *y = value(simd, function, *x);
        });
    }
}

/// The output gradient of an activation, and where its input gradient goes.
pub(in crate::cpu) enum ActivationGradient<'a> {
    /// dx replaces dy.
    InPlace(&'a mut [f32]),
    /// dx has memory of its own.
    Separate { dy: &'a [f32], dx: Destination<'a> },
}

/// dx = dy · f′(x).
pub(in crate::cpu) fn backward(
    isa: Isa,
    function: Function,
    x: &[f32],
    gradient: ActivationGradient<'_>,
) {
    isa.run(Backward {
        function,
        x,
        gradient,
    });
}

struct Backward<'a> {
    function: Function,
    x: &'a [f32],
    gradient: ActivationGradient<'a>,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let function = self.function;
        let (x, _) = S::as_simd_f32s(self.x);
        specialised!(function => match self.gradient {
            ActivationGradient::InPlace(dx) => {
                let (dx, _) = S::as_mut_simd_f32s(dx);
                for (dx, x) in dx.iter_mut().zip(x) {
                    *dx = gradient(simd, function, *x, *dx);
                }
            }
            ActivationGradient::Separate { dy, dx } => {
                let Destination { data: dx, add } = dx;
                let (dy, _) = S::as_simd_f32s(dy);
                let (dx, _) = S::as_mut_simd_f32s(dx);
                for (dx, (x, dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
                    let now = gradient(simd, function, *x, *dy);
                    *dx = if add { simd.add_f32s(*dx, now) } else { now };
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::activation as plain;

    /// A multiple of 16 numbers, so that every vector is full.
    fn numbers() -> Vec<f32> {
        let special = [f32::NAN, 0.0, -0.0, 3.0, -3.0, 6.0, 1e37, -1e37];
        let large = [-88.0, 88.0, -104.0, 104.0, 1e3, 1e-30];
        let large = large.into_iter().chain([f32::INFINITY, f32::NEG_INFINITY]);
        let many = (0..4096).map(|i| (i as f32 - 2048.0) / 22.0);
        special.into_iter().chain(large).chain(many).collect()
    }

    #[test]
    fn every_activation_is_the_plain_one_with_every_instruction() {
        use Activation::{HardSigmoid, HardSwish, Relu, Relu6, Sigmoid, Silu};
        let x = numbers();
        let (wide, ones) = (x.iter().map(|x| f64::from(*x)), vec![1.0; x.len()]);
        let wide: Vec<f64> = wide.collect();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for activation in [Relu, Relu6, HardSwish, HardSigmoid, Sigmoid, Silu] {
                let function = Function::Of(activation);
                let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                forward(isa, function, &x, &mut y);
                let gradient = ActivationGradient::Separate {
                    dy: &ones.iter().map(|x| *x as f32).collect::<Vec<f32>>(),
                    dx: Destination::overwrite(&mut dx),
                };
                backward(isa, function, &x, gradient);
                let (mut values, mut slopes) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                plain::forward(activation, &wide, &mut values);
                plain::backward(activation, &wide, &ones, &mut slopes);
                // Slopes are differences; beside the smallest values stands what f32 cannot hold of e⁻ˣ.
                let all = [("value", &y, &values, 1e-30), ("slope", &dx, &slopes, 1.0)];
                for (what, found, expected, least) in all {
                    for ((x, found), expected) in x.iter().zip(found).zip(expected) {
                        let gap = (f64::from(*found) - expected).abs();
                        let near = gap <= 1e-6 * expected.abs().max(least);
                        assert!(
                            near || found.is_nan() && expected.is_nan()
                                || f64::from(*found) == *expected,
                            "{isa:?}, {activation:?}, {what} of {x}: {found}, plain {expected}"
                        );
                    }
                }
            }
        }
    }
}
