//! The gradient of the filters.

use pulp::{Simd, WithSimd};

use super::rows::{Rows, add_products};
use super::runs::{Run, Seen, TAPS, runs};
use super::{place, step};
use crate::cpu::kernels::convolution::Walk;
use crate::cpu::kernels::isa::{Isa, swap};
use crate::cpu::kernels::layout::{padded, stride};
use crate::cpu::kernels::multiply::multiply_add;
use crate::net::Shape;

/// dw += Σ x · dy over some images, for groups of `width` channels. `walk` is that of [`Walk::forward`].
pub(in crate::cpu) fn weight_gradient(
    isa: Isa,
    walk: &Walk,
    shapes: (Shape, Shape),
    width: usize,
    (x, dy): (&[f32], &[f32]),
    dw: &mut [f32],
) {
    isa.run(Products {
        walk,
        shapes,
        width,
        x,
        dy,
        dw,
    });
}

/// Σ x · dy over some images.
struct Products<'a> {
    walk: &'a Walk,
    shapes: (Shape, Shape),
    /// Of a group.
    width: usize,
    x: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = stride(self.shapes.1.channels) / S::F32_LANES;
        let images = self.dy.len() / padded(self.shapes.1);
        let rows = Rows::of(self.walk).filter(|_| self.width == 1);
        for taps in self.walk.taps.chunks(TAPS) {
            runs(
                self.walk,
                taps,
                self.shapes,
                (vectors, self.width),
                images,
                rows,
                #[inline(always)]
                |run| match run.rows {
                    Some(Rows::Three) => self.line::<S, 4, 3, 1>(simd, &run, vectors),
                    Some(Rows::ThreeByTwo) => self.line::<S, 4, 3, 2>(simd, &run, vectors),
                    Some(Rows::Five) => self.line::<S, 2, 5, 1>(simd, &run, vectors),
                    Some(Rows::FiveByTwo) => self.line::<S, 2, 5, 2>(simd, &run, vectors),
                    None => self.run(simd, &run, vectors),
                },
            );
        }
    }
}

impl Products<'_> {
    /// Adds a run's products.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, run: &Run<'_>, vectors: usize) {
        for channel in 0..vectors {
            let seen = run.seen;
            // As many sums as there are registers for.
            match (self.width, S::F32_LANES) {
                (1, _) => {
                    let seen = self.taps::<S, 6, 2, 1>(simd, run, seen, channel);
                    let seen = self.taps::<S, 4, 2, 1>(simd, run, seen, channel);
                    let seen = self.taps::<S, 3, 2, 1>(simd, run, seen, channel);
                    let seen = self.taps::<S, 2, 2, 1>(simd, run, seen, channel);
                    self.taps::<S, 1, 2, 1>(simd, run, seen, channel);
                }
                (2, _) => {
                    let seen = self.taps::<S, 6, 1, 2>(simd, run, seen, channel);
                    let seen = self.taps::<S, 3, 1, 2>(simd, run, seen, channel);
                    self.taps::<S, 1, 2, 2>(simd, run, seen, channel);
                }
                (4, _) => {
                    let seen = self.taps::<S, 3, 1, 4>(simd, run, seen, channel);
                    self.taps::<S, 1, 2, 4>(simd, run, seen, channel);
                }
                (_, 16) => {
                    let seen = self.taps::<S, 3, 1, 8>(simd, run, seen, channel);
                    self.taps::<S, 1, 1, 8>(simd, run, seen, channel);
                }
                _ => {
                    self.taps::<S, 1, 1, 8>(simd, run, seen, channel);
                }
            }
        }
    }

    /// Adds those of a run of pixels side by side, by rows of taps, in `P` sums for each tap.
    #[inline(always)]
    fn line<S: Simd, const P: usize, const COLUMNS: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        run: &Run<'_>,
        vectors: usize,
    ) {
        let (x, _) = S::as_simd_f32s(self.x);
        let (dy, dw) = (S::as_simd_f32s(self.dy).0, S::as_mut_simd_f32s(self.dw).0);
        for channel in 0..vectors {
            let dy = &dy[run.at + channel..];
            for row in run.seen.as_chunks::<COLUMNS>().0 {
                let from = (&x[row[0].1 + channel..], dy);
                let mut sums = [[simd.splat_f32s(0.0); COLUMNS]; P];
                let mut left = 0..run.count;
                let left = &mut left;
                add_products::<S, 8, P, COLUMNS, STRIDE>(simd, from, vectors, left, &mut sums);
                add_products::<S, 2, P, COLUMNS, STRIDE>(simd, from, vectors, left, &mut sums);
                add_products::<S, 1, P, COLUMNS, STRIDE>(simd, from, vectors, left, &mut sums);
                for (column, (filter, _)) in row.iter().enumerate() {
                    let [first, rest @ ..] = &sums[..] else {
                        continue;
                    };
                    let sum = rest.iter().fold(first[column], |sum, other| {
                        simd.add_f32s(sum, other[column])
                    });
                    let dw = &mut dw[filter + channel];
                    *dw = simd.add_f32s(*dw, sum);
                }
            }
        }
    }

    /// Adds a run's products of one vector of channels under each tap, `N` taps at a time, for groups of `K`
    /// channels; returns the taps that are left. There are `P` sums for each product, since each addition waits for
    /// the one before.
    #[inline(always)]
    fn taps<'s, S: Simd, const N: usize, const P: usize, const K: usize>(
        &mut self,
        simd: S,
        run: &Run<'_>,
        seen: &'s [Seen],
        channel: usize,
    ) -> &'s [Seen] {
        let (x, _) = S::as_simd_f32s(self.x);
        let (dy, dw) = (S::as_simd_f32s(self.dy).0, S::as_mut_simd_f32s(self.dw).0);
        // One length for all taps: their bound is checked once.
        let last = ((run.count - 1) * run.steps.0, (run.count - 1) * run.steps.1);
        let dy = &dy[run.at + channel..][..=last.1];
        let (seen, rest) = seen.as_chunks::<N>();
        for seen in seen {
            let x = seen.map(|(_, at)| &x[at + channel..][..=last.0]);
            let mut sums = [[[simd.splat_f32s(0.0); N]; K]; P];
            let mut at = (0, 0);
            for _ in 0..run.count / P {
                for sums in &mut sums {
                    add(simd, sums, x.map(|x| x[at.0]), dy[at.1]);
                    at = (at.0 + run.steps.0, at.1 + run.steps.1);
                }
            }
            for _ in 0..run.count % P {
                add(simd, &mut sums[0], x.map(|x| x[at.0]), dy[at.1]);
                at = (at.0 + run.steps.0, at.1 + run.steps.1);
            }
            for (number, (filter, _)) in seen.iter().enumerate() {
                let dw = &mut dw[filter + place::<S>(channel, K)..][..(K - 1) * step::<S>() + 1];
                for k in 0..K {
                    let dw = &mut dw[k * step::<S>()];
                    let [first, rest @ ..] = &sums[..] else {
                        continue;
                    };
                    let sum = rest.iter().fold(first[k][number], |sum, other| {
                        simd.add_f32s(sum, other[k][number])
                    });
                    *dw = simd.add_f32s(*dw, sum);
                }
            }
        }
        rest
    }
}

/// sums[k] += x · dy, the lanes of dy swapped by k.
#[inline(always)]
fn add<S: Simd, const N: usize, const K: usize>(
    simd: S,
    sums: &mut [[S::f32s; N]; K],
    x: [S::f32s; N],
    mut dy: S::f32s,
) {
    // In an order in which one swap leads from each to the next.
    for number in 0..K {
        dy = match number.trailing_zeros() {
            _ if number == 0 => dy,
            0 => swap::<S, 1>(simd, dy),
            1 => swap::<S, 2>(simd, dy),
            _ => swap::<S, 4>(simd, dy),
        };
        let k = number ^ (number >> 1);
        for (sum, x) in sums[k].iter_mut().zip(x) {
            *sum = multiply_add(simd, x, dy, *sum);
        }
    }
}
