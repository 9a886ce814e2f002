//! The memory layout of the 16 matrices of a Winograd convolution: `[product][tile][channel]`.

use pulp::Simd;

use super::PRODUCTS;
use super::transform::apply_2d;
use crate::cpu::kernels::layout::LANES;

/// The sizes of 16 matrices of one shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrices {
    /// Elements of a row.
    pub(super) stride: usize,
    /// Distance in elements from one matrix to the next.
    pub(super) len: usize,
}

impl Matrices {
    /// Matrices of `rows` rows. A cache line between two of them keeps the same row of all 16 from mapping to the same
    /// cache set.
    pub(super) fn new(rows: usize, stride: usize) -> Matrices {
        Matrices {
            stride,
            len: rows * stride + LANES,
        }
    }

    /// Elements of all 16 matrices.
    pub(super) fn total_len(&self) -> usize {
        PRODUCTS * self.len
    }

    /// Writes row `row` of each matrix: the transform of a tile's pixels, of which `transform` does one axis.
    #[inline(always)]
    pub(super) fn write_row<S: Simd, const N: usize>(
        &self,
        pixels: &[[&[f32]; N]; N],
        row: usize,
        into: &mut [f32],
        transform: impl Fn([S::f32s; N]) -> [S::f32s; 4],
    ) {
        let vectors = self.stride / S::F32_LANES;
        let pixels = pixels.map(|row| row.map(|pixel| &S::as_simd_f32s(pixel).0[..vectors]));
        let mut matrices = into.chunks_exact_mut(self.len);
        let mut rows: [&mut [S::f32s]; PRODUCTS] = std::array::from_fn(|_| {
            let matrix = matrices.next().unwrap_or_default();
            S::as_mut_simd_f32s(&mut matrix[row * self.stride..][..self.stride]).0
        });
        for at in 0..vectors {
            let numbers = apply_2d(&pixels.map(|row| row.map(|pixel| pixel[at])), &transform);
            for (row, number) in rows.iter_mut().zip(numbers.as_flattened()) {
                row[at] = *number;
            }
        }
    }
}
