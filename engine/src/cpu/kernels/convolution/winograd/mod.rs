//! Winograd convolution for 3 × 3 kernels with stride 1 and any dilation: F(2 × 2, 3 × 3) of Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1.
//!
//! A tile of 2 × 2 output pixels y is computed from the 4 × 4 input pixels x under it and the filter g as
//! y = Aᵀ ((G g Gᵀ) ⊙ (Bᵀ x B)) A, with 16 multiplications for each pair of channels instead of 36. Over all channels and
//! tiles, these are 16 matrix products `[tile, input channel] × [input channel, output channel]`. The filter gradient is
//! dg = Gᵀ ((Bᵀ x B) ⊙ (A dy Aᵀ)) G.
//!
//! With dilation d, the pixels of a tile lie d apart: every d-th row and column is a convolution of its own, without
//! dilation.

mod forward;
mod matrices;
mod transform;
mod weight_gradient;

pub(in crate::cpu) use forward::ForwardConvolution;
pub(in crate::cpu) use weight_gradient::{WeightGradient, add_filter_gradient};

use std::ops::Range;

use rayon::prelude::*;

use super::{FilterLayout, Geometry};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{ImageLayout, pixel_stride};
use crate::net::{Shape, Window};

/// Number of matrix products: one for each element of a transformed 4 × 4 tile.
const PRODUCTS: usize = 16;

/// The tiling of a Winograd convolution, forward and for the gradient of its input.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Winograd {
    pub(in crate::cpu) forward: Tiles,
    pub(in crate::cpu) backward: Tiles,
}

/// Input and output channels from which on the products outweigh the tile transforms.
const MIN_CHANNELS: usize = 16;
/// Output pixels of a batch from which on the products outweigh the filter transform.
const MIN_PIXELS: usize = 1024;
/// Tiles that are transformed and multiplied at a time.
const TILES: usize = 32;
/// The same of large filters, which are read once for all of these tiles.
const TILES_OF_LARGE_FILTERS: usize = 128;
/// Elements of transformed filters above which reading them again costs more than the memory of more tiles.
const LARGE_FILTERS: usize = 1 << 20;
/// Rows of a product that are computed at a time, at most.
const ROWS: usize = 8;
/// Strips of output channels that are computed at a time.
const STRIPS: usize = 2;

impl Winograd {
    /// The tiling for a batch of `images`; `None` where the kernel does not fit or direct convolution is faster.
    pub(in crate::cpu) fn of(g: &Geometry, images: usize) -> Option<Winograd> {
        let Window {
            kernel,
            stride,
            dilation,
            before,
            ..
        } = g.window;
        let fits = (kernel, stride) == ((3, 3), (1, 1)) && g.groups == 1;
        let many = g.input.channels.min(g.output.channels) >= MIN_CHANNELS
            && images * g.output.pixels() >= MIN_PIXELS;
        if !fits || !many {
            return None;
        }
        // Padding of dy at the top and at the left, for the gradient of x.
        let after = (
            (2 * dilation.0).checked_sub(before.0)?,
            (2 * dilation.1).checked_sub(before.1)?,
        );
        let winograd = Winograd {
            forward: Tiles::new(g.input, g.output, before, dilation),
            backward: Tiles::new(
                g.output.into(),
                Shape {
                    channels: g.input.channels,
                    height: g.input.height,
                    width: g.input.width,
                },
                after,
                dilation,
            ),
        };
        // The number of pixels under each tap along an axis. Direct convolution skips taps in the padding of small maps;
        // tiles include them.
        let under = |size: usize, count: usize, before: usize, dilation: usize| {
            [0, 1, 2].map(|tap| {
                let places = (0..count).map(|at| (at + dilation * tap).wrapping_sub(before));
                places.filter(|place| *place < size).count()
            })
        };
        let down = under(g.input.height, g.output.height, before.0, dilation.0);
        let over = under(g.input.width, g.output.width, before.1, dilation.1);
        let pairs = down.iter().sum::<usize>() * over.iter().sum::<usize>();
        let tiles = winograd.forward.count().max(winograd.backward.count());
        // The transforms are counted as a quarter of the products.
        let fewer = PRODUCTS * tiles * 5 < pairs * 4;
        // Transposed filters lack the taps under which there is never a pixel, but the transform reads all taps.
        let all = down.into_iter().chain(over).all(|pixels| pixels > 0);
        (fewer && all).then_some(winograd)
    }

    /// Elements of scratch memory for the matrices; enough for forward, and in training for backward.
    pub(in crate::cpu) fn scratch_len(&self, training: bool) -> usize {
        let forward = forward::scratch_len(&self.forward);
        if !training {
            return forward;
        }
        forward
            .max(forward::scratch_len(&self.backward))
            .max(weight_gradient::scratch_len(&self.forward))
    }
}

/// The layout of transformed filters: 16 products take the place of 9 taps.
pub(in crate::cpu) fn transformed_layout(filters: &FilterLayout) -> FilterLayout {
    FilterLayout {
        taps: PRODUCTS,
        ..*filters
    }
}

/// Writes G g Gᵀ of all filters; with `reversed`, g is rotated by 180° first, as the input gradient needs it.
pub(in crate::cpu) fn transform_filters(
    isa: Isa,
    layout: &FilterLayout,
    filters: &[f32],
    reversed: bool,
    into: &mut [f32],
) {
    let strips = filters.par_chunks_exact(layout.strip_len());
    let into = into.par_chunks_exact_mut(transformed_layout(layout).strip_len());
    strips.zip(into).for_each(|(filters, into)| {
        isa.run(transform::FilterTransform {
            filters,
            reversed,
            into,
        });
    });
}

/// The 2 × 2 tiles of a result, and the 4 × 4 tiles of the source that they are computed from.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Tiles {
    source: ImageLayout,
    result: Shape,
    /// Pixels of padding at the top and at the left.
    before: (usize, usize),
    /// Rows and columns from a pixel of a tile to the next.
    dilation: (usize, usize),
    /// Tiles of an image: (down, across).
    grid: (usize, usize),
}

/// The first pixel of a tile of the result.
#[derive(Debug, Clone, Copy)]
struct Tile {
    image: usize,
    down: usize,
    over: usize,
}

impl Tiles {
    fn new(
        source: ImageLayout,
        result: Shape,
        before: (usize, usize),
        dilation: (usize, usize),
    ) -> Tiles {
        // Along an axis, `dilation` tiles share 2 · `dilation` pixels, and each pixel of the first half begins a tile.
        let along = |pixels: usize, dilation: usize| {
            let both = 2 * dilation;
            pixels / both * dilation + (pixels % both).min(dilation)
        };
        Tiles {
            source,
            result,
            before,
            dilation,
            grid: (
                along(result.height, dilation.0),
                along(result.width, dilation.1),
            ),
        }
    }

    /// Number of tiles of an image.
    fn count(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    fn have_large_filters(&self) -> bool {
        let filters = PRODUCTS * self.source.stride * pixel_stride(self.result.channels);
        filters > LARGE_FILTERS
    }

    /// The most tiles that are transformed and multiplied at a time.
    fn at_a_time(&self) -> usize {
        if self.have_large_filters() {
            TILES_OF_LARGE_FILTERS
        } else {
            TILES
        }
    }

    /// The tiles of some images, cut into ranges of about one length, of [`Tiles::at_a_time`] at most.
    fn ranges(&self, images: usize) -> impl Iterator<Item = Range<usize>> {
        let count = images * self.count();
        let ranges = count.div_ceil(self.at_a_time()).max(1);
        let len = count.div_ceil(ranges).next_multiple_of(ROWS).max(ROWS);
        (0..count)
            .step_by(len)
            .map(move |first| first..count.min(first + len))
    }

    /// Tile `number`, counted over all images.
    fn tile(&self, number: usize) -> Tile {
        let (image, within) = (number / self.count(), number % self.count());
        let (down, over) = (within / self.grid.1, within % self.grid.1);
        let first = |tile: usize, dilation: usize| tile + tile / dilation * dilation;
        Tile {
            image,
            down: first(down, self.dilation.0),
            over: first(over, self.dilation.1),
        }
    }

    /// The source pixels of a tile; `zeros` stands in for the padding.
    #[inline(always)]
    fn sources<'a>(&self, tile: Tile, source: &'a [f32], zeros: &'a [f32]) -> [[&'a [f32]; 4]; 4] {
        let image = self.source;
        let mut pixels = [[&zeros[..image.stride]; 4]; 4];
        for (i, row) in pixels.iter_mut().enumerate() {
            for (j, pixel) in row.iter_mut().enumerate() {
                let down = (tile.down + i * self.dilation.0).wrapping_sub(self.before.0);
                let over = (tile.over + j * self.dilation.1).wrapping_sub(self.before.1);
                if down < image.height && over < image.width {
                    let at = (tile.image * image.height + down) * image.width + over;
                    *pixel = &source[at * image.stride..][..image.stride];
                }
            }
        }
        pixels
    }

    /// Offsets in the result of the pixels of a tile; `None` past the edge of the map.
    #[inline(always)]
    fn result_offsets(&self, tile: Tile) -> [[Option<usize>; 2]; 2] {
        let shape = self.result;
        let mut offsets = [[None; 2]; 2];
        for (i, row) in offsets.iter_mut().enumerate() {
            for (j, offset) in row.iter_mut().enumerate() {
                let (down, over) = (
                    tile.down + i * self.dilation.0,
                    tile.over + j * self.dilation.1,
                );
                if down < shape.height && over < shape.width {
                    let at = (tile.image * shape.height + down) * shape.width + over;
                    *offset = Some(at * pixel_stride(shape.channels));
                }
            }
        }
        offsets
    }
}
