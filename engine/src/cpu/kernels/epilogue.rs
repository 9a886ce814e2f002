//! The epilogue of a convolution: BatchNorm and activation, applied to a tile of the result as soon as it is computed,
//! while it is in the L1 cache.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::activation::{Function, specialised, value};
use super::layout::LANES;
use super::matmul::multiply_add;
use super::statistics::NormCoefficients;

/// y = f((x − mean) · slope + shift), per channel.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Epilogue<'a> {
    pub(in crate::cpu) coefficients: &'a NormCoefficients,
    pub(in crate::cpu) function: Function,
}

impl Epilogue<'_> {
    /// Applies it in place to some strips of channels, at the pixels of `result` that begin at these offsets.
    #[inline(always)]
    pub(in crate::cpu) fn run<S: Simd>(
        &self,
        simd: S,
        result: &mut [f32],
        offsets: impl Iterator<Item = usize> + Clone,
        strips: Range<usize>,
    ) {
        // Not inlined: it is called from many loops.
        simd.vectorize(Kernel {
            epilogue: *self,
            result,
            offsets,
            channels: strips.start * LANES..strips.end * LANES,
        });
    }
}

/// The kernel of [`Epilogue::run`].
struct Kernel<'a, P> {
    epilogue: Epilogue<'a>,
    result: &'a mut [f32],
    offsets: P,
    channels: Range<usize>,
}

impl<P: Iterator<Item = usize> + Clone> WithSimd for Kernel<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut at = self.channels.start;
        while at < self.channels.end {
            at += match (self.channels.end - at) / S::F32_LANES {
                1 => self.apply::<S, 1>(simd, at),
                2 | 3 => self.apply::<S, 2>(simd, at),
                _ => self.apply::<S, 4>(simd, at),
            };
        }
    }
}

impl<P: Iterator<Item = usize> + Clone> Kernel<'_, P> {
    /// Applies it to `N` vectors of channels from channel `at` on; returns the number of channels.
    #[inline(always)]
    fn apply<S: Simd, const N: usize>(&mut self, simd: S, at: usize) -> usize {
        let len = N * S::F32_LANES;
        let Epilogue {
            coefficients,
            function,
        } = self.epilogue;
        let [mean, slope, shift] = [&coefficients.mean, &coefficients.slope, &coefficients.shift]
            .map(|all| {
                let own = &S::as_simd_f32s(&all[at..][..len]).0[..N];
                std::array::from_fn::<S::f32s, N, _>(|i| own[i])
            });
        specialised!(function => for offset in self.offsets.clone() {
            let pixel = &mut self.result[offset + at..][..len];
            let pixel = &mut S::as_mut_simd_f32s(pixel).0[..N];
            for i in 0..N {
                let x = simd.sub_f32s(pixel[i], mean[i]);
                pixel[i] = value(simd, function, multiply_add(simd, x, slope[i], shift[i]));
            }
        });
        len
    }
}
