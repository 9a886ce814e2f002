//! Convolutions as products of matrices, without a buffer for their windows: a row of the left
//! matrix is where a tap falls, read in place.
//!
//! Forward and the gradient of the input are the same walk: every pixel of the result gathers from
//! the pixels of a source, tap by tap. With a stride the pixels of the gradient fall into classes
//! that see different taps, and each class is a [`Walk`] of its own.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::isa::Isa;
use super::layout::{LANES, padded};
use super::multiply::{outer, panels, rows_by_panel};
use crate::net::{Shape, Window};

/// The sizes of a convolution; values are channels last and padded, see [`super::layout`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) images: usize,
    pub(super) input: Shape,
    pub(super) output: Shape,
    pub(super) window: Window,
    pub(super) groups: usize,
}

/// Pixels of a result that see the same taps: those at `origin` + i · `step`.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// How many pixels, down and across.
    pub(super) grid: (usize, usize),
    pub(super) origin: (usize, usize),
    pub(super) step: (usize, usize),
    /// How far the source moves from one pixel of the grid to the next.
    pub(super) stride: (usize, usize),
    pub(super) taps: Vec<Tap>,
}

/// Where a tap falls for the first pixel of a walk, and which of the kernel's it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    pub(super) down: isize,
    pub(super) over: isize,
    pub(super) number: usize,
}

impl Walk {
    /// The walk over the output.
    pub(super) fn forward(g: &Geometry) -> Vec<Walk> {
        let taps = g.taps().map(|(number, shift)| Tap {
            down: shift.0 as isize - g.window.before.0 as isize,
            over: shift.1 as isize - g.window.before.1 as isize,
            number,
        });
        vec![Walk {
            grid: (g.output.height, g.output.width),
            origin: (0, 0),
            step: (1, 1),
            stride: g.window.stride,
            taps: taps.collect(),
        }]
    }

    /// The walks over the input that gather its gradient from that of the output.
    pub(super) fn backward(g: &Geometry) -> Vec<Walk> {
        let stride = g.window.stride;
        let classes = (0..stride.0).flat_map(|down| (0..stride.1).map(move |over| (down, over)));
        let walk = |origin: (usize, usize)| {
            let along = |origin: usize, before: usize, shift: usize, stride: usize| {
                let from = (origin + before) as isize - shift as isize;
                (from.rem_euclid(stride as isize) == 0).then(|| from.div_euclid(stride as isize))
            };
            let taps = g.taps().filter_map(|(number, shift)| {
                Some(Tap {
                    down: along(origin.0, g.window.before.0, shift.0, stride.0)?,
                    over: along(origin.1, g.window.before.1, shift.1, stride.1)?,
                    number,
                })
            });
            let count = |size: usize, origin: usize, stride: usize| {
                size.saturating_sub(origin).div_ceil(stride)
            };
            Walk {
                grid: (
                    count(g.input.height, origin.0, stride.0),
                    count(g.input.width, origin.1, stride.1),
                ),
                origin,
                step: stride,
                stride: (1, 1),
                taps: taps.collect(),
            }
        };
        classes.map(walk).collect()
    }
}

impl Geometry {
    /// Number and shift of every tap of the kernel.
    fn taps(&self) -> impl Iterator<Item = (usize, (usize, usize))> {
        let (rows, columns) = self.window.kernel;
        let dilation = self.window.dilation;
        (0..rows * columns).map(move |number| {
            let shift = (number / columns * dilation.0, number % columns * dilation.1);
            (number, shift)
        })
    }

    /// Taps of the kernel.
    pub(super) fn kernel(&self) -> usize {
        self.window.kernel.0 * self.window.kernel.1
    }

    /// Channels of a group: (in, out).
    pub(super) fn per_group(&self) -> (usize, usize) {
        (
            self.input.channels / self.groups,
            self.output.channels / self.groups,
        )
    }
}

/// One side of a product: `from` channels of each group are gathered into `to` channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides {
    pub(super) groups: usize,
    pub(super) kernel: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Sides {
    /// Numbers in the packed filters.
    pub(super) fn packed(&self) -> usize {
        self.groups * self.kernel * self.from * self.to.next_multiple_of(LANES)
    }

    /// Packs filters, given as [group][tap][from][to], or with `transposed` as [group][tap][to][from],
    /// so that a panel is read in one go: [group][panel][tap][from][columns of the panel].
    pub(super) fn pack(&self, isa: Isa, filters: &[f32], transposed: bool, packed: &mut [f32]) {
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
pub(super) struct Gather<'a> {
    pub(super) isa: Isa,
    pub(super) sides: Sides,
    pub(super) walks: &'a [Walk],
    /// Shape of an image of the source, and of the result.
    pub(super) shapes: (Shape, Shape),
    pub(super) source: &'a [f32],
    /// From [`Sides::pack`].
    pub(super) packed: &'a [f32],
    /// A zero for every channel that is gathered: what a tap sees outside of the map.
    pub(super) outside: &'a [f32],
    /// One number a channel of the result.
    pub(super) bias: Option<&'a [f32]>,
    /// Whether the result is added to what is there.
    pub(super) add: bool,
}

impl Gather<'_> {
    /// Computes all of `result`.
    pub(super) fn run(&self, result: &mut [f32]) {
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
        let (stride, depth) = (row_len(shapes.0), sides.from);
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
                &self.gather.source[pixel * stride + offset..][..depth]
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
            let at = pixel * row_len(shapes.1) + channel;
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

/// Numbers from one pixel to the next.
fn row_len(shape: Shape) -> usize {
    super::layout::stride(shape.channels)
}

/// dw += Σ xᵀ · dy over all pixels, as [group][tap][in][out]. `parts` holds [`parts`] of them.
pub(super) fn backward_weight(
    isa: Isa,
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    parts: &mut [f32],
) {
    let walk = &Walk::forward(g)[0];
    let count = self::parts(g);
    let parts = &mut parts[..count * dw.len()];
    parts.fill(0.0);
    let (from, to) = g.per_group();
    let rows = g.images * g.output.pixels();
    let share = rows.div_ceil(count);
    // The channels of a tap go to several tasks where the rows are few.
    let channels = match count {
        1 => CHANNELS.min(from),
        _ => from,
    };
    let matrices = parts.par_chunks_mut(from * to).enumerate();
    matrices.for_each(|(number, part)| {
        let (part_number, matrix) = (
            number / (dw.len() / (from * to)),
            number % (dw.len() / (from * to)),
        );
        let (group, tap) = (matrix / g.kernel(), matrix % g.kernel());
        let rows = part_number * share..rows.min((part_number + 1) * share);
        part.par_chunks_mut(channels * to)
            .enumerate()
            .for_each(|(block, part)| {
                isa.run(Products {
                    g,
                    tap: walk.taps[tap],
                    x,
                    dy,
                    rows: rows.clone(),
                    channel: (group * from + block * channels, group * to),
                    to,
                    part,
                });
            });
    });
    let len = dw.len();
    let parts = &*parts;
    dw.par_chunks_mut(SUM).enumerate().for_each(|(chunk, dw)| {
        for part in parts.chunks_exact(len) {
            for (dw, part) in dw.iter_mut().zip(&part[chunk * SUM..]) {
                *dw += *part;
            }
        }
    });
}

/// Channels of a tap that a task takes where rows are few.
const CHANNELS: usize = 32;
/// Weights that a task sums up.
const SUM: usize = 16_384;

/// Into how many parts the rows of a weight's gradient are cut: it follows from sizes alone, so that
/// sums are the same for any number of threads.
pub(super) fn parts(g: &Geometry) -> usize {
    let rows = g.images * g.output.pixels();
    let (from, to) = g.per_group();
    let weights = g.groups * g.kernel() * from * to;
    let room = (1 << 21) / weights.max(1);
    (rows / 2048).min(room).clamp(1, 16)
}

/// Σ xᵀ · dy for some channels under one tap, over some rows.
struct Products<'a> {
    g: &'a Geometry,
    tap: Tap,
    x: &'a [f32],
    dy: &'a [f32],
    rows: std::ops::Range<usize>,
    /// The first channel of x and of dy.
    channel: (usize, usize),
    to: usize,
    /// [in][out].
    part: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut pairs = [(0, 0); ROWS];
        let mut rows = self.rows.clone();
        loop {
            let mut count = 0;
            for row in rows.by_ref() {
                if let Some(from) = self.under(row) {
                    pairs[count] = (from, row * row_len(self.g.output));
                    count += 1;
                    if count == ROWS {
                        break;
                    }
                }
            }
            if count == 0 {
                return;
            }
            match S::F32_LANES {
                16 => self.block::<S, 8>(simd, &pairs[..count]),
                _ => self.block::<S, 4>(simd, &pairs[..count]),
            }
        }
    }
}

/// Rows that are gone through while they are near.
const ROWS: usize = 128;

impl Products<'_> {
    /// Where x is under the tap at a row of dy.
    #[inline(always)]
    fn under(&self, row: usize) -> Option<usize> {
        let (input, output, stride) = (self.g.input, self.g.output, self.g.window.stride);
        let (image, pixel) = (row / output.pixels(), row % output.pixels());
        let down = (pixel / output.width * stride.0) as isize + self.tap.down;
        let over = (pixel % output.width * stride.1) as isize + self.tap.over;
        let inside =
            (0..input.height as isize).contains(&down) && (0..input.width as isize).contains(&over);
        inside.then(|| {
            let pixel = image * input.pixels() + down as usize * input.width + over as usize;
            pixel * row_len(input)
        })
    }

    #[inline(always)]
    fn block<S: Simd, const MR: usize>(&mut self, simd: S, pairs: &[(usize, usize)]) {
        let to = self.to;
        for (start, vectors) in panels(to.next_multiple_of(LANES), S::F32_LANES) {
            for first in (0..self.part.len() / to).step_by(MR) {
                match vectors {
                    1 => self.tile::<S, MR, 1>(simd, pairs, first, start),
                    2 => self.tile::<S, MR, 2>(simd, pairs, first, start),
                    _ => self.tile::<S, MR, 3>(simd, pairs, first, start),
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        simd: S,
        pairs: &[(usize, usize)],
        first: usize,
        start: usize,
    ) {
        let full = NV * S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
        let (a, b) = (self.channel.0 + first, self.channel.1 + start);
        let rows = (self.part.len() / self.to - first).min(MR);
        // The last channels of a row may have fewer behind them than a tile has.
        for (x, dy) in pairs {
            let mut rest = [0.0; MR];
            let x = match self.x[x + a..].first_chunk::<MR>() {
                Some(x) if rows == MR => x,
                _ => {
                    rest[..rows].copy_from_slice(&self.x[x + a..][..rows]);
                    &rest
                }
            };
            let dy = &self.dy[dy + b..];
            if let Some(dy) = dy.get(..full) {
                let (dy, _) = S::as_simd_f32s(dy);
                if let Some(dy) = dy.first_chunk::<NV>() {
                    outer(simd, &mut acc, x, dy);
                }
            } else {
                let mut copy = [0.0; 48];
                copy[..dy.len()].copy_from_slice(dy);
                let (dy, _) = S::as_simd_f32s(&copy);
                if let Some(dy) = dy.first_chunk::<NV>() {
                    outer(simd, &mut acc, x, dy);
                }
            }
        }
        let width = full.min(self.to - start);
        let part = self.part.chunks_exact_mut(self.to).skip(first);
        for (row, acc) in part.zip(&acc).take(rows) {
            for (to, acc) in row[start..][..width].chunks_mut(S::F32_LANES).zip(acc) {
                let now = simd.partial_load_f32s(to);
                simd.partial_store_f32s(to, simd.add_f32s(now, *acc));
            }
        }
    }
}
