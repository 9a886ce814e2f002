//! What a plan is made for: the numbers, vectors and caches of a processor.

use crate::cpu::kernels::layout::LANES;

/// Sizes by which a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) struct Target {
    /// Bytes of a number in memory.
    pub(in crate::cpu) element_bytes: usize,
    /// Numbers of the widest vector, of which channels are padded to a multiple.
    pub(in crate::cpu) lanes: usize,
    /// Bytes that a block of images is computed from and to: a part of a core's second cache.
    pub(in crate::cpu) block_bytes: usize,
    /// Bytes of filters that a segment reads in evaluation: half of a core's second cache.
    pub(in crate::cpu) filter_bytes: usize,
    /// Numbers of a task from which on the output of an expanding convolution is computed again in
    /// training instead of kept: half of a core's second cache.
    pub(in crate::cpu) expanded_numbers: usize,
    /// Numbers of all values of a task's images from which on a batch is cut into more tasks.
    pub(in crate::cpu) task_numbers: usize,
}

impl Default for Target {
    /// Measured on processors with 1 to 2 MiB of second cache a core.
    fn default() -> Target {
        Target {
            element_bytes: size_of::<f32>(),
            lanes: LANES,
            block_bytes: 512 << 10,
            filter_bytes: 1 << 20,
            expanded_numbers: 1 << 18,
            task_numbers: 1 << 22,
        }
    }
}

#[cfg(test)]
impl Target {
    /// So small that the networks of tests are cut as large ones are.
    pub(in crate::cpu) const TINY: Target = Target {
        element_bytes: size_of::<f32>(),
        lanes: LANES,
        block_bytes: 8 << 10,
        filter_bytes: 4 << 10,
        expanded_numbers: 1 << 8,
        task_numbers: 1 << 12,
    };
}
