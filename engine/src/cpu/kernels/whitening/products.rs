//! Products of the channels of a group, summed over pixels: covariances, and gradients of a group's matrix.

use pulp::{Simd, WithSimd};

use super::Blocks;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, pixel_stride};
use crate::cpu::kernels::matmul::{Acc, outer_product, vectors};

/// Σ (a − pivot of a) (b − pivot of b)ᵀ over pixels, for the channels of each block.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct CrossProducts<'a> {
    pub(in crate::cpu) blocks: Blocks,
    pub(in crate::cpu) a: &'a [f32],
    /// One number per padded channel.
    pub(in crate::cpu) a_pivot: Option<&'a [f32]>,
    pub(in crate::cpu) b: &'a [f32],
    pub(in crate::cpu) b_pivot: Option<&'a [f32]>,
}

/// Pixels summed in f32 before they are added in f64.
const ROWS: usize = 32;

impl CrossProducts<'_> {
    /// Adds the products to `sums` ([`Blocks::matrix_len`]), and Σ (a − pivot) to `row_sums`, one per padded channel.
    pub(in crate::cpu) fn add(
        &self,
        isa: Isa,
        sums: &mut [f64],
        row_sums: &mut [f64],
        scratch: &mut Vec<f32>,
    ) {
        scratch.resize(2 * ROWS * self.blocks.width, 0.0);
        isa.run(Kernel {
            products: self,
            sums,
            row_sums,
            scratch,
        });
    }
}

struct Kernel<'a> {
    products: &'a CrossProducts<'a>,
    sums: &'a mut [f64],
    row_sums: &'a mut [f64],
    scratch: &'a mut [f32],
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.all::<S, 8, 2, 1>(simd),
            _ => self.all::<S, 4, 1, 2>(simd),
        }
    }
}

impl Kernel<'_> {
    #[inline(always)]
    fn all<S: Simd, const MR: usize, const NS: usize, const V: usize>(self, simd: S) {
        let CrossProducts {
            blocks,
            a,
            a_pivot,
            b,
            b_pivot,
        } = *self.products;
        let (stride, width) = (pixel_stride(blocks.channels), blocks.width);
        let rows = a.len() / stride;
        let (a_rows, b_rows) = self.scratch.split_at_mut(ROWS * width);
        for row in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - row);
            let blocks = blocks.each().zip(self.sums.chunks_exact_mut(width * width));
            for ((first, depth), sums) in blocks {
                let part = Part {
                    row,
                    count,
                    first,
                    depth,
                    stride,
                    width,
                };
                part.centre(a, a_pivot, a_rows);
                part.centre(b, b_pivot, b_rows);
                part.add_rows(a_rows, &mut self.row_sums[first..]);
                let strips = depth.div_ceil(LANES);
                for i in (0..depth).step_by(MR) {
                    let mut strip = 0;
                    while strip < strips {
                        let at = (i, strip);
                        if strips - strip >= NS {
                            part.tile::<S, MR, NS, V>(simd, at, a_rows, b_rows, sums);
                            strip += NS;
                        } else {
                            part.tile::<S, MR, 1, V>(simd, at, a_rows, b_rows, sums);
                            strip += 1;
                        }
                    }
                }
            }
        }
    }
}

/// Some pixels of a block.
#[derive(Clone, Copy)]
struct Part {
    row: usize,
    count: usize,
    first: usize,
    depth: usize,
    stride: usize,
    width: usize,
}

impl Part {
    /// Copies the block's channels of the pixels, without their pivot, to rows of `width`; the rest of a row is 0.
    #[inline(always)]
    fn centre(&self, x: &[f32], pivot: Option<&[f32]>, into: &mut [f32]) {
        let rows = x[self.row * self.stride..].chunks_exact(self.stride);
        let rows = into.chunks_exact_mut(self.width).zip(rows);
        for (to, x) in rows.take(self.count) {
            let x = &x[self.first..][..self.depth];
            let (to, rest) = to.split_at_mut(self.depth);
            rest.fill(0.0);
            match pivot {
                Some(pivot) => {
                    let both = x.iter().zip(&pivot[self.first..]);
                    to.iter_mut()
                        .zip(both)
                        .for_each(|(to, (x, pivot))| *to = x - pivot);
                }
                None => to.copy_from_slice(x),
            }
        }
    }

    /// Adds the sum of the rows.
    #[inline(always)]
    fn add_rows(&self, rows: &[f32], sums: &mut [f64]) {
        for first in (0..self.depth).step_by(LANES) {
            let mut sum = [0.0_f32; LANES];
            for row in rows.chunks_exact(self.width).take(self.count) {
                let row = &row[first..][..LANES];
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            let sums = sums[first..].iter_mut().zip(sum);
            sums.take(self.depth - first)
                .for_each(|(to, sum)| *to += f64::from(sum));
        }
    }

    /// Adds the products of `MR` channels of a by `NS` strips of b.
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &self,
        simd: S,
        (i, strip): (usize, usize),
        a: &[f32],
        b: &[f32],
        sums: &mut [f64],
    ) {
        let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
        let rows = a.chunks_exact(self.width).zip(b.chunks_exact(self.width));
        for (a, b) in rows.take(self.count) {
            let b = vectors::<S, V>(&b[strip * LANES..][..NS * LANES]);
            if let (Some(a), Some(b)) = (a[i..].first_chunk(), b.first_chunk()) {
                outer_product::<S, MR, NS, V>(simd, &mut acc, a, b);
            }
        }
        let mut products = [[[0.0_f32; LANES]; NS]; MR];
        let (to, _) = S::as_mut_simd_f32s(products.as_flattened_mut().as_flattened_mut());
        let flat = acc.as_flattened().as_flattened();
        to.iter_mut().zip(flat).for_each(|(to, acc)| *to = *acc);
        for (at, products) in products.iter().enumerate().take(self.depth - i) {
            let sums = &mut sums[(i + at) * self.width + strip * LANES..][..NS * LANES];
            let both = sums.iter_mut().zip(products.as_flattened());
            both.for_each(|(sum, product)| *sum += f64::from(*product));
        }
    }
}
