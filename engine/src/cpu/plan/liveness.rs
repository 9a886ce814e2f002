//! How long values and gradients are needed, and where each lies in memory meanwhile.

use std::cmp::Reverse;
use std::ops::Range;

use super::program::Segment;
use crate::cpu::kernels::lines::LINE;

/// A value or gradient, as long as it is needed.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Slot {
    /// Numbers for an image.
    pub(in crate::cpu) len: usize,
    /// The first and the last action that uses it.
    uses: Option<(Place, Place)>,
    /// Whether all images have to be there when a segment ends.
    kept: bool,
    /// Numbers that lie before it: for each image where it holds all of them, else in all.
    pub(in crate::cpu) at: usize,
}

/// A segment, and an action there.
type Place = (usize, usize);

impl Slot {
    pub(in crate::cpu) fn new(len: usize) -> Slot {
        Slot {
            len,
            uses: None,
            kept: false,
            at: 0,
        }
    }

    /// An action uses it.
    pub(in crate::cpu) fn touch(&mut self, at: Place) {
        let first = self.uses.map_or(at, |(first, _)| first);
        self.uses = Some((first, at));
    }

    /// Segments leave all images of it.
    pub(in crate::cpu) fn keep(&mut self) {
        self.kept = true;
    }

    /// Whether it holds all images of a task, and not only those of a block.
    pub(in crate::cpu) fn is_whole(&self) -> bool {
        self.kept || self.uses.is_some_and(|(first, last)| first.0 != last.0)
    }

    /// Where a block of so many images lies in the memory for all of them, or in that for blocks.
    pub(in crate::cpu) fn range(&self, images: usize, block: &Range<usize>) -> Range<usize> {
        let (at, block) = match self.is_whole() {
            true => (self.at * images, block.clone()),
            false => (self.at, 0..block.len()),
        };
        at + block.start * self.len..at + block.end * self.len
    }
}

/// How much memory is needed, in numbers.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Extent {
    /// For each image: what holds all images.
    pub(in crate::cpu) whole: usize,
    /// For each thread: what holds those of a block.
    pub(in crate::cpu) near: usize,
}

/// Gives every slot a place; those share one that live one after the other. The first slot, the images',
/// has its own.
pub(in crate::cpu) fn assign(slots: &mut [Slot], segments: &[Segment]) -> Extent {
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
