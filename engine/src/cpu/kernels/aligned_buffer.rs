//! A buffer of f32 that starts on a cache line, so that no vector load or store crosses two lines.

use std::ops::{Deref, DerefMut};

/// f32 per cache line (64 bytes), which is also the width of an AVX-512 vector.
pub(in crate::cpu) const CACHE_LINE: usize = 16;

/// A heap buffer of f32, aligned to 64 bytes. It derefs to a slice.
#[derive(Debug, Default)]
pub(in crate::cpu) struct AlignedBuffer {
    /// The allocation: one cache line longer than `len`, to make room for the alignment.
    numbers: Vec<f32>,
    /// Index in `numbers` of the first aligned element.
    begin: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros. The pages are not touched before they are used.
    pub(in crate::cpu) fn new(len: usize) -> AlignedBuffer {
        let numbers = vec![0.0; len + CACHE_LINE];
        AlignedBuffer {
            begin: numbers.as_ptr().align_offset(CACHE_LINE * size_of::<f32>()),
            numbers,
            len,
        }
    }

    /// Makes it `len` zeros; reallocates only where the length changes.
    pub(in crate::cpu) fn reset(&mut self, len: usize) {
        if self.len == len {
            self.fill(0.0);
        } else {
            *self = AlignedBuffer::new(len);
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.begin..][..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.begin..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_the_length_asked_for_and_starts_on_a_cache_line() {
        for len in [0, 1, 15, 16, 17, 1000, 100_000] {
            let mut buffer = AlignedBuffer::new(len);
            assert_eq!(*buffer, vec![0.0; len]);
            assert_eq!(buffer.as_ptr().addr() % (CACHE_LINE * 4), 0);
            buffer.fill(1.0);
            assert_eq!(
                buffer.iter().map(|x| f64::from(*x)).sum::<f64>(),
                len as f64
            );
            for again in [len, len + 1] {
                buffer.reset(again);
                assert_eq!(*buffer, vec![0.0; again]);
            }
        }
    }
}
