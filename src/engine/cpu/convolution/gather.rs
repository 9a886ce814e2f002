//! The product that gathers: forward, and the gradient of the input.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Walk;
use crate::engine::cpu::isa::Isa;
use crate::engine::cpu::layout::{LANES, padded, stride};
use crate::engine::cpu::multiply::{panels, rows_by_panel};
use crate::net::Shape;

/// One side of a product: `from` channels of each group are gathered into `to` channels.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::cpu) struct Sides {
    pub(in crate::engine::cpu) groups: usize,
    pub(in crate::engine::cpu) kernel: usize,
    pub(in crate::engine::cpu) from: usize,
    pub(in crate::engine::cpu) to: usize,
}

impl Sides {
    /// Numbers in the packed filters.
    pub(in crate::engine::cpu) fn packed(&self) -> usize {
        self.groups * self.kernel * self.from * self.to.next_multiple_of(LANES)
    }

    /// Packs filters, given as [group][tap][from][to], or with `transposed` as [group][tap][to][from],
    /// so that a panel is read in one go: [group][panel][tap][from][columns of the panel].
    pub(in crate::engine::cpu) fn pack(
        &self,
        isa: Isa,
        filters: &[f32],
        transposed: bool,
        packed: &mut [f32],
    ) {
        let columns = self.to.next_multiple_of(LANES);
        let (lanes, matrix) = (isa.lanes(), self.from * self.to);
        let of_group = filters.chunks_exact(self.kernel * matrix);
        let packed = packed.chunks_exact_mut(self.kernel * self.from * columns);
        for (filters, mut packed) in of_group.zip(packed) {
            for (start, vectors) in panels(columns, lanes) {
                let width = vectors * lanes;
                let (panel, rest) = packed.split_at_mut(self.kernel * self.from * width);
                packed = rest;
                let valid = self.to.saturating_sub(start).min(width);
                for (row, to) in panel.chunks_exact_mut(width).enumerate() {
                    let (tap, from) = (row / self.from, row % self.from);
                    let filter = &filters[tap * matrix..][..matrix];
                    if transposed {
                        let column = filter.iter().skip(start * self.from + from);
                        let column = column.step_by(self.from);
                        to[..valid]
                            .iter_mut()
                            .zip(column)
                            .for_each(|(to, x)| *to = *x);
                    } else {
                        to[..valid].copy_from_slice(&filter[from * self.to + start..][..valid]);
                    }
                    to[valid..].fill(0.0);
                }
            }
        }
    }
}

/// What a gather reads and writes.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::cpu) struct Gather<'a> {
    pub(in crate::engine::cpu) isa: Isa,
    pub(in crate::engine::cpu) sides: Sides,
    pub(in crate::engine::cpu) walks: &'a [Walk],
    /// Shape of an image of the source, and of the result.
    pub(in crate::engine::cpu) shapes: (Shape, Shape),
    pub(in crate::engine::cpu) source: &'a [f32],
    /// From [`Sides::pack`].
    pub(in crate::engine::cpu) packed: &'a [f32],
    /// A zero for every channel that is gathered: what a tap sees outside of the map.
    pub(in crate::engine::cpu) outside: &'a [f32],
    /// One number a channel of the result.
    pub(in crate::engine::cpu) bias: Option<&'a [f32]>,
    /// Whether the result is added to what is there.
    pub(in crate::engine::cpu) add: bool,
}

impl Gather<'_> {
    /// Computes all of `result`.
    pub(in crate::engine::cpu) fn run(&self, result: &mut [f32]) {
        let image = padded(self.shapes.1);
        let together = TOGETHER.div_ceil(self.shapes.1.pixels()).max(1);
        result
            .par_chunks_mut(together * image)
            .enumerate()
            .for_each(|(task, result)| {
                self.isa.run(Images {
                    gather: self,
                    first: task * together,
                    result,
                });
            });
    }
}

/// Rows of a result that a task should have at least.
const TOGETHER: usize = 128;

/// Some images of a gather.
struct Images<'a> {
    gather: &'a Gather<'a>,
    first: usize,
    result: &'a mut [f32],
}

impl WithSimd for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.walk::<S, 8>(simd),
            _ => self.walk::<S, 4>(simd),
        }
    }
}

impl Images<'_> {
    #[inline(always)]
    fn walk<S: Simd, const MR: usize>(self, simd: S) {
        let Images {
            gather,
            first,
            result,
        } = self;
        let images = result.len() / padded(gather.shapes.1);
        let columns = gather.sides.to.next_multiple_of(LANES);
        let depth = gather.sides.kernel * gather.sides.from;
        for walk in gather.walks {
            let rows = images * walk.grid.0 * walk.grid.1;
            for block in (0..rows).step_by(BLOCK) {
                for group in 0..gather.sides.groups {
                    let packed = &gather.packed[group * depth * columns..][..depth * columns];
                    for (start, vectors) in panels(columns, S::F32_LANES) {
                        let panel = &packed[start * depth..][..vectors * S::F32_LANES * depth];
                        for row in (block..rows.min(block + BLOCK)).step_by(MR) {
                            let tile = Tile {
                                gather,
                                walk,
                                first,
                                row,
                                rows,
                                group,
                                start,
                                panel,
                            };
                            match vectors {
                                1 => tile.run::<S, MR, 1>(simd, result),
                                2 => tile.run::<S, MR, 2>(simd, result),
                                _ => tile.run::<S, MR, 3>(simd, result),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rows that share a panel while it is near.
const BLOCK: usize = 64;

/// Some rows and one panel of columns of the result.
struct Tile<'a> {
    gather: &'a Gather<'a>,
    walk: &'a Walk,
    /// The first image of the task; rows count from there.
    first: usize,
    row: usize,
    rows: usize,
    group: usize,
    start: usize,
    panel: &'a [f32],
}

impl<'a> Tile<'a> {
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(&self, simd: S, result: &mut [f32]) {
        let Gather { sides, shapes, .. } = *self.gather;
        let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
        let channel = self.group * sides.to + self.start;
        let width = (NV * S::F32_LANES).min(sides.to - self.start.min(sides.to));
        if let Some(bias) = self.gather.bias {
            let mut padded = [0.0; 48];
            padded[..width].copy_from_slice(&bias[channel..][..width]);
            let (vectors, _) = S::as_simd_f32s(&padded);
            for acc in &mut acc {
                acc.copy_from_slice(&vectors[..NV]);
            }
        }
        // (image, down, over) of each row; rows past the end repeat the last.
        let places: [(usize, usize, usize); MR] = std::array::from_fn(|i| {
            let row = (self.row + i).min(self.rows - 1);
            let pixels = self.walk.grid.0 * self.walk.grid.1;
            let pixel = row % pixels;
            (
                row / pixels,
                pixel / self.walk.grid.1,
                pixel % self.walk.grid.1,
            )
        });
        let (from, depth) = (stride(shapes.0.channels), sides.from);
        let offset = self.group * sides.from;
        for tap in &self.walk.taps {
            let rows = places.map(|(image, down, over)| {
                let down = (down * self.walk.stride.0) as isize + tap.down;
                let over = (over * self.walk.stride.1) as isize + tap.over;
                let (height, width) = (shapes.0.height as isize, shapes.0.width as isize);
                if down < 0 || down >= height || over < 0 || over >= width {
                    return &self.gather.outside[..depth];
                }
                let image = (self.first + image) * shapes.0.pixels();
                let pixel = image + (down * width + over) as usize;
                &self.gather.source[pixel * from + offset..][..depth]
            });
            let len = depth * NV * S::F32_LANES;
            let panel = &self.panel[tap.number * len..][..len];
            rows_by_panel::<S, MR, NV>(simd, &mut acc, rows, panel);
        }
        for (i, (image, down, over)) in places.into_iter().enumerate() {
            if self.row + i >= self.rows {
                break;
            }
            let down = self.walk.origin.0 + down * self.walk.step.0;
            let over = self.walk.origin.1 + over * self.walk.step.1;
            let pixel = image * shapes.1.pixels() + down * shapes.1.width + over;
            let at = pixel * stride(shapes.1.channels) + channel;
            store(
                simd,
                &acc[i],
                &mut result[at..],
                width,
                sides,
                self.gather.add,
            );
        }
    }
}

/// Writes or adds a row of a tile. Columns past the last of a group belong to the next group, or are
/// padding, which stays 0.
#[inline(always)]
fn store<S: Simd, const NV: usize>(
    simd: S,
    acc: &[S::f32s; NV],
    to: &mut [f32],
    width: usize,
    sides: Sides,
    add: bool,
) {
    let full = NV * S::F32_LANES;
    if width == full || sides.groups == 1 {
        let (to, _) = S::as_mut_simd_f32s(&mut to[..full]);
        for (to, acc) in to.iter_mut().zip(acc) {
            *to = if add { simd.add_f32s(*to, *acc) } else { *acc };
        }
        return;
    }
    for (to, acc) in to[..width].chunks_mut(S::F32_LANES).zip(acc) {
        let now = simd.partial_load_f32s(to);
        let value = if add { simd.add_f32s(now, *acc) } else { *acc };
        simd.partial_store_f32s(to, value);
    }
}
