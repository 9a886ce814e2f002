//! Numbers that begin where a line of a cache does, so that no vector of them lies in two lines.

use std::ops::{Deref, DerefMut};

/// Numbers of a line of a cache, which is as long as the widest vector.
pub(in crate::cpu) const LINE: usize = 16;

/// So many numbers.
#[derive(Debug, Default)]
pub(in crate::cpu) struct Lines {
    /// With room for a beginning at any place of a line.
    numbers: Vec<f32>,
    begin: usize,
    len: usize,
}

impl Lines {
    /// Zeros, whose memory is not touched yet.
    pub(in crate::cpu) fn new(len: usize) -> Lines {
        let numbers = vec![0.0; len + LINE];
        Lines {
            begin: numbers.as_ptr().align_offset(LINE * size_of::<f32>()),
            numbers,
            len,
        }
    }

    /// Makes them so many zeros, where they are if there are as many already.
    pub(in crate::cpu) fn reset(&mut self, len: usize) {
        match self.len == len {
            true => self.fill(0.0),
            false => *self = Lines::new(len),
        }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.begin..][..self.len]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.begin..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_many_as_asked_for_and_begin_where_a_line_does() {
        for len in [0, 1, 15, 16, 17, 1000, 100_000] {
            let mut lines = Lines::new(len);
            assert_eq!(*lines, vec![0.0; len]);
            assert_eq!(lines.as_ptr().addr() % (LINE * 4), 0);
            lines.fill(1.0);
            assert_eq!(lines.iter().map(|x| f64::from(*x)).sum::<f64>(), len as f64);
            for again in [len, len + 1] {
                lines.reset(again);
                assert_eq!(*lines, vec![0.0; again]);
            }
        }
    }
}
