//! Functions of one number, as the compiler turns them into vectors: no branch, no call. Where they
//! are more than a comparison, they agree with the plain ones but for rounding.

use rayon::prelude::*;

use super::isa::Isa;
use crate::net::Activation;

/// An activation, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Identity,
    Of(Activation),
}

impl Function {
    /// Calls `body` with the function as a constant, so that its loops hold no choice.
    #[inline(always)]
    pub(super) fn specialised(self, mut body: impl FnMut(Function)) {
        match self {
            Function::Identity => body(Function::Identity),
            Function::Of(Activation::Relu) => body(Function::Of(Activation::Relu)),
            Function::Of(Activation::Relu6) => body(Function::Of(Activation::Relu6)),
            Function::Of(Activation::HardSwish) => body(Function::Of(Activation::HardSwish)),
            Function::Of(Activation::HardSigmoid) => body(Function::Of(Activation::HardSigmoid)),
            Function::Of(Activation::Sigmoid) => body(Function::Of(Activation::Sigmoid)),
            Function::Of(Activation::Silu) => body(Function::Of(Activation::Silu)),
        }
    }
}

/// f(x).
#[inline(always)]
pub(super) fn value(function: Function, x: f32) -> f32 {
    let Function::Of(activation) = function else {
        return x;
    };
    match activation {
        Activation::Relu => above(x, 0.0),
        Activation::Relu6 => below(above(x, 0.0), 6.0),
        Activation::HardSwish => x * below(above(x + 3.0, 0.0), 6.0) / 6.0,
        Activation::HardSigmoid => below(above(x + 3.0, 0.0), 6.0) / 6.0,
        Activation::Sigmoid => 1.0 / (1.0 + exp(-x)),
        Activation::Silu => x / (1.0 + exp(-x)),
    }
}

/// dy · f′(x); 0 where no gradient passes, whatever dy.
#[inline(always)]
pub(super) fn gradient(function: Function, x: f32, dy: f32) -> f32 {
    let Function::Of(activation) = function else {
        return dy;
    };
    match activation {
        Activation::Relu => {
            if x <= 0.0 {
                0.0
            } else {
                dy
            }
        }
        Activation::Relu6 => {
            if x <= 0.0 || x >= 6.0 {
                0.0
            } else {
                dy
            }
        }
        Activation::HardSwish => {
            let slope = if x < 3.0 { x / 3.0 + 0.5 } else { 1.0 };
            if x <= -3.0 { 0.0 } else { dy * slope }
        }
        Activation::HardSigmoid => {
            if x > -3.0 && x < 3.0 {
                dy / 6.0
            } else {
                0.0
            }
        }
        Activation::Sigmoid => {
            let y = 1.0 / (1.0 + exp(-x));
            dy * (y * (1.0 - y))
        }
        Activation::Silu => {
            let y = 1.0 / (1.0 + exp(-x));
            dy * (y * (1.0 + x * (1.0 - y)))
        }
    }
}

/// The larger; NaN stays.
#[inline(always)]
fn above(x: f32, low: f32) -> f32 {
    if x < low { low } else { x }
}

/// The smaller; NaN stays.
#[inline(always)]
fn below(x: f32, high: f32) -> f32 {
    if x > high { high } else { x }
}

/// eˣ to about 2 units in the last place: 2ⁿ · e^r with n = round(x / ln 2), and a polynomial for e^r
/// (Cephes, `expf`). NaN stays, beyond the ends it is 0 or infinite.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let clamped = below(above(x, -87.5), 88.5);
    let n = (clamped * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let r = clamped - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
    ] {
        p = p * r + coefficient;
    }
    let p = p * r * r + r + 1.0;
    // 2ⁿ in two halves: 2¹²⁸ is no number, and neither is what lies below 2⁻¹²⁶ a normal one.
    let n = n as i32;
    let half = n / 2;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let y = p * power(half) * power(n - half);
    let y = if x > 88.5 { f32::INFINITY } else { y };
    if x < -87.5 { 0.0 } else { y }
}

/// y = f(x).
pub(super) fn forward(isa: Isa, function: Function, x: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(y, x)| {
            isa.run_loops(
                #[inline(always)]
                || {
                    function.specialised(
                        #[inline(always)]
                        |function| {
                            for (y, x) in y.iter_mut().zip(x) {
                                *y = value(function, *x);
                            }
                        },
                    );
                },
            );
        });
}

/// dx = dy · f′(x), or added to it.
pub(super) fn backward(
    isa: Isa,
    function: Function,
    (x, dy): (&[f32], &[f32]),
    (dx, add): (&mut [f32], bool),
) {
    let from = x.par_chunks(CHUNK).zip(dy.par_chunks(CHUNK));
    dx.par_chunks_mut(CHUNK)
        .zip(from)
        .for_each(|(dx, (x, dy))| {
            isa.run_loops(
                #[inline(always)]
                || {
                    function.specialised(
                        #[inline(always)]
                        |function| {
                            for (dx, (x, dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
                                let now = gradient(function, *x, *dy);
                                *dx = if add { *dx + now } else { now };
                            }
                        },
                    );
                },
            );
        });
}

/// Numbers that a thread takes at a time.
const CHUNK: usize = 1 << 14;
