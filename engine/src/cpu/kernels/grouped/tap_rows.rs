//! Inner loops of depthwise convolutions for adjacent output pixels: their taps overlap, so that a loaded source pixel is
//! used by all taps of a kernel row.

use std::ops::Range;

use pulp::Simd;

use super::pixel_runs::{TAPS, TapOffset};
use crate::cpu::kernels::convolution::Phase;
use crate::cpu::kernels::matmul::multiply_add;

/// The kernel rows for which there are loops: taps per row (3 or 5) and stride (1 or 2).
#[derive(Debug, Clone, Copy)]
pub(super) enum TapRows {
    Three,
    ThreeByTwo,
    Five,
    FiveByTwo,
}

impl TapRows {
    /// The rows that a phase's taps form; `None` if they form others.
    pub(super) fn of(phase: &Phase) -> Option<TapRows> {
        let first = phase.taps.first()?.down;
        let columns = phase.taps.iter().take_while(|tap| tap.down == first);
        let columns = columns.count();
        let even = phase.taps.chunks(columns).all(|row| {
            let mut taps = row.iter().zip(row[0].over..);
            row.len() == columns
                && taps.all(|(tap, over)| (tap.down, tap.over) == (row[0].down, over))
        });
        match (columns, phase.stride.1) {
            _ if !even || phase.taps.len() > TAPS => None,
            (3, 1) => Some(TapRows::Three),
            (3, 2) => Some(TapRows::ThreeByTwo),
            (5, 1) => Some(TapRows::Five),
            (5, 2) => Some(TapRows::FiveByTwo),
            _ => None,
        }
    }
}

/// A vector of channels of a pixel in a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct VectorOfRun {
    /// Number of the pixel in its run.
    pub(super) pixel: usize,
    /// Number of the vector in the pixel.
    pub(super) channel: usize,
    /// Vectors per pixel.
    pub(super) vectors: usize,
}

/// The sums over all taps for `N` adjacent output pixels and one vector of channels, added in the order of the taps.
/// `taps` are those of the first pixel of the run.
#[inline(always)]
pub(super) fn sums<S: Simd, const N: usize, const COLUMNS: usize, const STRIDE: usize>(
    simd: S,
    source: &[S::f32s],
    filters: &[S::f32s],
    taps: &[TapOffset],
    at: VectorOfRun,
) -> [S::f32s; N] {
    let VectorOfRun {
        pixel,
        channel,
        vectors,
    } = at;
    let mut sums = [simd.splat_f32s(0.0); N];
    for row in taps.as_chunks::<COLUMNS>().0 {
        let filters = row.map(|tap| filters[tap.filter + channel]);
        let pixels = &source[row[0].source + pixel * STRIDE * vectors + channel..];
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

/// Filter gradient of a kernel row: adds x · dy for `N` adjacent output pixels at a time, as long as `pixels` has as many,
/// and removes them from `pixels`. `x` starts at the source of the first tap for pixel 0, and `dy` at pixel 0. `P` partial
/// sums per tap hide the latency of the dependent additions.
#[inline(always)]
pub(super) fn add_products<
    S: Simd,
    const N: usize,
    const P: usize,
    const COLUMNS: usize,
    const STRIDE: usize,
>(
    simd: S,
    x: &[S::f32s],
    dy: &[S::f32s],
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
