//! What only moves channels: concat, slice, shuffle and padding.

use candle_core::{Result, Tensor};

/// Channel g · (C / groups) + i goes to i · groups + g; with C / groups for `groups` it goes back.
pub(super) fn shuffle(x: &Tensor, groups: usize) -> Result<Tensor> {
    let (images, channels, height, width) = x.dims4()?;
    x.reshape((images, groups, channels / groups, height * width))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((images, channels, height, width))
}

/// `len` channels from `start` on.
pub(super) fn slice(x: &Tensor, start: usize, len: usize) -> Result<Tensor> {
    x.narrow(1, start, len)?.contiguous()
}

/// Channels of zeros before and after.
pub(super) fn pad(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    x.pad_with_zeros(1, before, after)
}
