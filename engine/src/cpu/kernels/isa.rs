//! The vector instruction sets that kernels run with. Each kernel is written once, generic over `pulp::Simd`.

#[cfg(target_arch = "x86_64")]
use std::any::Any;
use std::slice::{from_mut, from_ref};

#[cfg(target_arch = "x86_64")]
use bytemuck::cast;
use bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Scalar256b, Simd, WithSimd};

/// A vector instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512: 16 f32 per vector.
    Avx512,
    /// AVX2 and FMA: 8 f32 per vector.
    Avx2,
    /// No intrinsics: loops over 8 f32, which the compiler vectorises for the target it builds for.
    Portable,
}

impl Isa {
    /// All instruction sets, the fastest first.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// The fastest instruction set that this processor has.
    pub fn best() -> Isa {
        let available = Isa::ALL.into_iter().find(|isa| isa.is_available());
        available.unwrap_or(Isa::Portable)
    }

    /// Whether this processor has the instruction set.
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

    /// The name on the command line: `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Runs a kernel with these instructions; where the processor lacks them, with the portable code, which
    /// gives the same result up to rounding.
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

    /// Runs scalar loops that the compiler vectorises with these instructions. The closure has to be
    /// `#[inline(always)]`; otherwise it is compiled for the baseline processor.
    #[inline]
    pub(in crate::cpu) fn run_loops(self, loops: impl FnMut()) {
        self.run(Loops(loops));
    }
}

/// A kernel made of a closure. It takes `FnMut`, since a call through `FnOnce` goes through a shim that is
/// not inlined.
struct Loops<F>(F);

impl<F: FnMut()> WithSimd for Loops<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        (self.0)();
    }
}

/// Permutes the lanes of a vector: result\[i\] = vector\[i ^ `BY`\], where `BY` is 1, 2 or 4.
#[inline(always)]
pub(in crate::cpu) fn swap_lanes<S: Simd, const BY: usize>(simd: S, vector: S::f32s) -> S::f32s {
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

/// x · 2ⁿ for integral n, infinite on overflow; `None` where the instruction set has no instruction for it.
#[inline(always)]
pub(in crate::cpu) fn scale_by_power_of_two<S: Simd>(
    simd: S,
    x: S::f32s,
    n: S::f32s,
) -> Option<S::f32s> {
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

/// Prefetches the cache line 16 KiB ahead of a vector that is being read in a sequential pass. The hardware
/// prefetcher stops at page boundaries.
#[inline(always)]
pub(in crate::cpu) fn prefetch_ahead<S: Simd>(simd: S, vector: &S::f32s) {
    const AHEAD: usize = 16 << 10;
    let vector = std::ptr::from_ref(vector).cast::<i8>();
    prefetch(simd, vector.wrapping_add(AHEAD));
}

/// Prefetches the cache line of `numbers[index]`, which will be written soon; `index` may lie past the end.
#[inline(always)]
pub(in crate::cpu) fn prefetch_write<S: Simd>(simd: S, numbers: &[f32], index: usize) {
    prefetch(simd, numbers.as_ptr().wrapping_add(index).cast());
}

/// Hints that an address will be used; never faults, so that any address is allowed.
#[inline(always)]
fn prefetch<S: Simd>(simd: S, address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::_MM_HINT_T0;
        let simd: &dyn Any = &simd;
        if let Some(simd) = simd.downcast_ref::<pulp::x86::V4>() {
            simd.sse._mm_prefetch::<_MM_HINT_T0>(address);
        } else if let Some(simd) = simd.downcast_ref::<pulp::x86::V3>() {
            simd.sse._mm_prefetch::<_MM_HINT_T0>(address);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (simd, address);
}
