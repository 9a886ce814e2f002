//! Which memory a value or gradient has, and for how long.

use std::ops::Range;

use super::program::Segment;

/// A value or gradient, as long as it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Numbers for an image.
    pub(super) len: usize,
    /// The first and the last action that uses it.
    uses: Option<(Place, Place)>,
    /// Whether all images have to be there when a segment ends.
    kept: bool,
    /// Which of a task's buffers it is in.
    pub(super) buffer: usize,
}

/// A segment, and an action there.
type Place = (usize, usize);

impl Slot {
    pub(super) fn new(len: usize) -> Slot {
        Slot {
            len,
            uses: None,
            kept: false,
            buffer: usize::MAX,
        }
    }

    /// An action uses it.
    pub(super) fn touch(&mut self, at: Place) {
        let first = self.uses.map_or(at, |(first, _)| first);
        self.uses = Some((first, at));
    }

    /// Segments leave all images of it.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Whether it holds all images of a task, and not only those of a block.
    pub(super) fn is_whole(&self) -> bool {
        self.kept || self.uses.is_some_and(|(first, last)| first.0 != last.0)
    }

    /// Where some of a task's images are in the buffer.
    pub(super) fn range(&self, block: &Range<usize>) -> Range<usize> {
        match self.is_whole() {
            true => block.start * self.len..block.end * self.len,
            false => 0..block.len() * self.len,
        }
    }
}

/// A buffer of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Buffer {
    /// Numbers for each of the task's images.
    Whole(usize),
    /// Numbers in all.
    Near(usize),
}

/// Gives every slot a buffer; those share one that live one after the other. The first slot, the images',
/// has its own.
pub(super) fn assign(slots: &mut [Slot], segments: &[Segment]) -> Vec<Buffer> {
    let mut near = Pool::default();
    let mut whole = Pool::default();
    slots[0].buffer = whole.take(slots[0].len);
    for (number, segment) in segments.iter().enumerate() {
        let here = |place: Place| place.0 == number;
        for slot in &mut slots[1..] {
            if slot.is_whole() && slot.uses.is_some_and(|(first, _)| here(first)) {
                slot.buffer = whole.take(slot.len);
            }
        }
        let inside =
            |slot: &&mut Slot| !slot.is_whole() && slot.uses.is_some_and(|(first, _)| here(first));
        let mut inside: Vec<&mut Slot> = slots[1..].iter_mut().filter(inside).collect();
        for action in 0..segment.actions.len() {
            let at = (number, action);
            for slot in &mut inside {
                if slot.uses.is_some_and(|(first, _)| first == at) {
                    slot.buffer = near.take(segment.block * slot.len);
                }
            }
            for slot in &inside {
                if slot.uses.is_some_and(|(_, last)| last == at) {
                    near.give(slot.buffer);
                }
            }
        }
        for slot in &slots[1..] {
            if slot.is_whole() && slot.uses.is_some_and(|(_, last)| here(last)) {
                whole.give(slot.buffer);
            }
        }
    }
    for slot in &mut slots[1..] {
        if slot.uses.is_some() && !slot.is_whole() {
            slot.buffer += whole.sizes.len();
        }
    }
    let whole = whole.sizes.into_iter().map(Buffer::Whole);
    whole
        .chain(near.sizes.into_iter().map(Buffer::Near))
        .collect()
}

/// Buffers that are used again.
#[derive(Debug, Default)]
struct Pool {
    sizes: Vec<usize>,
    free: Vec<usize>,
}

impl Pool {
    /// A free buffer: the smallest that is large enough, else the largest, which grows.
    fn take(&mut self, wanted: usize) -> usize {
        let sizes = &self.sizes;
        let best = self.free.iter().enumerate().min_by_key(|(_, buffer)| {
            let size = sizes[**buffer];
            let small = size < wanted;
            (small, if small { usize::MAX - size } else { size })
        });
        let buffer = match best.map(|(at, _)| at) {
            Some(at) => self.free.swap_remove(at),
            None => {
                self.sizes.push(0);
                self.sizes.len() - 1
            }
        };
        self.sizes[buffer] = self.sizes[buffer].max(wanted);
        buffer
    }

    fn give(&mut self, buffer: usize) {
        self.free.push(buffer);
    }
}
