//! Matrix-multiplication micro-kernels: a tile of the result is accumulated in registers.
//!
//! The right matrix is packed into strips of [`LANES`] columns, stored `[k][LANES]`; a strip is one vector wide with
//! AVX-512, else two.

use std::any::TypeId;

use pulp::{Scalar256b, Simd};

use super::layout::LANES;

/// A register tile of the result: `MR` rows, `NS` strips, `V` vectors per strip.
pub(in crate::cpu) type Acc<S, const MR: usize, const NS: usize, const V: usize> =
    [[[<S as Simd>::f32s; V]; NS]; MR];

/// acc\[i\]\[j\] += Σₖ a\[i\]\[k\] · b\[j\]\[k\], where `b[j][k]` are the [`LANES`] columns of strip j.
#[inline(always)]
pub(in crate::cpu) fn multiply_tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
    simd: S,
    acc: &mut Acc<S, MR, NS, V>,
    a: [&[f32]; MR],
    b: [&[f32]; NS],
) {
    // One length for all slices, so that the loop has no bounds checks.
    let depth = a[0].len();
    let a = a.map(|row| &row[..depth]);
    let b = b.map(|strip| &vectors::<S, V>(strip)[..depth]);
    // Blocked summation bounds the rounding error of long sums; blocks are shorter where each product is rounded
    // before it is added.
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

/// Whether the instruction set has fused multiply-add (one rounding); the portable one has not.
#[inline(always)]
pub(in crate::cpu) fn is_fused<S: Simd>() -> bool {
    TypeId::of::<S>() != TypeId::of::<Scalar256b>()
}

/// acc\[i\]\[j\] += a\[i\] · b\[j\]: the rank-1 update by one row of each of two matrices, for products Aᵀ B.
#[inline(always)]
pub(in crate::cpu) fn outer_product<S: Simd, const MR: usize, const NS: usize, const V: usize>(
    simd: S,
    acc: &mut Acc<S, MR, NS, V>,
    a: &[f32; MR],
    b: &[[S::f32s; V]; NS],
) {
    for (acc, a) in acc.iter_mut().zip(a) {
        add_multiple(simd, acc, *a, b);
    }
}

/// acc += a · b for one row of a tile.
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

/// A slice as strips of [`LANES`] elements, each of `V` vectors.
#[inline(always)]
pub(in crate::cpu) fn vectors<S: Simd, const V: usize>(x: &[f32]) -> &[[S::f32s; V]] {
    debug_assert_eq!(V * S::F32_LANES, LANES);
    S::as_simd_f32s(x).0.as_chunks().0
}

/// a · b + c, fused where the instruction set has it; else with two roundings, since a software `fma` per element
/// would be slow.
#[inline(always)]
pub(in crate::cpu) fn multiply_add<S: Simd>(
    simd: S,
    a: S::f32s,
    b: S::f32s,
    c: S::f32s,
) -> S::f32s {
    if is_fused::<S>() {
        simd.mul_add_f32s(a, b, c)
    } else {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    }
}
