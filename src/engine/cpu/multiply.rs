//! The matrix product: a tile of the result is kept in registers while its rows and columns go by.

use std::any::TypeId;

use pulp::{Scalar256b, Simd};

/// acc[i][j] += Σ_k a[i][k] · b[k][j], where b has `NV` vectors for each k.
#[inline(always)]
pub(super) fn rows_by_panel<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    acc: &mut [[S::f32s; NV]; MR],
    a: [&[f32]; MR],
    b: &[f32],
) {
    let (b, _) = S::as_simd_f32s(b);
    let (b, _) = b.as_chunks::<NV>();
    // One length for all: no bound is checked in the loop.
    let a = a.map(|row| &row[..b.len()]);
    for (k, b) in b.iter().enumerate() {
        for (acc, a) in acc.iter_mut().zip(&a) {
            let a = simd.splat_f32s(a[k]);
            for (acc, b) in acc.iter_mut().zip(b) {
                *acc = multiply_add(simd, a, *b, *acc);
            }
        }
    }
}

/// acc[i][j] += a[i] · b[j]: one row of two matrices whose product over rows is wanted.
#[inline(always)]
pub(super) fn outer<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    acc: &mut [[S::f32s; NV]; MR],
    a: &[f32; MR],
    b: &[S::f32s; NV],
) {
    for (acc, a) in acc.iter_mut().zip(a) {
        let a = simd.splat_f32s(*a);
        for (acc, b) in acc.iter_mut().zip(b) {
            *acc = multiply_add(simd, a, *b, *acc);
        }
    }
}

/// a · b + c. Without instructions for it, the two roundings of a product and a sum: a call for every
/// number would give one.
#[inline(always)]
fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<Scalar256b>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_f32s(a, b, c)
    }
}

/// How `columns` columns, a multiple of `lanes`, fall into panels: (first column, vectors). Three
/// vectors are best, one is worst.
pub(super) fn panels(columns: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut left = columns / lanes;
    std::iter::from_fn(move || {
        let vectors = match left {
            0 => return None,
            1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
        let start = columns - left * lanes;
        left -= vectors;
        Some((start, vectors))
    })
}
