//! The end of a convolution: a normalisation with its activation, done to each few pixels of what is
//! computed as soon as they are there, in the first cache.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::activation::{Function, specialised, value};
use super::layout::LANES;
use super::multiply::multiply_add;
use super::statistics::Normal;

/// What is done to each channel.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Finish<'a> {
    pub(in crate::cpu) normal: &'a Normal,
    pub(in crate::cpu) function: Function,
}

impl Finish<'_> {
    /// Does it in place to some strips of channels of the pixels that begin at `places`.
    #[inline(always)]
    pub(in crate::cpu) fn run<S: Simd>(
        &self,
        simd: S,
        pixels: &mut [f32],
        places: impl Iterator<Item = usize> + Clone,
        strips: Range<usize>,
    ) {
        // A function of its own: it is called from many loops.
        simd.vectorize(Pixels {
            finish: *self,
            pixels,
            places,
            channels: strips.start * LANES..strips.end * LANES,
        });
    }
}

struct Pixels<'a, P> {
    finish: Finish<'a>,
    pixels: &'a mut [f32],
    places: P,
    channels: Range<usize>,
}

impl<P: Iterator<Item = usize> + Clone> WithSimd for Pixels<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut at = self.channels.start;
        while at < self.channels.end {
            at += match (self.channels.end - at) / S::F32_LANES {
                1 => self.some::<S, 1>(simd, at),
                2 | 3 => self.some::<S, 2>(simd, at),
                _ => self.some::<S, 4>(simd, at),
            };
        }
    }
}

impl<P: Iterator<Item = usize> + Clone> Pixels<'_, P> {
    /// `N` vectors of channels from `at` on; returns how many channels.
    #[inline(always)]
    fn some<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> usize {
        let len = N * S::F32_LANES;
        let Finish { normal, function } = self.finish;
        let [mean, slope, shift] = [&normal.mean, &normal.slope, &normal.shift].map(|all| {
            let own = &S::as_simd_f32s(&all[at..][..len]).0[..N];
            std::array::from_fn::<S::f32s, N, _>(|i| own[i])
        });
        specialised!(function => for place in self.places.clone() {
            let pixel = &mut self.pixels[place + at..][..len];
            let pixel = &mut S::as_mut_simd_f32s(pixel).0[..N];
            for i in 0..N {
                let x = simd.sub_f32s(pixel[i], mean[i]);
                pixel[i] = value(simd, function, multiply_add(simd, x, slope[i], shift[i]));
            }
        });
        len
    }
}
