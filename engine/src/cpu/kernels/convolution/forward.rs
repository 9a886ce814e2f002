//! The direct convolution kernel: forward, and with transposed filters the gradient of the input.

use pulp::{Simd, WithSimd};

use super::strided_gemm::StridedGemm;
use super::{Phase, Tap};
use crate::cpu::kernels::activation::{max, min};
use crate::cpu::kernels::epilogue::Epilogue;
use crate::cpu::kernels::isa::{Isa, prefetch_write};
use crate::cpu::kernels::layout::{ImageLayout, LANES, padded_len, pixel_stride};
use crate::cpu::kernels::matmul::{Acc, multiply_tile, vectors};
use crate::net::Shape;

/// A convolution: result = Σ over taps and input channels of source · filter, for each pixel and output channel.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct ForwardConvolution<'a> {
    pub(in crate::cpu) isa: Isa,
    pub(in crate::cpu) phases: &'a [Phase],
    /// Shape of one image of the source.
    pub(in crate::cpu) input: ImageLayout,
    /// Shape of one image of the result.
    pub(in crate::cpu) output: Shape,
    pub(in crate::cpu) groups: usize,
    pub(in crate::cpu) source: &'a [f32],
    /// Packed filters, see [`super::FilterLayout`].
    pub(in crate::cpu) filters: &'a [f32],
    /// A zero for every input channel of a group: what a tap reads in the padding.
    pub(in crate::cpu) zeros: &'a [f32],
    /// One number per output channel.
    pub(in crate::cpu) bias: Option<&'a [f32]>,
    /// Whether the result is added to what is there.
    pub(in crate::cpu) add: bool,
    /// Applied to the result, if `add` is not set.
    pub(in crate::cpu) epilogue: Option<Epilogue<'a>>,
    /// Clamps the result to [0, limit]. Only for 1 × 1 convolutions without padding and without `add`.
    pub(in crate::cpu) limit: Option<f32>,
}

impl ForwardConvolution<'_> {
    /// Computes all of `result`.
    pub(in crate::cpu) fn run(&self, result: &mut [f32]) {
        self.isa.run(Kernel { conv: self, result });
    }

    /// The initial value of the sums of `NS` strips, from an output channel on: the bias, or 0 if they continue sums over
    /// other taps.
    #[inline(always)]
    pub(super) fn initial_sums<S: Simd, const NS: usize, const V: usize>(
        &self,
        simd: S,
        channel: usize,
        continues: bool,
    ) -> [[S::f32s; V]; NS] {
        let (Some(bias), false) = (self.bias, continues) else {
            return [[simd.splat_f32s(0.0); V]; NS];
        };
        let to = self.output.channels / self.groups;
        let width = (NS * LANES).min(to - channel % to);
        let mut padded = [[0.0; LANES]; NS];
        padded.as_flattened_mut()[..width].copy_from_slice(&bias[channel..][..width]);
        let vectors = vectors::<S, V>(padded.as_flattened());
        std::array::from_fn(|strip| vectors[strip])
    }
}

/// Clamps a tile to [0, limit].
#[inline(always)]
pub(super) fn clamp_tile<S: Simd, const MR: usize, const NS: usize, const V: usize>(
    simd: S,
    acc: &mut Acc<S, MR, NS, V>,
    limit: f32,
) {
    for row in acc {
        for sum in row.as_flattened_mut() {
            *sum = min(simd, max(simd, *sum, 0.0), limit);
        }
    }
}

/// Writes a row of a tile to the start of `to`, or adds it.
#[inline(always)]
pub(super) fn write_row<S: Simd, const NS: usize, const V: usize>(
    simd: S,
    sums: &[[S::f32s; V]; NS],
    to: &mut [f32],
    add: bool,
) {
    let (to, _) = S::as_mut_simd_f32s(&mut to[..NS * LANES]);
    for (to, sum) in to.iter_mut().zip(sums.as_flattened()) {
        *to = if add { simd.add_f32s(*to, *sum) } else { *sum };
    }
}

/// Pixels per block, which use each part of the filters in turn while it is cached: a multiple of the rows of every tile.
const BLOCK: usize = 120;
/// Length of the sums (taps · input channels) that a block computes before the next part of the filters.
const DEPTH: usize = 2048;
/// Bytes of filters that stay in the L1 cache: half of 48 KiB, three quarters of 32 KiB.
pub(super) const L1_FILTER_BYTES: usize = 24 << 10;
/// Pixels of a map up to which a convolution with several taps visits all images for a pixel before the next pixel. The
/// rows of a tile are then the same pixel of several images, and taps in its padding are skipped.
const SMALL_MAP: usize = 64;

/// The vector kernel of [`ForwardConvolution`].
struct Kernel<'a> {
    conv: &'a ForwardConvolution<'a>,
    result: &'a mut [f32],
}

/// A pixel of the result, which is a row of the matrix product. Offsets are in elements.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PixelRow {
    /// Offset in the source of the pixel under a tap at (0, 0).
    pub(super) from: isize,
    /// Row of that pixel.
    pub(super) down: isize,
    /// Column of that pixel.
    pub(super) over: isize,
    /// Offset of the pixel in the result.
    pub(super) to: usize,
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for phase in self.conv.phases {
            // The tile size follows from the number of registers.
            match S::F32_LANES {
                16 => self.phase::<S, 8, 1>(simd, phase),
                _ => self.phase::<S, 4, 2>(simd, phase),
            }
        }
    }
}

impl Kernel<'_> {
    /// Computes the pixels of a phase of all images, with tiles of `MR` rows.
    #[inline(always)]
    fn phase<S: Simd, const MR: usize, const V: usize>(&mut self, simd: S, phase: &Phase) {
        let conv = self.conv;
        let count = self.result.len() / padded_len(conv.output);
        let mut rows = PixelRows::new(conv, phase, count);
        let mut block = [PixelRow::default(); BLOCK];
        loop {
            let filled = rows.fill(&mut block);
            if filled == 0 {
                return;
            }
            if let Some(rows) = StridedGemm::of(conv, phase, &block[..filled]) {
                rows.run::<S, MR, V>(simd, self.result);
                continue;
            }
            debug_assert!(conv.limit.is_none());
            // Rows past the end repeat the last, and are not written.
            let end = filled.next_multiple_of(MR);
            let last = block[filled - 1];
            block[filled..end].fill(last);
            let taps = DEPTH.div_ceil(self.depth());
            // A phase without taps writes zeros.
            for first in (0..phase.taps.len().max(1)).step_by(taps) {
                let last = first + taps >= phase.taps.len();
                let taps = Taps {
                    kernel_len: phase.kernel_len,
                    taps: &phase.taps[first..phase.taps.len().min(first + taps)],
                    continues: first > 0,
                    epilogue: conv.epilogue.filter(|_| last),
                };
                for group in 0..conv.groups {
                    self.group::<S, MR, V>(simd, &block[..end], filled, &taps, group);
                }
            }
        }
    }

    /// Input channels per group.
    #[inline(always)]
    fn depth(&self) -> usize {
        self.conv.input.channels / self.conv.groups
    }

    /// Computes one group of channels for a block of pixels; `filled` of them are written.
    #[inline(always)]
    fn group<S: Simd, const MR: usize, const V: usize>(
        &mut self,
        simd: S,
        block: &[PixelRow],
        filled: usize,
        taps: &Taps<'_>,
        group: usize,
    ) {
        let to = self.conv.output.channels / self.conv.groups;
        let strips = to.div_ceil(LANES);
        let len = taps.kernel_len * self.depth() * LANES;
        let filters = &self.conv.filters[group * strips * len..][..strips * len];
        // If the filters fit in L1, all strips of a tile's rows are computed in turn, so that these rows stay there too.
        let strips_at_once = if size_of_val(filters) <= L1_FILTER_BYTES {
            strips
        } else if S::F32_LANES == 16 {
            2
        } else {
            1
        };
        for first in (0..strips).step_by(strips_at_once) {
            let end = strips.min(first + strips_at_once);
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
                    // Prefetches what the next tile writes: its stores would wait longer for memory than a tile takes.
                    for row in tiles().nth(number + 1).into_iter().flatten() {
                        for strip in strip..strip + width {
                            let place = row.to + group * to + strip * LANES;
                            prefetch_write(simd, self.result, place);
                        }
                    }
                    let tile = Tile {
                        conv: self.conv,
                        taps,
                        group,
                        strip,
                        filters: &filters[strip * len..][..width * len],
                    };
                    match width {
                        1 => tile.compute::<S, MR, 1, V>(simd, rows, count, self.result),
                        _ => tile.compute::<S, MR, 2, V>(simd, rows, count, self.result),
                    }
                    strip += width;
                }
            }
        }
    }
}

/// An iterator over the pixels of a phase in all images.
struct PixelRows<'a> {
    conv: &'a ForwardConvolution<'a>,
    phase: &'a Phase,
    images: usize,
    /// Whether all images are visited for a pixel before the next pixel.
    images_first: bool,
    next: GridPixel,
    /// Pixels that are left.
    left: usize,
}

/// A pixel of a phase's grid.
#[derive(Debug, Clone, Copy, Default)]
struct GridPixel {
    image: usize,
    down: usize,
    over: usize,
}

impl<'a> PixelRows<'a> {
    fn new(conv: &'a ForwardConvolution<'a>, phase: &'a Phase, images: usize) -> PixelRows<'a> {
        let pixels = phase.grid.0 * phase.grid.1;
        PixelRows {
            conv,
            phase,
            images,
            images_first: pixels <= SMALL_MAP && phase.taps.len() > 1,
            next: GridPixel::default(),
            left: images * pixels,
        }
    }

    /// Writes the next pixels into `block`, and returns their number: 0 at the end.
    fn fill(&mut self, block: &mut [PixelRow; BLOCK]) -> usize {
        let (phase, input, output) = (self.phase, self.conv.input, self.conv.output);
        let count = self.left.min(BLOCK);
        self.left -= count;
        for row in &mut block[..count] {
            let GridPixel { image, down, over } = self.next;
            let from = image * input.pixels()
                + down * phase.stride.0 * input.width
                + over * phase.stride.1;
            let to = image * output.pixels()
                + (phase.origin.0 + down * phase.step.0) * output.width
                + phase.origin.1
                + over * phase.step.1;
            *row = PixelRow {
                from: (from * input.stride) as isize,
                down: (down * phase.stride.0) as isize,
                over: (over * phase.stride.1) as isize,
                to: to * pixel_stride(output.channels),
            };
            self.next = self.after(self.next);
        }
        count
    }

    #[inline(always)]
    fn after(&self, pixel: GridPixel) -> GridPixel {
        let GridPixel { image, down, over } = pixel;
        if self.images_first && image + 1 < self.images {
            return GridPixel {
                image: image + 1,
                ..pixel
            };
        }
        let image = if self.images_first { 0 } else { image };
        let (image, down, over) = if over + 1 < self.phase.grid.1 {
            (image, down, over + 1)
        } else if down + 1 < self.phase.grid.0 {
            (image, down + 1, 0)
        } else {
            (image + 1, 0, 0)
        };
        GridPixel { image, down, over }
    }
}

/// Some of a phase's taps, whose products are summed at once.
struct Taps<'a> {
    taps: &'a [Tap],
    /// Number of taps of the whole kernel.
    kernel_len: usize,
    /// Whether the result already holds the sums over other taps.
    continues: bool,
    /// Applied to the sums; set for the last taps only.
    epilogue: Option<Epilogue<'a>>,
}

/// Some strips of output channels of one group, for some taps.
struct Tile<'a> {
    conv: &'a ForwardConvolution<'a>,
    taps: &'a Taps<'a>,
    group: usize,
    strip: usize,
    filters: &'a [f32],
}

impl Tile<'_> {
    /// Computes `MR` pixels, of which the first `count` are written.
    #[inline(always)]
    fn compute<S: Simd, const MR: usize, const NS: usize, const V: usize>(
        &self,
        simd: S,
        rows: &[PixelRow; MR],
        count: usize,
        result: &mut [f32],
    ) {
        let conv = self.conv;
        let (input, groups) = (conv.input, conv.groups);
        let (depth, to) = (input.channels / groups, conv.output.channels / groups);
        let channel = self.group * to + self.strip * LANES;
        let width = (NS * LANES).min(to - self.strip * LANES);
        let add = conv.add || self.taps.continues;
        let initial = conv.initial_sums::<S, NS, V>(simd, channel, self.taps.continues);
        let mut acc: Acc<S, MR, NS, V> = [initial; MR];
        let stride = input.stride as isize;
        let strips: [&[f32]; NS] = {
            let len = self.filters.len() / NS;
            std::array::from_fn(|strip| &self.filters[strip * len..][..len])
        };
        let zeros = &conv.zeros[..depth];
        for tap in self.taps.taps {
            let shift = (tap.down * input.width as isize + tap.over) * stride
                + (self.group * depth) as isize;
            let mut any = false;
            let a: [&[f32]; MR] = std::array::from_fn(|i| {
                let row = &rows[i];
                let inside = ((row.down + tap.down) as usize) < input.height
                    && ((row.over + tap.over) as usize) < input.width;
                any |= inside;
                if inside {
                    &conv.source[(row.from + shift) as usize..][..depth]
                } else {
                    zeros
                }
            });
            if any {
                let b = strips.map(|strip| &strip[tap.number * depth * LANES..][..depth * LANES]);
                multiply_tile(simd, &mut acc, a, b);
            }
        }
        if width == NS * LANES || groups == 1 {
            for i in 0..MR {
                if i < count {
                    let to = &mut result[rows[i].to + channel..];
                    write_row(simd, &acc[i], to, add);
                }
            }
            if let Some(epilogue) = self.taps.epilogue {
                let offsets = rows[..count].iter().map(|row| row.to);
                let first = channel / LANES;
                epilogue.run(simd, result, offsets, first..first + NS);
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
