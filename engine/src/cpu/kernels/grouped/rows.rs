//! Depthwise pixels side by side: where taps are side by side too, several of them see a pixel, and it is read once
//! for a row of taps.

use std::ops::Range;

use pulp::Simd;

use super::runs::{Seen, TAPS};
use crate::cpu::kernels::convolution::Walk;
use crate::cpu::kernels::multiply::multiply_add;

/// Rows of taps for which there are loops: how many are side by side, and how far apart pixels side by side see them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    Three,
    ThreeByTwo,
    Five,
    FiveByTwo,
}

impl Rows {
    /// Those of a walk, if all its taps are in such rows.
    pub(super) fn of(walk: &Walk) -> Option<Rows> {
        let first = walk.taps.first()?.down;
        let columns = walk.taps.iter().take_while(|tap| tap.down == first);
        let columns = columns.count();
        let even = walk.taps.chunks(columns).all(|row| {
            let mut taps = row.iter().zip(row[0].over..);
            row.len() == columns
                && taps.all(|(tap, over)| (tap.down, tap.over) == (row[0].down, over))
        });
        match (columns, walk.stride.1) {
            _ if !even || walk.taps.len() > TAPS => None,
            (3, 1) => Some(Rows::Three),
            (3, 2) => Some(Rows::ThreeByTwo),
            (5, 1) => Some(Rows::Five),
            (5, 2) => Some(Rows::FiveByTwo),
            _ => None,
        }
    }
}

/// The sums over taps for `N` pixels side by side, the first of which sees `seen`, in the order of the taps: of one
/// vector of channels, of which a pixel has `vectors`.
#[inline(always)]
pub(super) fn sums<S: Simd, const N: usize, const COLUMNS: usize, const STRIDE: usize>(
    simd: S,
    (source, filters): (&[S::f32s], &[S::f32s]),
    seen: &[Seen],
    (first, channel, vectors): (usize, usize, usize),
) -> [S::f32s; N] {
    let mut sums = [simd.splat_f32s(0.0); N];
    for row in seen.as_chunks::<COLUMNS>().0 {
        let filters = row.map(|(filter, _)| filters[filter + channel]);
        let pixels = &source[row[0].1 + first * STRIDE * vectors + channel..];
        let pixels = &pixels[..((N - 1) * STRIDE + COLUMNS - 1) * vectors + 1];
        for (column, filter) in filters.into_iter().enumerate() {
            for (i, sum) in sums.iter_mut().enumerate() {
                let pixel = pixels[(i * STRIDE + column) * vectors];
                *sum = multiply_add(simd, filter, pixel, *sum);
            }
        }
    }
    sums
}

/// Adds what a row of taps sees from `N` pixels side by side, times `dy` of those, as long as so many are left of
/// `pixels`; `x` begins with what the first tap sees from pixel 0, and `dy` with that pixel. There are `P` sums for each tap,
/// since each addition waits for the one before.
#[inline(always)]
pub(super) fn add_products<
    S: Simd,
    const N: usize,
    const P: usize,
    const COLUMNS: usize,
    const STRIDE: usize,
>(
    simd: S,
    (x, dy): (&[S::f32s], &[S::f32s]),
    vectors: usize,
    pixels: &mut Range<usize>,
    sums: &mut [[S::f32s; COLUMNS]; P],
) {
    while pixels.len() >= N {
        let x = &x[pixels.start * STRIDE * vectors..];
        let x = &x[..((N - 1) * STRIDE + COLUMNS - 1) * vectors + 1];
        let dy = &dy[pixels.start * vectors..][..(N - 1) * vectors + 1];
        for i in 0..N {
            for (column, sum) in sums[i % P].iter_mut().enumerate() {
                let x = x[(i * STRIDE + column) * vectors];
                *sum = multiply_add(simd, x, dy[i * vectors], *sum);
            }
        }
        pixels.start += N;
    }
}
