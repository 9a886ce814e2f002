//! Pixels that are weighted sums of pixels, channel by channel: average pooling and resizing.

use super::isa::Isa;
use super::layout::{LANES, padded, stride};
use super::norm::lanes;
use crate::engine::pixels::{corners, divisor, part, taps};
use crate::net::{Op, Shape};

/// What every output pixel is made of.
#[derive(Debug)]
pub(super) struct Mix {
    shapes: (Shape, Shape),
    /// Where the shares of each output pixel begin, and the end of the last.
    starts: Vec<usize>,
    /// Input pixel and weight.
    shares: Vec<(usize, f32)>,
}

impl Mix {
    /// The weights of an operation; `None` where it is no such sum.
    pub(super) fn of(op: &Op, input: Shape, output: Shape) -> Option<Mix> {
        let mut mix = Mix {
            shapes: (input, output),
            starts: vec![0],
            shares: Vec::new(),
        };
        for pixel in 0..output.pixels() {
            match *op {
                Op::AveragePool {
                    ref window,
                    count_padding,
                } => {
                    let weight = 1.0 / divisor(window, count_padding, input, output, pixel);
                    let taps = taps(window, input, output, pixel);
                    mix.shares.extend(taps.map(|from| (from, weight as f32)));
                }
                Op::AdaptiveAveragePool { .. } => {
                    let (rows, columns) = part(input, output, pixel);
                    let weight = 1.0 / (rows.len() * columns.len()) as f64;
                    let pixels = rows.flat_map(|row| {
                        columns
                            .clone()
                            .map(move |column| row * input.width + column)
                    });
                    mix.shares.extend(pixels.map(|from| (from, weight as f32)));
                }
                Op::Resize { align_corners, .. } => {
                    let corners = corners(align_corners, input, output, pixel);
                    mix.shares
                        .extend(corners.map(|(from, weight)| (from, weight as f32)));
                }
                _ => return None,
            }
            mix.starts.push(mix.shares.len());
        }
        Some(mix)
    }

    fn shares(&self, pixel: usize) -> &[(usize, f32)] {
        &self.shares[self.starts[pixel]..self.starts[pixel + 1]]
    }

    /// y = the sums.
    pub(super) fn forward(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let stride = stride(self.shapes.0.channels);
        let images = x.chunks_exact(padded(self.shapes.0));
        y.chunks_exact_mut(padded(self.shapes.1))
            .zip(images)
            .for_each(|(y, x)| {
                isa.run_loops(
                    #[inline(always)]
                    || {
                        for (pixel, y) in y.chunks_exact_mut(stride).enumerate() {
                            for (block, y) in y.chunks_exact_mut(LANES).enumerate() {
                                let mut sum = [0.0; LANES];
                                for (from, weight) in self.shares(pixel) {
                                    let x = lanes(&x[from * stride + block * LANES..]);
                                    for lane in 0..LANES {
                                        sum[lane] += weight * x[lane];
                                    }
                                }
                                y.copy_from_slice(&sum);
                            }
                        }
                    },
                );
            });
    }

    /// dx += what each pixel gave to every dy.
    pub(super) fn backward(&self, isa: Isa, dy: &[f32], dx: &mut [f32]) {
        let stride = stride(self.shapes.0.channels);
        let images = dy.chunks_exact(padded(self.shapes.1));
        dx.chunks_exact_mut(padded(self.shapes.0))
            .zip(images)
            .for_each(|(dx, dy)| {
                isa.run_loops(
                    #[inline(always)]
                    || {
                        for (pixel, dy) in dy.chunks_exact(stride).enumerate() {
                            for (to, weight) in self.shares(pixel) {
                                let dx = &mut dx[to * stride..][..stride];
                                for (dx, dy) in dx.iter_mut().zip(dy) {
                                    *dx += weight * dy;
                                }
                            }
                        }
                    },
                );
            });
    }
}
