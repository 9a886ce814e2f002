//! Max pooling, forward and backward.

use super::batch_norm::lanes;
use super::isa::Isa;
use super::layout::{LANES, padded_len, pixel_stride};
use crate::net::{Shape, Window};
use crate::pixels::taps;

/// A max pooling: its window, and the shapes of one image before and after it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct MaxPool {
    pub(in crate::cpu) window: Window,
    pub(in crate::cpu) input: Shape,
    pub(in crate::cpu) output: Shape,
}

impl MaxPool {
    /// Maximum and argmax (the input pixel) of the window of output pixel `pixel`, for [`LANES`] channels from
    /// `channel` on. Of equal values the first wins; NaN wins over numbers, and the last of several NaN.
    #[inline(always)]
    fn largest(&self, pixel: usize, channel: usize, x: &[f32]) -> ([f32; LANES], [u32; LANES]) {
        let stride = pixel_stride(self.input.channels);
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

    /// y = the maximum of each window.
    pub(in crate::cpu) fn forward(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let stride = pixel_stride(self.input.channels);
        let images = x.chunks_exact(padded_len(self.input));
        y.chunks_exact_mut(padded_len(self.output))
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

    /// dx += dy at the argmax of each window.
    pub(in crate::cpu) fn backward(&self, isa: Isa, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let stride = pixel_stride(self.input.channels);
        let images = x
            .chunks_exact(padded_len(self.input))
            .zip(dy.chunks_exact(padded_len(self.output)));
        dx.chunks_exact_mut(padded_len(self.input))
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
