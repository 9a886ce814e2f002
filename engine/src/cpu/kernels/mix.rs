//! Pixels that are weighted sums of pixels, channel by channel: average pooling and resizing.

use pulp::{Simd, WithSimd};

use super::isa::Isa;
use super::layout::{padded, stride};
use crate::net::{Op, Shape};
use crate::pixels::{corners, divisor, part, taps};

/// What every output pixel is made of.
#[derive(Debug)]
pub(in crate::cpu) struct Mix {
    shapes: (Shape, Shape),
    /// Where the shares of each output pixel begin, and the end of the last.
    starts: Vec<usize>,
    /// Input pixel and weight.
    shares: Vec<(usize, f32)>,
}

impl Mix {
    /// The weights of an operation; `None` where it is no such sum.
    pub(in crate::cpu) fn of(op: &Op, input: Shape, output: Shape) -> Option<Mix> {
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
    pub(in crate::cpu) fn forward(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let images = x.chunks_exact(padded(self.shapes.0));
        y.chunks_exact_mut(padded(self.shapes.1))
            .zip(images)
            .for_each(|(y, x)| isa.run(Forward { mix: self, x, y }));
    }

    /// dx += what each pixel gave to every dy.
    pub(in crate::cpu) fn backward(&self, isa: Isa, dy: &[f32], dx: &mut [f32]) {
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

/// The sums for an image.
struct Forward<'a> {
    mix: &'a Mix,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = stride(self.mix.shapes.0.channels) / S::F32_LANES;
        let (x, y) = (S::as_simd_f32s(self.x).0, S::as_mut_simd_f32s(self.y).0);
        for (pixel, y) in y.chunks_exact_mut(vectors).enumerate() {
            let shares = self.mix.shares(pixel);
            // Several vectors at once: each addition waits for the one before.
            let (many, rest) = y.as_chunks_mut::<4>();
            let done = many.len() * 4;
            for (block, y) in many.iter_mut().enumerate() {
                *y = sum(simd, shares, x, (4 * block, vectors));
            }
            for (channel, y) in rest.iter_mut().enumerate() {
                [*y] = sum(simd, shares, x, (done + channel, vectors));
            }
        }
    }
}

/// The shares of `N` vectors of channels, from one on, of an image whose pixels are `vectors` of them.
#[inline(always)]
fn sum<S: Simd, const N: usize>(
    simd: S,
    shares: &[(usize, f32)],
    image: &[S::f32s],
    (channel, vectors): (usize, usize),
) -> [S::f32s; N] {
    let mut sum = [simd.splat_f32s(0.0); N];
    for (from, weight) in shares {
        let x = &image[from * vectors + channel..][..N];
        for (sum, x) in sum.iter_mut().zip(x) {
            let share = simd.mul_f32s(simd.splat_f32s(*weight), *x);
            *sum = simd.add_f32s(*sum, share);
        }
    }
    sum
}
