//! Buffer liveness and memory assignment: buffers whose lifetimes do not overlap share memory.

use std::cmp::Reverse;
use std::ops::Range;

use super::program::Segment;
use crate::cpu::kernels::aligned_buffer::CACHE_LINE;

/// The buffer of a value or gradient: its size, lifetime and place in memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Buffer {
    /// Elements per image.
    pub(in crate::cpu) len: usize,
    /// Its first and last use; `None` if it is not used.
    uses: Option<(Time, Time)>,
    /// Whether it has to hold all images of a shard at the end of a segment.
    kept: bool,
    /// Its offset: in elements per image in the shard's arena if it holds all images, else in elements in the thread's
    /// arena for blocks.
    pub(in crate::cpu) at: usize,
}

/// An action of a program, as a point in time.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Time {
    pub(in crate::cpu) segment: usize,
    /// Index of the action in its segment.
    pub(in crate::cpu) action: usize,
}

impl Buffer {
    /// An unused buffer of `len` elements per image.
    pub(in crate::cpu) fn new(len: usize) -> Buffer {
        Buffer {
            len,
            uses: None,
            kept: false,
            at: 0,
        }
    }

    /// Extends its lifetime to an action, which is not before its last use.
    pub(in crate::cpu) fn use_at(&mut self, time: Time) {
        let first = self.uses.map_or(time, |(first, _)| first);
        self.uses = Some((first, time));
    }

    /// Makes it hold all images of a shard at the end of a segment.
    pub(in crate::cpu) fn keep_all_images(&mut self) {
        self.kept = true;
    }

    /// Whether it holds all images of a shard, and not only those of one block.
    pub(in crate::cpu) fn holds_all_images(&self) -> bool {
        self.kept
            || self
                .uses
                .is_some_and(|(first, last)| first.segment != last.segment)
    }

    /// The range of a block of images: in the arena of a shard of `images`, or in the arena for blocks.
    pub(in crate::cpu) fn range(&self, images: usize, block: &Range<usize>) -> Range<usize> {
        let (at, block) = if self.holds_all_images() {
            (self.at * images, block.clone())
        } else {
            (self.at, 0..block.len())
        };
        at + block.start * self.len..at + block.end * self.len
    }
}

/// The sizes of the arenas, in elements.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct ArenaSizes {
    /// Per image: the arena of a shard, for buffers that hold all its images.
    pub(in crate::cpu) shard: usize,
    /// Per thread: the arena for buffers that hold one block.
    pub(in crate::cpu) block: usize,
}

/// Assigns an offset to every buffer, and returns the sizes of the arenas. Buffers that are not alive at the same time
/// share memory, but for buffer 0, the input images.
pub(in crate::cpu) fn allocate(buffers: &mut [Buffer], segments: &[Segment]) -> ArenaSizes {
    let always = |segment| Time { segment, action: 0 };
    buffers[0].uses = Some((always(0), always(usize::MAX)));
    let mut of_shard = Vec::new();
    let mut of_block: Vec<Vec<Lifetime<'_>>> = segments.iter().map(|_| Vec::new()).collect();
    for buffer in buffers {
        let Some((first, last)) = buffer.uses else {
            continue;
        };
        // Buffers start on a cache line, so that no vector crosses two lines.
        let len = buffer.len.next_multiple_of(CACHE_LINE);
        if buffer.holds_all_images() {
            of_shard.push(Lifetime {
                from: first.segment,
                until: last.segment,
                len,
                buffer,
            });
        } else {
            of_block[first.segment].push(Lifetime {
                from: first.action,
                until: last.action,
                len: segments[first.segment].block_images * len,
                buffer,
            });
        }
    }
    ArenaSizes {
        shard: pack(of_shard),
        block: of_block.into_iter().map(pack).max().unwrap_or(0),
    }
}

/// A buffer that needs `len` elements of memory from one point in time until another, both included.
struct Lifetime<'a> {
    from: usize,
    until: usize,
    len: usize,
    buffer: &'a mut Buffer,
}

/// Assigns offsets greedily: the largest buffer first, each at the lowest offset that is free during its lifetime. Returns
/// the size of the arena.
fn pack(mut lifetimes: Vec<Lifetime<'_>>) -> usize {
    lifetimes.sort_by_key(|lifetime| Reverse(lifetime.len));
    let mut end = 0;
    let mut placed: Vec<Lifetime<'_>> = Vec::with_capacity(lifetimes.len());
    for lifetime in lifetimes {
        let others = placed
            .iter()
            .filter(|other| other.from <= lifetime.until && lifetime.from <= other.until);
        let mut taken: Vec<(usize, usize)> =
            others.map(|other| (other.buffer.at, other.len)).collect();
        taken.sort_unstable();
        let mut at = 0;
        for (other, len) in taken {
            if at + lifetime.len <= other {
                break;
            }
            at = at.max(other + len);
        }
        lifetime.buffer.at = at;
        end = end.max(at + lifetime.len);
        placed.push(lifetime);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uniform::uniform;

    #[test]
    fn buffers_alive_at_one_time_do_not_overlap_and_little_memory_is_wasted() {
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
        let mut buffers = vec![Buffer::new(0); wanted.len()];
        let lifetimes = wanted.iter().zip(&mut buffers);
        let lifetimes = lifetimes.map(|(&(from, until, len), buffer)| Lifetime {
            from,
            until,
            len,
            buffer,
        });
        let end = pack(lifetimes.collect());
        let all: Vec<_> = wanted.iter().zip(&buffers).collect();
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
