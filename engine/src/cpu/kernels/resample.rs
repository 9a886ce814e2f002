//! Linear resampling: each output pixel is a weighted sum of input pixels, per channel. Average pooling, adaptive
//! average pooling and bilinear resizing are kinds of it.

use pulp::{Simd, WithSimd};

use super::isa::Isa;
use super::layout::{padded_len, pixel_stride};
use crate::net::{Op, Shape};
use crate::pixels::{adaptive_region, bilinear_weights, divisor, taps};

/// The sparse weight matrix of a linear resampling, one row for each output pixel.
#[derive(Debug)]
pub(in crate::cpu) struct Resample {
    input: Shape,
    output: Shape,
    /// Index in `terms` of the first term of each output pixel, and the end of the last.
    starts: Vec<usize>,
    terms: Vec<Term>,
}

impl Resample {
    /// The weights of an average pooling or resizing; `None` for another operation.
    pub(in crate::cpu) fn of(op: &Op, input: Shape, output: Shape) -> Option<Resample> {
        let mut resample = Resample {
            input,
            output,
            starts: vec![0],
            terms: Vec::new(),
        };
        for pixel in 0..output.pixels() {
            match *op {
                Op::AveragePool {
                    ref window,
                    count_padding,
                } => {
                    let weight = 1.0 / divisor(window, count_padding, input, output, pixel);
                    let taps = taps(window, input, output, pixel);
                    resample.extend(taps.map(|from| (from, weight)));
                }
                Op::AdaptiveAveragePool { .. } => {
                    let (rows, columns) = adaptive_region(input, output, pixel);
                    let weight = 1.0 / (rows.len() * columns.len()) as f64;
                    let pixels = rows.flat_map(|row| {
                        columns
                            .clone()
                            .map(move |column| row * input.width + column)
                    });
                    resample.extend(pixels.map(|from| (from, weight)));
                }
                Op::Resize { align_corners, .. } => {
                    resample.extend(bilinear_weights(align_corners, input, output, pixel));
                }
                _ => return None,
            }
            resample.starts.push(resample.terms.len());
        }
        Some(resample)
    }

    /// Adds input pixels and their weights to the last output pixel.
    fn extend(&mut self, terms: impl IntoIterator<Item = (usize, f64)>) {
        let terms = terms.into_iter().map(|(from, weight)| Term {
            from,
            weight: weight as f32,
        });
        self.terms.extend(terms);
    }

    /// The terms of an output pixel.
    fn terms(&self, pixel: usize) -> &[Term] {
        &self.terms[self.starts[pixel]..self.starts[pixel + 1]]
    }

    /// y = the weighted sums, over images of `x`.
    pub(in crate::cpu) fn forward(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let images = x.chunks_exact(padded_len(self.input));
        y.chunks_exact_mut(padded_len(self.output))
            .zip(images)
            .for_each(|(y, x)| {
                isa.run(Forward {
                    resample: self,
                    x,
                    y,
                })
            });
    }

    /// dx += the transposed weights times `dy`.
    pub(in crate::cpu) fn backward(&self, isa: Isa, dy: &[f32], dx: &mut [f32]) {
        let stride = pixel_stride(self.input.channels);
        let images = dy.chunks_exact(padded_len(self.output));
        dx.chunks_exact_mut(padded_len(self.input))
            .zip(images)
            .for_each(|(dx, dy)| {
                isa.run_loops(
                    #[inline(always)]
                    || {
                        for (pixel, dy) in dy.chunks_exact(stride).enumerate() {
                            for term in self.terms(pixel) {
                                let dx = &mut dx[term.from * stride..][..stride];
                                for (dx, dy) in dx.iter_mut().zip(dy) {
                                    *dx += term.weight * dy;
                                }
                            }
                        }
                    },
                );
            });
    }
}

/// One term of an output pixel's sum.
#[derive(Debug, Clone, Copy)]
struct Term {
    /// The input pixel: row · width + column.
    from: usize,
    weight: f32,
}

/// The weighted sums of one image.
struct Forward<'a> {
    resample: &'a Resample,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = pixel_stride(self.resample.input.channels) / S::F32_LANES;
        let (x, y) = (S::as_simd_f32s(self.x).0, S::as_mut_simd_f32s(self.y).0);
        for (pixel, y) in y.chunks_exact_mut(vectors).enumerate() {
            let terms = self.resample.terms(pixel);
            // Four vectors at a time hide the latency of the dependent additions.
            let (many, rest) = y.as_chunks_mut::<4>();
            let done = many.len() * 4;
            for (block, y) in many.iter_mut().enumerate() {
                *y = sum(simd, terms, x, 4 * block, vectors);
            }
            for (channel, y) in rest.iter_mut().enumerate() {
                [*y] = sum(simd, terms, x, done + channel, vectors);
            }
        }
    }
}

/// The sum of an output pixel for `N` vectors of channels, starting with vector number `first`; a pixel of `image`
/// has `vectors` vectors.
#[inline(always)]
fn sum<S: Simd, const N: usize>(
    simd: S,
    terms: &[Term],
    image: &[S::f32s],
    first: usize,
    vectors: usize,
) -> [S::f32s; N] {
    let mut sum = [simd.splat_f32s(0.0); N];
    for term in terms {
        let x = &image[term.from * vectors + first..][..N];
        for (sum, x) in sum.iter_mut().zip(x) {
            let product = simd.mul_f32s(simd.splat_f32s(term.weight), *x);
            *sum = simd.add_f32s(*sum, product);
        }
    }
    sum
}
