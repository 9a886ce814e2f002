//! Numbers that begin where a line of a cache does, so that no vector of them lies in two lines.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use super::layout::LANES;

/// So many numbers; the last line is filled up with zeros.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    len: usize,
}

/// A line of the cache: one vector of the widest kind.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

impl Lines {
    /// Zeros.
    pub(super) fn new(len: usize) -> Lines {
        Lines {
            lines: vec![Line([0.0; LANES]); len.div_ceil(LANES)],
            len,
        }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_many_as_asked_for_and_begin_where_a_line_does() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut lines = Lines::new(len);
            assert_eq!(*lines, vec![0.0; len]);
            assert_eq!(lines.as_ptr().addr() % 64, 0);
            lines.fill(1.0);
            assert_eq!(lines.iter().sum::<f32>(), len as f32);
        }
    }
}
