//! Types, constants and sums that the operations share.

use candle_core::{DType, Device, Result, Tensor};

/// The type of sums: F64, but on a device that has none.
pub(super) fn wide(device: &Device) -> DType {
    if device.is_metal() {
        DType::F32
    } else {
        DType::F64
    }
}

/// `value` everywhere, in the shape and the type of `like`.
pub(super) fn constant(value: f64, like: &Tensor) -> Result<Tensor> {
    // Made on the device, with no copy from the host.
    let one = match like.dtype() {
        DType::F64 => Tensor::full(value, (), like.device())?,
        dtype => Tensor::full(value as f32, (), like.device())?.to_dtype(dtype)?,
    };
    one.broadcast_as(like.shape())
}

/// Σ over images and pixels of `x` [N, C, H, W], a number a channel: rows are summed in the type of `x`,
/// all else in the [`wide`] one.
pub(super) fn channel_sums(x: &Tensor) -> Result<Tensor> {
    let rows = x.sum(3)?.to_dtype(wide(x.device()))?;
    rows.sum(2)?.sum(0)
}

/// Numbers, one a channel, as they are put beside values `like` [N, C, H, W].
pub(super) fn per_channel(numbers: &Tensor, like: &Tensor) -> Result<Tensor> {
    numbers
        .to_dtype(like.dtype())?
        .reshape((1, numbers.elem_count(), 1, 1))
}

/// All numbers of a tensor, in host memory.
pub(super) fn to_host(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor
        .flatten_all()?
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .to_vec1()
}
