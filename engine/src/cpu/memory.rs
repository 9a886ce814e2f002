//! Memory: where a value or gradient lies, and for how long.

use std::cmp::Reverse;
use std::io;
use std::ops::Range;

use memmap2::MmapMut;

use super::lines::LINE;
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
    /// Numbers that lie before it: for each image where it holds all of them, else in all.
    pub(super) at: usize,
}

/// A segment, and an action there.
type Place = (usize, usize);

impl Slot {
    pub(super) fn new(len: usize) -> Slot {
        Slot {
            len,
            uses: None,
            kept: false,
            at: 0,
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

    /// Where a block of so many images lies in the memory for all of them, or in that for blocks.
    pub(super) fn range(&self, images: usize, block: &Range<usize>) -> Range<usize> {
        let (at, block) = match self.is_whole() {
            true => (self.at * images, block.clone()),
            false => (self.at, 0..block.len()),
        };
        at + block.start * self.len..at + block.end * self.len
    }
}

/// How much memory is needed, in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// For each image: what holds all images.
    pub(super) whole: usize,
    /// For each thread: what holds those of a block.
    pub(super) near: usize,
}

/// Gives every slot a place; those share one that live one after the other. The first slot, the images',
/// has its own.
pub(super) fn assign(slots: &mut [Slot], segments: &[Segment]) -> Extent {
    slots[0].uses = Some(((0, 0), (usize::MAX, 0)));
    let mut whole = Vec::new();
    let mut near: Vec<Vec<Tenant<'_>>> = segments.iter().map(|_| Vec::new()).collect();
    for slot in slots {
        let Some((first, last)) = slot.uses else {
            continue;
        };
        // Values begin where a line does, so that no vector lies in two.
        let len = slot.len.next_multiple_of(LINE);
        match slot.is_whole() {
            true => whole.push(Tenant {
                from: first.0,
                until: last.0,
                len,
                slot,
            }),
            false => near[first.0].push(Tenant {
                from: first.1,
                until: last.1,
                len: segments[first.0].block * len,
                slot,
            }),
        }
    }
    Extent {
        whole: pack(whole),
        near: near.into_iter().map(pack).max().unwrap_or(0),
    }
}

/// A slot that wants memory from one point of time until another.
struct Tenant<'a> {
    from: usize,
    until: usize,
    len: usize,
    slot: &'a mut Slot,
}

/// Gives each its place, the largest first, as low as no other of its time is; returns where the last
/// ends.
fn pack(mut tenants: Vec<Tenant<'_>>) -> usize {
    tenants.sort_by_key(|tenant| Reverse(tenant.len));
    let mut end = 0;
    let mut placed: Vec<Tenant<'_>> = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let others = placed
            .iter()
            .filter(|other| other.from <= tenant.until && tenant.from <= other.until);
        let mut taken: Vec<(usize, usize)> =
            others.map(|other| (other.slot.at, other.len)).collect();
        taken.sort_unstable();
        let mut at = 0;
        for (other, len) in taken {
            if at + tenant.len <= other {
                break;
            }
            at = at.max(other + len);
        }
        tenant.slot.at = at;
        end = end.max(at + tenant.len);
        placed.push(tenant);
    }
    end
}

/// Numbers, 0 at first.
#[derive(Debug)]
pub(super) struct Memory(MmapMut);

impl Memory {
    pub(super) fn new(numbers: usize) -> io::Result<Memory> {
        let bytes = MmapMut::map_anon(numbers * size_of::<f32>())?;
        // Fewer pages are fewer places to look up; where there are no large ones, the small do.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::HugePage);
        Ok(Memory(bytes))
    }

    pub(super) fn numbers(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Where the values and gradients of a task are while it runs.
pub(super) struct Room<'a> {
    /// Of the task.
    pub(super) images: usize,
    /// What holds all of them.
    pub(super) whole: &'a mut [f32],
    /// What holds those of a block.
    pub(super) near: &'a mut [f32],
}

impl Room<'_> {
    /// A block's images in a slot.
    pub(super) fn get(&self, slot: &Slot, block: &Range<usize>) -> &[f32] {
        let range = slot.range(self.images, block);
        match slot.is_whole() {
            true => &self.whole[range],
            false => &self.near[range],
        }
    }

    /// The same to be written, while all else is read.
    pub(super) fn write(&mut self, slot: &Slot, block: &Range<usize>) -> (&mut [f32], Others<'_>) {
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
pub(super) struct Others<'a> {
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
    pub(super) fn get(&self, slot: &Slot, block: &Range<usize>) -> &'a [f32] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uniform::uniform;

    #[test]
    fn what_lives_at_one_time_lies_apart_and_nothing_lies_idle_for_long() {
        let draws = uniform("tenants", 600);
        let draw =
            |at: usize, count: f64| ((draws[at] / 3_f64.sqrt() + 1.0) / 2.0 * count) as usize;
        let wanted: Vec<(usize, usize, usize)> = (0..200)
            .map(|i| {
                let from = draw(3 * i, 100.0);
                (
                    from,
                    from + draw(3 * i + 1, 30.0),
                    1 + draw(3 * i + 2, 50.0),
                )
            })
            .collect();
        let mut slots = vec![Slot::new(0); wanted.len()];
        let tenants = wanted.iter().zip(&mut slots);
        let tenants = tenants.map(|(&(from, until, len), slot)| Tenant {
            from,
            until,
            len,
            slot,
        });
        let end = pack(tenants.collect());
        let all: Vec<_> = wanted.iter().zip(&slots).collect();
        for (i, (a, here)) in all.iter().enumerate() {
            assert!(here.at + a.2 <= end);
            for (b, there) in &all[..i] {
                let meet = a.0 <= b.1 && b.0 <= a.1;
                let apart = here.at + a.2 <= there.at || there.at + b.2 <= here.at;
                assert!(!meet || apart, "{a:?} {here:?} {b:?} {there:?}");
            }
        }
        let alive = |time: usize| -> usize {
            let now = wanted
                .iter()
                .filter(|(from, until, _)| (*from..=*until).contains(&time));
            now.map(|(.., len)| len).sum()
        };
        let least = (0..130).map(alive).max().unwrap();
        assert!(end < least + least / 4, "{end} of at least {least}");
    }
}
