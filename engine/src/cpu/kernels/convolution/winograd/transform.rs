//! The five linear transforms, each along one axis and then along the other.

use pulp::{Simd, WithSimd};

use super::PRODUCTS;
use crate::cpu::kernels::layout::LANES;

/// M x Mᵀ, where `along` multiplies a vector by M.
#[inline(always)]
pub(super) fn both<T: Copy, const N: usize, const M: usize>(
    x: &[[T; N]; N],
    along: impl Fn([T; N]) -> [T; M],
) -> [[T; M]; M] {
    let rows = x.map(&along);
    let mut result = [[x[0][0]; M]; M];
    for j in 0..M {
        let column = along(rows.map(|row| row[j]));
        for (result, number) in result.iter_mut().zip(column) {
            result[j] = number;
        }
    }
    result
}

/// Bᵀ x.
#[inline(always)]
pub(super) fn of_source<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [
        simd.sub_f32s(a, c),
        simd.add_f32s(b, c),
        simd.sub_f32s(c, b),
        simd.sub_f32s(b, d),
    ]
}

/// Aᵀ m.
#[inline(always)]
pub(super) fn to_result<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    [
        simd.add_f32s(a, simd.add_f32s(b, c)),
        simd.sub_f32s(simd.sub_f32s(b, c), d),
    ]
}

/// A dy.
#[inline(always)]
pub(super) fn of_gradient<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
    [
        a,
        simd.add_f32s(a, b),
        simd.sub_f32s(a, b),
        simd.neg_f32s(b),
    ]
}

/// G g.
#[inline(always)]
fn of_filter<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
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

/// Gᵀ u.
#[inline(always)]
pub(super) fn to_filter<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let (sum, difference) = (
        simd.mul_f32s(half, simd.add_f32s(b, c)),
        simd.mul_f32s(half, simd.sub_f32s(b, c)),
    );
    [simd.add_f32s(a, sum), difference, simd.add_f32s(sum, d)]
}

/// G g Gᵀ of a strip: from [tap][channel that is gathered][LANES] to as many for each of the 16 products.
pub(super) struct Filters<'a> {
    pub(super) filters: &'a [f32],
    /// From the last tap to the first.
    pub(super) reversed: bool,
    pub(super) into: &'a mut [f32],
}

impl WithSimd for Filters<'_> {
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
            let products = both(
                &g,
                #[inline(always)]
                |g| of_filter(simd, g),
            );
            for (number, product) in products.as_flattened().iter().enumerate() {
                into[number * tap + at] = *product;
            }
        }
    }
}
