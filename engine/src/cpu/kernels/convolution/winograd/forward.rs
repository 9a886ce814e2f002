//! Winograd convolution: forward, and with transposed filters the gradient of the input.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::matrices::Matrices;
use super::transform::{apply_2d, input_transform, output_transform};
use super::{PRODUCTS, ROWS, STRIPS, Tile, Tiles};
use crate::cpu::kernels::epilogue::Epilogue;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, padded_len, pixel_stride};
use crate::cpu::kernels::matmul::{Acc, multiply_tile, vectors};

/// A Winograd convolution.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct ForwardConvolution<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) tiles: &'a Tiles,
    pub(in crate::cpu) source: &'a [f32],
    /// Transformed filters, in the layout of [`super::transformed_layout`].
    pub(in crate::cpu) filters: &'a [f32],
    /// A zero for every padded channel of a pixel, for the padding.
    pub(in crate::cpu) zeros: &'a [f32],
    /// One number per output channel.
    pub(in crate::cpu) bias: Option<&'a [f32]>,
    /// Whether the result is added to what is there.
    pub(in crate::cpu) add: bool,
    /// Applied to the result, if `add` is not set.
    pub(in crate::cpu) epilogue: Option<Epilogue<'a>>,
}

impl ForwardConvolution<'_> {
    /// Computes all of `result`; `scratch` has [`Winograd::scratch_len`](super::Winograd::scratch_len) elements.
    pub(in crate::cpu) fn run(&self, result: &mut [f32], scratch: &mut [f32]) {
        let (left, right) = matrices(self.tiles);
        let (left, rest) = scratch.split_at_mut(left.total_len());
        self.isa.run(Kernel {
            conv: self,
            result,
            left,
            products: &mut rest[..right.total_len()],
        });
    }
}

/// Layouts of the transformed input tiles, and of their products with [`strips_at_a_time`] strips of filters.
fn matrices(tiles: &Tiles) -> (Matrices, Matrices) {
    let rows = tiles.at_a_time();
    (
        Matrices::new(rows, tiles.source.stride),
        Matrices::new(rows, strips_at_a_time(tiles) * LANES),
    )
}

/// Strips of the result of which all 16 products are there at a time: few, so that their products stay in the innermost
/// cache; or all, so that of large filters and tiles only those of one product have to.
fn strips_at_a_time(tiles: &Tiles) -> usize {
    if tiles.have_large_filters() {
        pixel_stride(tiles.result.channels) / LANES
    } else {
        STRIPS
    }
}

/// Elements of both.
pub(super) fn scratch_len(tiles: &Tiles) -> usize {
    let (left, products) = matrices(tiles);
    left.total_len() + products.total_len()
}

/// The vector kernel of [`ForwardConvolution`].
struct Kernel<'a> {
    conv: &'a ForwardConvolution<'a>,
    result: &'a mut [f32],
    /// Transformed input tiles.
    left: &'a mut [f32],
    /// Their products with the filters.
    products: &'a mut [f32],
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let tiles = self.conv.tiles;
        let images = self.result.len() / padded_len(tiles.result);
        let strips = pixel_stride(tiles.result.channels) / LANES;
        for range in tiles.ranges(images) {
            self.transform(simd, range.clone());
            for first in (0..strips).step_by(strips_at_a_time(tiles)) {
                let group = first..strips.min(first + strips_at_a_time(tiles));
                self.multiply_strips(simd, range.len(), group.clone());
                self.write_strips(simd, &range, group);
            }
        }
    }
}

/// A block of one of the 16 products.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Number of tiles.
    rows: usize,
    /// Which of the 16 products.
    product: usize,
    /// First strip of the filters.
    strip: usize,
    /// Its number among those whose products are there.
    place: usize,
}

impl Kernel<'_> {
    /// Transforms input tiles.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, simd: S, range: Range<usize>) {
        let ForwardConvolution {
            tiles,
            source,
            zeros,
            ..
        } = *self.conv;
        let matrices = matrices(tiles).0;
        for (row, number) in range.enumerate() {
            let pixels = tiles.sources(tiles.tile(number), source, zeros);
            matrices.write_row::<S, 4>(
                &pixels,
                row,
                self.left,
                #[inline(always)]
                |x| input_transform(simd, x),
            );
        }
    }

    /// Computes the products of some strips.
    #[inline(always)]
    fn multiply_strips<S: Simd>(&mut self, simd: S, rows: usize, strips: Range<usize>) {
        for product in 0..PRODUCTS {
            for strip in strips.clone().step_by(STRIPS) {
                let block = |strip| Block {
                    rows,
                    product,
                    strip,
                    place: strip - strips.start,
                };
                // The tile size follows from the number of registers.
                match (S::F32_LANES, strips.end - strip) {
                    (16, 1) => self.multiply::<S, ROWS, 1, 1>(simd, block(strip)),
                    (16, _) => self.multiply::<S, ROWS, 2, 1>(simd, block(strip)),
                    (_, left) => {
                        for strip in strip..strip + left.min(STRIPS) {
                            self.multiply::<S, 4, 1, 2>(simd, block(strip));
                        }
                    }
                }
            }
        }
    }

    /// Writes some strips of the result.
    #[inline(always)]
    fn write_strips<S: Simd>(&mut self, simd: S, range: &Range<usize>, strips: Range<usize>) {
        for strip in strips.clone().step_by(STRIPS) {
            let place = strip - strips.start;
            match (S::F32_LANES, strips.end - strip) {
                (16, 1) => self.write::<S, 1, 1>(simd, range.clone(), strip, place),
                (16, _) => self.write::<S, 2, 1>(simd, range.clone(), strip, place),
                (_, left) => {
                    for more in 0..left.min(STRIPS) {
                        self.write::<S, 1, 2>(simd, range.clone(), strip + more, place + more);
                    }
                }
            }
        }
    }

    /// Computes `NS` strips of a product.
    #[inline(always)]
    fn multiply<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        block: Block,
    ) {
        let Block {
            rows,
            product: number,
            strip,
            place,
        } = block;
        let tiles = self.conv.tiles;
        let (left, products) = matrices(tiles);
        let from = tiles.source.channels;
        let len = PRODUCTS * from * LANES;
        let filters = &self.conv.filters[strip * len..][..NS * len];
        let b: [&[f32]; NS] = std::array::from_fn(|strip| {
            &filters[strip * len + number * from * LANES..][..from * LANES]
        });
        let left_rows = &self.left[number * left.len..][..left.len];
        let into = &mut self.products[number * products.len..][..products.len];
        for row in (0..rows).step_by(MR) {
            let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
            // Rows past the end repeat the last; their products are not used.
            let a: [&[f32]; MR] = std::array::from_fn(|i| {
                &left_rows[(row + i).min(rows - 1) * left.stride..][..from]
            });
            multiply_tile(simd, &mut acc, a, b);
            for i in 0..MR {
                let to = (row + i) * products.stride + place * LANES;
                let (to, _) = S::as_mut_simd_f32s(&mut into[to..][..NS * LANES]);
                for (to, acc) in to.iter_mut().zip(acc[i].as_flattened()) {
                    *to = *acc;
                }
            }
        }
    }

    /// Writes `NS` strips of the result, whose products are at `place`: output transform, bias and epilogue.
    #[inline(always)]
    fn write<S: Simd, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        range: Range<usize>,
        strip: usize,
        place: usize,
    ) {
        let tiles = self.conv.tiles;
        let mut bias = [[0.0; LANES]; NS];
        if let (Some(all), false) = (self.conv.bias, self.conv.add) {
            let all = &all[strip * LANES..];
            let width = all.len().min(NS * LANES);
            bias.as_flattened_mut()[..width].copy_from_slice(&all[..width]);
        }
        for (row, number) in range.clone().enumerate() {
            let tile = tiles.tile(number);
            self.write_tile::<S, NS, V>(simd, (row, tile), (strip, place), &bias);
        }
        if let Some(epilogue) = self.conv.epilogue {
            let offsets = range.flat_map(
                #[inline(always)]
                |number| tiles.result_offsets(tiles.tile(number)),
            );
            let offsets = offsets.flatten().flatten();
            epilogue.run(simd, self.result, offsets, strip..strip + NS);
        }
    }

    /// Transforms row `row` of the products, and writes it to `NS` strips of a tile, whose products are at `place`.
    #[inline(always)]
    fn write_tile<S: Simd, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        (row, tile): (usize, Tile),
        (strip, place): (usize, usize),
        bias: &[[f32; LANES]; NS],
    ) {
        let tiles = self.conv.tiles;
        let products = matrices(tiles).1;
        let offsets = tiles.result_offsets(tile);
        let bias = vectors::<S, V>(bias.as_flattened()).as_flattened();
        for (at, bias) in bias.iter().enumerate() {
            let first = row * products.stride + place * LANES + at * S::F32_LANES;
            let mut numbers = [[simd.splat_f32s(0.0); 4]; 4];
            for (number, product) in numbers.as_flattened_mut().iter_mut().enumerate() {
                let from = &self.products[number * products.len + first..][..S::F32_LANES];
                *product = S::as_simd_f32s(from).0[0];
            }
            let pixels = apply_2d(
                &numbers,
                #[inline(always)]
                |m| output_transform(simd, m),
            );
            let pixels = offsets.as_flattened().iter().zip(pixels.as_flattened());
            for (offset, pixel) in pixels {
                let Some(offset) = offset else {
                    continue;
                };
                let to = &mut self.result[offset + strip * LANES + at * S::F32_LANES..];
                let to = &mut S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0];
                *to = if self.conv.add {
                    simd.add_f32s(*to, *pixel)
                } else {
                    simd.add_f32s(*bias, *pixel)
                };
            }
        }
    }
}
