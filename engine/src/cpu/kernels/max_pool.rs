//! Max pooling.

use super::isa::Isa;
use super::layout::{LANES, padded, stride};
use super::norm::lanes;
use crate::net::{Shape, Window};
use crate::pixels::taps;

/// A pooling and the sizes it is for.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct MaxPool {
    pub(in crate::cpu) window: Window,
    pub(in crate::cpu) input: Shape,
    pub(in crate::cpu) output: Shape,
}

impl MaxPool {
    /// The largest number under the window at a pixel, and at which pixel it was, for a block of
    /// channels: the first of equals, the last of NaNs.
    #[inline(always)]
    fn largest(&self, pixel: usize, channel: usize, x: &[f32]) -> ([f32; LANES], [u32; LANES]) {
        let stride = stride(self.input.channels);
        let mut best = ([f32::NEG_INFINITY; LANES], [u32::MAX; LANES]);
        for tap in taps(&self.window, self.input, self.output, pixel) {
            let x = lanes(&x[tap * stride + channel..]);
            for ((x, value), place) in x.iter().zip(&mut best.0).zip(&mut best.1) {
                let takes = *x > *value || x.is_nan() || *place == u32::MAX;
                *value = if takes { *x } else { *value };
                *place = if takes { tap as u32 } else { *place };
            }
        }
        best
    }

    /// y = the largest.
    pub(in crate::cpu) fn forward(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let stride = stride(self.input.channels);
        let images = x.chunks_exact(padded(self.input));
        y.chunks_exact_mut(padded(self.output))
            .zip(images)
            .for_each(|(y, x)| {
                isa.run_loops(
                    #[inline(always)]
                    || {
                        for (pixel, y) in y.chunks_exact_mut(stride).enumerate() {
                            for (block, y) in y.chunks_exact_mut(LANES).enumerate() {
                                y.copy_from_slice(&self.largest(pixel, block * LANES, x).0);
                            }
                        }
                    },
                );
            });
    }

    /// dx += dy where the largest was.
    pub(in crate::cpu) fn backward(&self, isa: Isa, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let stride = stride(self.input.channels);
        let images = x
            .chunks_exact(padded(self.input))
            .zip(dy.chunks_exact(padded(self.output)));
        dx.chunks_exact_mut(padded(self.input))
            .zip(images)
            .for_each(|(dx, (x, dy))| {
                isa.run_loops(
                    #[inline(always)]
                    || {
                        for (pixel, dy) in dy.chunks_exact(stride).enumerate() {
                            for (block, dy) in dy.chunks_exact(LANES).enumerate() {
                                let (_, from) = self.largest(pixel, block * LANES, x);
                                for (lane, dy) in dy.iter().enumerate() {
                                    dx[from[lane] as usize * stride + block * LANES + lane] += dy;
                                }
                            }
                        }
                    },
                );
            });
    }
}
