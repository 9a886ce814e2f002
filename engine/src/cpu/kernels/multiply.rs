//! The matrix product: a tile of the result is kept in registers while its rows and columns go by.
//!
//! Columns come in strips of [`LANES`], which are one vector or two.

use std::any::TypeId;

use pulp::{Scalar256b, Simd};

use super::layout::LANES;

/// A tile of a result: rows, strips, vectors of a strip.
pub(in crate::cpu) type Acc<S, const MR: usize, const NS: usize, const V: usize> =
    [[[<S as Simd>::f32s; V]; NS]; MR];

/// acc[i][j] += Σ_k a[i][k] · b[j][k], where each strip b[j] has [`LANES`] columns for each k.
#[inline(always)]
pub(in crate::cpu) fn rows_by_strips<S: Simd, const MR: usize, const NS: usize, const V: usize>(
    simd: S,
    acc: &mut Acc<S, MR, NS, V>,
    a: [&[f32]; MR],
    b: [&[f32]; NS],
) {
    // One length for all: no bound is checked in the loop.
    let depth = a[0].len();
    let a = a.map(|row| &row[..depth]);
    let b = b.map(|strip| &vectors::<S, V>(strip)[..depth]);
    // Long sums are made of short ones, which are more accurate: the more so where each product is
    // rounded before it is added.
    let short = if is_fused::<S>() { 128 } else { 8 };
    if depth > short || !is_fused::<S>() {
        for first in (0..depth).step_by(short) {
            let mut part = [[[simd.splat_f32s(0.0); V]; NS]; MR];
            for k in first..depth.min(first + short) {
                let b = b.map(|strip| strip[k]);
                for (part, a) in part.iter_mut().zip(&a) {
                    add_multiple(simd, part, a[k], &b);
                }
            }
            let part = part.as_flattened().as_flattened();
            let acc = acc.as_flattened_mut().as_flattened_mut();
            for (acc, part) in acc.iter_mut().zip(part) {
                *acc = simd.add_f32s(*acc, *part);
            }
        }
        return;
    }
    for k in 0..depth {
        let b = b.map(|strip| strip[k]);
        for (acc, a) in acc.iter_mut().zip(&a) {
            add_multiple(simd, acc, a[k], &b);
        }
    }
}

/// Whether there are instructions for a · b + c with one rounding, and not only what the compiler makes of loops.
#[inline(always)]
pub(in crate::cpu) fn is_fused<S: Simd>() -> bool {
    TypeId::of::<S>() != TypeId::of::<Scalar256b>()
}

/// acc[i][j] += a[i] · b[j]: one row of two matrices whose product over rows is wanted.
#[inline(always)]
pub(in crate::cpu) fn outer<S: Simd, const MR: usize, const NS: usize, const V: usize>(
    simd: S,
    acc: &mut Acc<S, MR, NS, V>,
    a: &[f32; MR],
    b: &[[S::f32s; V]; NS],
) {
    for (acc, a) in acc.iter_mut().zip(a) {
        add_multiple(simd, acc, *a, b);
    }
}

/// acc += a · b.
#[inline(always)]
fn add_multiple<S: Simd, const NS: usize, const V: usize>(
    simd: S,
    acc: &mut [[S::f32s; V]; NS],
    a: f32,
    b: &[[S::f32s; V]; NS],
) {
    let a = simd.splat_f32s(a);
    for (acc, b) in acc.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
        *acc = multiply_add(simd, a, *b, *acc);
    }
}

/// Rows of [`LANES`] numbers, as vectors.
#[inline(always)]
pub(in crate::cpu) fn vectors<S: Simd, const V: usize>(x: &[f32]) -> &[[S::f32s; V]] {
    debug_assert_eq!(V * S::F32_LANES, LANES);
    S::as_simd_f32s(x).0.as_chunks().0
}

/// a · b + c. Without instructions for it, the two roundings of a product and a sum: a call for every
/// number would give one.
#[inline(always)]
pub(in crate::cpu) fn multiply_add<S: Simd>(
    simd: S,
    a: S::f32s,
    b: S::f32s,
    c: S::f32s,
) -> S::f32s {
    match is_fused::<S>() {
        true => simd.mul_add_f32s(a, b, c),
        false => simd.add_f32s(simd.mul_f32s(a, b), c),
    }
}
