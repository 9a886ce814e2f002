//! Grouped convolutions with 1, 2, 4 or 8 channels per group, in and out; with one channel they are depthwise.
//!
//! A vector holds whole groups. Input channel i of a group contributes to every output channel i ^ k of it, for k below
//! the group width. The kernels keep one sum per k in the lane of the input channel, so that loaded values need no
//! permutation; only the finished sums are permuted, by k, and added.

mod forward;
mod pixel_runs;
mod tap_rows;
mod weight_gradient;

pub(in crate::cpu) use forward::ForwardConvolution;
pub(in crate::cpu) use weight_gradient::WeightGradient;

use pulp::Simd;

use super::convolution::FilterLayout;
use super::layout::{LANES, pixel_stride};

/// The sizes of a grouped convolution's filters, and their layout `[tap][strip][k][lane]`: for each input channel, in strips
/// of [`LANES`], the filter to output channel `input ^ k`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cpu) struct GroupedFilterLayout {
    /// Channels per group: 1, 2, 4 or 8.
    pub(in crate::cpu) width: usize,
    /// Taps of the kernel: height · width.
    pub(in crate::cpu) taps: usize,
    /// Channels of all groups.
    pub(in crate::cpu) channels: usize,
}

impl GroupedFilterLayout {
    /// The layout for some filters; `None` where there is a single group, another group width, or a channel multiplier.
    pub(in crate::cpu) fn of(filters: &FilterLayout) -> Option<GroupedFilterLayout> {
        let width = filters.in_channels;
        let fits =
            filters.groups > 1 && filters.out_channels == width && [1, 2, 4, 8].contains(&width);
        fits.then_some(GroupedFilterLayout {
            width,
            taps: filters.taps,
            channels: filters.groups * width,
        })
    }

    /// Elements in all, padding included.
    pub(in crate::cpu) fn len(&self) -> usize {
        self.taps * self.width * pixel_stride(self.channels)
    }

    /// The index in this layout of element `at` of the state dict's `[out, in / groups, height, width]`.
    pub(in crate::cpu) fn index(&self, at: usize) -> usize {
        let (out, tap) = (at / (self.width * self.taps), at % self.taps);
        let from = at / self.taps % self.width;
        let read = out / self.width * self.width + from;
        let strip = tap * (pixel_stride(self.channels) / LANES) + read / LANES;
        let k = (out % self.width) ^ from;
        (strip * self.width + k) * LANES + read % LANES
    }

    /// Elements of the transposed filters, which give the input gradient; 0 for depthwise, where they are the same.
    pub(in crate::cpu) fn transposed_len(&self) -> usize {
        if self.width > 1 { self.len() } else { 0 }
    }

    /// Writes the transposed filters: input and output channels of each group exchanged.
    pub(in crate::cpu) fn transpose(&self, filters: &[f32], into: &mut [f32]) {
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

    /// Sets the filters of padding channels to 0.
    pub(in crate::cpu) fn clear_padding(&self, filters: &mut [f32]) {
        let strips = pixel_stride(self.channels) / LANES;
        for (number, row) in filters.chunks_exact_mut(LANES).enumerate() {
            let first = number / self.width % strips * LANES;
            row[LANES.min(self.channels - first)..].fill(0.0);
        }
    }
}

/// Offset, in vectors, of the filters of vector `channel` among those of a tap.
#[inline(always)]
fn filter_offset<S: Simd>(channel: usize, width: usize) -> usize {
    channel / vectors_per_strip::<S>() * vectors_per_strip::<S>() * width
        + channel % vectors_per_strip::<S>()
}

/// Vectors per strip, which is the distance from one k to the next.
#[inline(always)]
fn vectors_per_strip<S: Simd>() -> usize {
    LANES / S::F32_LANES
}
