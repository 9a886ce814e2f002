//! The five Winograd transforms, each given for one axis and applied along both.

use pulp::{Simd, WithSimd};

use super::PRODUCTS;
use crate::cpu::kernels::layout::LANES;

/// M x Mᵀ, where `transform` multiplies a vector by M.
#[inline(always)]
pub(super) fn apply_2d<T: Copy, const N: usize, const M: usize>(
    x: &[[T; N]; N],
    transform: impl Fn([T; N]) -> [T; M],
) -> [[T; M]; M] {
    let rows = x.map(&transform);
    let mut result = [[x[0][0]; M]; M];
    for j in 0..M {
        let column = transform(rows.map(|row| row[j]));
        for (result, number) in result.iter_mut().zip(column) {
            result[j] = number;
        }
    }
    result
}

/// Bᵀ x, of an input tile.
#[inline(always)]
pub(super) fn input_transform<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [
        simd.sub_f32s(a, c),
        simd.add_f32s(b, c),
        simd.sub_f32s(c, b),
        simd.sub_f32s(b, d),
    ]
}

/// Aᵀ m, of a product tile.
#[inline(always)]
pub(super) fn output_transform<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    [
        simd.add_f32s(a, simd.add_f32s(b, c)),
        simd.sub_f32s(simd.sub_f32s(b, c), d),
    ]
}

/// A dy, of an output gradient tile.
#[inline(always)]
pub(super) fn output_gradient_transform<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
    [
        a,
        simd.add_f32s(a, b),
        simd.sub_f32s(a, b),
        simd.neg_f32s(b),
    ]
}

/// G g, of a filter.
#[inline(always)]
fn filter_transform<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
    let half = simd.splat_f32s(0.5);
    let (outer, inner) = (
        simd.mul_f32s(half, simd.add_f32s(a, c)),
        simd.mul_f32s(half, b),
    );
    [
        a,
        simd.add_f32s(outer, inner),
        simd.sub_f32s(outer, inner),
        c,
    ]
}

/// Gᵀ u, of the gradient of a transformed filter.
#[inline(always)]
pub(super) fn filter_gradient_transform<S: Simd>(
    simd: S,
    [a, b, c, d]: [S::f32s; 4],
) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let (sum, difference) = (
        simd.mul_f32s(half, simd.add_f32s(b, c)),
        simd.mul_f32s(half, simd.sub_f32s(b, c)),
    );
    [simd.add_f32s(a, sum), difference, simd.add_f32s(sum, d)]
}

/// The kernel that computes G g Gᵀ of a strip of filters: from `[tap][input channel][LANES]` to
/// `[product][input channel][LANES]`.
pub(super) struct FilterTransform<'a> {
    pub(super) filters: &'a [f32],
    /// Whether g is rotated by 180°.
    pub(super) reversed: bool,
    pub(super) into: &'a mut [f32],
}

impl WithSimd for FilterTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (filters, into) = (
            S::as_simd_f32s(self.filters).0,
            S::as_mut_simd_f32s(self.into).0,
        );
        let tap = filters.len() / 9;
        debug_assert_eq!(into.len(), PRODUCTS * tap);
        debug_assert_eq!(tap * S::F32_LANES % LANES, 0);
        for at in 0..tap {
            let mut g = [[filters[at]; 3]; 3];
            for (i, row) in g.iter_mut().enumerate() {
                for (j, g) in row.iter_mut().enumerate() {
                    let number = if self.reversed {
                        8 - 3 * i - j
                    } else {
                        3 * i + j
                    };
                    *g = filters[number * tap + at];
                }
            }
            let products = apply_2d(
                &g,
                #[inline(always)]
                |g| filter_transform(simd, g),
            );
            for (number, product) in products.as_flattened().iter().enumerate() {
                into[number * tap + at] = *product;
            }
        }
    }
}
