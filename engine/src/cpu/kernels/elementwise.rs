//! Elementwise kernels: sum, copy, channel gate, dropout, bias, flatten.

use pulp::{Simd, WithSimd};

use super::destination::Destination;
use super::isa::Isa;
use super::layout::{LANES, padded_len, pixel_stride};
use crate::net::Shape;

/// y = a + b.
pub(in crate::cpu) fn sum(isa: Isa, a: &[f32], b: &[f32], y: &mut [f32]) {
    isa.run_loops(
        #[inline(always)]
        || {
            for (y, (a, b)) in y.iter_mut().zip(a.iter().zip(b)) {
                *y = a + b;
            }
        },
    );
}

/// y = x.
pub(in crate::cpu) fn copy(isa: Isa, x: &[f32], y: Destination<'_>) {
    let Destination { data: y, add } = y;
    if !add {
        return y.copy_from_slice(x);
    }
    isa.run_loops(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
    );
}

/// y = 2 y.
pub(in crate::cpu) fn double(isa: Isa, y: &mut [f32]) {
    isa.run_loops(
        #[inline(always)]
        || y.iter_mut().for_each(|y| *y *= 2.0),
    );
}

/// y = x · g, where `g` has one factor per image and channel (squeeze-and-excitation).
pub(in crate::cpu) fn gate(isa: Isa, shape: Shape, x: &[f32], g: &[f32], y: Destination<'_>) {
    let Destination { data: y, add } = y;
    let stride = pixel_stride(shape.channels);
    let images = x
        .chunks_exact(padded_len(shape))
        .zip(g.chunks_exact(stride));
    y.chunks_exact_mut(padded_len(shape))
        .zip(images)
        .for_each(|(y, (x, g))| {
            let pixels = x.chunks_exact(stride).map(|x| (x, g));
            isa.run(Products {
                pixels: y.chunks_exact_mut(stride).zip(pixels),
                add,
            });
        });
}

/// The gradient of a gate: dg = Σ dy · x over the pixels of an image, per channel.
pub(in crate::cpu) fn gate_gradient(
    isa: Isa,
    shape: Shape,
    x: &[f32],
    dy: &[f32],
    dg: Destination<'_>,
) {
    let Destination { data: dg, add } = dg;
    let stride = pixel_stride(shape.channels);
    let images = x
        .chunks_exact(padded_len(shape))
        .zip(dy.chunks_exact(padded_len(shape)));
    dg.chunks_exact_mut(stride)
        .zip(images)
        .for_each(|(dg, (x, dy))| {
            if !add {
                dg.fill(0.0);
            }
            isa.run(SumOfProducts { x, dy, dg });
        });
}

/// The elementwise products of two vectors of channels, for each pixel.
struct Products<P> {
    pixels: P,
    add: bool,
}

impl<'a, P> WithSimd for Products<P>
where
    P: Iterator<Item = (&'a mut [f32], (&'a [f32], &'a [f32]))>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (y, (a, b)) in self.pixels {
            let (y, _) = S::as_mut_simd_f32s(y);
            let (a, b) = (S::as_simd_f32s(a).0, S::as_simd_f32s(b).0);
            for (y, (a, b)) in y.iter_mut().zip(a.iter().zip(b)) {
                let now = simd.mul_f32s(*a, *b);
                *y = if self.add {
                    simd.add_f32s(*y, now)
                } else {
                    now
                };
            }
        }
    }
}

/// dg += Σ x · dy over the pixels of one image, per channel.
struct SumOfProducts<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dg: &'a mut [f32],
}

impl WithSimd for SumOfProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let stride = self.dg.len();
        let (dg, _) = S::as_mut_simd_f32s(self.dg);
        let pixels = self
            .x
            .chunks_exact(stride)
            .zip(self.dy.chunks_exact(stride));
        for (x, dy) in pixels {
            let (x, dy) = (S::as_simd_f32s(x).0, S::as_simd_f32s(dy).0);
            for (dg, (x, dy)) in dg.iter_mut().zip(x.iter().zip(dy)) {
                *dg = simd.add_f32s(*dg, simd.mul_f32s(*x, *dy));
            }
        }
    }
}

/// y = x · factor, as in dropout, channel dropout and stochastic depth: `run` elements in a row, in channels-first order,
/// share a factor, and `factor` gives it by the number of the row. They are one element, a channel or an image.
pub(in crate::cpu) fn noise(
    shape: Shape,
    factor: impl Fn(usize) -> f64,
    run: usize,
    x: &[f32],
    y: Destination<'_>,
) {
    let Destination { data: y, add } = y;
    let put = |y: &mut f32, now: f32| *y = if add { *y + now } else { now };
    let stride = pixel_stride(shape.channels);
    let images = x.chunks_exact(padded_len(shape)).enumerate();
    y.chunks_exact_mut(padded_len(shape))
        .zip(images)
        .for_each(|(y, (image, x))| {
            if run == shape.len() {
                let factor = factor(image) as f32;
                y.iter_mut().zip(x).for_each(|(y, x)| put(y, x * factor));
                return;
            }
            let pixels = y.chunks_exact_mut(stride).zip(x.chunks_exact(stride));
            if run == 1 {
                for (pixel, (y, x)) in pixels.enumerate() {
                    for (channel, (y, x)) in y.iter_mut().zip(x).enumerate().take(shape.channels) {
                        let index = image * shape.len() + channel * shape.pixels() + pixel;
                        put(y, x * factor(index) as f32);
                    }
                }
                return;
            }
            for first in (0..shape.channels).step_by(LANES) {
                let number = |lane: usize| image * shape.channels + first + lane;
                let factors: [f32; LANES] = std::array::from_fn(|lane| factor(number(lane)) as f32);
                let y = y.chunks_exact_mut(stride).map(|y| &mut y[first..][..LANES]);
                let x = x.chunks_exact(stride).map(|x| &x[first..][..LANES]);
                for (y, x) in y.zip(x) {
                    for ((y, x), factor) in y.iter_mut().zip(x).zip(&factors) {
                        put(y, x * factor);
                    }
                }
            }
        });
}

/// y += bias, which has one number per channel.
pub(in crate::cpu) fn add_to_channels(isa: Isa, bias: &[f32], y: &mut [f32]) {
    let stride = pixel_stride(bias.len());
    isa.run_loops(
        #[inline(always)]
        || {
            for y in y.chunks_exact_mut(stride) {
                y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        },
    );
}

/// sums += Σ y over images and pixels, per channel; computed in f64.
pub(in crate::cpu) fn sum_channels(stride: usize, y: &[f32], sums: &mut [f32]) {
    for (channel, sum) in sums.iter_mut().enumerate() {
        let all = y[channel..].iter().step_by(stride);
        *sum += all.map(|y| f64::from(*y)).sum::<f64>() as f32;
    }
}

/// y = each image of `x` as one vector, in the order channel, row, column.
pub(in crate::cpu) fn flatten(shape: Shape, x: &[f32], y: &mut [f32]) {
    let (from, to) = (pixel_stride(shape.channels), pixel_stride(shape.len()));
    for (y, x) in y
        .chunks_exact_mut(to)
        .zip(x.chunks_exact(padded_len(shape)))
    {
        for (channel, y) in y
            .chunks_exact_mut(shape.pixels())
            .enumerate()
            .take(shape.channels)
        {
            let plane = x[channel..].iter().step_by(from);
            y.iter_mut().zip(plane).for_each(|(y, x)| *y = *x);
        }
    }
}

/// dx += the input gradient of [`flatten`].
pub(in crate::cpu) fn unflatten(shape: Shape, dy: &[f32], dx: &mut [f32]) {
    let (from, to) = (pixel_stride(shape.channels), pixel_stride(shape.len()));
    for (dx, dy) in dx
        .chunks_exact_mut(padded_len(shape))
        .zip(dy.chunks_exact(to))
    {
        for (channel, dy) in dy
            .chunks_exact(shape.pixels())
            .enumerate()
            .take(shape.channels)
        {
            let plane = dx[channel..].iter_mut().step_by(from);
            plane.zip(dy).for_each(|(dx, dy)| *dx += dy);
        }
    }
}
