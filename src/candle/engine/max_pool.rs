//! Max pooling: the pixels under each window one after the other, and which was the largest.

use candle_core::{Device, Result, Tensor};

use super::kernels::MaxPool;
use crate::engine::common::taps;
use crate::net::{Shape, Window};

/// Which pixels of a plane the windows see.
#[derive(Debug)]
pub(super) struct Windows {
    /// One row a tap: the pixel that each window sees by it. Windows that see less, at the border, see
    /// their last pixel again.
    pixels: Vec<Tensor>,
    window: Window,
    input: Shape,
    output: Shape,
}

impl Windows {
    pub(super) fn new(
        window: &Window,
        input: Shape,
        output: Shape,
        device: &Device,
    ) -> Result<Windows> {
        let seen: Vec<Vec<u32>> = (0..output.pixels())
            .map(|pixel| {
                let taps = taps(window, input, output, pixel);
                taps.map(|tap| tap as u32).collect()
            })
            .collect();
        let most = seen.iter().map(Vec::len).max().unwrap_or(0);
        let row = |tap: usize| {
            let row: Vec<u32> = seen
                .iter()
                .map(|seen| seen[tap.min(seen.len() - 1)])
                .collect();
            Tensor::new(row, device)
        };
        Ok(Windows {
            pixels: (0..most).map(row).collect::<Result<_>>()?,
            window: *window,
            input,
            output,
        })
    }

    /// The largest number under each window, the first of equals, the last of NaNs; and where in its
    /// plane each was.
    pub(super) fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        if let Some(kernels) = MaxPool::of(&self.window, self.input, self.output, x) {
            return kernels.forward(x);
        }
        let (images, channels, height, width) = x.dims4()?;
        let planes = x.reshape((images * channels, height * width))?;
        let size = (images * channels, self.output.pixels());
        let mut best = planes.index_select(&self.pixels[0], 1)?;
        let mut place = self.pixels[0].broadcast_as(size)?.contiguous()?;
        for pixels in &self.pixels[1..] {
            let next = planes.index_select(pixels, 1)?;
            let larger = (next.gt(&best)? + next.ne(&next)?)?;
            best = larger.where_cond(&next, &best)?;
            place = larger.where_cond(&pixels.broadcast_as(size)?, &place)?;
        }
        let y = best.reshape((images, channels, self.output.height, self.output.width))?;
        Ok((y, place))
    }

    /// dx: the gradient goes to the number that was the largest.
    pub(super) fn backward(&self, place: &Tensor, dy: &Tensor) -> Result<Tensor> {
        if let Some(kernels) = MaxPool::of(&self.window, self.input, self.output, dy) {
            return kernels.backward(place, dy);
        }
        let (images, channels, ..) = dy.dims4()?;
        let (planes, input) = (images * channels, self.input);
        let dy = dy.contiguous()?.reshape((planes, self.output.pixels()))?;
        Tensor::zeros((planes, input.pixels()), dy.dtype(), dy.device())?
            .scatter_add(place, &dy, 1)?
            .reshape((images, channels, input.height, input.width))
    }
}
