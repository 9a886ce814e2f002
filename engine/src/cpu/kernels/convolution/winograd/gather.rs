//! The result, and the gradient of the input.

use pulp::{Simd, WithSimd};

use super::planes::Planes;
use super::transform::{both, of_source, to_result};
use super::{PRODUCTS, SQUARES, STRIPS, Square, Squares};
use crate::cpu::kernels::finish::Finish;
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{LANES, padded, stride};
use crate::cpu::kernels::multiply::{Acc, rows_by_strips, vectors};

/// What a gather reads and writes.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Gather<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) squares: &'a Squares,
    pub(in crate::cpu) source: &'a [f32],
    /// Transformed, in strips.
    pub(in crate::cpu) filters: &'a [f32],
    /// A zero for every padded channel of a pixel: what is beyond the map.
    pub(in crate::cpu) outside: &'a [f32],
    /// One number a channel of the result.
    pub(in crate::cpu) bias: Option<&'a [f32]>,
    /// Whether the result is added to what is there.
    pub(in crate::cpu) add: bool,
    /// What is done to the result where it is not added.
    pub(in crate::cpu) finish: Option<Finish<'a>>,
}

impl Gather<'_> {
    /// Computes all of `result`.
    pub(in crate::cpu) fn run(&self, result: &mut [f32], scratch: &mut [f32]) {
        let (left, right) = planes(self.squares);
        let (left, rest) = scratch.split_at_mut(left.total());
        self.isa.run(Images {
            gather: self,
            result,
            left,
            products: &mut rest[..right.total()],
        });
    }
}

/// The left matrices, and the products of [`STRIPS`].
fn planes(squares: &Squares) -> (Planes, Planes) {
    (
        Planes::new(SQUARES, squares.source.stride),
        Planes::new(SQUARES, STRIPS * LANES),
    )
}

/// Numbers of the matrices.
pub(super) fn scratch(squares: &Squares) -> usize {
    let (left, products) = planes(squares);
    left.total() + products.total()
}

/// The images of a gather.
struct Images<'a> {
    gather: &'a Gather<'a>,
    result: &'a mut [f32],
    left: &'a mut [f32],
    products: &'a mut [f32],
}

impl WithSimd for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let squares = self.gather.squares;
        let images = self.result.len() / padded(squares.result);
        let count = images * squares.count();
        for first in (0..count).step_by(SQUARES) {
            let range = first..count.min(first + SQUARES);
            self.transform(simd, range.clone());
            let strips = stride(squares.result.channels) / LANES;
            for strip in (0..strips).step_by(STRIPS) {
                // The width of what is in registers follows from how many there are.
                match (S::F32_LANES, strips - strip) {
                    (16, 1) => self.strips::<S, 8, 1, 1>(simd, range.clone(), strip),
                    (16, _) => self.strips::<S, 8, 2, 1>(simd, range.clone(), strip),
                    (_, left) => {
                        for strip in strip..strip + left.min(STRIPS) {
                            self.strips::<S, 4, 1, 2>(simd, range.clone(), strip);
                        }
                    }
                }
            }
        }
    }
}

impl Images<'_> {
    /// Makes the left matrices.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, simd: S, range: std::ops::Range<usize>) {
        let Gather {
            squares,
            source,
            outside,
            ..
        } = *self.gather;
        let planes = planes(squares).0;
        for (row, number) in range.enumerate() {
            let pixels = squares.sources(squares.square(number), source, outside);
            planes.put::<S, 4>(
                &pixels,
                row,
                self.left,
                #[inline(always)]
                |x| of_source(simd, x),
            );
        }
    }

    /// Multiplies, and writes some strips of the result.
    #[inline(always)]
    fn strips<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        range: std::ops::Range<usize>,
        strip: usize,
    ) {
        let squares = self.gather.squares;
        let (left, products) = planes(squares);
        let from = squares.source.channels;
        let len = PRODUCTS * from * LANES;
        let filters = &self.gather.filters[strip * len..][..NS * len];
        for number in 0..PRODUCTS {
            let b: [&[f32]; NS] = std::array::from_fn(|strip| {
                &filters[strip * len + number * from * LANES..][..from * LANES]
            });
            let left_rows = &self.left[number * left.len..][..left.len];
            let into = &mut self.products[number * products.len..][..products.len];
            for row in (0..range.len()).step_by(MR) {
                let mut acc: Acc<S, MR, NS, V> = [[[simd.splat_f32s(0.0); V]; NS]; MR];
                // Rows past the end repeat the last; nothing reads their products.
                let a: [&[f32]; MR] = std::array::from_fn(|i| {
                    &left_rows[(row + i).min(range.len() - 1) * left.stride..][..from]
                });
                rows_by_strips(simd, &mut acc, a, b);
                for i in 0..MR {
                    let to = &mut into[(row + i) * products.stride..][..NS * LANES];
                    let (to, _) = S::as_mut_simd_f32s(to);
                    for (to, acc) in to.iter_mut().zip(acc[i].as_flattened()) {
                        *to = *acc;
                    }
                }
            }
        }
        let mut bias = [[0.0; LANES]; NS];
        if let (Some(all), false) = (self.gather.bias, self.gather.add) {
            let all = &all[strip * LANES..];
            let width = all.len().min(NS * LANES);
            bias.as_flattened_mut()[..width].copy_from_slice(&all[..width]);
        }
        for (row, number) in range.clone().enumerate() {
            let square = squares.square(number);
            self.write::<S, NS, V>(simd, row, square, strip, &bias);
        }
        if let Some(finish) = self.gather.finish {
            let places = range.flat_map(
                #[inline(always)]
                |number| squares.results(squares.square(number)),
            );
            let places = places.flatten().flatten();
            finish.run(simd, self.result, places, strip..strip + NS);
        }
    }

    /// Writes some strips of a square.
    #[inline(always)]
    fn write<S: Simd, const NS: usize, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        square: Square,
        strip: usize,
        bias: &[[f32; LANES]; NS],
    ) {
        let squares = self.gather.squares;
        let products = planes(squares).1;
        let places = squares.results(square);
        let bias = vectors::<S, V>(bias.as_flattened()).as_flattened();
        for (at, bias) in bias.iter().enumerate() {
            let first = row * products.stride + at * S::F32_LANES;
            let mut numbers = [[simd.splat_f32s(0.0); 4]; 4];
            for (number, product) in numbers.as_flattened_mut().iter_mut().enumerate() {
                let from = &self.products[number * products.len + first..][..S::F32_LANES];
                *product = S::as_simd_f32s(from).0[0];
            }
            let pixels = both(
                &numbers,
                #[inline(always)]
                |m| to_result(simd, m),
            );
            let places = places.as_flattened().iter().zip(pixels.as_flattened());
            for (place, pixel) in places {
                let Some(place) = place else {
                    continue;
                };
                let to = &mut self.result[place + strip * LANES + at * S::F32_LANES..];
                let to = &mut S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0];
                *to = match self.gather.add {
                    true => simd.add_f32s(*to, *pixel),
                    false => simd.add_f32s(*bias, *pixel),
                };
            }
        }
    }
}
