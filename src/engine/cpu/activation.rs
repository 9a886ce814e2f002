//! Functions of one number, for vectors: no branch, no call. Where they are more than a comparison,
//! they agree with the plain ones but for rounding.

use super::isa::Isa;
use super::multiply::multiply_add;
use crate::net::Activation;
use pulp::{Simd, WithSimd};

/// An activation, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Identity,
    Of(Activation),
}

/// Evaluates an expression with the function as a constant, so that its loops hold no choice.
macro_rules! specialised {
    ($function:ident => $body:expr) => {{
        use crate::engine::cpu::activation::Function::{Identity, Of};
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
pub(super) use specialised;

/// f(x).
#[inline(always)]
pub(super) fn value<S: Simd>(simd: S, function: Function, x: S::f32s) -> S::f32s {
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
pub(super) fn gradient<S: Simd>(simd: S, function: Function, x: S::f32s, dy: S::f32s) -> S::f32s {
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
fn above<S: Simd>(simd: S, x: S::f32s, low: f32) -> S::f32s {
    let low = simd.splat_f32s(low);
    simd.select_f32s(simd.less_than_f32s(x, low), low, x)
}

/// The smaller; NaN stays.
#[inline(always)]
fn below<S: Simd>(simd: S, x: S::f32s, high: f32) -> S::f32s {
    let high = simd.splat_f32s(high);
    simd.select_f32s(simd.greater_than_f32s(x, high), high, x)
}

#[inline(always)]
fn one_and_exp_of_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.add_f32s(simd.splat_f32s(1.0), exp(simd, simd.neg_f32s(x)))
}

/// eˣ to about 2 units in the last place: 2ⁿ · e^r with n = round(x / ln 2), and a polynomial for e^r
/// (Cephes, `expf`). NaN stays; it is infinite from 88 on, and 0 to −87.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |x| simd.splat_f32s(x);
    // Added, it leaves the rounded number in the lowest bits.
    let round = constant(12_582_912.0);
    let inner = below(simd, above(simd, x, -87.0), 88.0);
    let n = multiply_add(simd, inner, constant(std::f32::consts::LOG2_E), round);
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(n), simd.splat_u32s(23));
    let n = simd.sub_f32s(n, round);
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
    // n into the exponent, which stays that of a normal number.
    let y = simd.add_u32s(simd.transmute_u32s_f32s(p), power);
    let y = simd.transmute_f32s_u32s(y);
    let high = simd.greater_than_f32s(x, constant(88.0));
    let y = simd.select_f32s(high, constant(f32::INFINITY), y);
    let low = simd.less_than_f32s(x, constant(-87.0));
    simd.select_f32s(low, constant(0.0), y)
}

/// y = f(x).
pub(super) fn forward(isa: Isa, function: Function, x: &[f32], y: &mut [f32]) {
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
pub(super) enum Into<'a> {
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
pub(super) fn backward(isa: Isa, function: Function, x: &[f32], gradients: Into<'_>) {
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
