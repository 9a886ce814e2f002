//! Convolutions of 3 × 3 taps with fewer multiplications: F(2 × 2, 3 × 3) of Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1, after Winograd.
//!
//! A square of 2 × 2 pixels y, the 4 × 4 pixels x that it is gathered from, and the filter g make
//! y = Aᵀ ((G g Gᵀ) ⊙ (Bᵀ x B)) A, with 16 multiplications for two channels instead of 36. Over all channels
//! and squares they are 16 products of matrices. The gradient of g follows: Gᵀ ((Bᵀ x B) ⊙ (A dy Aᵀ)) G.

mod gather;
mod planes;
mod transform;
mod weight;

pub(in crate::cpu) use gather::Gather;
pub(in crate::cpu) use weight::{WeightGradient, collect};

use rayon::prelude::*;

use super::{Filters, Geometry};
use crate::cpu::kernels::isa::Isa;
use crate::cpu::kernels::layout::{Plane, stride};
use crate::net::{Shape, Window};

/// Matrices that are multiplied.
const PRODUCTS: usize = 16;

/// A 3 × 3 convolution that is computed this way, forward and for the gradient of its input.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Winograd {
    pub(in crate::cpu) forward: Squares,
    pub(in crate::cpu) backward: Squares,
}

/// Channels, on either side, below which making the matrices takes too long beside multiplying them.
const CHANNELS: usize = 16;
/// Pixels of a batch below which transforming the filters does.
const PIXELS: usize = 1024;
/// Squares whose matrices are there at a time.
const SQUARES: usize = 32;
/// Strips of the result that are computed at a time.
const STRIPS: usize = 2;

impl Winograd {
    /// The convolution, for a batch of so many images; `None` where computing it directly is faster.
    pub(in crate::cpu) fn of(g: &Geometry, images: usize) -> Option<Winograd> {
        let Window {
            kernel,
            stride,
            dilation,
            before,
            ..
        } = g.window;
        let fits = (kernel, stride, dilation) == ((3, 3), (1, 1), (1, 1))
            && before.0.max(before.1) <= 2
            && g.groups == 1;
        let many = g.input.channels.min(g.output.channels) >= CHANNELS
            && images * g.output.pixels() >= PIXELS;
        if !fits || !many {
            return None;
        }
        let winograd = Winograd {
            forward: Squares {
                source: g.input,
                result: g.output,
                before,
            },
            backward: Squares {
                source: g.output.into(),
                result: Shape {
                    channels: g.input.channels,
                    height: g.input.height,
                    width: g.input.width,
                },
                before: (2 - before.0, 2 - before.1),
            },
        };
        // For each tap along an axis how many pixels are under it. Computed directly, what is outside of a small
        // map costs nothing; the matrices are made for it too.
        let under = |size: usize, count: usize, before: usize| {
            [0, 1, 2].map(|tap| {
                let places = (0..count).map(|at| (at + tap).wrapping_sub(before));
                places.filter(|place| *place < size).count()
            })
        };
        let down = under(g.input.height, g.output.height, before.0);
        let over = under(g.input.width, g.output.width, before.1);
        let pairs = down.iter().sum::<usize>() * over.iter().sum::<usize>();
        let squares = winograd.forward.count().max(winograd.backward.count());
        // A quarter more is what the transforms take.
        let fewer = PRODUCTS * squares * 5 < pairs * 4;
        // Filters are transposed without the taps that no pixel is under, and these read all of them.
        let all = down.into_iter().chain(over).all(|pixels| pixels > 0);
        (fewer && all).then_some(winograd)
    }

    /// Numbers of the matrices that are made for some squares at a time, whatever is computed.
    pub(in crate::cpu) fn scratch(&self, training: bool) -> usize {
        let forward = gather::scratch(&self.forward);
        match training {
            true => forward
                .max(gather::scratch(&self.backward))
                .max(weight::scratch(&self.forward)),
            false => forward,
        }
    }
}

/// The sizes of transformed filters: in the place of taps, 16 numbers.
pub(in crate::cpu) fn transformed(filters: &Filters) -> Filters {
    Filters {
        kernel: PRODUCTS,
        ..*filters
    }
}

/// G g Gᵀ of all filters, with `reversed` taken from the last tap to the first.
pub(in crate::cpu) fn transform(
    isa: Isa,
    sizes: &Filters,
    filters: &[f32],
    reversed: bool,
    into: &mut [f32],
) {
    let strips = filters.par_chunks_exact(sizes.strip());
    let into = into.par_chunks_exact_mut(transformed(sizes).strip());
    strips.zip(into).for_each(|(filters, into)| {
        isa.run(transform::Filters {
            filters,
            reversed,
            into,
        });
    });
}

/// Squares of a result, and the pixels of a source that each is gathered from.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Squares {
    source: Plane,
    result: Shape,
    /// Pixels of padding above and to the left.
    before: (usize, usize),
}

/// Where a square begins.
#[derive(Debug, Clone, Copy)]
struct Square {
    image: usize,
    down: usize,
    over: usize,
}

impl Squares {
    /// Of an image, down and across.
    fn grid(&self) -> (usize, usize) {
        (
            self.result.height.div_ceil(2),
            self.result.width.div_ceil(2),
        )
    }

    /// Of an image.
    fn count(&self) -> usize {
        self.grid().0 * self.grid().1
    }

    fn square(&self, number: usize) -> Square {
        let (image, within) = (number / self.count(), number % self.count());
        Square {
            image,
            down: within / self.grid().1 * 2,
            over: within % self.grid().1 * 2,
        }
    }

    /// The pixels that a square is gathered from; `outside` are those beyond the map.
    #[inline(always)]
    fn sources<'a>(
        &self,
        square: Square,
        source: &'a [f32],
        outside: &'a [f32],
    ) -> [[&'a [f32]; 4]; 4] {
        let plane = self.source;
        let mut pixels = [[&outside[..plane.stride]; 4]; 4];
        for (i, row) in pixels.iter_mut().enumerate() {
            for (j, pixel) in row.iter_mut().enumerate() {
                let down = (square.down + i).wrapping_sub(self.before.0);
                let over = (square.over + j).wrapping_sub(self.before.1);
                if down < plane.height && over < plane.width {
                    let at = (square.image * plane.height + down) * plane.width + over;
                    *pixel = &source[at * plane.stride..][..plane.stride];
                }
            }
        }
        pixels
    }

    /// Where the pixels of a square are in the result: none beyond the map.
    #[inline(always)]
    fn results(&self, square: Square) -> [[Option<usize>; 2]; 2] {
        let shape = self.result;
        let mut places = [[None; 2]; 2];
        for (i, row) in places.iter_mut().enumerate() {
            for (j, place) in row.iter_mut().enumerate() {
                let (down, over) = (square.down + i, square.over + j);
                if down < shape.height && over < shape.width {
                    let at = (square.image * shape.height + down) * shape.width + over;
                    *place = Some(at * stride(shape.channels));
                }
            }
        }
        places
    }
}
