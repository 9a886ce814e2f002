//! Statistics of single images, for Channel Equilibrium's instance branch.

use pulp::Simd;

use crate::cpu::kernels::batch_norm::{self, AddRowSums, ROWS, RowSums, some};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::pixel_stride;
use crate::cpu::kernels::matmul::multiply_add;
use crate::instance_gate::GateValues;

/// A thread's memory for what normalisations that decorrelate channels compute of an image.
#[derive(Debug, Default)]
pub(in crate::cpu) struct ImageScratch {
    /// Pixels without a pivot, see [`Apply`](super::Apply) and [`CrossProducts`](super::CrossProducts).
    pub(in crate::cpu) rows: Vec<f32>,
    sums: Vec<f64>,
    /// Mean of each channel over the image's pixels.
    pub(super) means: Vec<f64>,
    /// Biased variance of each channel over the image's pixels.
    pub(super) variances: Vec<f64>,
    /// Σ x · dy of each channel over the image's pixels.
    pub(super) products: Vec<f64>,
    pub(super) gate: GateValues,
    pub(super) dfactors: Vec<f64>,
    pub(super) dvariances: Vec<f64>,
    /// Coefficients of the image, one per padded channel.
    pub(super) factor: Vec<f32>,
    pub(super) slope: Vec<f32>,
    pub(super) constant: Vec<f32>,
}

impl ImageScratch {
    /// Bytes of all its memory.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        let wide = [&self.sums, &self.means, &self.variances, &self.products];
        let wide = wide.into_iter().chain([&self.dfactors, &self.dvariances]);
        let narrow = [&self.rows, &self.factor, &self.slope, &self.constant];
        wide.map(|numbers| size_of_val(&numbers[..])).sum::<usize>()
            + narrow
                .map(|numbers| size_of_val(&numbers[..]))
                .iter()
                .sum::<usize>()
    }

    /// Computes mean and variance of each channel of the image `x`.
    pub(super) fn measure(&mut self, isa: Isa, channels: usize, x: &[f32]) {
        let stride = pixel_stride(channels);
        let pixels = (x.len() / stride) as f64;
        let pivot = &x[..stride];
        self.sums.clear();
        self.sums.resize(2 * stride, 0.0);
        batch_norm::moments(isa, x, pivot, &mut self.sums);
        let (sums, squares) = self.sums.split_at(stride);
        self.means.clear();
        self.variances.clear();
        let each = pivot.iter().zip(sums.iter().zip(squares));
        for (pivot, (sum, squares)) in each.take(channels) {
            let mean = sum / pixels;
            let variance = squares / pixels - mean * mean;
            self.means.push(f64::from(*pivot) + mean);
            // Negative by rounding only; NaN stays.
            self.variances
                .push(if variance < 0.0 { 0.0 } else { variance });
        }
    }

    /// Computes Σ x · dy of each channel.
    pub(super) fn multiply(&mut self, isa: Isa, channels: usize, x: &[f32], dy: &[f32]) {
        let stride = pixel_stride(channels);
        self.sums.clear();
        self.sums.resize(2 * stride, 0.0);
        let rows = ROWS * stride;
        for (x, dy) in x.chunks(rows).zip(dy.chunks(rows)) {
            isa.run(AddRowSums {
                kernel: Products { stride, x, dy },
                sums: &mut self.sums,
            });
        }
        self.products.clear();
        self.products.extend_from_slice(&self.sums[..channels]);
    }
}

/// Σ x · dy and Σ dy.
struct Products<'a> {
    stride: usize,
    x: &'a [f32],
    dy: &'a [f32],
}

impl RowSums for Products<'_> {
    #[inline(always)]
    fn sums<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> [[S::f32s; N]; 2] {
        let mut sums = [[simd.splat_f32s(0.0); N]; 2];
        let rows = self
            .x
            .chunks_exact(self.stride)
            .zip(self.dy.chunks_exact(self.stride));
        for (x, dy) in rows {
            let (x, dy) = (some::<S, N>(x, at), some::<S, N>(dy, at));
            for i in 0..N {
                sums[0][i] = multiply_add(simd, x[i], dy[i], sums[0][i]);
                sums[1][i] = simd.add_f32s(sums[1][i], dy[i]);
            }
        }
        sums
    }
}
