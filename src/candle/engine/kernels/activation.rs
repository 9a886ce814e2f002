//! Functions of one number.

use candle_core::{Result, Tensor};

use super::launch::{File, Launch, THREADS};
use super::{int, output, run_on};
use crate::net::Activation;

/// `Activation` in `activation.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Sizes {
    count: i32,
    function: i32,
}

/// y = f(x), where it goes by a kernel.
pub(in super::super) fn forward(function: Activation, x: &Tensor) -> Option<Result<Tensor>> {
    run_on(x).then(|| run("activation_forward", function, x, &[]))
}

/// dx = dy · f′(x), where it goes by a kernel.
pub(in super::super) fn backward(
    function: Activation,
    x: &Tensor,
    dy: &Tensor,
) -> Option<Result<Tensor>> {
    run_on(x).then(|| run("activation_backward", function, x, &[dy]))
}

/// The function by its number in `activation.cu`.
fn number(function: Activation) -> i32 {
    match function {
        Activation::Relu => 0,
        Activation::Relu6 => 1,
        Activation::HardSwish => 2,
        Activation::HardSigmoid => 3,
        Activation::Sigmoid => 4,
        Activation::Silu => 5,
    }
}

#[expect(unsafe_code, reason = "a launch")]
fn run(kernel: &'static str, function: Activation, x: &Tensor, dy: &[&Tensor]) -> Result<Tensor> {
    let to = output(x.shape(), x.dtype(), x.device())?;
    let reads = [x].into_iter().chain(dy.iter().copied());
    let reads = reads.map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    let sizes = Sizes {
        count: int(x.elem_count()),
        function: number(function),
    };
    let launch = Launch {
        file: File::Activation,
        kernel,
        dtype: x.dtype(),
        blocks: x.elem_count().div_ceil(THREADS),
    };
    // SAFETY: forward reads x, backward x and its gradient, of one shape; each writes a tensor of it.
    unsafe { launch.run(&[&to], &reads.iter().collect::<Vec<_>>(), sizes)? };
    Ok(to)
}
