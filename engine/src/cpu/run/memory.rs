//! The memory of values and gradients, and views into it.

use std::io;
use std::ops::Range;

use memmap2::MmapMut;

use crate::cpu::plan::liveness::Buffer;

/// Zeroed memory for f32, in huge pages where the system has them.
#[derive(Debug)]
pub(in crate::cpu) struct Arena(MmapMut);

impl Arena {
    pub(in crate::cpu) fn new(numbers: usize) -> io::Result<Arena> {
        let bytes = MmapMut::map_anon(numbers * size_of::<f32>())?;
        // Huge pages cut TLB misses; without them the system falls back silently.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(Arena(bytes))
    }

    pub(in crate::cpu) fn numbers(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub(in crate::cpu) fn numbers_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// The memory of a shard while it runs.
pub(in crate::cpu) struct ShardMemory<'a> {
    /// Images of the shard.
    pub(in crate::cpu) images: usize,
    /// Buffers that hold all images of the shard.
    pub(in crate::cpu) shard: &'a mut [f32],
    /// Buffers that hold the images of one block.
    pub(in crate::cpu) block: &'a mut [f32],
}

impl ShardMemory<'_> {
    /// The images of a block in a buffer.
    pub(in crate::cpu) fn get(&self, buffer: &Buffer, block: &Range<usize>) -> &[f32] {
        let range = buffer.range(self.images, block);
        if buffer.holds_all_images() {
            &self.shard[range]
        } else {
            &self.block[range]
        }
    }

    /// The images of a block in a buffer, to be written while other buffers are read.
    pub(in crate::cpu) fn split(
        &mut self,
        buffer: &Buffer,
        block: &Range<usize>,
    ) -> (&mut [f32], ReadView<'_>) {
        let range = buffer.range(self.images, block);
        let (written, other) = if buffer.holds_all_images() {
            (&mut *self.shard, &*self.block)
        } else {
            (&mut *self.block, &*self.shard)
        };
        let (before, rest) = written.split_at_mut(range.start);
        let (target, after) = rest.split_at_mut(range.len());
        let others = ReadView {
            images: self.images,
            writes_shard: buffer.holds_all_images(),
            before,
            after,
            end: range.end,
            other,
        };
        (target, others)
    }
}

/// The memory of a shard without the range that is being written.
pub(in crate::cpu) struct ReadView<'a> {
    images: usize,
    /// Whether the buffer that is being written holds all images of the shard.
    writes_shard: bool,
    before: &'a [f32],
    after: &'a [f32],
    /// The end of the range that is being written.
    end: usize,
    /// The one of the two memories in which nothing is being written.
    other: &'a [f32],
}

impl<'a> ReadView<'a> {
    /// The images of a block in a buffer, as [`ShardMemory::get`].
    pub(in crate::cpu) fn get(&self, buffer: &Buffer, block: &Range<usize>) -> &'a [f32] {
        let range = buffer.range(self.images, block);
        if buffer.holds_all_images() != self.writes_shard {
            return &self.other[range];
        }
        if range.start < self.end {
            &self.before[range]
        } else {
            &self.after[range.start - self.end..range.end - self.end]
        }
    }
}
