//! The matrix product: a tile of the result is kept in registers while its rows and columns go by.

use pulp::Simd;

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
                *acc = simd.mul_add_e_f32s(a, *b, *acc);
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
            *acc = simd.mul_add_e_f32s(a, *b, *acc);
        }
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
