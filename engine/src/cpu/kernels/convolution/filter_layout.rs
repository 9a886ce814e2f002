//! The memory layout of convolution filters, packed for the matrix product: `[group][strip][tap][input channel][LANES]`, where
//! a strip is [`LANES`] output channels.

use rayon::prelude::*;

use super::Phase;
use crate::cpu::kernels::layout::LANES;

/// The sizes of a convolution's filters, which give their layout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cpu) struct FilterLayout {
    pub(in crate::cpu) groups: usize,
    /// Taps of the kernel: height · width.
    pub(in crate::cpu) taps: usize,
    /// Input channels per group.
    pub(in crate::cpu) in_channels: usize,
    /// Output channels per group.
    pub(in crate::cpu) out_channels: usize,
}

impl FilterLayout {
    /// Elements in all, padding included.
    pub(in crate::cpu) fn len(&self) -> usize {
        self.groups * self.strips() * self.strip_len()
    }

    /// Strips per group.
    pub(in crate::cpu) fn strips(&self) -> usize {
        self.out_channels.div_ceil(LANES)
    }

    /// Elements per strip.
    pub(in crate::cpu) fn strip_len(&self) -> usize {
        self.taps * self.in_channels * LANES
    }

    /// The index in this layout of element `at` of the state dict's `[out, in / groups, height, width]`.
    pub(in crate::cpu) fn index(&self, at: usize) -> usize {
        let out = at / (self.taps * self.in_channels);
        let (from, tap) = (at / self.taps % self.in_channels, at % self.taps);
        let (group, to) = (out / self.out_channels, out % self.out_channels);
        let strip = group * self.strips() + to / LANES;
        strip * self.strip_len() + (tap * self.in_channels + from) * LANES + to % LANES
    }

    /// The layout of the transposed filters, which give the input gradient.
    pub(in crate::cpu) fn transposed(&self) -> FilterLayout {
        FilterLayout {
            in_channels: self.out_channels,
            out_channels: self.in_channels,
            ..*self
        }
    }

    /// Writes the transposed filters: input and output channels exchanged. Only the taps that `phases` read are written.
    pub(in crate::cpu) fn transpose(&self, phases: &[Phase], filters: &[f32], into: &mut [f32]) {
        let transposed = self.transposed();
        let strips = into
            .par_chunks_exact_mut(transposed.strip_len())
            .enumerate();
        strips.for_each(|(number, into)| {
            let (group, strip) = (number / transposed.strips(), number % transposed.strips());
            let first = strip * LANES;
            let count = LANES.min(self.in_channels - first);
            let filters = &filters[group * self.strips() * self.strip_len()..];
            for (source, filters) in filters
                .chunks_exact(self.strip_len())
                .enumerate()
                .take(self.strips())
            {
                let columns = LANES.min(self.out_channels - source * LANES);
                for tap in phases.iter().flat_map(|phase| &phase.taps) {
                    let tap = tap.number;
                    let from =
                        &filters[(tap * self.in_channels + first) * LANES..][..count * LANES];
                    let to = (tap * self.out_channels + source * LANES) * LANES;
                    let (from, _) = from.as_chunks();
                    let (to, _) = into[to..][..columns * LANES].as_chunks_mut();
                    transpose(from, to);
                }
            }
        });
    }
}

/// to\[j\]\[i\] = from\[i\]\[j\], and 0 for i past the end of `from`.
#[inline(always)]
fn transpose(from: &[[f32; LANES]], to: &mut [[f32; LANES]]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>()) {
        for (j, to) in to.iter_mut().enumerate() {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from[j];
            }
        }
        return;
    }
    for (j, to) in to.iter_mut().enumerate() {
        to.fill(0.0);
        for (to, from) in to.iter_mut().zip(from) {
            *to = from[j];
        }
    }
}
