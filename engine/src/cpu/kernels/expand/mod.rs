//! Expansions: 1 × 1 convolutions to many more channels than they read, with the BatchNorm and activation behind
//! them. In training what they compute is normalised in registers and, in backward, computed again from the few
//! channels they read. Its gradient is not kept, nor is it itself, unless x ends a chain of sums as long as backward
//! computes again.
//!
//! All follows from z = W x being linear, by channel c of z and k of x, with means over the batch's n pixels:
//!
//! - mean(z) = W mean(x) and var(z)_c = (W C Wᵀ)_cc, where C is the covariance of x.
//! - Backward needs Σ g and Σ g (z − mean(z)), g being the gradient behind the normalisation. The second is
//!   Σ_k W_ck P′_ck with P′ = Σ g (x − mean(x))ᵀ.
//! - With dz = slope (g − constant − linear (z − mean(z))), see [`Normal::differentiate`],
//!   dW = slope (P′ − linear n W C), and dx = Wᵀ dz = Wᵀ slope g + M x + offset, M = −Wᵀ slope linear W, of which
//!   the first term does not wait for the sums.
//!
//! W C Wᵀ and P′ are differences where means are much larger than deviations, or what W makes varies much less than x:
//! x has to come from normalisations.

mod sums;

use rayon::prelude::*;

use super::activation::{Function, gradient, specialised};
use super::convolution::{Filters, Gather, Geometry, Walk, WeightGradient};
use super::isa::Isa;
use super::layout::{LANES, Plane, stride};
use super::lines::Lines;
use super::norm::{self, Rows, Sum, some};
use super::statistics::Normal;
use crate::net::Shape;
use pulp::Simd;

/// What a batch tells of an expansion.
#[derive(Debug)]
pub(in crate::cpu) struct Expansion {
    /// Of x, by channel.
    mean: Vec<f64>,
    /// C, row by row.
    covariance: Vec<f64>,
    /// W C, in the layout of W.
    spread: Vec<f64>,
    /// Two numbers a padded channel of z, all first ones before all second ones: forward its mean and variance,
    /// backward Σ g and Σ g (z − mean(z)).
    sums: Vec<f64>,
    /// Σ g xᵀ, in the layout of W.
    products: Lines,
    /// M, as filters.
    correction: Lines,
    offset: Vec<f32>,
    /// What stands behind the normalisation for x = 0, by channel of z.
    pub(in crate::cpu) bias: Vec<f32>,
}

impl Expansion {
    pub(in crate::cpu) fn new(filters: Filters) -> Expansion {
        let Filters { from, to, .. } = filters;
        Expansion {
            mean: vec![0.0; from],
            covariance: vec![0.0; from * from],
            spread: vec![0.0; filters.len()],
            sums: vec![0.0; 2 * stride(to)],
            products: Lines::new(filters.len()),
            correction: Lines::new(square(from).len()),
            offset: vec![0.0; from],
            bias: vec![0.0; to],
        }
    }

    /// Bytes it holds.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        let wide = [&self.mean, &self.covariance, &self.spread, &self.sums];
        wide.map(|numbers| size_of_val(&numbers[..]))
            .iter()
            .sum::<usize>()
            + size_of_val(&self.products[..])
            + size_of_val(&self.correction[..])
            + size_of_val(&self.offset[..])
            + size_of_val(&self.bias[..])
    }
}

/// Filters from all channels to as many.
fn square(channels: usize) -> Filters {
    Filters {
        groups: 1,
        kernel: 1,
        from: channels,
        to: channels,
    }
}

/// Rows that are summed in f32 before f64 takes over.
const ROWS: usize = 128;

/// The convolution of an expansion.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Pointwise<'a> {
    pub(in crate::cpu) geometry: &'a Geometry,
    pub(in crate::cpu) walks: &'a [Walk],
}

/// Numbers that a task sums up of what an expansion reads, which has so many channels: by padded channel,
/// and products of any two.
pub(in crate::cpu) fn moments(channels: usize) -> usize {
    stride(channels) + square(channels).len()
}

/// Numbers of what that is computed with.
pub(in crate::cpu) fn scratch(channels: usize) -> usize {
    ROWS * stride(channels) + square(channels).len()
}

/// Adds Σ (x − around) and Σ (x − around) (x − around)ᵀ to `sums`.
pub(in crate::cpu) fn add_moments(
    (isa, layer): (Isa, Pointwise<'_>),
    x: &[f32],
    around: &[f32],
    sums: &mut [f64],
    scratch: &mut [f32],
) {
    let (channels, stride) = (layer.geometry.input.channels, around.len());
    let (sums, squares) = sums.split_at_mut(stride);
    let (away, products) = scratch.split_at_mut(ROWS * stride);
    let products = &mut products[..squares.len()];
    for x in x.chunks(ROWS * stride) {
        let away = &mut away[..x.len()];
        let few = norm::ROWS * stride;
        for (away, x) in away.chunks_mut(few).zip(x.chunks(few)) {
            isa.run_loops(
                #[inline(always)]
                || subtract(x, around, away, sums),
            );
        }
        let rows = Shape::new(channels, 1, x.len() / stride);
        let geometry = Geometry {
            input: Plane::from(rows),
            output: rows,
            ..*layer.geometry
        };
        let gradient = WeightGradient {
            isa,
            geometry: &geometry,
            walk: &layer.walks[0],
        };
        products.fill(0.0);
        gradient.add((away, away), products);
        isa.run_loops(
            #[inline(always)]
            || {
                for (square, product) in squares.iter_mut().zip(&*products) {
                    *square += f64::from(*product);
                }
            },
        );
    }
}

/// away = x − around, row by row; adds the sum of that over a few rows.
#[inline(always)]
fn subtract(x: &[f32], around: &[f32], away: &mut [f32], sums: &mut [f64]) {
    let stride = around.len();
    let strips = around.as_chunks().0.iter().zip(sums.as_chunks_mut().0);
    for (strip, (around, sums)) in strips.enumerate() {
        let (around, sums): (&[f32; LANES], &mut [f64; LANES]) = (around, sums);
        let mut own = [0.0; LANES];
        for (away, x) in away.chunks_exact_mut(stride).zip(x.chunks_exact(stride)) {
            let (x, away) = (lanes(x, strip), &mut away.as_chunks_mut::<LANES>().0[strip]);
            for i in 0..LANES {
                away[i] = x[i] - around[i];
                own[i] += away[i];
            }
        }
        for i in 0..LANES {
            sums[i] += f64::from(own[i]);
        }
    }
}

/// Turns dy into g = dy · f′, given y = f(…), and adds Σ g to the first half of `sums`.
pub(in crate::cpu) fn gradients(
    (isa, function): (Isa, Function),
    y: &[f32],
    dy: &mut [f32],
    sums: &mut [f64],
) {
    let stride = sums.len() / 2;
    let len = norm::ROWS * stride;
    for (y, dy) in y.chunks(len).zip(dy.chunks_mut(len)) {
        let kernel = Gradients {
            function,
            stride,
            y,
            dy,
        };
        isa.run(Rows { kernel, sums });
    }
}

/// Σ g; g = dy · f′ takes the place of dy.
struct Gradients<'a> {
    function: Function,
    /// Numbers of a row.
    stride: usize,
    y: &'a [f32],
    dy: &'a mut [f32],
}

impl Sum for Gradients<'_> {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
        let (function, stride) = (self.function, self.stride);
        let rows = self.y.chunks_exact(stride);
        let rows = rows.zip(self.dy.chunks_exact_mut(stride));
        specialised!(function => {
            let mut sums = [simd.splat_f32s(0.0); N];
            for (y, dy) in rows {
                let y = some::<S, N>(y, at);
                let dy = &mut S::as_mut_simd_f32s(dy).0[at..at + N];
                for i in 0..N {
                    dy[i] = gradient(simd, function, y[i], dy[i]);
                    sums[i] = simd.add_f32s(sums[i], dy[i]);
                }
            }
            [sums, [simd.splat_f32s(0.0); N]]
        })
    }
}

impl Expansion {
    /// Adds M x + offset to dx.
    pub(in crate::cpu) fn correct(
        &self,
        (isa, layer): (Isa, Pointwise<'_>),
        outside: &[f32],
        x: &[f32],
        dx: &mut [f32],
    ) {
        let Plane {
            channels,
            height,
            width,
            ..
        } = layer.geometry.input;
        let gather = Gather {
            isa,
            walks: layer.walks,
            shapes: (layer.geometry.input, Shape::new(channels, height, width)),
            groups: 1,
            source: x,
            filters: &self.correction,
            outside,
            bias: Some(&self.offset),
            add: true,
            finish: None,
            limit: None,
        };
        gather.run(dx);
    }
}

/// Writes filters that give what is behind the normalisation, but for [`Expansion::bias`].
pub(in crate::cpu) fn prepare(normal: &Normal, filters: &[f32], into: &mut [f32]) {
    let strip = filters.len() / (normal.slope.len() / LANES);
    let strips = into
        .par_chunks_exact_mut(strip)
        .zip(filters.par_chunks_exact(strip));
    strips.enumerate().for_each(|(number, (into, filters))| {
        let slope = lanes(&normal.slope, number);
        let rows = into.as_chunks_mut::<LANES>().0.iter_mut();
        for (into, filters) in rows.zip(filters.as_chunks::<LANES>().0) {
            for i in 0..LANES {
                into[i] = filters[i] * slope[i];
            }
        }
    });
}

/// Multiplies what filters turned around give by the slope of what they read.
pub(in crate::cpu) fn scale(normal: &Normal, channels: usize, filters: &mut [f32]) {
    filters
        .par_chunks_exact_mut(channels * LANES)
        .for_each(|strip| {
            for (row, slope) in strip.chunks_exact_mut(LANES).zip(&normal.slope) {
                row.iter_mut().for_each(|filter| *filter *= slope);
            }
        });
}

/// [`LANES`] numbers.
fn lanes<T>(numbers: &[T], number: usize) -> &[T; LANES] {
    &numbers.as_chunks().0[number]
}
