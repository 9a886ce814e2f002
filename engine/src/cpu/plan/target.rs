//! The machine that a plan is made for: element type, vector width and cache sizes.

use crate::cpu::kernels::layout::LANES;

/// The sizes that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) struct Target {
    /// Bytes per element.
    pub(in crate::cpu) element_bytes: usize,
    /// Elements of the widest vector; channels are padded to a multiple of it.
    pub(in crate::cpu) lanes: usize,
    /// Bytes of the values of a block of images that one action reads and writes: a part of a core's L2 cache.
    pub(in crate::cpu) block_bytes: usize,
    /// Bytes of filters that a segment reads in evaluation, at most: half of a core's L2 cache.
    pub(in crate::cpu) filter_bytes: usize,
    /// Output elements of a shard from which on training recomputes an expanding 1 × 1 convolution instead of keeping its
    /// output: half of a core's L2 cache.
    pub(in crate::cpu) fused_min_elements: usize,
    /// Elements of all values of a shard from which on a batch is cut into more shards.
    pub(in crate::cpu) shard_min_elements: usize,
}

impl Default for Target {
    /// Measured on processors with 1 to 2 MiB of L2 cache per core.
    fn default() -> Target {
        Target {
            element_bytes: size_of::<f32>(),
            lanes: LANES,
            block_bytes: 512 << 10,
            filter_bytes: 1 << 20,
            fused_min_elements: 1 << 18,
            shard_min_elements: 1 << 22,
        }
    }
}

#[cfg(test)]
impl Target {
    /// So small that the networks of tests are cut into blocks and segments as large ones are.
    pub(in crate::cpu) const TINY: Target = Target {
        element_bytes: size_of::<f32>(),
        lanes: LANES,
        block_bytes: 8 << 10,
        filter_bytes: 4 << 10,
        fused_min_elements: 1 << 8,
        shard_min_elements: 1 << 12,
    };
}
