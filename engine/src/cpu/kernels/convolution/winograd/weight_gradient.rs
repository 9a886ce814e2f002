//! The filter gradient of a Winograd convolution.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::matrices::Matrices;
use super::transform::{
    apply_2d, filter_gradient_transform, input_transform, output_gradient_transform,
};
use super::{PRODUCTS, STRIPS, Tiles};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, padded_len, pixel_stride};
use crate::cpu::kernels::matmul::{Acc, outer_product, vectors};

/// The gradient of transformed filters, du += Σ (Bᵀ x B)ᵀ · (A dy Aᵀ) over tiles.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct WeightGradient<'a> {
    pub(in crate::cpu) isa: Isa,
    /// The tiles of forward.
    pub(in crate::cpu) tiles: &'a Tiles,
    /// A zero for every padded channel of a pixel, for the padding.
    pub(in crate::cpu) zeros: &'a [f32],
}

impl WeightGradient<'_> {
    /// Adds the gradient of some images to `du`, which is in the layout of [`super::transformed_layout`].
    pub(in crate::cpu) fn add(&self, x: &[f32], dy: &[f32], du: &mut [f32], scratch: &mut [f32]) {
        let (left, right) = matrices(self.tiles);
        let (left, rest) = scratch.split_at_mut(left.total_len());
        self.isa.run(Kernel {
            gradient: self,
            x,
            dy,
            left,
            right: &mut rest[..right.total_len()],
            du,
        });
    }
}

/// Layouts of the transformed input tiles, and of the transformed output gradient tiles.
fn matrices(tiles: &Tiles) -> (Matrices, Matrices) {
    let rows = tiles.at_a_time();
    (
        Matrices::new(rows, tiles.source.stride),
        Matrices::new(rows, pixel_stride(tiles.result.channels)),
    )
}

/// Elements of both.
pub(super) fn scratch_len(tiles: &Tiles) -> usize {
    let (left, right) = matrices(tiles);
    left.total_len() + right.total_len()
}

/// The vector kernel of [`WeightGradient`].
struct Kernel<'a> {
    gradient: &'a WeightGradient<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    /// Transformed input tiles.
    left: &'a mut [f32],
    /// Transformed output gradient tiles.
    right: &'a mut [f32],
    du: &'a mut [f32],
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let tiles = self.gradient.tiles;
        let images = self.dy.len() / padded_len(tiles.result);
        for range in tiles.ranges(images) {
            self.transform(simd, range.clone());
            let strips = pixel_stride(tiles.result.channels) / LANES;
            for number in 0..PRODUCTS {
                for strip in (0..strips).step_by(STRIPS) {
                    for channel in (0..tiles.source.channels).step_by(8) {
                        let block = Block {
                            tiles: range.len(),
                            product: number,
                            strip,
                            channel,
                        };
                        match (S::F32_LANES, strips - strip) {
                            (16, 1) => self.multiply::<S, 8, 1, 1>(simd, block),
                            (16, _) => self.multiply::<S, 8, 2, 1>(simd, block),
                            (_, left) => {
                                for strip in strip..strip + left.min(STRIPS) {
                                    for channel in [channel, channel + 4] {
                                        let block = Block {
                                            strip,
                                            channel,
                                            ..block
                                        };
                                        self.multiply::<S, 4, 1, 2>(simd, block);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Kernel<'_> {
    /// Transforms input and output gradient tiles.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, simd: S, range: Range<usize>) {
        let WeightGradient { tiles, zeros, .. } = *self.gradient;
        let (left, right) = matrices(tiles);
        for (row, number) in range.enumerate() {
            let tile = tiles.tile(number);
            let pixels = tiles.sources(tile, self.x, zeros);
            left.write_row::<S, 4>(
                &pixels,
                row,
                self.left,
                #[inline(always)]
                |x| input_transform(simd, x),
            );
            let pixels = tiles.result_offsets(tile).map(|row| {
                row.map(|offset| match offset {
                    Some(offset) => &self.dy[offset..][..right.stride],
                    None => &zeros[..right.stride],
                })
            });
            right.write_row::<S, 2>(
                &pixels,
                row,
                self.right,
                #[inline(always)]
                |dy| output_gradient_transform(simd, dy),
            );
        }
    }

    /// Adds the product of `MR` channels of x by `NS` strips of dy.
    #[inline(always)]
    fn multiply<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        block: Block,
    ) {
        let Block {
            tiles: rows,
            product: number,
            strip,
            channel,
        } = block;
        let tiles = self.gradient.tiles;
        let (left, right) = matrices(tiles);
        let from = tiles.source.channels;
        let x = self.left[number * left.len..][..rows * left.stride].chunks_exact(left.stride);
        let dy = self.right[number * right.len..][..rows * right.stride].chunks_exact(right.stride);
        let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
        for (x, dy) in x.zip(dy) {
            let (x, dy) = (&x[channel..][..MR], &dy[strip * LANES..][..NS * LANES]);
            if let (Some(x), Some(dy)) = (x.first_chunk(), vectors::<S, V>(dy).first_chunk()) {
                outer_product::<S, MR, NS, V>(simd, &mut acc, x, dy);
            }
        }
        for i in 0..MR {
            if channel + i < from {
                for column in 0..NS {
                    let at = ((strip + column) * PRODUCTS + number) * from + channel + i;
                    let du = &mut self.du[at * LANES..][..LANES];
                    let (du, _) = S::as_mut_simd_f32s(du);
                    for (du, acc) in du.iter_mut().zip(&acc[i][column]) {
                        *du = simd.add_f32s(*du, *acc);
                    }
                }
            }
        }
    }
}

/// A block of one of the 16 products.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Number of tiles that it sums over.
    tiles: usize,
    /// Which of the 16 products.
    product: usize,
    /// First strip of dy.
    strip: usize,
    /// First channel of x.
    channel: usize,
}

/// Adds Gᵀ u G to the gradient `dw` of a strip of `width` output channels, where u is the sum of `parts`.
pub(in crate::cpu) fn add_filter_gradient<'a>(
    isa: Isa,
    parts: impl Iterator<Item = &'a [f32]> + Clone,
    width: usize,
    dw: &mut [f32],
) {
    isa.run(AddFilterGradient { parts, width, dw });
}

/// The kernel of [`add_filter_gradient`].
struct AddFilterGradient<'a, P> {
    parts: P,
    width: usize,
    dw: &'a mut [f32],
}

impl<'a, P: Iterator<Item = &'a [f32]> + Clone> WithSimd for AddFilterGradient<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let tap = self.dw.len() / 9;
        for at in (0..tap).step_by(S::F32_LANES) {
            let mut sums = [[simd.splat_f32s(0.0); 4]; 4];
            for part in self.parts.clone() {
                for (number, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                    let part = &part[number * tap + at..][..S::F32_LANES];
                    *sum = simd.add_f32s(*sum, S::as_simd_f32s(part).0[0]);
                }
            }
            let filter = apply_2d(
                &sums,
                #[inline(always)]
                |u| filter_gradient_transform(simd, u),
            );
            // Padding channels stay 0.
            let width = self.width.saturating_sub(at % LANES).min(S::F32_LANES);
            for (number, g) in filter.as_flattened().iter().enumerate() {
                let dw = &mut self.dw[number * tap + at..][..width];
                let mut numbers = [0.0; LANES];
                simd.partial_store_f32s(&mut numbers[..S::F32_LANES], *g);
                dw.iter_mut().zip(numbers).for_each(|(dw, g)| *dw += g);
            }
        }
    }
}
