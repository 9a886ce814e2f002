//! Which vector instructions the kernels use. Each is written once, generic over them.

#[cfg(target_arch = "x86_64")]
use std::any::Any;
use std::slice::{from_mut, from_ref};

#[cfg(target_arch = "x86_64")]
use bytemuck::cast;
use bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Scalar256b, Simd, WithSimd};

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512: 16 numbers at a time.
    Avx512,
    /// AVX2 and FMA: 8 numbers at a time.
    Avx2,
    /// Whatever the compiler makes of loops over eight numbers.
    Portable,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// The fastest that this processor has.
    pub fn best() -> Isa {
        let available = Isa::ALL.into_iter().find(|isa| isa.is_available());
        available.unwrap_or(Isa::Portable)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => false,
            Isa::Portable => true,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Runs a kernel. What is not available is replaced by the portable code, which gives the same
    /// numbers but for rounding.
    #[inline]
    pub(in crate::cpu) fn run<K: WithSimd>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => match pulp::x86::V4::try_new() {
                Some(simd) => Simd::vectorize(simd, kernel),
                None => Simd::vectorize(Scalar256b, kernel),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => match pulp::x86::V3::try_new() {
                Some(simd) => Simd::vectorize(simd, kernel),
                None => Simd::vectorize(Scalar256b, kernel),
            },
            _ => Simd::vectorize(Scalar256b, kernel),
        }
    }

    /// Runs loops that the compiler turns into vectors. The closure has to be `#[inline(always)]`, or
    /// it is compiled for any processor.
    #[inline]
    pub(in crate::cpu) fn run_loops(self, loops: impl FnMut()) {
        self.run(Loops(loops));
    }
}

/// A closure that is called where it is inlined: through `FnOnce` it would be called by way of a
/// function that is not.
struct Loops<F>(F);

impl<F: FnMut()> WithSimd for Loops<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        (self.0)();
    }
}

/// Lanes change places: lane i takes what is in lane i ^ `BY`, where `BY` is 1, 2 or 4.
#[inline(always)]
pub(in crate::cpu) fn swap<S: Simd, const BY: usize>(simd: S, vector: S::f32s) -> S::f32s {
    #[cfg(target_arch = "x86_64")]
    {
        const NEXT: i32 = 0b10_11_00_01;
        const SECOND: i32 = 0b01_00_11_10;
        let simd: &dyn Any = &simd;
        if let Some(simd) = simd.downcast_ref::<pulp::x86::V4>() {
            let (simd, vector) = (simd.avx512f, cast(vector));
            return cast(match BY {
                1 => simd._mm512_permute_ps::<NEXT>(vector),
                2 => simd._mm512_permute_ps::<SECOND>(vector),
                _ => simd._mm512_shuffle_f32x4::<NEXT>(vector, vector),
            });
        }
        if let Some(simd) = simd.downcast_ref::<pulp::x86::V3>() {
            let (simd, vector) = (simd.avx, cast(vector));
            return cast(match BY {
                1 => simd._mm256_permute_ps::<NEXT>(vector),
                2 => simd._mm256_permute_ps::<SECOND>(vector),
                _ => simd._mm256_permute2f128_ps::<1>(vector, vector),
            });
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = simd;
    let mut swapped = vector;
    let from: &[f32] = cast_slice(from_ref(&vector));
    let to: &mut [f32] = cast_slice_mut(from_mut(&mut swapped));
    to.iter_mut()
        .enumerate()
        .for_each(|(lane, to)| *to = from[lane ^ BY]);
    swapped
}

/// x · 2ⁿ for whole n, infinite where that is too large; `None` where there is no instruction for it.
#[inline(always)]
pub(in crate::cpu) fn scale<S: Simd>(simd: S, x: S::f32s, n: S::f32s) -> Option<S::f32s> {
    #[cfg(target_arch = "x86_64")]
    {
        let simd: &dyn Any = &simd;
        if let Some(simd) = simd.downcast_ref::<pulp::x86::V4>() {
            return Some(cast(simd.avx512f._mm512_scalef_ps(cast(x), cast(n))));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (simd, x, n);
    None
}

/// Fetches the line of memory four pages behind a vector that is being read, for when the rows from there on are.
/// The processor does so by itself, but, as it seems, not past the end of a page.
#[inline(always)]
pub(in crate::cpu) fn fetch_ahead<S: Simd>(simd: S, vector: &S::f32s) {
    const AHEAD: usize = 16 << 10;
    let vector = std::ptr::from_ref(vector).cast::<i8>();
    fetch(simd, vector.wrapping_add(AHEAD));
}

/// Fetches the line of memory at a place in numbers that will be written, or in what lies behind them.
#[inline(always)]
pub(in crate::cpu) fn fetch_place<S: Simd>(simd: S, numbers: &[f32], place: usize) {
    fetch(simd, numbers.as_ptr().wrapping_add(place).cast());
}

/// Only asks for it: any place will do.
#[inline(always)]
fn fetch<S: Simd>(simd: S, place: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::_MM_HINT_T0;
        let simd: &dyn Any = &simd;
        if let Some(simd) = simd.downcast_ref::<pulp::x86::V4>() {
            simd.sse._mm_prefetch::<_MM_HINT_T0>(place);
        } else if let Some(simd) = simd.downcast_ref::<pulp::x86::V3>() {
            simd.sse._mm_prefetch::<_MM_HINT_T0>(place);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (simd, place);
}
