//! The product that gathers: forward, and the gradient of the input.

use pulp::{Simd, WithSimd};

use super::even::Even;
use super::{Tap, Walk};
use crate::cpu::kernels::activation::{above, below};
use crate::cpu::kernels::finish::Finish;
use crate::cpu::kernels::isa::{Isa, fetch_place};
use crate::cpu::kernels::layout::{LANES, Plane, padded, stride};
use crate::cpu::kernels::multiply::{Acc, rows_by_strips, vectors};
use crate::net::Shape;

/// What a gather reads and writes.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Gather<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) walks: &'a [Walk],
    /// An image of the source, and of the result.
    pub(in crate::cpu) shapes: (Plane, Shape),
    pub(in crate::cpu) groups: usize,
    pub(in crate::cpu) source: &'a [f32],
    /// Filters in strips, see [`super::Filters`].
    pub(in crate::cpu) filters: &'a [f32],
    /// A zero for every channel that is gathered: what a tap sees outside of the map.
    pub(in crate::cpu) outside: &'a [f32],
    /// One number a channel of the result, which is added to it.
    pub(in crate::cpu) bias: Option<&'a [f32]>,
    /// Whether the result is added to what is there.
    pub(in crate::cpu) add: bool,
    /// What is done to the result where it is not added.
    pub(in crate::cpu) finish: Option<Finish<'a>>,
    /// Under one tap and without padding, where the result is not added: what is below 0 becomes 0, and what is above
    /// this becomes it.
    pub(in crate::cpu) limit: Option<f32>,
}

impl Gather<'_> {
    /// Computes all of `result`.
    pub(in crate::cpu) fn run(&self, result: &mut [f32]) {
        self.isa.run(Images {
            gather: self,
            result,
        });
    }

    /// What sums of `NS` strips begin with, from a channel of the result on: the bias, unless they go on from others.
    #[inline(always)]
    pub(super) fn first<S: Simd, const NS: usize, const V: usize>(
        &self,
        simd: S,
        channel: usize,
        on: bool,
    ) -> [[S::f32s; V]; NS] {
        let (Some(bias), false) = (self.bias, on) else {
            return [[simd.splat_f32s(0.0); V]; NS];
        };
        let to = self.shapes.1.channels / self.groups;
        let width = (NS * LANES).min(to - channel % to);
        let mut padded = [[0.0; LANES]; NS];
        padded.as_flattened_mut()[..width].copy_from_slice(&bias[channel..][..width]);
        let vectors = vectors::<S, V>(padded.as_flattened());
        std::array::from_fn(|strip| vectors[strip])
    }
}

/// Brings a tile within limits.
#[inline(always)]
pub(super) fn bound<S: Simd, const MR: usize, const NS: usize, const V: usize>(
    simd: S,
    acc: &mut Acc<S, MR, NS, V>,
    limit: f32,
) {
    for row in acc {
        for sum in row.as_flattened_mut() {
            *sum = below(simd, above(simd, *sum, 0.0), limit);
        }
    }
}

/// Writes a row of a tile, or adds it.
#[inline(always)]
pub(super) fn write<S: Simd, const NS: usize, const V: usize>(
    simd: S,
    sums: &[[S::f32s; V]; NS],
    (to, add): (&mut [f32], bool),
) {
    let (to, _) = S::as_mut_simd_f32s(&mut to[..NS * LANES]);
    for (to, sum) in to.iter_mut().zip(sums.as_flattened()) {
        *to = if add { simd.add_f32s(*to, *sum) } else { *sum };
    }
}

/// Rows that share filters while these are near: a multiple of the rows of every tile.
const BLOCK: usize = 120;
/// Rows of the filters that a block goes through at once.
const DEPTH: usize = 2048;
/// Bytes of filters of which all strips are gone through for some rows before the next rows are: half of a first
/// cache of 48 KiB, three quarters of one of 32.
pub(super) const FEW: usize = 24 << 10;
/// Pixels of a map up to which rows go image by image for a pixel, and not pixel by pixel for an image, where there
/// are several taps: a tile's rows then see the same ones, and those in the padding are left out.
const SMALL: usize = 64;

/// The images of a gather.
struct Images<'a> {
    gather: &'a Gather<'a>,
    result: &'a mut [f32],
}

/// A row of the result: a pixel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    /// Where in the source the pixel under a tap without shift begins.
    pub(super) from: isize,
    pub(super) down: isize,
    pub(super) over: isize,
    /// Where the pixel begins in the result.
    pub(super) to: usize,
}

impl WithSimd for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for walk in self.gather.walks {
            // The width of what is in registers follows from how many there are.
            match S::F32_LANES {
                16 => self.walk::<S, 8, 1>(simd, walk),
                _ => self.walk::<S, 4, 2>(simd, walk),
            }
        }
    }
}

impl Images<'_> {
    #[inline(always)]
    fn walk<S: Simd, const MR: usize, const V: usize>(&mut self, simd: S, walk: &Walk) {
        let gather = self.gather;
        let count = self.result.len() / padded(gather.shapes.1);
        let mut rows = Rows::new(gather, walk, count);
        let mut block = [Row::default(); BLOCK];
        loop {
            let filled = rows.fill(&mut block);
            if filled == 0 {
                return;
            }
            if let Some(rows) = Even::of(gather, walk, &block[..filled]) {
                rows.run::<S, MR, V>(simd, self.result);
                continue;
            }
            debug_assert!(gather.limit.is_none());
            // Rows past the end repeat the last, and are not written.
            let end = filled.next_multiple_of(MR);
            let last = block[filled - 1];
            block[filled..end].fill(last);
            let taps = DEPTH.div_ceil(self.depth());
            // A walk without taps writes zeros.
            for first in (0..walk.taps.len().max(1)).step_by(taps) {
                let last = first + taps >= walk.taps.len();
                let taps = Taps {
                    kernel: walk.kernel,
                    taps: &walk.taps[first..walk.taps.len().min(first + taps)],
                    on: first > 0,
                    finish: gather.finish.filter(|_| last),
                };
                for group in 0..gather.groups {
                    self.group::<S, MR, V>(simd, &block[..end], filled, &taps, group);
                }
            }
        }
    }

    /// Channels of a group that are gathered.
    #[inline(always)]
    fn depth(&self) -> usize {
        self.gather.shapes.0.channels / self.gather.groups
    }

    #[inline(always)]
    fn group<S: Simd, const MR: usize, const V: usize>(
        &mut self,
        simd: S,
        block: &[Row],
        filled: usize,
        taps: &Taps<'_>,
        group: usize,
    ) {
        let to = self.gather.shapes.1.channels / self.gather.groups;
        let strips = to.div_ceil(LANES);
        let len = taps.kernel * self.depth() * LANES;
        let filters = &self.gather.filters[group * strips * len..][..strips * len];
        // Small filters stay in the first cache: then rows are read, and written, once.
        let near = match (size_of_val(filters) <= FEW, S::F32_LANES) {
            (true, _) => strips,
            (false, 16) => 2,
            (false, _) => 1,
        };
        for first in (0..strips).step_by(near) {
            let end = strips.min(first + near);
            let tiles = || block.chunks_exact(MR);
            for (number, rows) in tiles().enumerate() {
                let Some(rows) = rows.first_chunk() else {
                    continue;
                };
                let count = MR.min(filled - number * MR);
                let mut strip = first;
                while strip < end {
                    let width = match (S::F32_LANES, end - strip) {
                        (16, 2..) => 2,
                        _ => 1,
                    };
                    // Asks for what the next tile writes: its stores would wait longer for memory than a tile takes.
                    for row in tiles().nth(number + 1).into_iter().flatten() {
                        for strip in strip..strip + width {
                            let place = row.to + group * to + strip * LANES;
                            fetch_place(simd, self.result, place);
                        }
                    }
                    let part = Part {
                        gather: self.gather,
                        taps,
                        group,
                        strip,
                        filters: &filters[strip * len..][..width * len],
                    };
                    match width {
                        1 => part.tile::<S, MR, 1, V>(simd, rows, count, self.result),
                        _ => part.tile::<S, MR, 2, V>(simd, rows, count, self.result),
                    }
                    strip += width;
                }
            }
        }
    }
}

/// The rows of a walk over some images, one after the other.
struct Rows<'a> {
    gather: &'a Gather<'a>,
    walk: &'a Walk,
    images: usize,
    /// Image by image for each pixel.
    across: bool,
    /// The next: image, down, over.
    next: (usize, usize, usize),
    left: usize,
}

impl<'a> Rows<'a> {
    fn new(gather: &'a Gather<'a>, walk: &'a Walk, images: usize) -> Rows<'a> {
        let pixels = walk.grid.0 * walk.grid.1;
        Rows {
            gather,
            walk,
            images,
            across: pixels <= SMALL && walk.taps.len() > 1,
            next: (0, 0, 0),
            left: images * pixels,
        }
    }

    /// Writes the next rows, and says how many.
    fn fill(&mut self, block: &mut [Row; BLOCK]) -> usize {
        let (walk, shapes) = (self.walk, self.gather.shapes);
        let strides = (shapes.0.stride, stride(shapes.1.channels));
        let count = self.left.min(BLOCK);
        self.left -= count;
        for row in &mut block[..count] {
            let (image, down, over) = self.next;
            let from = image * shapes.0.pixels()
                + down * walk.stride.0 * shapes.0.width
                + over * walk.stride.1;
            let to = image * shapes.1.pixels()
                + (walk.origin.0 + down * walk.step.0) * shapes.1.width
                + walk.origin.1
                + over * walk.step.1;
            *row = Row {
                from: (from * strides.0) as isize,
                down: (down * walk.stride.0) as isize,
                over: (over * walk.stride.1) as isize,
                to: to * strides.1,
            };
            self.next = self.after(image, down, over);
        }
        count
    }

    #[inline(always)]
    fn after(&self, image: usize, down: usize, over: usize) -> (usize, usize, usize) {
        if self.across && image + 1 < self.images {
            return (image + 1, down, over);
        }
        let image = if self.across { 0 } else { image };
        if over + 1 < self.walk.grid.1 {
            return (image, down, over + 1);
        }
        match down + 1 < self.walk.grid.0 {
            true => (image, down + 1, 0),
            false => (image + 1, 0, 0),
        }
    }
}

/// Taps that are gone through at once.
struct Taps<'a> {
    taps: &'a [Tap],
    /// How many the kernel has.
    kernel: usize,
    /// Whether there are sums under other taps already.
    on: bool,
    /// What is done to the sums, if these taps are the last.
    finish: Option<Finish<'a>>,
}

/// Some strips of one group, under some taps.
struct Part<'a> {
    gather: &'a Gather<'a>,
    taps: &'a Taps<'a>,
    group: usize,
    strip: usize,
    filters: &'a [f32],
}

impl Part<'_> {
    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &self,
        simd: S,
        rows: &[Row; MR],
        count: usize,
        result: &mut [f32],
    ) {
        let gather = self.gather;
        let (input, groups) = (gather.shapes.0, gather.groups);
        let (depth, to) = (input.channels / groups, gather.shapes.1.channels / groups);
        let channel = self.group * to + self.strip * LANES;
        let width = (NS * LANES).min(to - self.strip * LANES);
        let add = gather.add || self.taps.on;
        let first = gather.first::<S, NS, V>(simd, channel, self.taps.on);
        let mut acc: Acc<S, MR, NS, V> = [first; MR];
        let stride = input.stride as isize;
        let strips: [&[f32]; NS] = {
            let len = self.filters.len() / NS;
            std::array::from_fn(|strip| &self.filters[strip * len..][..len])
        };
        let outside = &gather.outside[..depth];
        for tap in self.taps.taps {
            let shift = (tap.down * input.width as isize + tap.over) * stride
                + (self.group * depth) as isize;
            let mut any = false;
            let a: [&[f32]; MR] = std::array::from_fn(|i| {
                let row = &rows[i];
                let inside = ((row.down + tap.down) as usize) < input.height
                    && ((row.over + tap.over) as usize) < input.width;
                any |= inside;
                match inside {
                    true => &gather.source[(row.from + shift) as usize..][..depth],
                    false => outside,
                }
            });
            if any {
                let b = strips.map(|strip| &strip[tap.number * depth * LANES..][..depth * LANES]);
                rows_by_strips(simd, &mut acc, a, b);
            }
        }
        if width == NS * LANES || groups == 1 {
            for i in 0..MR {
                if i < count {
                    let to = &mut result[rows[i].to + channel..];
                    write(simd, &acc[i], (to, add));
                }
            }
            if let Some(finish) = self.taps.finish {
                let places = rows[..count].iter().map(|row| row.to);
                let first = channel / LANES;
                finish.run(simd, result, places, first..first + NS);
            }
            return;
        }
        // Columns past the last of a group belong to the next group.
        let mut sums = [[[0.0; LANES]; NS]; MR];
        let (to, _) = S::as_mut_simd_f32s(sums.as_flattened_mut().as_flattened_mut());
        let flat = acc.as_flattened().as_flattened();
        to.iter_mut().zip(flat).for_each(|(to, acc)| *to = *acc);
        for (row, sums) in rows.iter().zip(&sums).take(count) {
            let to = &mut result[row.to + channel..][..width];
            for (to, sum) in to.iter_mut().zip(sums.as_flattened()) {
                *to = if add { *to + sum } else { *sum };
            }
        }
    }
}
