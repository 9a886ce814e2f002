//! CUDA kernels of the engine's own, for the operations that candle composes of many launches or does
//! slowly. Each file has the sizes and the launches of the kernels in the `.cu` file of its name; the
//! composition of candle's operations stays for all other devices, and is what a kernel has to give.
//!
//! The kernels are compiled by nvcc in builds with the feature `cuda`. The tests compile them for the
//! processor instead, and run whole networks with them.

pub(super) mod activation;
mod batch_norm;
#[cfg(feature = "cuda")]
mod cuda;
mod depthwise;
#[cfg(test)]
pub(super) mod emulator;
mod launch;
pub(super) mod loss;
mod max_pool;
mod optimizer;
mod window;

pub(super) use batch_norm::BatchNorm;
pub(super) use depthwise::Depthwise;
pub(super) use max_pool::MaxPool;
pub(super) use optimizer::Step;

use candle_core::{DType, Device, Result, Shape, Tensor};

/// Whether the operations on a tensor go by kernels: it is on a CUDA device, in f32 or f64, and its
/// elements can be counted in 32 bits.
pub(super) fn run_on(x: &Tensor) -> bool {
    #[cfg(test)]
    let device = x.device().is_cuda() || emulator::is_on();
    #[cfg(not(test))]
    let device = cfg!(feature = "cuda") && x.device().is_cuda();
    device && matches!(x.dtype(), DType::F32 | DType::F64) && x.elem_count() <= MOST
}

/// The last thread's number, which is below this and a block, is an `int`.
const MOST: usize = 1 << 30;

/// A tensor for a kernel to write, all of it. In tests it is NaN, or the largest number, before.
#[cfg_attr(
    not(test),
    expect(unsafe_code, reason = "zeros would be one more launch of each kernel")
)]
fn output(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    #[cfg(test)]
    let tensor = match dtype {
        DType::U32 => Tensor::full(u32::MAX, shape, device),
        dtype => Tensor::full(f32::NAN, shape, device)?.to_dtype(dtype),
    };
    // SAFETY: memory of a CUDA device, where only kernels read, and each of them is launched after one
    // that has written all elements. Nothing but the tests checks that it does.
    #[cfg(not(test))]
    let tensor = unsafe { Tensor::empty(shape, dtype, device) };
    tensor
}

/// A number of elements, pixels or channels, of a tensor for which [`run_on`] holds.
fn int(size: usize) -> i32 {
    size as i32
}
