//! Convolutions of narrow groups, each of 1, 2, 4 or 8 channels to as many; of one channel they are depthwise.
//!
//! A vector holds whole groups. Of each product the sum over taps is kept for the channel that is read, once for
//! every channel k places from it within its group, where places are told apart by exclusive or: then only the sums
//! have to change lanes, not what is read.

mod gather;
mod rows;
mod runs;
mod weight;

pub(in crate::cpu) use gather::gather;
pub(in crate::cpu) use weight::weight_gradient;

use pulp::Simd;

use super::convolution::Filters;
use super::layout::{LANES, stride};

/// Sizes of narrow groups' filters, which are kept as [tap][strip][k][lane]: for each channel that is read, in strips of
/// [`LANES`], those for the channel that is computed k places away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cpu) struct Narrow {
    /// Channels of a group.
    pub(in crate::cpu) width: usize,
    pub(in crate::cpu) kernel: usize,
    pub(in crate::cpu) channels: usize,
}

impl Narrow {
    /// Those of some filters; `None` where groups are of another width, or not as wide in the result, or there is but one.
    pub(in crate::cpu) fn of(filters: &Filters) -> Option<Narrow> {
        let width = filters.from;
        let fits = filters.groups > 1 && filters.to == width && [1, 2, 4, 8].contains(&width);
        fits.then_some(Narrow {
            width,
            kernel: filters.kernel,
            channels: filters.groups * width,
        })
    }

    /// Numbers, padding included.
    pub(in crate::cpu) fn len(&self) -> usize {
        self.kernel * self.width * stride(self.channels)
    }

    /// Where the number at [out][in][tap] of a state dict is.
    pub(in crate::cpu) fn place(&self, at: usize) -> usize {
        let (out, tap) = (at / (self.width * self.kernel), at % self.kernel);
        let from = at / self.kernel % self.width;
        let read = out / self.width * self.width + from;
        let strip = tap * (stride(self.channels) / LANES) + read / LANES;
        let k = (out % self.width) ^ from;
        (strip * self.width + k) * LANES + read % LANES
    }

    /// Numbers of the filters that give the gradient of what these gather; 0 where they are the same.
    pub(in crate::cpu) fn turned(&self) -> usize {
        if self.width > 1 { self.len() } else { 0 }
    }

    /// Writes them: what was computed is read.
    pub(in crate::cpu) fn turn(&self, filters: &[f32], into: &mut [f32]) {
        if self.width > 1 {
            let rows = into
                .chunks_exact_mut(LANES)
                .zip(filters.chunks_exact(LANES));
            for (number, (into, filters)) in rows.enumerate() {
                for (lane, into) in into.iter_mut().enumerate() {
                    *into = filters[lane ^ (number % self.width)];
                }
            }
        }
    }

    /// Makes 0 of what is kept for channels that are only padding.
    pub(in crate::cpu) fn clear_padding(&self, filters: &mut [f32]) {
        let strips = stride(self.channels) / LANES;
        for (number, row) in filters.chunks_exact_mut(LANES).enumerate() {
            let first = number / self.width % strips * LANES;
            row[LANES.min(self.channels - first)..].fill(0.0);
        }
    }
}

/// Where the filters of a vector of channels begin among those of a tap, in vectors.
#[inline(always)]
fn place<S: Simd>(channel: usize, width: usize) -> usize {
    channel / step::<S>() * step::<S>() * width + channel % step::<S>()
}

/// Vectors of a strip: from one k to the next.
#[inline(always)]
fn step<S: Simd>() -> usize {
    LANES / S::F32_LANES
}
