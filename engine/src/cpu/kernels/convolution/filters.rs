//! How filters lie in memory, so that a product reads them as they are: for each group, strips of
//! [`LANES`] channels that are computed, and for each strip [tap][channel that is gathered][LANES].

use rayon::prelude::*;

use super::Walk;
use crate::cpu::kernels::layout::LANES;

/// Sizes of the filters of a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cpu) struct Filters {
    pub(in crate::cpu) groups: usize,
    pub(in crate::cpu) kernel: usize,
    /// Channels of a group that are gathered.
    pub(in crate::cpu) from: usize,
    /// Channels of a group that are computed.
    pub(in crate::cpu) to: usize,
}

impl Filters {
    /// Numbers, padding included.
    pub(in crate::cpu) fn len(&self) -> usize {
        self.groups * self.strips() * self.strip()
    }

    /// Strips of a group.
    pub(in crate::cpu) fn strips(&self) -> usize {
        self.to.div_ceil(LANES)
    }

    /// Numbers of a strip.
    pub(in crate::cpu) fn strip(&self) -> usize {
        self.kernel * self.from * LANES
    }

    /// Where the number at [out][in][tap] of a state dict is.
    pub(in crate::cpu) fn place(&self, at: usize) -> usize {
        let out = at / (self.kernel * self.from);
        let (from, tap) = (at / self.kernel % self.from, at % self.kernel);
        let (group, to) = (out / self.to, out % self.to);
        let strip = group * self.strips() + to / LANES;
        strip * self.strip() + (tap * self.from + from) * LANES + to % LANES
    }

    /// The sizes of the filters that give the gradient of what these gather.
    pub(in crate::cpu) fn transposed(&self) -> Filters {
        Filters {
            from: self.to,
            to: self.from,
            ..*self
        }
    }

    /// Writes the filters that give the gradient of what these gather, as far as `walks` read them.
    pub(in crate::cpu) fn transpose(&self, walks: &[Walk], filters: &[f32], into: &mut [f32]) {
        let turned = self.transposed();
        let strips = into.par_chunks_exact_mut(turned.strip()).enumerate();
        strips.for_each(|(number, into)| {
            let (group, strip) = (number / turned.strips(), number % turned.strips());
            let first = strip * LANES;
            let count = LANES.min(self.from - first);
            let filters = &filters[group * self.strips() * self.strip()..];
            for (source, filters) in filters
                .chunks_exact(self.strip())
                .enumerate()
                .take(self.strips())
            {
                let columns = LANES.min(self.to - source * LANES);
                for tap in walks.iter().flat_map(|walk| &walk.taps) {
                    let tap = tap.number;
                    let from = &filters[(tap * self.from + first) * LANES..][..count * LANES];
                    let to = (tap * self.to + source * LANES) * LANES;
                    let (from, _) = from.as_chunks();
                    let (to, _) = into[to..][..columns * LANES].as_chunks_mut();
                    turn(from, to);
                }
            }
        });
    }
}

/// to[j][i] = from[i][j]; what has no `from` is 0.
#[inline(always)]
fn turn(from: &[[f32; LANES]], to: &mut [[f32; LANES]]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>()) {
        for (j, to) in to.iter_mut().enumerate() {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from[j];
            }
        }
        return;
    }
    for (j, to) in to.iter_mut().enumerate() {
        to.fill(0.0);
        for (to, from) in to.iter_mut().zip(from) {
            *to = from[j];
        }
    }
}
