//! Memory: what values and gradients are read from and written to.

use std::io;
use std::ops::Range;

use memmap2::MmapMut;

use crate::cpu::plan::liveness::Slot;

/// Numbers, 0 at first.
#[derive(Debug)]
pub(in crate::cpu) struct Memory(MmapMut);

impl Memory {
    pub(in crate::cpu) fn new(numbers: usize) -> io::Result<Memory> {
        let bytes = MmapMut::map_anon(numbers * size_of::<f32>())?;
        // Fewer pages are fewer places to look up; where there are no large ones, the small do.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(Memory(bytes))
    }

    pub(in crate::cpu) fn numbers(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub(in crate::cpu) fn numbers_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Where the values and gradients of a task are while it runs.
pub(in crate::cpu) struct Room<'a> {
    /// Of the task.
    pub(in crate::cpu) images: usize,
    /// What holds all of them.
    pub(in crate::cpu) whole: &'a mut [f32],
    /// What holds those of a block.
    pub(in crate::cpu) near: &'a mut [f32],
}

impl Room<'_> {
    /// A block's images in a slot.
    pub(in crate::cpu) fn get(&self, slot: &Slot, block: &Range<usize>) -> &[f32] {
        let range = slot.range(self.images, block);
        match slot.is_whole() {
            true => &self.whole[range],
            false => &self.near[range],
        }
    }

    /// The same to be written, while all else is read.
    pub(in crate::cpu) fn write(
        &mut self,
        slot: &Slot,
        block: &Range<usize>,
    ) -> (&mut [f32], Others<'_>) {
        let range = slot.range(self.images, block);
        let (written, other) = match slot.is_whole() {
            true => (&mut *self.whole, &*self.near),
            false => (&mut *self.near, &*self.whole),
        };
        let (before, rest) = written.split_at_mut(range.start);
        let (target, after) = rest.split_at_mut(range.len());
        let others = Others {
            images: self.images,
            is_whole: slot.is_whole(),
            before,
            after,
            end: range.end,
            other,
        };
        (target, others)
    }
}

/// What is not being written.
pub(in crate::cpu) struct Others<'a> {
    images: usize,
    /// Whether a slot that holds all images is being written.
    is_whole: bool,
    before: &'a [f32],
    after: &'a [f32],
    /// Where what is being written ends.
    end: usize,
    /// The memory in which nothing is being written.
    other: &'a [f32],
}

impl<'a> Others<'a> {
    /// As [`Room::get`].
    pub(in crate::cpu) fn get(&self, slot: &Slot, block: &Range<usize>) -> &'a [f32] {
        let range = slot.range(self.images, block);
        if slot.is_whole() != self.is_whole {
            return &self.other[range];
        }
        match range.start < self.end {
            true => &self.before[range],
            false => &self.after[range.start - self.end..range.end - self.end],
        }
    }
}
