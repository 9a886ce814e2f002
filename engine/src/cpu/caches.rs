//! The sizes of caches by which a plan is cut.

/// How much of what a plan computes shall be in the caches of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caches {
    /// Bytes that a block of images is computed from and to: a part of a core's second cache.
    pub(super) block_bytes: usize,
    /// Bytes of filters that a segment reads in evaluation: half of a core's second cache.
    pub(super) filter_bytes: usize,
    /// Numbers of a task from which on the output of an expanding convolution is computed again in
    /// training instead of kept: half of a core's second cache.
    pub(super) expanded_numbers: usize,
    /// Numbers of all values of a task's images from which on a batch is cut into more tasks.
    pub(super) task_numbers: usize,
}

impl Default for Caches {
    /// Measured on processors with 1 to 2 MiB of second cache a core.
    fn default() -> Caches {
        Caches {
            block_bytes: 512 << 10,
            filter_bytes: 1 << 20,
            expanded_numbers: 1 << 18,
            task_numbers: 1 << 22,
        }
    }
}

#[cfg(test)]
impl Caches {
    /// So small that the networks of tests are cut as large ones are.
    pub(super) const TINY: Caches = Caches {
        block_bytes: 8 << 10,
        filter_bytes: 4 << 10,
        expanded_numbers: 1 << 8,
        task_numbers: 1 << 12,
    };
}
