//! Fused pointwise convolutions: 1 × 1 convolutions that expand to many more channels, with the BatchNorm and activation
//! that follow them, in training.
//!
//! The output z of the convolution is normalised in registers and never stored; backward recomputes it from the few
//! input channels. The gradient of z is not stored either.
//!
//! Since z = W x is linear, its batch statistics follow from those of x. For channel c of z and k of x, with means over
//! the batch's n pixels:
//!
//! - mean(z) = W mean(x) and var(z)_c = (W C Wᵀ)_cc, where C is the covariance of x.
//! - Backward needs Σ g and Σ g (z − mean(z)), where g is the gradient after the activation's derivative. The second is
//!   Σ_k W_ck P′_ck with P′ = Σ g (x − mean(x))ᵀ.
//! - With dz = slope (g − constant − linear (z − mean(z))), see [`NormCoefficients`],
//!   dW = slope (P′ − linear n W C), and dx = Wᵀ dz = Wᵀ slope g + M x + offset with M = −Wᵀ slope linear W. The first
//!   term of dx does not depend on the sums over the batch; the others, the BatchNorm-statistics term, are added when
//!   they are known.
//!
//! W C Wᵀ and P′ lose accuracy by cancellation where means are much larger than deviations; hence x has to be the
//! output of BatchNorms.

mod statistics;

use rayon::prelude::*;

use super::activation::{Function, gradient, specialised};
use super::aligned_buffer::AlignedBuffer;
use super::batch_norm::{self, AddRowSums, RowSums, some};
use super::convolution::{FilterLayout, ForwardConvolution, Geometry, Phase, WeightGradient};
use super::isa::Isa;
use super::layout::{ImageLayout, LANES, pixel_stride};
use super::statistics::NormCoefficients;
use crate::net::Shape;
use pulp::Simd;

/// The statistics and derived filters of a fused pointwise convolution, for one batch.
#[derive(Debug)]
pub(in crate::cpu) struct FusedPointwise {
    /// Mean of x, per channel.
    mean: Vec<f64>,
    /// C, row-major.
    covariance: Vec<f64>,
    /// W C, in the layout of W.
    filter_covariance: Vec<f64>,
    /// Two numbers per padded channel of z, all first ones before all second ones: forward its mean and variance,
    /// backward Σ g and Σ g (z − mean(z)).
    sums: Vec<f64>,
    /// Σ g xᵀ, in the layout of W.
    products: AlignedBuffer,
    /// M, as filters from x to dx.
    statistics_filters: AlignedBuffer,
    /// The offset that goes with M, per channel of x.
    offset: Vec<f32>,
    /// The normalised z for x = 0, per channel of z.
    pub(in crate::cpu) bias: Vec<f32>,
}

impl FusedPointwise {
    pub(in crate::cpu) fn new(filters: FilterLayout) -> FusedPointwise {
        let FilterLayout {
            in_channels,
            out_channels,
            ..
        } = filters;
        FusedPointwise {
            mean: vec![0.0; in_channels],
            covariance: vec![0.0; in_channels * in_channels],
            filter_covariance: vec![0.0; filters.len()],
            sums: vec![0.0; 2 * pixel_stride(out_channels)],
            products: AlignedBuffer::new(filters.len()),
            statistics_filters: AlignedBuffer::new(square_layout(in_channels).len()),
            offset: vec![0.0; in_channels],
            bias: vec![0.0; out_channels],
        }
    }

    /// Bytes of all that it holds.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        let wide = [
            &self.mean,
            &self.covariance,
            &self.filter_covariance,
            &self.sums,
        ];
        wide.map(|numbers| size_of_val(&numbers[..]))
            .iter()
            .sum::<usize>()
            + size_of_val(&self.products[..])
            + size_of_val(&self.statistics_filters[..])
            + size_of_val(&self.offset[..])
            + size_of_val(&self.bias[..])
    }
}

/// The layout of 1 × 1 filters from `channels` to as many.
fn square_layout(channels: usize) -> FilterLayout {
    FilterLayout {
        groups: 1,
        taps: 1,
        in_channels: channels,
        out_channels: channels,
    }
}

/// Rows summed in f32 before they are added in f64.
const ROWS: usize = 128;

/// The sizes of a 1 × 1 convolution, and its output phases.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct PointwiseConvolution<'a> {
    pub(in crate::cpu) geometry: &'a Geometry,
    pub(in crate::cpu) phases: &'a [Phase],
}

/// Number of sums that [`add_moments`] takes over an input of so many channels: one per padded channel, and one for
/// each pair of channels.
pub(in crate::cpu) fn moments_len(channels: usize) -> usize {
    pixel_stride(channels) + square_layout(channels).len()
}

/// Elements of scratch memory that [`add_moments`] needs.
pub(in crate::cpu) fn scratch_len(channels: usize) -> usize {
    ROWS * pixel_stride(channels) + square_layout(channels).len()
}

/// Adds Σ (x − pivot) and Σ (x − pivot) (x − pivot)ᵀ over rows to `sums`, which has [`moments_len`] numbers.
pub(in crate::cpu) fn add_moments(
    isa: Isa,
    layer: PointwiseConvolution<'_>,
    x: &[f32],
    pivot: &[f32],
    sums: &mut [f64],
    scratch: &mut [f32],
) {
    let (channels, stride) = (layer.geometry.input.channels, pivot.len());
    let (sums, squares) = sums.split_at_mut(stride);
    let (centred, products) = scratch.split_at_mut(ROWS * stride);
    let products = &mut products[..squares.len()];
    for x in x.chunks(ROWS * stride) {
        let centred = &mut centred[..x.len()];
        let few = batch_norm::ROWS * stride;
        for (centred, x) in centred.chunks_mut(few).zip(x.chunks(few)) {
            isa.run_loops(
                #[inline(always)]
                || subtract(x, pivot, centred, sums),
            );
        }
        let rows = Shape::new(channels, 1, x.len() / stride);
        let geometry = Geometry {
            input: ImageLayout::from(rows),
            output: rows,
            ..*layer.geometry
        };
        let gradient = WeightGradient {
            isa,
            geometry: &geometry,
            phase: &layer.phases[0],
        };
        products.fill(0.0);
        gradient.add(centred, centred, products);
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

/// centred = x − pivot for a few rows, whose sum is added to `sums`.
#[inline(always)]
fn subtract(x: &[f32], pivot: &[f32], centred: &mut [f32], sums: &mut [f64]) {
    let stride = pivot.len();
    let strips = pivot.as_chunks().0.iter().zip(sums.as_chunks_mut().0);
    for (strip, (pivot, sums)) in strips.enumerate() {
        let (pivot, sums): (&[f32; LANES], &mut [f64; LANES]) = (pivot, sums);
        let mut own = [0.0; LANES];
        for (centred, x) in centred.chunks_exact_mut(stride).zip(x.chunks_exact(stride)) {
            let (x, centred) = (
                lanes(x, strip),
                &mut centred.as_chunks_mut::<LANES>().0[strip],
            );
            for i in 0..LANES {
                centred[i] = x[i] - pivot[i];
                own[i] += centred[i];
            }
        }
        for i in 0..LANES {
            sums[i] += f64::from(own[i]);
        }
    }
}

/// Replaces `dy` by g = dy · f′, where f′ is computed from the output `y`, and adds Σ g per channel to the first half
/// of `sums`.
pub(in crate::cpu) fn gradient_sums(
    isa: Isa,
    function: Function,
    y: &[f32],
    dy: &mut [f32],
    sums: &mut [f64],
) {
    let stride = sums.len() / 2;
    let len = batch_norm::ROWS * stride;
    for (y, dy) in y.chunks(len).zip(dy.chunks_mut(len)) {
        let kernel = Gradients {
            function,
            stride,
            y,
            dy,
        };
        isa.run(AddRowSums { kernel, sums });
    }
}

/// Σ g, where g = dy · f′ replaces dy.
struct Gradients<'a> {
    function: Function,
    /// Elements of a row.
    stride: usize,
    y: &'a [f32],
    dy: &'a mut [f32],
}

impl RowSums for Gradients<'_> {
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

impl FusedPointwise {
    /// Adds the BatchNorm-statistics term, M x + offset, to the input gradient. `zeros` holds a zero for each padded
    /// channel.
    pub(in crate::cpu) fn add_statistics_term(
        &self,
        isa: Isa,
        layer: PointwiseConvolution<'_>,
        zeros: &[f32],
        x: &[f32],
        dx: &mut [f32],
    ) {
        let ImageLayout {
            channels,
            height,
            width,
            ..
        } = layer.geometry.input;
        let conv = ForwardConvolution {
            isa,
            phases: layer.phases,
            input: layer.geometry.input,
            output: Shape::new(channels, height, width),
            groups: 1,
            source: x,
            filters: &self.statistics_filters,
            zeros,
            bias: Some(&self.offset),
            add: true,
            epilogue: None,
            limit: None,
        };
        conv.run(dx);
    }
}

/// Writes W scaled by the slope of each output channel: with [`FusedPointwise::bias`] as bias, these filters give the
/// normalised z.
pub(in crate::cpu) fn scale_filters(
    coefficients: &NormCoefficients,
    filters: &[f32],
    into: &mut [f32],
) {
    let strip = filters.len() / (coefficients.slope.len() / LANES);
    let strips = into
        .par_chunks_exact_mut(strip)
        .zip(filters.par_chunks_exact(strip));
    strips.enumerate().for_each(|(number, (into, filters))| {
        let slope = lanes(&coefficients.slope, number);
        let rows = into.as_chunks_mut::<LANES>().0.iter_mut();
        for (into, filters) in rows.zip(filters.as_chunks::<LANES>().0) {
            for i in 0..LANES {
                into[i] = filters[i] * slope[i];
            }
        }
    });
}

/// Scales transposed filters (from the `channels` of z to x) by the slope of each channel of z, in place.
pub(in crate::cpu) fn scale_transposed(
    coefficients: &NormCoefficients,
    channels: usize,
    filters: &mut [f32],
) {
    filters
        .par_chunks_exact_mut(channels * LANES)
        .for_each(|strip| {
            for (row, slope) in strip.chunks_exact_mut(LANES).zip(&coefficients.slope) {
                row.iter_mut().for_each(|filter| *filter *= slope);
            }
        });
}

/// Strip `number` of [`LANES`] numbers.
fn lanes<T>(numbers: &[T], number: usize) -> &[T; LANES] {
    &numbers.as_chunks().0[number]
}
