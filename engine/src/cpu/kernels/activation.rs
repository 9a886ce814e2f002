//! Functions of one number, for vectors: no branch, no call. Where they are more than a comparison,
//! they agree with the plain ones but for rounding.

use super::isa::{Isa, scale};
use super::multiply::{is_fused, multiply_add};
use crate::net::Activation;
use pulp::{Simd, WithSimd};

/// An activation, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) enum Function {
    Identity,
    Of(Activation),
}

impl Function {
    /// Whether its gradient follows from its value.
    pub(in crate::cpu) fn tells_its_gradient(self) -> bool {
        use Activation::{Relu, Relu6};
        matches!(self, Function::Identity | Function::Of(Relu | Relu6))
    }

    /// The upper limit, where it is nothing but limits of which the lower is 0.
    pub(in crate::cpu) fn limit(self) -> Option<f32> {
        match self {
            Function::Of(Activation::Relu) => Some(f32::INFINITY),
            Function::Of(Activation::Relu6) => Some(6.0),
            _ => None,
        }
    }
}

/// Evaluates an expression with the function as a constant, so that its loops hold no choice.
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
        let x = above(simd, simd.add_f32s(x, constant(3.0)), 0.0);
        below(simd, x, 6.0)
    };
    match activation {
        Activation::Relu => above(simd, x, 0.0),
        Activation::Relu6 => below(simd, above(simd, x, 0.0), 6.0),
        Activation::HardSwish => simd.div_f32s(simd.mul_f32s(x, six(x)), constant(6.0)),
        Activation::HardSigmoid => simd.div_f32s(six(x), constant(6.0)),
        Activation::Sigmoid => simd.div_f32s(constant(1.0), one_and_exp_of_negative(simd, x)),
        Activation::Silu => simd.div_f32s(x, one_and_exp_of_negative(simd, x)),
    }
}

/// dy · f′(x); 0 where no gradient passes, whatever dy.
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
            let y = simd.div_f32s(constant(1.0), one_and_exp_of_negative(simd, x));
            let rest = simd.sub_f32s(constant(1.0), y);
            simd.mul_f32s(dy, simd.mul_f32s(y, rest))
        }
        Activation::Silu => {
            let y = simd.div_f32s(constant(1.0), one_and_exp_of_negative(simd, x));
            let rest = simd.mul_f32s(x, simd.sub_f32s(constant(1.0), y));
            let slope = simd.mul_f32s(y, simd.add_f32s(constant(1.0), rest));
            simd.mul_f32s(dy, slope)
        }
    }
}

/// The larger; NaN stays.
#[inline(always)]
pub(in crate::cpu) fn above<S: Simd>(simd: S, x: S::f32s, low: f32) -> S::f32s {
    let low = simd.splat_f32s(low);
    match is_fused::<S>() {
        // Of a pair with NaN the instruction gives the second.
        true => simd.max_f32s(low, x),
        false => simd.select_f32s(simd.less_than_f32s(x, low), low, x),
    }
}

/// The smaller; NaN stays.
#[inline(always)]
pub(in crate::cpu) fn below<S: Simd>(simd: S, x: S::f32s, high: f32) -> S::f32s {
    let high = simd.splat_f32s(high);
    match is_fused::<S>() {
        true => simd.min_f32s(high, x),
        false => simd.select_f32s(simd.greater_than_f32s(x, high), high, x),
    }
}

#[inline(always)]
fn one_and_exp_of_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.add_f32s(simd.splat_f32s(1.0), exp(simd, simd.neg_f32s(x)))
}

/// eˣ to about 2 units in the last place: 2ⁿ · e^r with n = round(x / ln 2), and a polynomial for e^r
/// (Cephes, `expf`). NaN stays; it is infinite from 88 or so on, and below −87 as it is at −87: nothing
/// beside 1.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |x| simd.splat_f32s(x);
    // Added, it leaves the rounded number in the lowest bits.
    let round = constant(12_582_912.0);
    let inner = below(simd, above(simd, x, -87.0), 104.0);
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
    if let Some(y) = scale(simd, p, n) {
        return y;
    }
    // n into the exponent, which stays that of a normal number up to 88.
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

/// Where the gradient of an output is, and where that of the input goes.
pub(in crate::cpu) enum Into<'a> {
    /// In its place.
    Same(&'a mut [f32]),
    /// Elsewhere, written or added.
    Other {
        dy: &'a [f32],
        dx: &'a mut [f32],
        add: bool,
    },
}

/// dx = dy · f′(x).
pub(in crate::cpu) fn backward(isa: Isa, function: Function, x: &[f32], gradients: Into<'_>) {
    isa.run(Backward {
        function,
        x,
        into: gradients,
    });
}

struct Backward<'a> {
    function: Function,
    x: &'a [f32],
    into: Into<'a>,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let function = self.function;
        let (x, _) = S::as_simd_f32s(self.x);
        specialised!(function => match self.into {
            Into::Same(dx) => {
                let (dx, _) = S::as_mut_simd_f32s(dx);
                for (dx, x) in dx.iter_mut().zip(x) {
                    *dx = gradient(simd, function, *x, *dx);
                }
            }
            Into::Other { dy, dx, add } => {
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

    /// Sixteen a line, so that every vector is whole.
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
                let into = Into::Other {
                    dy: &ones.iter().map(|x| *x as f32).collect::<Vec<f32>>(),
                    dx: &mut dx,
                    add: false,
                };
                backward(isa, function, &x, into);
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
