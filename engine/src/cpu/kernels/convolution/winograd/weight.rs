//! The gradient of the filters.

use pulp::{Simd, WithSimd};

use super::planes::Planes;
use super::transform::{both, of_gradient, of_source, to_filter};
use super::{PRODUCTS, SQUARES, STRIPS, Squares};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, padded, stride};
use crate::cpu::kernels::multiply::{Acc, outer, vectors};

/// What the gradient of transformed filters is made of: (Bᵀ x B)ᵀ · (A dy Aᵀ), summed over squares.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct WeightGradient<'a> {
    pub(in crate::cpu) isa: Isa,
    /// Those of forward.
    pub(in crate::cpu) squares: &'a Squares,
    /// A zero for every padded channel of a pixel: what is beyond the map.
    pub(in crate::cpu) outside: &'a [f32],
}

impl WeightGradient<'_> {
    /// Adds what some images give, in the layout of [`super::transformed`].
    pub(in crate::cpu) fn add(
        &self,
        (x, dy): (&[f32], &[f32]),
        du: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (left, right) = planes(self.squares);
        let (left, rest) = scratch.split_at_mut(left.total());
        self.isa.run(Images {
            gradient: self,
            values: (x, dy),
            left,
            right: &mut rest[..right.total()],
            du,
        });
    }
}

fn planes(squares: &Squares) -> (Planes, Planes) {
    (
        Planes::new(SQUARES, squares.source.stride),
        Planes::new(SQUARES, stride(squares.result.channels)),
    )
}

/// Numbers of the matrices.
pub(super) fn scratch(squares: &Squares) -> usize {
    let (left, right) = planes(squares);
    left.total() + right.total()
}

/// Some images.
struct Images<'a> {
    gradient: &'a WeightGradient<'a>,
    values: (&'a [f32], &'a [f32]),
    left: &'a mut [f32],
    right: &'a mut [f32],
    du: &'a mut [f32],
}

impl WithSimd for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let squares = self.gradient.squares;
        let images = self.values.1.len() / padded(squares.result);
        let count = images * squares.count();
        for first in (0..count).step_by(SQUARES) {
            let range = first..count.min(first + SQUARES);
            self.transform(simd, range.clone());
            let strips = stride(squares.result.channels) / LANES;
            for number in 0..PRODUCTS {
                for strip in (0..strips).step_by(STRIPS) {
                    for channel in (0..squares.source.channels).step_by(8) {
                        let at = (range.len(), number, strip, channel);
                        match (S::F32_LANES, strips - strip) {
                            (16, 1) => self.tile::<S, 8, 1, 1>(simd, at),
                            (16, _) => self.tile::<S, 8, 2, 1>(simd, at),
                            (_, left) => {
                                for strip in strip..strip + left.min(STRIPS) {
                                    for channel in [channel, channel + 4] {
                                        let at = (range.len(), number, strip, channel);
                                        self.tile::<S, 4, 1, 2>(simd, at);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Images<'_> {
    /// Makes the matrices of some squares.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, simd: S, range: std::ops::Range<usize>) {
        let WeightGradient {
            squares, outside, ..
        } = *self.gradient;
        let (left, right) = planes(squares);
        for (row, number) in range.enumerate() {
            let square = squares.square(number);
            let pixels = squares.sources(square, self.values.0, outside);
            left.put::<S, 4>(
                &pixels,
                row,
                self.left,
                #[inline(always)]
                |x| of_source(simd, x),
            );
            let pixels = squares.results(square).map(|row| {
                row.map(|place| match place {
                    Some(place) => &self.values.1[place..][..right.stride],
                    None => &outside[..right.stride],
                })
            });
            right.put::<S, 2>(
                &pixels,
                row,
                self.right,
                #[inline(always)]
                |dy| of_gradient(simd, dy),
            );
        }
    }

    /// Adds some channels of x by some strips of dy, of one product.
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        (rows, number, strip, channel): (usize, usize, usize, usize),
    ) {
        let squares = self.gradient.squares;
        let (left, right) = planes(squares);
        let from = squares.source.channels;
        let x = self.left[number * left.len..][..rows * left.stride].chunks_exact(left.stride);
        let dy = self.right[number * right.len..][..rows * right.stride].chunks_exact(right.stride);
        let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
        for (x, dy) in x.zip(dy) {
            let (x, dy) = (&x[channel..][..MR], &dy[strip * LANES..][..NS * LANES]);
            if let (Some(x), Some(dy)) = (x.first_chunk(), vectors::<S, V>(dy).first_chunk()) {
                outer::<S, MR, NS, V>(simd, &mut acc, x, dy);
            }
        }
        for i in 0..MR {
            if channel + i < from {
                for column in 0..NS {
                    let at = ((strip + column) * PRODUCTS + number) * from + channel + i;
                    let du = &mut self.du[at * LANES..][..LANES];
                    let (du, _) = S::as_mut_simd_f32s(du);
                    for (du, acc) in du.iter_mut().zip(&acc[i][column]) {
                        *du = simd.add_f32s(*du, *acc);
                    }
                }
            }
        }
    }
}

/// Adds Gᵀ u G of a strip to its gradient, where u is the sum of what tasks have; the strip has `width` channels.
pub(in crate::cpu) fn collect<'a>(
    isa: Isa,
    parts: impl Iterator<Item = &'a [f32]> + Clone,
    width: usize,
    dw: &mut [f32],
) {
    isa.run(Collect { parts, width, dw });
}

struct Collect<'a, P> {
    parts: P,
    width: usize,
    dw: &'a mut [f32],
}

impl<'a, P: Iterator<Item = &'a [f32]> + Clone> WithSimd for Collect<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let tap = self.dw.len() / 9;
        for at in (0..tap).step_by(S::F32_LANES) {
            let mut sums = [[simd.splat_f32s(0.0); 4]; 4];
            for part in self.parts.clone() {
                for (number, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                    let part = &part[number * tap + at..][..S::F32_LANES];
                    *sum = simd.add_f32s(*sum, S::as_simd_f32s(part).0[0]);
                }
            }
            let filter = both(
                &sums,
                #[inline(always)]
                |u| to_filter(simd, u),
            );
            // Past the last channel is padding, which stays 0.
            let width = self.width.saturating_sub(at % LANES).min(S::F32_LANES);
            for (number, g) in filter.as_flattened().iter().enumerate() {
                let dw = &mut self.dw[number * tap + at..][..width];
                let mut numbers = [0.0; LANES];
                simd.partial_store_f32s(&mut numbers[..S::F32_LANES], *g);
                dw.iter_mut().zip(numbers).for_each(|(dw, g)| *dw += g);
            }
        }
    }
}
