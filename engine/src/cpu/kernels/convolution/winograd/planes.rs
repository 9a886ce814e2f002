//! The matrices that are multiplied: 16 of [square][channel], one behind the other.

use pulp::Simd;

use super::PRODUCTS;
use super::transform::both;
use crate::cpu::kernels::layout::LANES;

/// Sizes of 16 matrices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planes {
    /// Numbers of a row.
    pub(super) stride: usize,
    /// Numbers from one matrix to the next.
    pub(super) len: usize,
}

impl Planes {
    /// Matrices of so many rows. Between two of them is a line of the cache: at a distance of a power of 2, 16 rows
    /// that are written at once would push each other out of it.
    pub(super) fn new(rows: usize, stride: usize) -> Planes {
        Planes {
            stride,
            len: rows * stride + LANES,
        }
    }

    /// Numbers of all 16.
    pub(super) fn total(&self) -> usize {
        PRODUCTS * self.len
    }

    /// Writes a row of each, made of the pixels of a square by a transform along both axes.
    #[inline(always)]
    pub(super) fn put<S: Simd, const N: usize>(
        &self,
        pixels: &[[&[f32]; N]; N],
        row: usize,
        into: &mut [f32],
        along: impl Fn([S::f32s; N]) -> [S::f32s; 4],
    ) {
        let vectors = self.stride / S::F32_LANES;
        let pixels = pixels.map(|row| row.map(|pixel| &S::as_simd_f32s(pixel).0[..vectors]));
        let mut planes = into.chunks_exact_mut(self.len);
        let mut rows: [&mut [S::f32s]; PRODUCTS] = std::array::from_fn(|_| {
            let plane = planes.next().unwrap_or_default();
            S::as_mut_simd_f32s(&mut plane[row * self.stride..][..self.stride]).0
        });
        for at in 0..vectors {
            let numbers = both(&pixels.map(|row| row.map(|pixel| pixel[at])), &along);
            for (row, number) in rows.iter_mut().zip(numbers.as_flattened()) {
                row[at] = *number;
            }
        }
    }
}
