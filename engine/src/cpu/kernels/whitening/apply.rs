//! Block-diagonal matrices times pixels.

use pulp::{Simd, WithSimd};

use super::Blocks;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, pixel_stride};
use crate::cpu::kernels::matmul::{Acc, multiply_add, multiply_tile, vectors};

/// y = constant + Σ over terms of matrix · (source − pivot) + factor ∘ source, for each pixel.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Apply<'a> {
    pub(in crate::cpu) blocks: Blocks,
    /// At most one of them has a pivot.
    pub(in crate::cpu) terms: &'a [Term<'a>],
    /// One number per padded channel.
    pub(in crate::cpu) constant: &'a [f32],
    /// Whether the result is added to what is there.
    pub(in crate::cpu) add: bool,
}

/// A value that a result is computed from.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Term<'a> {
    /// See [`Blocks::pack`].
    pub(in crate::cpu) matrix: &'a [f32],
    pub(in crate::cpu) source: &'a [f32],
    /// Taken from the source before the product; one number per padded channel.
    pub(in crate::cpu) pivot: Option<&'a [f32]>,
    /// One number per padded channel.
    pub(in crate::cpu) factor: Option<&'a [f32]>,
}

impl Apply<'_> {
    /// Computes all pixels of `y`. `scratch` is for pixels without their pivot.
    pub(in crate::cpu) fn run(&self, isa: Isa, y: &mut [f32], scratch: &mut Vec<f32>) {
        scratch.resize(MAX_ROWS * self.blocks.width, 0.0);
        isa.run(Kernel {
            apply: self,
            y,
            scratch,
        });
    }
}

/// Pixels of a tile, at most.
const MAX_ROWS: usize = 8;

struct Kernel<'a> {
    apply: &'a Apply<'a>,
    y: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // The tile size follows from the number of registers.
        match S::F32_LANES {
            16 => self.all::<S, MAX_ROWS, 2, 1>(simd),
            _ => self.all::<S, 4, 1, 2>(simd),
        }
    }
}

impl Kernel<'_> {
    /// All pixels, `MR` at a time, and `NS` strips at a time where a block has as many.
    #[inline(always)]
    fn all<S: Simd, const MR: usize, const NS: usize, const V: usize>(mut self, simd: S) {
        let blocks = self.apply.blocks;
        let rows = self.y.len() / pixel_stride(blocks.channels);
        for row in (0..rows).step_by(MR) {
            let count = MR.min(rows - row);
            for (first, depth) in blocks.each() {
                let strips = depth.div_ceil(LANES);
                let mut strip = 0;
                while strip < strips {
                    let tile = Tile {
                        row,
                        count,
                        first,
                        depth,
                        strip,
                    };
                    if strips - strip >= NS {
                        self.tile::<S, MR, NS, V>(simd, tile);
                        strip += NS;
                    } else {
                        self.tile::<S, MR, 1, V>(simd, tile);
                        strip += 1;
                    }
                }
            }
        }
    }

    /// `MR` pixels, of which `count` are written, and `NS` strips of a block.
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        tile: Tile,
    ) {
        let Tile {
            row,
            count,
            first,
            depth,
            strip,
        } = tile;
        let Blocks {
            channels, width, ..
        } = self.apply.blocks;
        let stride = pixel_stride(channels);
        let block = first / width * width * width;
        let channel = first + strip * LANES;
        let constant = &vectors::<S, V>(&self.apply.constant[channel..][..NS * LANES])[..NS];
        let mut acc: Acc<S, MR, NS, V> = [std::array::from_fn(|i| constant[i]); MR];
        // Pixels past the end repeat the last, and are not written.
        let pixel = |i: usize| (row + i.min(count - 1)) * stride;
        for term in self.apply.terms {
            let b: [&[f32]; NS] = std::array::from_fn(|i| {
                &term.matrix[block + (strip + i) * LANES * width..][..depth * LANES]
            });
            match term.pivot {
                Some(pivot) => {
                    let pivot = &pivot[first..][..depth];
                    // Once for all strips of a block.
                    if strip == 0 {
                        for (i, to) in self.scratch.chunks_exact_mut(width).enumerate().take(MR) {
                            let from = &term.source[pixel(i) + first..][..depth];
                            let both = from.iter().zip(pivot);
                            to.iter_mut()
                                .zip(both)
                                .for_each(|(to, (x, pivot))| *to = x - pivot);
                        }
                    }
                    let scratch = &self.scratch[..];
                    let a = std::array::from_fn(|i| &scratch[i * width..][..depth]);
                    multiply_tile(simd, &mut acc, a, b);
                }
                None => {
                    let a = std::array::from_fn(|i| &term.source[pixel(i) + first..][..depth]);
                    multiply_tile(simd, &mut acc, a, b);
                }
            }
            let Some(factor) = term.factor else {
                continue;
            };
            let factor = &vectors::<S, V>(&factor[channel..][..NS * LANES])[..NS];
            for (i, acc) in acc.iter_mut().enumerate() {
                let x = &vectors::<S, V>(&term.source[pixel(i) + channel..][..NS * LANES])[..NS];
                for ((acc, factor), x) in acc.iter_mut().zip(factor).zip(x) {
                    for v in 0..V {
                        acc[v] = multiply_add(simd, factor[v], x[v], acc[v]);
                    }
                }
            }
        }
        for (i, acc) in acc.iter().enumerate().take(count) {
            let to = &mut self.y[(row + i) * stride + channel..][..NS * LANES];
            let (to, _) = S::as_mut_simd_f32s(to);
            for (to, sum) in to.iter_mut().zip(acc.as_flattened()) {
                *to = if self.apply.add {
                    simd.add_f32s(*to, *sum)
                } else {
                    *sum
                };
            }
        }
    }
}

/// A tile of the result.
#[derive(Clone, Copy)]
struct Tile {
    /// First pixel.
    row: usize,
    /// Pixels that there are.
    count: usize,
    /// First channel of the block.
    first: usize,
    /// Channels of the block.
    depth: usize,
    /// First strip in the block.
    strip: usize,
}
