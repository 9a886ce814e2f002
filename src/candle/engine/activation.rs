//! Functions of one number. NaN stays NaN, which candle's own ReLU and clamp do not promise; the
//! derivatives at the kinks are PyTorch's.

use candle_core::{Result, Tensor};

use super::kernels;
use super::number::constant;
use crate::net::Activation;

/// PyTorch's derivative of hard-sigmoid: 1/6 as f32 has it, also in f64.
const SIXTH: f64 = (1.0_f32 / 6.0) as f64;

pub(super) fn forward(activation: Activation, x: &Tensor) -> Result<Tensor> {
    if let Some(y) = kernels::activation::forward(activation, x) {
        return y;
    }
    match activation {
        Activation::Relu => at_least_zero(x),
        Activation::Relu6 => at_most_six(&at_least_zero(x)?),
        Activation::HardSwish => (x * hard_sigmoid(x)?)? / 6.0,
        Activation::HardSigmoid => hard_sigmoid(x)? / 6.0,
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x / (x.neg()?.exp()? + 1.0)?,
    }
}

/// dx. Where no gradient passes it is 0, whatever dy: no product with 0, which would make NaN of an
/// infinite one.
pub(super) fn backward(activation: Activation, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    if let Some(dx) = kernels::activation::backward(activation, x, dy) {
        return dx;
    }
    let zero = constant(0.0, x)?;
    match activation {
        Activation::Relu => x.le(&zero)?.where_cond(&zero, dy),
        Activation::Relu6 => {
            let dx = x.le(&zero)?.where_cond(&zero, dy)?;
            x.ge(&constant(6.0, x)?)?.where_cond(&zero, &dx)
        }
        Activation::HardSwish => {
            let bend = (x.affine(1.0 / 3.0, 0.5)? * dy)?;
            let dx = x.lt(&constant(3.0, x)?)?.where_cond(&bend, dy)?;
            x.le(&constant(-3.0, x)?)?.where_cond(&zero, &dx)
        }
        Activation::HardSigmoid => {
            let above = x.gt(&constant(-3.0, x)?)?;
            let inside = (above * x.lt(&constant(3.0, x)?)?)?;
            inside.where_cond(&(dy * SIXTH)?, &zero)
        }
        Activation::Sigmoid => {
            let y = sigmoid(x)?;
            let rest = y.affine(-1.0, 1.0)?;
            (y * rest)? * dy
        }
        Activation::Silu => {
            let y = sigmoid(x)?;
            let rest = y.affine(-1.0, 1.0)?;
            (y * ((x * rest)? + 1.0)?)? * dy
        }
    }
}

fn at_least_zero(x: &Tensor) -> Result<Tensor> {
    let zero = constant(0.0, x)?;
    x.lt(&zero)?.where_cond(&zero, x)
}

fn at_most_six(x: &Tensor) -> Result<Tensor> {
    let six = constant(6.0, x)?;
    x.gt(&six)?.where_cond(&six, x)
}

/// Six times it.
fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    at_most_six(&at_least_zero(&(x + 3.0)?)?)
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}
